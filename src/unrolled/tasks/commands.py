"""What the command line does, one function for each command."""

import dataclasses
import gzip
import hashlib
import json
import sys
import tomllib
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, cast

import torch

from unrolled.errors import ConfigError, RunError
from unrolled.files import remove_leftovers, write_atomically
from unrolled.tasks import config, report
from unrolled.tasks.cells import find_cell
from unrolled.tasks.config import EvaluateConfig, PredictConfig, Seq2SeqConfig
from unrolled.tasks.curves import summary_writer
from unrolled.tasks.data import Pair, group_references
from unrolled.tasks.device import no_denormals, pick_device
from unrolled.tasks.evaluate import Evaluation, evaluate, save_scores
from unrolled.tasks.interrupt import Interrupted
from unrolled.tasks.predict import predict
from unrolled.tasks.progress import Progress, clock
from unrolled.tasks.run import Run
from unrolled.tasks.seq2seq import (
    Seq2SeqTask,
    Vocabularies,
    build_model,
    load_data,
    load_pairs,
)
from unrolled.tasks.settings import to_toml
from unrolled.tasks.train import Standing, fit
from unrolled.tasks.trained import open_run, open_translator, resume_settings

__all__ = ["Interrupted", "evaluate_run", "open_run", "predict_run", "resume_settings", "train"]

HELD_OUT = Path("held out")  # what dev pairs without a file are called
PATHS = ("train", "dev")  # may be elsewhere when a run goes on: what they hold is compared


def train(settings: Seq2SeqConfig, progress: Progress | None = None) -> Standing:
    """Train sequence to sequence, or go on with it, and write the run's report.

    Args:
        settings: all of them; with ``resume`` they must be those of the run.
        progress: where progress is shown; by default on stderr.

    Returns:
        Where the training stands at its end.

    Raises:
        UnrolledError: see the message; what the run held before is still there.
        Interrupted: the user stopped it; it can go on.
    """
    with no_denormals():
        return _train(_absolute(settings), progress or Progress())


def _train(settings: Seq2SeqConfig, progress: Progress) -> Standing:
    device = _prepare(settings)
    progress.note(f"reading {settings.data.train or 'nothing'}")
    pairs, dev = load_data(settings.data, settings.training.seed)
    vocabularies = Vocabularies.build(pairs, settings.data)
    model = build_model(settings.model, vocabularies).to(device)
    task = Seq2SeqTask(model, vocabularies, pairs, dev, settings.training, settings.search)
    run = Run(settings.run) if settings.resume else Run.create(settings.run, to_toml(settings))
    with run.lock():
        remove_leftovers(run.path)
        _remember(run, vocabularies, settings.data, {"train": pairs, "dev": dev})
        _introduce(settings, task, progress, f"{len(pairs):,} pairs", f"{len(dev):,}")
        try:
            standing = fit(task, settings.training, run, progress)
            if run.report.exists():
                progress.note(f"nothing is left to do: {run.report} is there")
            else:
                _conclude(run, settings, standing, dev, progress)
        except KeyboardInterrupt:  # a second one, or one after the training
            raise Interrupted from None
    return standing


def evaluate_run(path: Path, settings: EvaluateConfig) -> Evaluation:
    """Score a run, print the figures, and keep them in the run.

    Raises:
        UnrolledError: see the message.
    """
    saved, translator = open_run(path, settings.device)
    if settings.width:
        decoding = dataclasses.replace(saved.search, width=settings.width)
        translator = dataclasses.replace(translator, decoding=decoding)
    if settings.data is None:
        name, data = "dev", saved.data.dev or HELD_OUT
        pairs = load_data(saved.data, saved.training.seed)[1]
    else:
        name, data = settings.data.name.split(".")[0], settings.data
        pairs = load_pairs(data, saved.data)
    evaluation = evaluate(translator, group_references(pairs), Progress())
    print("\n".join(evaluation.lines()), flush=True)
    save_scores(path / f"scores-{name}.json", evaluation, data, translator.decoding.width)
    if settings.predictions:
        evaluation.write(settings.predictions)
    return evaluation


def predict_run(path: Path, settings: PredictConfig, source: Path | None = None) -> int:
    """Predict for each line of a file, plain or .gz, or of standard input.

    Returns:
        How many lines had a fault.

    Raises:
        UnrolledError: see the message.
    """
    if sys.stdin is None or sys.stdout is None:  # as after >&-
        raise ConfigError("standard input or output is closed; open both")
    with _opened(source) as stream:
        saved, translator = open_run(path, settings.device)
        decoding = dataclasses.replace(saved.search, width=max(settings.width, settings.best))
        if source is None and stream.isatty():
            print("write a source and press Enter; Ctrl-D ends", file=sys.stderr)
        return predict(
            dataclasses.replace(translator, decoding=decoding),
            stream,
            sys.stdout.buffer,
            sys.stderr,
            settings,
            normal_form=saved.data.normalize,
            max_line=saved.data.max_line,
            name=str(source or "stdin"),
        )


def _opened(source: Path | None) -> AbstractContextManager[IO[bytes]]:
    if source is None:
        return nullcontext(sys.stdin.buffer)
    name = source.name.lower()
    if name.removesuffix(".gz").endswith((".json", ".jsonl")):
        raise ConfigError(f"{source}: predict reads plain text; write one source a line")
    try:
        return cast(IO[bytes], gzip.open(source)) if name.endswith(".gz") else source.open("rb")
    except OSError as error:
        raise ConfigError(
            f"{source}: {(error.strerror or str(error)).lower()}; name a file that can be read"
        ) from None


def _conclude(
    run: Run,
    settings: Seq2SeqConfig,
    standing: Standing,
    dev: Sequence[Pair],
    progress: Progress,
) -> None:
    """Score the best weights as they will be used, and write the report."""
    progress.note(f"best at step {standing.best_step:,}, after {clock(standing.seconds)} in all")
    translator = open_translator(run, settings, pick_device(settings.training.device))
    evaluation = evaluate(translator, group_references(dev), progress)
    data = settings.data.dev or HELD_OUT
    save_scores(run.path / "scores-dev.json", evaluation, data, settings.search.width)
    report.write_report(run, settings, standing, evaluation, {})


def _absolute(settings: Seq2SeqConfig) -> Seq2SeqConfig:
    """Make the paths of data absolute, so that a run can go on from another folder."""
    data = settings.data
    paths = {n: p.absolute() for n in PATHS if (p := getattr(data, n)) is not None}
    return dataclasses.replace(settings, data=dataclasses.replace(data, **paths))


def _prepare(settings: Seq2SeqConfig) -> torch.device:
    """Settle what every step rests on, and refuse what cannot work before any data is read."""
    if settings.resume:
        _check_unchanged(settings)
    training, model = settings.training, settings.model
    for cell in {model.cell, model.decoder_cell or model.cell}:
        find_cell(cell)
    if training.tensorboard:
        summary_writer()
    if training.threads:
        torch.set_num_threads(training.threads)
    torch.manual_seed(training.seed)
    return pick_device(training.device)


def _check_unchanged(settings: Seq2SeqConfig) -> None:
    """Refuse to go on with other settings than a run began with."""
    saved = tomllib.loads(to_toml(resume_settings(settings.run)))
    given = tomllib.loads(to_toml(settings))
    for table in ("data", "model", "training", "search"):
        for name, value in saved[table].items():
            if given[table][name] != value and name not in PATHS:
                raise ConfigError(
                    f"{name.replace('_', '-')} is {given[table][name]}, but {settings.run} began "
                    f"with {value}; leave it out, or train into another --run"
                )


def _remember(
    run: Run,
    vocabularies: Vocabularies,
    data: config.Data,
    sides: dict[str, Sequence[Pair]],
) -> None:
    """Write down what a run learns from, or hold it to what was written down."""
    found = {side: {"pairs": len(some), "sha256": _digest(some)} for side, some in sides.items()}
    path = run.path / "data.json"
    if not path.exists():  # written last: without it a run has not begun
        vocabularies.save(run.path)
        write_atomically(path, (json.dumps(found, indent=2) + "\n").encode())
        return
    try:
        saved = dict(json.loads(path.read_bytes()))
    except (ValueError, TypeError):
        raise RunError(f"{path}: is damaged; put a good copy there, or train anew") from None
    for side, file in {"train": data.train, "dev": data.dev or data.train}.items():
        if saved.get(side) != found[side]:
            raise RunError(
                f"{file}: has other pairs than when {run.path} began; "
                "put the old file back, or train into another --run"
            )


def _digest(pairs: Sequence[Pair]) -> str:
    lines = "\n".join(f"{pair.source}\t{pair.target}" for pair in pairs)
    return hashlib.sha256(lines.encode()).hexdigest()


def _introduce(
    settings: Seq2SeqConfig, task: Seq2SeqTask, progress: Progress, train: str, dev: str
) -> None:
    """Say what is about to learn from what."""
    size = sum(parameter.numel() for parameter in task.model.parameters())
    progress.note(
        f"{train} to learn from, {dev} to score on; {size:,} parameters on {task.device}, "
        f"{torch.get_num_threads()} threads; all is kept in {settings.run}"
    )
    for side, share in task.rare().items():
        if share:
            progress.warn(
                f"{share:.2%} of the {side}'s symbols have no room in --{side}-size and are "
                "learnt as unknown; raise it if that is too much"
            )

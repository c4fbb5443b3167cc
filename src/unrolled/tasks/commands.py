"""What the command line does, one function for each command."""

import dataclasses
import hashlib
import json
import platform
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import torch

from unrolled import __version__
from unrolled.backends import BACKENDS
from unrolled.errors import ConfigError, RunError
from unrolled.files import write_atomically
from unrolled.tasks import config, report
from unrolled.tasks.checkpoint import load_weights
from unrolled.tasks.config import EvaluateConfig, PredictConfig
from unrolled.tasks.data import Pair, group_references
from unrolled.tasks.evaluate import Evaluation, evaluate, save_scores
from unrolled.tasks.predict import predict
from unrolled.tasks.progress import Progress, clock
from unrolled.tasks.run import Run
from unrolled.tasks.seq2seq import (
    Seq2SeqTask,
    Translator,
    Vocabularies,
    build_model,
    load_data,
    load_pairs,
)
from unrolled.tasks.settings import merge, read_toml, to_toml
from unrolled.tasks.train import Interrupted, Standing, fit, pick_device
from unrolled.zoo import CELLS

__all__ = [
    "Interrupted",
    "evaluate_run",
    "info",
    "info_run",
    "predict_run",
    "resume_settings",
    "train",
]

NEEDS = ("config.toml", "model.safetensors", "source.json", "target.json")


def train(settings: config.Seq2SeqConfig, progress: Progress | None = None) -> Standing:
    """Train sequence to sequence, or go on with it, and write the run's report.

    Args:
        settings: all of them; with ``resume`` they must be those of the run.
        progress: where progress is shown; by default on stderr.

    Returns:
        Where the training stands at its end.

    Raises:
        UnrolledError: see the message; what the run held before is still there.
    """
    progress = progress or Progress()
    settings = _absolute(settings)
    if settings.training.threads:
        torch.set_num_threads(settings.training.threads)
    device = pick_device(settings.training.device)
    torch.manual_seed(settings.training.seed)
    pairs, dev = load_data(settings.data, settings.training.seed)
    vocabularies = Vocabularies.build(pairs, settings.data)
    model = build_model(settings.model, vocabularies).to(device)
    facts: dict[str, object] = {"train": len(pairs), "dev": len(dev), "sha256": _digest(pairs, dev)}
    if settings.resume:
        run = _begun(settings, facts)
    else:
        run = Run.create(settings.run, to_toml(settings))
        vocabularies.save(run.path)
        write_atomically(run.path / "data.json", json.dumps(facts).encode())
    with run.lock():
        size = sum(p.numel() for p in model.parameters())
        progress.note(
            f"{run.path}: {len(pairs):,} pairs to learn from, {len(dev):,} to score on; "
            f"{size:,} parameters, {device}, {torch.get_num_threads()} threads"
        )
        task = Seq2SeqTask(model, vocabularies, pairs, dev, settings.training, settings.search)
        standing = fit(task, settings.training, run, progress)
        translator = open_translator(run, device, settings.search)
        evaluation = evaluate(translator, group_references(dev))
        save_scores(run.path / "scores-dev.json", evaluation, Path("dev"), settings.search.width)
        report.write_report(run, settings, standing, evaluation, {})
    progress.note(f"best at step {standing.best_step:,}, after {clock(standing.seconds)} in all")
    return standing


def resume_settings(path: Path) -> config.Seq2SeqConfig:
    """Give the settings of a run that is to go on."""
    run = Run.open(path)
    saved = merge(config.Seq2SeqConfig(), read_toml(run.config), run.config)
    return dataclasses.replace(saved, run=path, resume=True)


def open_run(path: Path, device: str = "auto") -> tuple[config.Seq2SeqConfig, Translator]:
    """Give a trained run's settings and its model, ready to predict.

    Raises:
        RunError: a file of the run is missing or damaged.
    """
    run = Run.open(path, needs=NEEDS)
    settings = merge(config.Seq2SeqConfig(), read_toml(run.config), run.config)
    return settings, open_translator(run, pick_device(device), settings.search)


def open_translator(run: Run, device: torch.device, decoding: config.Search) -> Translator:
    """Give the run's best model, ready to predict."""
    settings = merge(config.Seq2SeqConfig(), read_toml(run.config), run.config)
    vocabularies = Vocabularies.load(run.path)
    model = build_model(settings.model, vocabularies)
    tensors, _ = load_weights(run.weights)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split()[:20])
        raise RunError(f"{run.weights} does not fit {run.config}: {reason}; train anew") from None
    return Translator(model.to(device).eval(), vocabularies, decoding)


def evaluate_run(path: Path, settings: EvaluateConfig) -> Evaluation:
    """Score a run, print the figures, and keep them in the run."""
    saved, translator = open_run(path, settings.device)
    if settings.width:
        decoding = dataclasses.replace(saved.search, width=settings.width)
        translator = dataclasses.replace(translator, decoding=decoding)
    if settings.data is None:
        name, pairs = "dev", load_data(saved.data, saved.training.seed)[1]
    else:
        name, pairs = settings.data.name.split(".")[0], load_pairs(settings.data, saved.data)
    evaluation = evaluate(translator, group_references(pairs), Progress())
    if settings.predictions:
        evaluation.write(settings.predictions)
    data = settings.data or Path("dev")
    save_scores(path / f"scores-{name}.json", evaluation, data, translator.decoding.width)
    print("\n".join(evaluation.lines()))
    return evaluation


def predict_run(path: Path, settings: PredictConfig, source: Path | None = None) -> int:
    """Predict for each line of a file or of standard input; 1 if any line had a fault."""
    saved, translator = open_run(path, settings.device)
    decoding = dataclasses.replace(saved.search, width=max(settings.width, settings.best))
    translator = dataclasses.replace(translator, decoding=decoding)
    try:
        stream = source.open("rb") if source else sys.stdin.buffer
    except OSError as error:
        raise ConfigError(f"{source}: {error.strerror}; name a file that can be read") from None
    with stream:
        faults = predict(
            translator,
            stream,
            sys.stdout,
            sys.stderr,
            settings,
            normal_form=saved.data.normalize,
            max_line=saved.data.max_line,
            name=str(source) if source else "stdin",
        )
    return 1 if faults else 0


def info() -> None:
    """Print what is here: versions, processor, devices, backends and cells."""
    devices = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    rows = {
        "unrolled": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        "devices": ", ".join(devices),
        "backends": ", ".join(BACKENDS),
        "cells": ", ".join(CELLS),
    }
    print("\n".join(f"{name:<10} {value}" for name, value in rows.items()))


def info_run(path: Path) -> None:
    """Print what a run is: its settings, how far it came and what it scored."""
    run = Run.open(path)
    print(run.config.read_text().rstrip() + "\n")
    metrics = run.metrics()
    if metrics:
        last = metrics[-1]
        best = min(metrics, key=lambda record: record["symbol_error_rate"])
        print(
            f"trained  {last['step']:,} steps, {last['epoch']:.1f} epochs, {clock(last['seconds'])}"
        )
        print(
            f"best     step {best['step']:,}: symbol error rate {best['symbol_error_rate']:.2%}, "
            f"word error rate {best['word_error_rate']:.2%} (dev, greedy)"
        )
    for scores in sorted(run.path.glob("scores-*.json")):
        record = json.loads(scores.read_text())
        print(
            f"scored   {record['data']}: word error rate {record['word_error_rate']:.2%}, "
            f"symbol error rate {record['symbol_error_rate']:.2%} (beam {record['width']})"
        )


def _absolute(settings: config.Seq2SeqConfig) -> config.Seq2SeqConfig:
    """Make the paths of data absolute, so that a run can go on from another folder."""
    data = settings.data
    paths = {n: p.absolute() for n in ("train", "dev") if (p := getattr(data, n)) is not None}
    return dataclasses.replace(settings, data=dataclasses.replace(data, **paths))


def _begun(settings: config.Seq2SeqConfig, facts: dict[str, object]) -> Run:
    """Open a run to go on with, unless its settings or its pairs were others when it began."""
    run = Run.open(settings.run, ("config.toml", "data.json"))
    saved, given = tomllib.loads(run.config.read_text()), tomllib.loads(to_toml(settings))
    for table, values in saved.items():
        for name, value in values.items() if isinstance(values, dict) else ():
            if given[table][name] != value:
                raise ConfigError(
                    f"{name} is {given[table][name]} but {run.path} began with {value}: "
                    "a resumed run keeps its settings; leave the flag out"
                )
    if json.loads((run.path / "data.json").read_text()) != facts:
        raise RunError(f"the pairs changed since {run.path} began; put the old ones back")
    return run


def _digest(*sides: Sequence[Pair]) -> str:
    digest = hashlib.sha256()
    for pairs in sides:
        digest.update("\n".join(f"{p.source}\t{p.target}" for p in pairs).encode())
    return digest.hexdigest()

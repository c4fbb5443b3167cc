"""What the commands do for sequence to sequence."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from unrolled.tasks.device import pick_device
from unrolled.tasks.progress import Progress
from unrolled.tasks.readings import opened_stream
from unrolled.tasks.run import Run
from unrolled.tasks.scores import save_scores
from unrolled.tasks.seq2seq.config import EvaluateConfig, PredictConfig, Seq2SeqConfig
from unrolled.tasks.seq2seq.data import HELD_OUT, Vocabularies, load_data, load_pairs
from unrolled.tasks.seq2seq.evaluation import Evaluation
from unrolled.tasks.seq2seq.evaluation import evaluate as score
from unrolled.tasks.seq2seq.lesson import Seq2SeqLesson
from unrolled.tasks.seq2seq.numbering import Numbering
from unrolled.tasks.seq2seq.pairs import group_references
from unrolled.tasks.seq2seq.prediction import predict as write_predictions
from unrolled.tasks.seq2seq.translator import Translator, build_model
from unrolled.tasks.trained import load_best, read_settings

NEEDS = ("config.toml", "model.safetensors", "source.json", "target.json")


def learn(settings: Seq2SeqConfig, device: torch.device, progress: Progress) -> Seq2SeqLesson:
    """Read the pairs, collect their symbols, and build the model."""
    settings.check()
    train, dev = load_data(settings.data, settings.training.seed)
    vocabularies = Vocabularies.build(train, settings.data)
    model = build_model(settings.model, vocabularies).to(device)
    return Seq2SeqLesson(model, vocabularies, train, dev, settings)


def open_run(path: Path, device: str = "auto") -> tuple[Seq2SeqConfig, Translator]:
    """Give a run's settings and its best model, ready to predict.

    Args:
        path: the run's folder.
        device: where the model is to compute, see `pick_device`.

    Raises:
        RunError: a file of the run is missing or damaged.
        ConfigError: its settings are damaged, or there is no such device.
        DataError: a vocabulary is damaged.
    """
    run = Run.open(path, needs=NEEDS)
    settings = read_settings(run)
    vocabularies = Vocabularies.load(run.path)
    model = load_best(run, build_model(settings.model, vocabularies))
    numbering = Numbering.of(vocabularies, settings)
    return settings, Translator(model.to(pick_device(device)), numbering, settings.search)


def evaluate(path: Path, settings: EvaluateConfig) -> Evaluation:
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
    evaluation = score(translator, group_references(pairs), Progress())
    print("\n".join(evaluation.lines()), flush=True)
    save_scores(Run(path), name, data, {"width": translator.decoding.width, **evaluation.record()})
    if settings.predictions:
        evaluation.write(settings.predictions)
    return evaluation


def predict(path: Path, settings: PredictConfig, files: Sequence[Path] = ()) -> int:
    """Predict for each line of a file, plain or .gz, or of standard input.

    Returns:
        How many lines had a fault.

    Raises:
        UnrolledError: see the message.
    """
    source = files[0] if files else None
    with opened_stream(source, "write a source") as stream:
        saved, translator = open_run(path, settings.device)
        decoding = dataclasses.replace(saved.search, width=max(settings.width, settings.best))
        return write_predictions(
            dataclasses.replace(translator, decoding=decoding),
            stream,
            sys.stdout.buffer,
            sys.stderr,
            settings,
            normal_form=saved.data.normalize,
            max_line=saved.data.max_line,
            name=str(source or "stdin"),
        )

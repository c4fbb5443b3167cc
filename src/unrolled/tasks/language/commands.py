"""What the commands do for language models."""

from collections.abc import Sequence
from pathlib import Path

import torch

from unrolled.models.language import LanguageModel
from unrolled.tasks.cells import find_cell
from unrolled.tasks.device import pick_device
from unrolled.tasks.language import evaluation, writing
from unrolled.tasks.language.coder import Coder, build_coder
from unrolled.tasks.language.config import EvaluateConfig, LanguageConfig, Model, PredictConfig
from unrolled.tasks.language.evaluation import Evaluation
from unrolled.tasks.language.lesson import HELD_OUT, VOCABULARY, LanguageLesson
from unrolled.tasks.language.numbered import number
from unrolled.tasks.language.text import Part, parts
from unrolled.tasks.language.writing import Writer
from unrolled.tasks.progress import Progress
from unrolled.tasks.run import Run
from unrolled.tasks.scores import save_scores
from unrolled.tasks.trained import load_best, read_settings
from unrolled.tasks.vocabulary import Vocabulary

NEEDS = ("config.toml", "model.safetensors", VOCABULARY)


def learn(settings: LanguageConfig, device: torch.device, progress: Progress) -> LanguageLesson:
    """Collect the symbols of a text, number them into a temporary file, and build the model."""
    sides = parts(settings.data)
    coder = build_coder(sides["train"], settings.data)
    texts = {name: number(part, coder, settings.run) for name, part in sides.items()}
    model = build_model(settings.model, coder).to(device)
    return LanguageLesson(model, coder, texts, settings)


def build_model(settings: Model, coder: Coder) -> LanguageModel:
    """Make the model that the settings describe, with fresh weights."""
    return LanguageModel(
        len(coder.vocabulary),
        cell=find_cell(settings.cell),
        embedding=settings.embedding,
        hidden=settings.hidden,
        layers=settings.layers,
        tied=settings.tied,
        dropout=settings.dropout,
        input_dropout=settings.input_dropout,
        symbol_dropout=settings.symbol_dropout,
    )


def open_run(path: Path, device: str = "auto") -> tuple[LanguageConfig, Writer]:
    """Give a run's settings and its best model, ready to write.

    Args:
        path: the run's folder.
        device: where the model is to compute, see `pick_device`.

    Raises:
        RunError: a file of the run is missing or damaged.
        ConfigError: its settings are damaged, or there is no such device.
        DataError: the vocabulary is damaged.
    """
    run = Run.open(path, needs=NEEDS)
    settings = read_settings(run)
    coder = Coder(Vocabulary.load(run.path / VOCABULARY))
    model = load_best(run, build_model(settings.model, coder))
    return settings, Writer(model.to(pick_device(device)), coder, settings.data.normalize)


def evaluate(path: Path, settings: EvaluateConfig) -> Evaluation:
    """Score a run, print the figures, and keep them in the run.

    Raises:
        UnrolledError: see the message.
    """
    saved, writer = open_run(path, settings.device)
    if settings.data is None:
        name, data, part = "dev", saved.data.dev or HELD_OUT, parts(saved.data)["dev"]
    else:
        name, data = settings.data.name.removesuffix(".gz").removesuffix(".txt"), settings.data
        part = Part(data, saved.data.normalize)
    coder, unit = writer.coder, saved.data.unit
    found = evaluation.evaluate(
        writer.model,
        number(part, coder, path),
        coder.start,
        unit,
        streams=settings.streams,
        progress=Progress(),
    )
    print("\n".join(found.lines()), flush=True)
    save_scores(Run(path), name, data, found.record())
    return found


def predict(path: Path, settings: PredictConfig, files: Sequence[Path] = ()) -> int:
    """Write on from a prompt, or from each line of a file, plain or .gz, or of standard input.

    Returns:
        How many prompts had a fault.

    Raises:
        UnrolledError: see the message.
    """
    _, writer = open_run(path, settings.device)
    return writing.predict(writer, settings, files)

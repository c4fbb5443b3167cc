"""Runs, opened again: their settings, and their models ready to predict."""

import dataclasses
import shlex
from pathlib import Path

import torch

from unrolled.errors import RunError
from unrolled.tasks import config
from unrolled.tasks.checkpoint import load_weights
from unrolled.tasks.device import pick_device
from unrolled.tasks.run import Run
from unrolled.tasks.seq2seq import Translator, Vocabularies, build_model
from unrolled.tasks.settings import merge, read_toml

NEEDS = ("config.toml", "model.safetensors", "source.json", "target.json")


def read_settings(run: Run) -> config.Seq2SeqConfig:
    """Read what a run was told.

    Raises:
        ConfigError: its ``config.toml`` is damaged.
    """
    return merge(config.Seq2SeqConfig(), read_toml(run.config), run.config)


def resume_settings(path: Path) -> config.Seq2SeqConfig:
    """Give the settings of a run that is to go on, wherever its folder is now.

    Raises:
        RunError: there is no run.
        ConfigError: its ``config.toml`` is damaged.
    """
    return dataclasses.replace(read_settings(Run.open(path)), run=path, resume=True)


def resume_command(path: Path) -> str:
    """Give the command that goes on with a run.

    Example:
        >>> resume_command(Path("runs/my first"))
        "unrolled train seq2seq --run 'runs/my first' --resume"
    """
    return f"unrolled train seq2seq --run {shlex.quote(str(path))} --resume"


def open_run(path: Path, device: str = "auto") -> tuple[config.Seq2SeqConfig, Translator]:
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
    return settings, open_translator(run, settings, pick_device(device))


def open_translator(run: Run, settings: config.Seq2SeqConfig, device: torch.device) -> Translator:
    """Give the best model of a run so far. Raises as `open_run` does."""
    vocabularies = Vocabularies.load(run.path)
    model = build_model(settings.model, vocabularies)
    tensors, _ = load_weights(run.weights)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split()[:20])
        raise RunError(
            f"{run.weights} does not fit {run.config} ({reason}); put the run's own files back"
        ) from None
    return Translator(model.to(device).eval(), vocabularies, settings.search)

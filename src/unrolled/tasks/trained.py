"""Runs, opened again: their task, their settings and their best weights."""

import dataclasses
import shlex
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from unrolled.errors import ConfigError, RunError
from unrolled.tasks.checkpoint import load_weights
from unrolled.tasks.kinds import Kind, find_kind
from unrolled.tasks.run import Run
from unrolled.tasks.settings import merge, read_toml, to_toml

M = TypeVar("M", bound=nn.Module)


def config_text(kind: Kind, settings: Any) -> str:
    """Write a run's ``config.toml``: the name of the task, then all settings."""
    return f'task = "{kind.name}"\n{to_toml(settings)}'


def kind_of(run: Run) -> Kind:
    """Tell what task a run is of.

    Raises:
        ConfigError: its ``config.toml`` is damaged, or of a task that is unknown here.
    """
    return find_kind(str(read_toml(run.config).get("task", "seq2seq")))


def read_settings(run: Run) -> Any:
    """Read what a run was told, as an object of its task's ``config``.

    Raises:
        ConfigError: its ``config.toml`` is damaged.
    """
    values = read_toml(run.config)
    values.pop("task", None)
    return merge(kind_of(run).config(), values, run.config)


def resume_settings(kind: Kind, path: Path) -> Any:
    """Give the settings of a run that is to go on, wherever its folder is now.

    Raises:
        RunError: there is no run.
        ConfigError: its ``config.toml`` is damaged, or it is of another task.
    """
    run = Run.open(path)
    if (began := kind_of(run)).name != kind.name:
        raise ConfigError(
            f"{path} is a run of {began.name}, not {kind.name}; go on with {resume_command(path)}"
        )
    return dataclasses.replace(read_settings(run), run=path, resume=True)


def resume_command(path: Path) -> str:
    """Give the command that goes on with a run."""
    return f"unrolled train {kind_of(Run(path)).name} --run {shlex.quote(str(path))} --resume"


def load_best(run: Run, model: M) -> M:
    """Put the best weights of a run into a model of its settings, ready to predict.

    Raises:
        RunError: the weights are damaged, or of another model.
    """
    tensors, _ = load_weights(run.weights)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split()[:20])
        raise RunError(
            f"{run.weights} does not fit {run.config} ({reason}); put the run's own files back"
        ) from None
    return model.eval()

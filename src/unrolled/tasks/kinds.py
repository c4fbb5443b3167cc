"""The tasks of the field, as the commands see them. Nothing here imports torch: help is prompt."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from unrolled.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from unrolled.tasks.lesson import Lesson
    from unrolled.tasks.progress import Progress

NAMES = ("tag", "language", "seq2seq", "transcribe", "forecast", "classify")


class Work(Protocol):
    """What a task does: the functions in the module `commands` of its folder."""

    def learn(self, settings: Any, device: "torch.device", progress: "Progress") -> "Lesson[Any]":
        """Read the data and build the model, with fresh weights; write nothing."""
        ...

    def evaluate(self, path: Path, settings: Any) -> None:
        """Score the run in a folder, print the figures, and keep them in the run."""
        ...

    def predict(self, path: Path, settings: Any, files: Sequence[Path]) -> int:
        """Write predictions on standard output; give the number of items at fault."""
        ...


@dataclass(frozen=True)
class Kind:
    """A task: its name, the settings of its commands, and where its work is done.

    name: as in `unrolled train NAME`, and its folder. about: what it does, in a line.
    config: settings of `train`, a dataclass with `run`, `resume` and the tables `data`, `model` and
    `training` at least; a path in `data` may be elsewhere when a run goes on.
    evaluation, prediction: settings of `evaluate` and `predict`. presets: TOML files by name.
    files: what `predict` may be given, as its usage shows it. most_files: how many.
    """

    name: str
    about: str
    config: type[Any]
    evaluation: type[Any]
    prediction: type[Any]
    presets: Mapping[str, Path]
    files: str = "[FILE]"
    most_files: int = 1

    def work(self) -> Work:
        """Import what does the work, and torch with it."""
        return cast(Work, importlib.import_module(f"unrolled.tasks.{self.name}.commands"))


def find_kind(name: str) -> Kind:
    """Find a task by its name; raise ConfigError if there is none.

    >>> find_kind("seq2seq").config.__name__
    'Seq2SeqConfig'
    """
    if name not in NAMES:
        raise ConfigError(f"there is no task {name!r}; choose one of {', '.join(NAMES)}")
    return importlib.import_module(f"unrolled.tasks.{name}.config").KIND


def presets_of(file: str) -> dict[str, Path]:
    """Find the presets in the folder `presets` beside a file: settings that were tried, as TOML."""
    return {path.stem: path for path in sorted((Path(file).parent / "presets").glob("*.toml"))}

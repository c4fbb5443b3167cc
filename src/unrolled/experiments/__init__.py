"""The lecture's experiments: each is run by a name, and says with numbers what the lecture claims.

The names and lines below answer without torch; an experiment's file is imported when it runs.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.errors import ConfigError

if TYPE_CHECKING:
    from unrolled.experiments.outcome import Outcome

EXPERIMENTS: dict[str, str] = {  # a file of this folder -> what it shows
    "growth": "ReLU weights of variance 3/n explode and those of 1.5/n vanish: the edge is 2/n",
    "saturation": "sigmoid and tanh pass hardly any gradient once their inputs are large",
    "forgetting": "why a forget gate helps: the gradient through the cell state and the hidden one",
    "memory": "RNN, LSTM and GRU on the adding problem and on copy memory, at growing lags",
    "clipping": "a gradient that explodes ends a training; clipped by its norm, it does not",
    "bottleneck": "a fixed context vector against attention, as sequences grow",
    "exposure": "what teacher forcing never shows a model: its own mistakes",
}


@dataclass(frozen=True)
class Options:
    """Run one of the lecture's experiments: print its table, and write its page."""

    out: Path = Path("runs/experiments")
    """Folder of the pages: each is NAME/page.html in it."""


def run(name: str, say: Callable[[str], None] = print) -> "Outcome":
    """Run an experiment; the same numbers come out each time.

    Args:
        name: one of `EXPERIMENTS`.
        say: is told what is being done, in lines.

    Returns:
        What it found: a table, pictures and numbers.

    Raises:
        ConfigError: there is no experiment of that name.

    Example:
        >>> run("levitation")
        Traceback (most recent call last):
        unrolled.errors.ConfigError: there is no experiment 'levitation'; choose one of growth, \
saturation, forgetting, memory, clipping, bottleneck, exposure
    """
    if name not in EXPERIMENTS:
        raise ConfigError(
            f"there is no experiment {name!r}; choose one of {', '.join(EXPERIMENTS)}"
        )
    return import_module(f"unrolled.experiments.{name}").run(say=say)


def command(name: str, options: Options) -> None:
    """Run an experiment for the command line: progress on stderr, table and page.

    Args:
        name: one of `EXPERIMENTS`.
        options: where its page goes.

    Raises:
        ConfigError: there is no experiment of that name.
        RunError: the page cannot be written.
    """
    from rich.console import Console

    begun, notes = time.monotonic(), Console(stderr=True, highlight=False)

    def say(text: str) -> None:
        notes.print(f"{time.monotonic() - begun:5.1f} s  {text}", soft_wrap=True)

    outcome = run(name, say)
    folder = options.out / name
    folder.mkdir(parents=True, exist_ok=True)
    outcome.write(folder / "page.html")
    outcome.show(Console(highlight=False))
    print(folder / "page.html")

"""What a backend is given and what it gives back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

Step = Callable[..., tuple[Tensor, ...]]
"""(x, *state, **constants) -> (y, *state): one step of a recurrence."""


@dataclass(frozen=True)
class Call:
    """One recurrence over one batch of sequences, checked and ready to run."""

    xs: Tensor  # (time, batch, *features), anything where a sequence has ended, NaN included
    state: tuple[Tensor, ...]  # before the first step, each (batch, *size)
    start: tuple[Tensor, ...]  # what a reset puts in its place
    constants: Mapping[str, Tensor]  # the same at every step, each (batch, ...)
    lengths: Tensor | None  # (batch,) true numbers of steps; None: all have `time`
    resets: Tensor | None  # (time, batch) bool: start afresh before this step
    reverse: bool  # read each sequence from its own last step to its first
    keep_states: bool  # give back the states after every step
    join: "Join"  # runs a step as programs, for the backends that run programs


@dataclass(frozen=True)
class Result:
    """What comes out of a recurrence over a batch of sequences."""

    ys: Tensor  # (time, batch, *outputs), zero where a sequence has ended
    state: tuple[Tensor, ...]  # after each sequence's own last step
    states: tuple[Tensor, ...] | None  # (time, batch, *size) each; an ended sequence keeps its last


class Join(Protocol):
    """Runs a step's program on a backend for programs, and the rest around it."""

    def __call__(self, step: Step, call: Call, backend: str) -> Result:
        """Run it."""
        ...


class Backend(Protocol):
    """Runs a step over every time of a call."""

    def __call__(self, step: Step, call: Call) -> Result:
        """Run it."""
        ...

"""What a backend makes of a program, and what that gives."""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from unrolled.ir import Program


class Results(Protocol):
    """What a program gives over a batch of sequences."""

    @property
    def outputs(self) -> Mapping[str, Tensor]:
        """Each output at every step, (time, batch, width), zero behind a sequence's end."""
        ...

    @property
    def states(self) -> Mapping[str, Tensor]:
        """Each state after a sequence's own last step, (batch, width)."""
        ...


class Kernel(Protocol):
    """A program, ready to run for any batch and any time."""

    def __call__(
        self,
        inputs: Mapping[str, Tensor],
        constants: Mapping[str, Tensor],
        states: Mapping[str, Tensor],
        fixed: Mapping[str, Tensor],
        *,
        time: int,
        lengths: Tensor | None = None,
        reverse: bool = False,
    ) -> Results:
        """Run the program over sequences.

        Args:
            inputs: (time, batch, width) each.
            constants: (batch, width) each.
            states: before the first step, (batch, width) each.
            fixed: in the shapes that the program declares, in any strides.
            time: steps.
            lengths: (batch,) true number of steps of each sequence; by default all have `time`.
            reverse: run from each sequence's last step to its first.
        """
        ...


class Compile(Protocol):
    """A backend for programs."""

    def __call__(self, program: Program) -> Kernel:
        """Make a program ready to run.

        Raises:
            BackendError: it cannot run here, or has an operation that this backend has not.
        """
        ...

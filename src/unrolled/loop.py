"""A program over sequences, and whether it is to be differentiated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from unrolled.backends.tracing import is_traced, is_transformed
from unrolled.backward import Again, call, differentiable, needs_gradient
from unrolled.compiler import Program
from unrolled.kernels import Kernels
from unrolled.segments import differentiable_in_segments, steps_of_segment


@dataclass(frozen=True)
class Loop:
    """A program over one batch of sequences."""

    kernels: Kernels
    time: int
    lengths: Tensor | None = None  # (batch,) true number of steps of each; None: all have `time`
    reverse: bool = False  # run from each sequence's last step to its first

    @property
    def program(self) -> Program:
        """The forward, without what it stores."""
        return self.kernels.programs["alone"]

    def run(
        self,
        inputs: Mapping[str, Tensor],
        constants: Mapping[str, Tensor],
        states: Mapping[str, Tensor],
        fixed: Mapping[str, Tensor],
        *,
        again: Again | None = None,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Run the program; autograd follows where something needs a gradient.

        Args:
            inputs: (time, batch, width) each.
            constants: (batch, width) each.
            states: before the first step, (batch, width) each.
            fixed: in the shapes that the program declares.
            again: how those inputs can be made once more of which it is known; others are kept.

        Returns:
            The outputs, (time, batch, width) each, zero behind a sequence's end; and the states
            after each sequence's own last step.
        """
        program = self.program
        groups = (program.inputs, program.constants, program.states, program.fixed)
        named = zip(groups, (inputs, constants, states, fixed), strict=True)
        given = [values[value.name] for group, values in named for value in group]
        results = self._results(given, again)
        names = [name for name, _ in program.outputs]
        last = (value.name for value in program.states)
        return (
            dict(zip(names, results[: len(names)], strict=True)),
            dict(zip(last, results[len(names) :], strict=True)),
        )

    def _results(self, given: Sequence[Tensor], again: Again | None) -> tuple[Tensor, ...]:
        options = self.kernels, self.time, self.lengths, self.reverse
        if is_traced(given[0]) or not needs_gradient(given):
            return call(self.kernels, "alone", self.time, self.lengths, self.reverse, given)
        if is_transformed():
            return differentiable(*options, given)
        steps = steps_of_segment(self.kernels, self.time, given)
        if steps < self.time:
            return differentiable_in_segments(*options, steps, given)
        return differentiable(*options, given, again)

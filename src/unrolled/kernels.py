"""The programs of one recurrence, made ready on a backend when they are first needed."""

from collections.abc import Sequence
from functools import cached_property

from torch import Tensor

from unrolled.backends import COMPILERS, Kernel, pieces_around
from unrolled.compiler import Program, Training


class Kernels:
    """A program and its backward on one backend: each made ready when it is first needed.

    Args:
        program: what runs where nothing is to be differentiated.
        training: what runs elsewhere.
        backend: a name from `COMPILERS`; it may raise a BackendError.
    """

    def __init__(self, program: Program, training: Training, backend: str) -> None:
        self.training, self.backend = training, backend
        self.programs = {
            "alone": program,  # stores nothing
            "forward": training.forward,  # stores what the backward needs
            "backward": training.backward,  # runs the other way
        }
        self.ready: dict[str, Kernel] = {}

    @cached_property
    def stored(self) -> slice:
        """Where what is stored lies among the results of ``forward``."""
        return slice(len(self.programs["alone"].outputs), len(self.programs["forward"].outputs))

    @cached_property
    def unread(self) -> frozenset[str]:
        """The program's inputs that neither its backward nor the products behind that read."""
        read = {value.name for value in self.training.backward.given}
        read |= {name for g in self.training.gradients for name in (g.left, g.right)}
        return frozenset(v.name for v in self.programs["alone"].inputs if v.name not in read)

    @property
    def pieces(self) -> int | None:
        """Pieces of a factor of products around the loop, see `pieces_around`."""
        return pieces_around(self.backend) if self.programs["alone"].dtype == "float32" else None

    @cached_property
    def text(self) -> str:
        """The program's text."""
        return str(self.programs["alone"])

    def prepare(self, part: str) -> Kernel:
        """Make one of the programs ready to run."""
        if part not in self.ready:
            self.ready[part] = COMPILERS[self.backend](self.programs[part])
        return self.ready[part]

    def run(
        self,
        part: str,
        given: Sequence[Tensor],
        time: int,
        lengths: Tensor | None,
        reverse: bool = False,
    ) -> tuple[Tensor, ...]:
        """Run one of the programs.

        Args:
            part: a name from `programs`.
            given: the program's inputs, (time, batch, width); constants and states,
                (batch, width); and fixed values, in the order in which it declares them.
            time: steps.
            lengths: (batch,) true number of steps of each sequence; None: all have `time`.
            reverse: whether the forward runs from each sequence's last step to its first, and the
                backward then from its first to its last.

        Returns:
            The outputs, (time, batch, width), zero behind a sequence's end; and the states after
            each sequence's own last step.
        """
        turned = reverse != (part == "backward")
        return run_program(self.prepare(part), self.programs[part], given, time, lengths, turned)


def run_program(
    kernel: Kernel,
    program: Program,
    given: Sequence[Tensor],
    time: int,
    lengths: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, ...]:
    """Run a program on what `Kernels.run` is given; its results are those of that too."""
    left = iter(given)
    groups = (program.inputs, program.constants, program.states, program.fixed)
    named = [{value.name: next(left) for value in group} for group in groups]
    found = kernel(*named, time=time, lengths=lengths, reverse=reverse)
    outputs = (found.outputs[name] for name, _ in program.outputs)
    return (*outputs, *(found.states[value.name] for value in program.states))

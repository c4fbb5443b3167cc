"""From a cell to the programs that run it: a list of passes, top to bottom."""

import math
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from threading import RLock
from typing import Any, TypeVar

import torch
from torch import Tensor

from unrolled.cell import Cell
from unrolled.compiler.adjoint import Gradient, adjoint
from unrolled.compiler.apart import is_apart, run_apart
from unrolled.compiler.bias import bias
from unrolled.compiler.capture import capture
from unrolled.compiler.join import join
from unrolled.compiler.lower import Lowered, lower
from unrolled.compiler.maps import maps
from unrolled.compiler.memory import Training, kept_as, memory
from unrolled.compiler.narrow import narrow
from unrolled.compiler.partition import Parts, partition
from unrolled.compiler.piece import ROWS, Piece, to_loop
from unrolled.compiler.resets import RESET, start_of, with_resets
from unrolled.compiler.separate import separate
from unrolled.compiler.simplify import simplify
from unrolled.compiler.step import Step
from unrolled.compiler.structure import Structure, seal, trace
from unrolled.compiler.totals import totals
from unrolled.compiler.unswap import unswap
from unrolled.errors import CaptureError
from unrolled.ir import Program

T = TypeVar("T")


@dataclass(frozen=True)
class Compiled:
    """A cell's step in all its forms; good for every cell of the same structure."""

    captured: Step
    parts: Parts
    lowered: Lowered
    made: dict[Hashable, Any] = field(default_factory=dict)  # see `made_once`
    lock: RLock = field(default_factory=RLock)

    @cached_property
    def weights(self) -> int:
        """How many numbers the matrices have that every step of the loop reads."""
        shapes = (value.type.shape for value in self.lowered.program.fixed)
        return sum(math.prod(shape) for shape in shapes if len(shape) > 1)

    def made_once(self, name: Hashable, make: Callable[[], T]) -> T:
        """Give what others keep here, which is made when it is first asked for."""
        if name not in self.made:
            with self.lock:
                if name not in self.made:
                    self.made[name] = make()
        return self.made[name]

    def for_many_rows(self, inputs: int, outputs: int) -> "Compiled":
        """Give the same for batches of many rows: more products with parameters are in the loop.

        Args:
            inputs: the most numbers of an input that is multiplied in the loop; 0: there are none.
            outputs: the most numbers of what is multiplied in the loop for an output.
        """
        if not inputs and not outputs:
            return self
        make = partial(self._for_many_rows, inputs, outputs)
        return self.made_once(("many rows", inputs, outputs), make)

    def _for_many_rows(self, inputs: int, outputs: int) -> "Compiled":
        try:
            found = run_apart(lambda: _lowered(self.captured, inputs=inputs, outputs=outputs))
        except CaptureError:
            return self
        outside = [(len(one.parts.hoisted), len(one.parts.sunk)) for one in (self, found)]
        return self if outside[0] == outside[1] else found

    def program(self, *, resets: bool, states: bool) -> tuple[Program, Training]:
        """Give the program alone, and with its backward.

        Args:
            resets: whether it starts afresh where its input `RESET` says so.
            states: whether its outputs hold every state after every step, named `state_of` it.
        """
        return self.made_once(("program", resets, states), partial(self._program, resets, states))

    def _program(self, resets: bool, states: bool) -> tuple[Program, Training]:
        program = self.lowered.program
        if states:
            extra = tuple((state_of(name), value) for name, value in program.next)
            program = replace(program, outputs=(*program.outputs, *extra))
        program = with_resets(program) if resets else program
        program = simplify(unswap(simplify(program)))
        return program, train(program)


def train(program: Program) -> Training:
    """Give a program's backward, and the forward that stores what it needs."""
    return memory(program, totals(adjoint(program)))


def state_of(name: str) -> str:
    """Name the output that holds a state after every step.

    Example:
        >>> state_of("h")
        'state_h'
    """
    return f"state_{name}"


def compile_cell(
    cell: Cell,
    x: Tensor,
    state: Sequence[Tensor] | None = None,
    constants: Mapping[str, Tensor] | None = None,
) -> Compiled:
    """Capture one step of a cell and take it through the passes.

    Args:
        cell: the cell, in the mode in which it is to run.
        x: an input of one step, (batch, *features).
        state: tensors of the states' types; by default the cell's initial state.
        constants: what every step is given by name, (batch, ...) each.

    Raises:
        CaptureError: the step cannot be one program; the message says why.

    Example:
        >>> import torch
        >>> from unrolled.zoo import GRU
        >>> print(compile_cell(GRU(3, 5), torch.zeros(2, 3)).lowered.program.states)
        (Value(name='h', type=Type(kind='rows', shape=(5,))),)
    """
    captured = capture(cell, x, state, constants)
    try:
        return _lowered(captured)
    except CaptureError:  # of what was taken into the loop, or of what was there before
        return _lowered(captured, narrowed=False)


def _lowered(
    captured: Step, *, narrowed: bool = True, inputs: int = 0, outputs: int = 0
) -> Compiled:
    step = separate(join(maps(captured.copied())), inside=inputs)
    parts = partition(step)
    if narrowed:
        step, parts = bias(step, narrow(step, parts, inputs=inputs, outputs=outputs))
    return Compiled(captured, parts, lower(step, parts))


Key = tuple[Any, ...]
"""Of what is compiled: the cell's structure; size, type and device of x, states and constants; and
the names of the constants."""

MANY_SIZES = 32
"""Sizes of a cell's constants that are compiled for before a warning is given."""


class Cache:
    """What has been compiled, by the cells' structure, the inputs' shape and all types.

    Batch and time are no part of the key.
    """

    def __init__(self) -> None:
        self.known: dict[Key, Compiled | Exception] = {}
        self.lock = RLock()

    def get(
        self,
        cell: Cell,
        structure: Structure,
        xs: Tensor,
        state: Sequence[Tensor],
        constants: Mapping[str, Tensor],
    ) -> Compiled:
        """Give what `compile_cell` does, the second time at once; its error too.

        Of the tensors only shapes, types and devices matter; a tracer may have hidden the rest.

        Args:
            cell: the cell.
            structure: its structure.
            xs: (time, batch, *features).
            state: (batch, *size) each.
            constants: (batch, ...) each.
        """
        sizes = (xs.shape[2:], *(value.shape[1:] for value in (*state, *constants.values())))
        like = zip(sizes, (xs, *state, *constants.values()), strict=True)
        kinds = tuple((tuple(map(int, size)), x.dtype, x.device) for size, x in like)
        key = (structure, kinds, *constants)
        found = self.known.get(key)
        if found is None and constants:
            self._warn_of_many(key, len(constants))
        if found is None:
            found = run_apart(lambda: _compiled(cell, kinds, tuple(constants)))
            with self.lock:
                found = self.known.setdefault(key, found)
        if isinstance(found, Exception):
            raise found.with_traceback(None)
        return found

    def _warn_of_many(self, key: Key, constants: int) -> None:
        """Say that constants come in more and more sizes, each of which is compiled for."""
        structure, kinds, *names = key
        same = kinds[: len(kinds) - constants]
        with self.lock:
            known = [k for k, found in self.known.items() if isinstance(found, Compiled)]
        alike = [k for k in known if [*k[2:]] == names and k[1][: len(same)] == same]
        if sum(k[0] == structure for k in alike) == MANY_SIZES:
            warnings.warn(
                f"a cell has been compiled for {MANY_SIZES} sizes of its constants "
                f"{', '.join(map(str, names))}, which takes up to a second each: pad them to few "
                "sizes, as unrolled.layers.attention.padded does for memories, or run it with "
                'backend="eager"',
                RuntimeWarning,
                stacklevel=2,
            )


def _compiled(
    cell: Cell,
    kinds: Sequence[tuple[tuple[int, ...], torch.dtype, torch.device]],
    constants: Sequence[str],
) -> Compiled | Exception:
    """Compile a cell for an input, states and constants of some sizes, or give the error."""
    x, *rest = (torch.empty(0, *size, dtype=dtype, device=device) for size, dtype, device in kinds)
    count = len(rest) - len(constants)
    try:
        return compile_cell(cell, x, rest[:count], dict(zip(constants, rest[count:], strict=True)))
    except Exception as error:
        return error


__all__ = [
    "RESET",
    "ROWS",
    "Cache",
    "Compiled",
    "Gradient",
    "Lowered",
    "Piece",
    "Program",
    "Training",
    "compile_cell",
    "is_apart",
    "kept_as",
    "run_apart",
    "seal",
    "start_of",
    "state_of",
    "to_loop",
    "trace",
    "train",
]

"""A loop over time that computes a program's operations with PyTorch.

It is the definition of what every other backend computes, and autograd can follow it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.backends.interpreter.operations import INTERPRET, Compute
from unrolled.ir import Operand, Program


@dataclass(frozen=True)
class Interpreted:
    """What a program gives over a batch of sequences."""

    outputs: dict[str, Tensor]  # (time, batch, width), zero behind a sequence's end
    states: dict[str, Tensor]  # after each sequence's own last step, (batch, width)


@dataclass(frozen=True)
class _Rows:
    """The rows of a batch that take a step; None: all do. No other is computed with."""

    indices: Tensor | None
    batch: int

    def of(self, value: Tensor) -> Tensor:
        """Give these rows of a value."""
        return value if self.indices is None else value.index_select(0, self.indices)

    def put(self, value: Tensor, old: Tensor | None = None) -> Tensor:
        """Give all rows: these as a value has them, others as they were, or zero."""
        if self.indices is None:
            return value
        before = value.new_zeros(self.batch, *value.shape[1:]) if old is None else old
        return before.index_copy(0, self.indices, value)


def _running(t: int, lengths: Tensor | None) -> _Rows:
    """Find the rows that take a step at time t."""
    if lengths is None or bool((runs := t < lengths).all()):
        return _Rows(None, 0)
    return _Rows(runs.nonzero()[:, 0], len(runs))


@dataclass(frozen=True)
class _Line:
    """One operation, its operands as places in a list of values or as numbers."""

    compute: Compute
    reads: tuple[tuple[int, float], ...]  # (place, 0) or (-1, number)
    attributes: tuple[int | float, ...]
    gives: int


def interpret(program: Program) -> "_Interpreter":
    """Make a program ready to run in PyTorch, on any device.

    Example:
        >>> from unrolled.ir import parse
        >>> kernel = interpret(parse('''program float32
        ... input  a: rows 1
        ... state  h: rows 1
        ... h_1 = add h, a : rows 1
        ... output y = h_1
        ... next   h = h_1'''))
        >>> given = {"a": torch.ones(3, 2, 1)}, {}, {"h": torch.zeros(2, 1)}, {}
        >>> kernel(*given, time=3, lengths=torch.tensor([3, 1])).outputs["y"][..., 0].tolist()
        [[1.0, 1.0], [2.0, 0.0], [3.0, 0.0]]
    """
    return _Interpreter(program)


class _Interpreter:
    def __init__(self, program: Program) -> None:
        self.program = program
        values = (*program.given, *program.body)
        places = {value.name: place for place, value in enumerate(values)}
        self.fixed = [(places[v.name], v.name) for v in program.fixed]
        self.constants = [(places[v.name], v.name) for v in program.constants]
        self.inputs = [(places[v.name], v.name) for v in program.inputs]
        self.states = [(places[v.name], v.name) for v in program.states]
        self.lines = [
            _Line(
                INTERPRET[operation.op],
                tuple(_placed(operand, places) for operand in operation.operands),
                operation.attributes,
                places[operation.name],
            )
            for operation in program.body
        ]
        self.outputs = [(name, places[str(value)]) for name, value in program.outputs]
        self.next = [places[str(value)] for _, value in program.next]
        self.size = len(values)

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
    ) -> Interpreted:
        """Run the program over sequences, as every `Kernel`."""
        values: list[Tensor] = [torch.empty(0)] * self.size
        for place, name in self.fixed:
            values[place] = fixed[name]
        state = [states[name] for _, name in self.states]
        sequences = [(place, inputs[name].unbind(0)) for place, name in self.inputs]
        history: list[list[Tensor]] = []
        for t in reversed(range(time)) if reverse else range(time):
            rows = _running(t, lengths)
            for place, name in self.constants:
                values[place] = rows.of(constants[name])
            for place, sequence in sequences:
                values[place] = rows.of(sequence[t])
            for (place, _), value in zip(self.states, state, strict=True):
                values[place] = rows.of(value)
            self._step(values, rows.of(state[0]))
            state = [rows.put(values[at], old) for at, old in zip(self.next, state, strict=True)]
            history.append([rows.put(values[place]) for _, place in self.outputs])
        if reverse:
            history.reverse()
        return Interpreted(
            self._stacked(history, state[0]),
            {name: value for (_, name), value in zip(self.states, state, strict=True)},
        )

    def _step(self, values: list[Tensor], like: Tensor) -> None:
        for line in self.lines:
            operands = [values[at] if at >= 0 else number for at, number in line.reads]
            values[line.gives] = line.compute(operands, line.attributes, like)

    def _stacked(self, history: Sequence[list[Tensor]], like: Tensor) -> dict[str, Tensor]:
        types = self.program.types
        if not history:
            return {
                name: like.new_zeros(0, like.shape[0], types[str(value)].width)
                for name, value in self.program.outputs
            }
        stacked: dict[int, Tensor] = {}  # an output that is stored too is stacked once
        for i, (_, place) in enumerate(self.outputs):
            if place not in stacked:
                stacked[place] = torch.stack([given[i] for given in history])
        return {name: stacked[place] for name, place in self.outputs}


def _placed(operand: Operand, places: Mapping[str, int]) -> tuple[int, float]:
    return (places[operand], 0.0) if isinstance(operand, str) else (-1, operand)

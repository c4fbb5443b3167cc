"""Recurrences that read a memory: after the recurrence, between its layers, or inside its step.

All take a whole sequence or a single step by the same call, over any cell.
"""

from abc import ABC, abstractmethod
from math import prod

import torch
from torch import Tensor, nn

from unrolled.cell import Cell, CellFactory, State, wrap
from unrolled.errors import ConfigError, ShapeError
from unrolled.layers.attention import Attention, Memory, padded
from unrolled.layers.coverage import COVERED, Coverage
from unrolled.layers.dropout import SharedDropout
from unrolled.layers.recurrent import Recurrent
from unrolled.recurrence import unroll

Read = tuple[Tensor, Tensor, State, Tensor | None]
"""Outputs (time, batch, outputs), what was read (time, batch, values), last state, weights."""


class Attending(nn.Module, ABC):
    """A recurrence, of one layer or more, that reads a memory.

    Attributes:
        attention: makes the memory.
        outputs: features of an output.
        states: for each of the cell's names, the size of its state without the batch,
            (layers, *size).
    """

    attention: Attention
    outputs: int
    states: dict[str, tuple[int, ...]]

    @abstractmethod
    def forward(self, xs: Tensor, state: State, memory: Memory, *, weights: bool = False) -> Read:
        """Run over sequences; a single step is a sequence of time 1.

        Args:
            xs: the inputs, (time, batch, inputs); time may be 0.
            state: the state before the first step, (layers, batch, *size) for each name.
            memory: from `Attention.memory`, of the same batch.
            weights: also give where attention looked.

        Returns:
            The outputs (time, batch, outputs); what was read (time, batch, values); the last state,
            to carry on from; and the weights (time, batch, source), or None.

        Raises:
            ShapeError: a shape or a name does not fit.
        """


class Luong(Attending):
    """Attention after the recurrence, so that a whole sequence is one call.

    The outputs of the recurrence are the queries: Luong, Pham & Manning 2015, arXiv:1508.04025,
    global attention, eq. 5-7. Departs from the paper in: what was read is not fed back into the
    recurrence; scores are scaled, unless another is chosen.

    Args:
        cell: what makes the cells.
        inputs: features of an input.
        hidden: units of each layer.
        values: features of a value of the memory.
        layers: how many, one over the other, at least 1.
        score: how attention compares, see `Attention`.
        dropout: share of features dropped between layers, from 0 to below 1.
        coverage: whether attention sees where it has looked (`Coverage`). How much each value has
            had is then one more state, `COVERED`: zeros where a state does not have it.

    Raises:
        ConfigError: a setting is unknown or out of its range.

    Example:
        >>> luong = Luong(nn.GRUCell, 8, 16, values=32)
        >>> memory = luong.attention.memory(torch.randn(7, 2, 32))
        >>> ys, read, _, weights = luong(
        ...     torch.randn(5, 2, 8), {"h": torch.zeros(1, 2, 16)}, memory, weights=True
        ... )
        >>> ys.shape, read.shape, weights.shape
        (torch.Size([5, 2, 16]), torch.Size([5, 2, 32]), torch.Size([5, 2, 7]))
    """

    def __init__(
        self,
        cell: CellFactory,
        inputs: int,
        hidden: int,
        values: int,
        *,
        layers: int = 1,
        score: str = "scaled_general",
        dropout: float = 0.0,
        coverage: bool = False,
    ) -> None:
        super().__init__()
        self.recurrent = Recurrent(cell, inputs, hidden, layers=layers, dropout=dropout)
        self.outputs = self.recurrent.outputs
        self.states = self.recurrent.states
        self.attention = Attention(score, self.outputs, values)
        self.coverage = Coverage(self.attention) if coverage else None

    def forward(self, xs: Tensor, state: State, memory: Memory, *, weights: bool = False) -> Read:
        """Run all steps, then read for all of them."""
        if self.coverage is None:
            ys, state = self.recurrent(xs, state)
            read, looked = self.attention(ys, memory)
            return ys, read, state, looked if weights else None
        before = state.get(COVERED)
        ys, state = self.recurrent(xs, {n: s for n, s in state.items() if n != COVERED})
        read, looked, covered = self.coverage(
            self.attention, ys, memory, None if before is None else before[0]
        )
        return ys, read, {**state, COVERED: covered[None]}, looked if weights else None


class GNMT(Luong):
    """Attention between the layers: what the first layer asks for is an input of those above it.

    The outputs of the first layer are the queries; each layer above reads what is below it and what
    was read, side by side: Wu et al. 2016, arXiv:1609.08144, section 3.1. So the recurrence knows
    where it has looked, and a whole sequence is still one call for each layer. Departs from the
    paper in: the query is of the same step, not of the one before, and the first layer is not told
    what was read; it has no residuals. Arguments and errors as for `Luong`, which it is with one
    layer.

    Example:
        >>> gnmt = GNMT(nn.GRUCell, 8, 16, values=32, layers=2)
        >>> memory = gnmt.attention.memory(torch.randn(7, 2, 32))
        >>> ys, read, _, weights = gnmt(
        ...     torch.randn(5, 2, 8), {"h": torch.zeros(2, 2, 16)}, memory, weights=True
        ... )
        >>> ys.shape, read.shape, weights.shape
        (torch.Size([5, 2, 16]), torch.Size([5, 2, 32]), torch.Size([5, 2, 7]))
    """

    def __init__(
        self,
        cell: CellFactory,
        inputs: int,
        hidden: int,
        values: int,
        *,
        layers: int = 1,
        score: str = "scaled_general",
        dropout: float = 0.0,
        coverage: bool = False,
    ) -> None:
        if layers < 1:
            raise ConfigError(f"GNMT has {layers} layers: expected at least 1")
        super().__init__(cell, inputs, hidden, values, score=score, coverage=coverage)
        self.above = nn.ModuleList()
        for _ in range(layers - 1):
            self.above.append(Recurrent(cell, self.outputs + values, hidden))
        self.dropout = SharedDropout(dropout)
        self.layers = layers
        self.states = {name: (layers, *size[1:]) for name, size in self.states.items()}

    def forward(self, xs: Tensor, state: State, memory: Memory, *, weights: bool = False) -> Read:
        """Run the first layer, read for all of its steps, then run the others."""
        _check_layers(state, self.layers)
        ys, read, last, looked = super().forward(xs, _layer(state, 0), memory, weights=weights)
        lasts = [last]
        for layer, recurrent in enumerate(self.above, 1):
            below = torch.cat([self.dropout(ys), read], -1)
            own = {name: s for name, s in _layer(state, layer).items() if name != COVERED}
            ys, upper = recurrent(below, own)
            lasts.append(upper)
        last = {n: torch.cat([s[n] for s in lasts if n in s]) for n in last}
        return ys, read, last, looked


class AttendingCell(Cell):
    """A cell that reads a memory at every step and takes what it read as input.

        m     = attention(h, memory)
        y, h' = cell([x, m], h)

    Its output is that of the inner cell followed by what was read; the query is the inner cell's
    first state before the step. Bahdanau, Cho & Bengio 2015, arXiv:1409.0473, eq. 4-6.
    """

    def __init__(self, cell: Cell, attention: Attention) -> None:
        super().__init__(**cell.states)
        self.cell, self.attention, self.noise = cell, attention, cell.noise

    def draw(self, xs: Tensor) -> Tensor:
        """Draw what the inner cell needs."""
        return self.cell.draw(xs)

    def forward(
        self, x: Tensor, *state: Tensor, keys: Tensor, values: Tensor, visible: Tensor
    ) -> tuple[Tensor, ...]:
        """Read for the state before, then take the step."""
        memory = {"keys": keys, "values": values, "visible": visible}
        read, _ = self.attention(state[0].flatten(1), memory)
        y, *new = self.cell(torch.cat([x, read], -1), *state)
        return torch.cat([y, read], -1), *new


class Bahdanau(Attending):
    """Attention inside the step: what was read is part of the input of the first layer.

    Bahdanau, Cho & Bengio 2015, arXiv:1409.0473. Departs from the paper in: the cell may be any,
    and the layers above the first are plain recurrences. Arguments and errors as for `Luong`, but
    that there is no coverage: a step's states have one size, whatever the source. `backend` runs
    the first layer, as for `unroll`.

    Example:
        >>> bahdanau = Bahdanau(nn.GRUCell, 8, 16, values=32, score="additive")
        >>> memory = bahdanau.attention.memory(torch.randn(7, 2, 32))
        >>> ys, read, _, weights = bahdanau(
        ...     torch.randn(5, 2, 8), {"h": torch.zeros(1, 2, 16)}, memory, weights=True
        ... )
        >>> ys.shape, read.shape, weights.shape
        (torch.Size([5, 2, 16]), torch.Size([5, 2, 32]), torch.Size([5, 2, 7]))
    """

    backend = "auto"

    def __init__(
        self,
        cell: CellFactory,
        inputs: int,
        hidden: int,
        values: int,
        *,
        layers: int = 1,
        score: str = "scaled_general",
        dropout: float = 0.0,
        coverage: bool = False,
    ) -> None:
        super().__init__()
        if coverage:
            raise ConfigError("coverage is for attention after the recurrence; take 'luong'")
        if layers < 1:
            raise ConfigError(f"Bahdanau has {layers} layers: expected at least 1")
        inner = wrap(cell(inputs + values, hidden))
        self.query = next(iter(inner.states))
        self.attention = Attention(score, prod(inner.states[self.query]), values)
        self.first = AttendingCell(inner, self.attention)
        self.above = nn.ModuleList(
            [Recurrent(cell, inner.outputs, hidden, layers=layers - 1, dropout=dropout)]
            if layers > 1
            else []
        )
        self.dropout = SharedDropout(dropout)
        self.inputs, self.layers = inputs, layers
        self.split = (inner.outputs, values)
        self.outputs = inner.outputs
        self.states = {name: (layers, *size) for name, size in inner.states.items()}

    def forward(self, xs: Tensor, state: State, memory: Memory, *, weights: bool = False) -> Read:
        """Read and step by turns."""
        self._check(xs, state)
        first = {name: s[0] for name, s in state.items()}
        constants = memory if len(xs) == 1 or self.backend == "eager" else padded(memory)
        ys, last, states = unroll(
            self.first,
            xs,
            first,
            constants={name: constants[name] for name in ("keys", "values", "visible")},
            backend=self.backend,
            return_states=True,
        )
        ys, read = ys.split(self.split, -1)
        looked = None
        if weights:  # nothing feeds back from them: all times at once, after the loop
            before = torch.cat([first[self.query][None], states[self.query]])[:-1]
            _, looked = self.attention(before.flatten(2), memory)
        lasts = [{name: s[None] for name, s in last.items()}]
        for recurrent in self.above:
            ys, upper = recurrent(self.dropout(ys), {name: s[1:] for name, s in state.items()})
            lasts.append(upper)
        return ys, read, {n: torch.cat([s[n] for s in lasts]) for n in state}, looked

    def _check(self, xs: Tensor, state: State) -> None:
        if xs.dim() != 3 or xs.shape[-1] != self.inputs:
            raise ShapeError(
                f"xs has shape {tuple(xs.shape)}: expected (time, batch, {self.inputs})"
            )
        _check_layers(state, self.layers)


def _check_layers(state: State, layers: int) -> None:
    for name, tensor in state.items():
        if name != COVERED and tensor.shape[:1] != (layers,):
            raise ShapeError(
                f"state {name!r} has shape {tuple(tensor.shape)}: expected "
                f"({layers}, batch, size), a row for each layer"
            )


def _layer(state: State, layer: int) -> State:
    return {name: s[layer : layer + 1] for name, s in state.items()}


ATTENDING: dict[str, type[Luong] | type[Bahdanau]] = {
    "luong": Luong,
    "gnmt": GNMT,
    "bahdanau": Bahdanau,
}

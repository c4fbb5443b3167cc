"""Cells whose outputs go around a cell, or through several side by side."""

import torch
from torch import Tensor, nn

from unrolled.cell import Cell, CellFactory, State, wrap
from unrolled.errors import ShapeError
from unrolled.zoo.heads import width_of_head
from unrolled.zoo.wrappers.wrapper import Wrapper


class Residual(Wrapper):
    """Add the input to the output, so that the cell need only say what is new.

    x is as wide as the output of the cell.
    He et al. 2016, arXiv:1512.03385; between recurrent layers: Wu et al. 2016, arXiv:1609.08144.
    Departs from the papers in: nothing.

    Args:
        cell: the cell.

    Raises:
        ShapeError: when it runs, for an input of another width.

    Example:
        >>> from unrolled.zoo import GRU
        >>> cell = Residual(GRU(5, 5))
        >>> x, h = torch.randn(2, 5), torch.zeros(2, 5)
        >>> y, h = cell(x, h)
        >>> torch.equal(y, x + h)
        True
    """

    def forward(self, x: Tensor, *state: Tensor, **constants: Tensor) -> tuple[Tensor, ...]:
        noise = self.noise if self.training else 0
        if x.shape[-1] - noise != self.outputs:
            raise ShapeError(
                f"Residual of {type(self.cell).__name__} is given {x.shape[-1] - noise} features "
                f"and has {self.outputs} outputs: choose as many of both"
            )
        y, *new = self.cell(x, *state, **constants)
        return x[..., noise:] + y, *new


class MultiHead(Cell):
    """Cells of one kind side by side, each with a part of the state: heads.

    All read the whole input; none sees the state of another, so that the recurrent matrices are
    the blocks on the diagonal of a larger one. Such heads are those of Beck et al. 2024
    (arXiv:2405.04517) and of Vaswani et al. 2017 (arXiv:1706.03762).

    Args:
        cell: makes a cell from (inputs, hidden).
        inputs: features of x.
        hidden: units of all heads together.
        heads: how many; they divide `hidden`.

    Raises:
        ConfigError: the heads do not divide the hidden units.

    Example:
        >>> from unrolled.zoo import LSTM
        >>> cell = MultiHead(LSTM, 3, 12, heads=4)
        >>> cell.states, cell.heads[0].states
        ({'h': (12,), 'c': (12,)}, {'h': (3,), 'c': (3,)})
    """

    def __init__(self, cell: CellFactory, inputs: int, hidden: int, *, heads: int) -> None:
        width = width_of_head("MultiHead", hidden, heads)
        cells = [wrap(cell(inputs, width)) for _ in range(heads)]
        first = cells[0]
        super().__init__(**{n: (heads * size[0], *size[1:]) for n, size in first.states.items()})
        self.heads: list[Cell] = nn.ModuleList(cells)  # pyright: ignore[reportAttributeAccessIssue]
        self.outputs, self.noise = heads * first.outputs, heads * first.noise

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """Give those of the heads, side by side."""
        each = [head.initial_state(batch, device=device, dtype=dtype) for head in self.heads]
        return {name: torch.cat([state[name] for state in each], 1) for name in self.states}

    def draw(self, xs: Tensor) -> Tensor:
        """Draw what each head needs."""
        drawn = [head.draw(xs[..., :0]) for head in self.heads]
        return torch.cat([*drawn, xs], -1) if any(own.shape[-1] for own in drawn) else xs

    def forward(self, x: Tensor, *state: Tensor, **constants: Tensor) -> tuple[Tensor, ...]:
        noise = [head.noise if self.training else 0 for head in self.heads]
        *drawn, x = x.split([*noise, x.shape[-1] - sum(noise)], -1)
        xs = [torch.cat([own, x], -1) if own.shape[-1] else x for own in drawn]
        parts = zip(*(value.chunk(len(xs), 1) for value in state), strict=True)
        results = [
            head(own, *part, **constants)
            for head, own, part in zip(self.heads, xs, parts, strict=True)
        ]
        return tuple(torch.cat(values, 1) for values in zip(*results, strict=True))

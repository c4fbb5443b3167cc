"""Cells with complex states, as cells whose states are pairs of numbers; kernels carry those."""

from collections.abc import Iterable
from functools import lru_cache

import torch
from torch import Tensor

from unrolled.cell import Cell, State


class RealStates(Cell):
    """A cell over another: states that are complex there, (*size), are (*size, 2) here.

    Args:
        cell: the other; its parameters, and what it draws, are these.
        names: its complex states.
    """

    def __init__(self, cell: Cell, names: Iterable[str]) -> None:
        pairs = frozenset(names)
        sizes = {n: (*size, 2) if n in pairs else size for n, size in cell.states.items()}
        super().__init__(**sizes)
        self.cell, self.pairs, self.outputs = cell, pairs, cell.outputs

    def forward(self, x: Tensor, *state: Tensor, **constants: Tensor) -> tuple[Tensor, ...]:
        """Do what the other cell does in one step."""
        y, *after = self.cell(x, *self.as_complex(state), **constants)
        return y, *self.as_real(after)

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """Give the state of the other cell before its first step."""
        first = self.cell.initial_state(batch, device=device, dtype=dtype)
        return dict(zip(first, self.as_real(first.values()), strict=True))

    def draw(self, xs: Tensor) -> Tensor:
        """Draw what the other cell draws."""
        return self.cell.draw(xs)

    def as_complex(self, state: Iterable[Tensor]) -> tuple[Tensor, ...]:
        """Give states of this cell as those of the other."""
        named = zip(self.states, state, strict=True)
        return tuple(torch.view_as_complex(s) if n in self.pairs else s for n, s in named)

    def as_real(self, state: Iterable[Tensor]) -> tuple[Tensor, ...]:
        """Give states of the other as those of this cell."""
        named = zip(self.states, state, strict=True)
        return tuple(torch.view_as_real(_complex(s)) if n in self.pairs else s for n, s in named)


def _complex(state: Tensor) -> Tensor:
    return state.resolve_conj() if state.is_complex() else state.to(state.dtype.to_complex())


def with_real_states(cell: Cell, *states: Iterable[Tensor]) -> Cell:
    """Give a cell whose states are real; one that has no others is given back.

    Args:
        cell: the cell.
        states: states before the first step, if there are any; by default the initial one.

    Example:
        >>> class Turns(Cell):
        ...     def __init__(self):
        ...         super().__init__(z=4)
        ...     def initial_state(self, batch, **options):
        ...         return {"z": torch.zeros(batch, 4, dtype=torch.complex64)}
        ...     def forward(self, x, z):
        ...         z = 1j * z + x
        ...         return z.real, z
        >>> with_real_states(Turns()).states
        {'z': (4, 2)}
    """
    known = [tuple(state) for state in states] or [tuple(cell.initial_state(1).values())]
    pairs = zip(cell.states, zip(*known, strict=True), strict=True)
    names = [name for name, values in pairs if any(value.is_complex() for value in values)]
    return _named(type(cell))(cell, names) if names else cell


@lru_cache(maxsize=256)
def _named(kind: type[Cell]) -> type[RealStates]:
    """Give a class of the name of a cell's: errors and warnings show it."""
    return type(kind.__name__, (RealStates,), {})

"""What cells over cells share."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from unrolled.cell import Cell, State, wrap
from unrolled.errors import ConfigError, ShapeError


class Wrapper(Cell):
    """A cell over a cell: it has the inner cell's states, and its output unless it says otherwise.

    Args:
        cell: a cell, or one of torch.nn's.

    Example:
        >>> from unrolled.zoo import LSTM
        >>> Wrapper(LSTM(3, 5)).states
        {'h': (5,), 'c': (5,)}
    """

    def __init__(self, cell: nn.Module, /) -> None:
        inner = wrap(cell)
        super().__init__(**inner.states)
        self.cell, self.outputs, self.noise = inner, inner.outputs, inner.noise

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """Give the inner cell's."""
        return self.cell.initial_state(batch, device=device, dtype=dtype)

    def draw(self, xs: Tensor) -> Tensor:
        """Draw what the inner cell needs."""
        return self.cell.draw(xs)

    def forward(self, x: Tensor, *state: Tensor, **constants: Tensor) -> tuple[Tensor, ...]:
        return self.cell(x, *state, **constants)


def with_noise(noise: Tensor, xs: Tensor) -> Tensor:
    """Put random numbers before the inputs of all steps.

    Args:
        noise: (time, batch, numbers), or (1, batch, numbers) for all times alike.
        xs: (time, batch, features).

    Raises:
        ShapeError: xs has another number of dimensions.

    Example:
        >>> with_noise(torch.ones(1, 2, 4), torch.zeros(7, 2, 3)).shape
        torch.Size([7, 2, 7])
    """
    if xs.dim() != 3:
        raise ShapeError(
            f"xs has shape {tuple(xs.shape)}: a cell with noise takes (time, batch, features)"
        )
    return torch.cat([noise.expand(len(xs), -1, -1), xs], -1)


def checked_rate(what: str, rate: float) -> float:
    """Give a rate as it is.

    Raises:
        ConfigError: it is not from 0 to below 1.
    """
    if not 0 <= rate < 1:
        raise ConfigError(f"{what} has the rate {rate}: expected 0 to below 1")
    return rate


def maps(cell: nn.Module) -> dict[str, nn.Linear]:
    """Give the linear maps inside a cell by their path, ``cell.U_i`` in a wrapped cell.

    Example:
        >>> from unrolled.zoo import GRU
        >>> list(maps(GRU(3, 5)))
        ['W_r', 'U_r', 'W_z', 'U_z', 'W_n', 'U_n']
    """
    return {path: part for path, part in cell.named_modules() if isinstance(part, nn.Linear)}


def symbol(path: str) -> str:
    """Give the name that a part of a cell has in the equations.

    Example:
        >>> symbol("cell.U_i"), symbol("cell.U_i.weight")
        ('U_i', 'U_i')
    """
    parts = [part for part in path.split(".") if part not in ("weight", "bias")]
    return parts[-1]


@contextmanager
def while_hooked(handles: Sequence[RemovableHandle]) -> Iterator[None]:
    """Keep hooks on a cell's maps for the time of one step; the cell stays as it is."""
    with ExitStack() as stack:
        for handle in handles:
            stack.callback(handle.remove)
        yield

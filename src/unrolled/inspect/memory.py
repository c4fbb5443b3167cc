"""Effective memory: how many steps until a small change of the state is lost."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unrolled.cell import State, wrap
from unrolled.errors import ShapeError
from unrolled.inspect.intervals import Interval, median
from unrolled.recurrence import unroll


@dataclass(frozen=True)
class Memory:
    """How long changes of a state were to be seen."""

    steps: Tensor  # (starts, batch) steps until one is lost; infinite where it never was
    horizon: int  # steps that were looked at after each change
    distances: Tensor  # (horizon + 1, starts, batch) to the unchanged run, over the first distance

    @property
    def median(self) -> Interval:
        """The median with its 95 % interval; infinite where more than the horizon is needed."""
        return median(self.steps)


def effective_memory(
    cell: nn.Module,
    xs: Tensor,
    state: Mapping[str, Tensor] | None = None,
    *,
    size: float = 0.01,
    fraction: float = 0.01,
    starts: int = 8,
    backend: str = "auto",
) -> Memory:
    """Change the state a little at some steps, and count the steps until nothing is left of it.

    A change is a random direction over all states. It is lost at the first step from which on the
    distance to the unchanged run stays below a fraction of what it was at first. Both runs read
    the same inputs; they run as kernels wherever the cell does.

    Args:
        cell: a cell, or one of torch.nn's.
        xs: the inputs, (time, batch, features); the second half of the time is the horizon.
        state: before the first step; by default the cell's initial state.
        size: of a change, relative to the average norm of the state.
        fraction: of the first distance below which a change is lost.
        starts: at how many steps of the first half to change the state, evenly spread.
        backend: as in `unroll`.

    Raises:
        ShapeError: there are fewer than two steps, or a shape does not fit.

    Example:
        >>> cell = nn.RNNCell(3, 5)
        >>> _ = nn.init.zeros_(cell.weight_hh)  # remembers nothing
        >>> effective_memory(cell, torch.randn(8, 2, 3)).median.value
        1.0
    """
    time, batch = xs.shape[:2]
    if time < 2 or batch < 1:
        raise ShapeError(f"xs has shape {tuple(xs.shape)}: expected two steps and a row at least")
    horizon = time - time // 2
    places = torch.linspace(0, time - horizon, starts).round().long().unique().tolist()
    ready = wrap(cell)
    with torch.no_grad():
        _, _, states = unroll(ready, xs, state, backend=backend, return_states=True)
        first = dict(state or ready.initial_state(batch, device=xs.device))
        before = {n: torch.cat([first[n][None], s])[:-1] for n, s in states.items()}
        kept = {n: torch.cat([s[place] for place in places]) for n, s in before.items()}
        moved = _moved(kept, size * float(_norms(states, 2).mean()) or size)
        both = {n: torch.cat([kept[n], moved[n]]) for n in kept}
        segments = torch.cat([xs[place : place + horizon] for place in places], 1).repeat(
            1, 2, *(1,) * (xs.dim() - 2)
        )
        found = unroll(ready, segments, both, backend=backend, return_states=True)[2]
    apart = {
        n: torch.cat([both[n][None], s]).unflatten(1, (2, -1)).diff(dim=1)[:, 0]
        for n, s in found.items()
    }
    distances = _norms(apart, 2)
    distances = (distances / distances[0]).unflatten(1, (len(places), batch))
    return Memory(_lost(distances, fraction), horizon, distances)


def _norms(states: State, axis: int) -> Tensor:
    """Give the norm over all states together."""
    return torch.cat(
        [s.flatten(axis) if s.dim() > axis else s[..., None] for s in states.values()], axis
    ).norm(dim=axis)


def _moved(states: State, distance: float) -> State:
    """Move each row by that distance in a random direction."""
    random = torch.Generator().manual_seed(0)
    moves = {
        n: torch.randn(s.shape, generator=random, dtype=torch.float64).to(s)
        for n, s in states.items()
    }
    length = _norms(moves, 1)
    return {
        n: s + distance * moves[n] / length.reshape(-1, *(1,) * (s.dim() - 1))
        for n, s in states.items()
    }


def _lost(distances: Tensor, fraction: float) -> Tensor:
    """Count the steps until distances fall below a fraction for good; NaN is never below it."""
    seen = ~(distances < fraction)
    steps = torch.arange(len(distances), device=distances.device).reshape(-1, 1, 1)
    last = torch.where(seen, steps, -1).amax(0)
    return torch.where(last == len(distances) - 1, math.inf, (last + 1).double())

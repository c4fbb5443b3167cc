"""Neighbours of a state: which other sequences left a recurrence in a state like this one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.errors import ConfigError, ShapeError
from unrolled.inspect.recording import Recurrence

Place = tuple[int, int]  # step, row


@dataclass(frozen=True)
class Neighbours:
    """The states nearest to some states of a recurrence, each state's nearest first."""

    name: str  # the recurrence's
    state: str
    asked: tuple[Place, ...]  # step and row of the states asked about
    places: tuple[tuple[Place, ...], ...]  # of their neighbours: as many as there are, or fewer
    distances: tuple[tuple[float, ...], ...]  # to them: 1 is the mean to all that were compared


def neighbours(
    recurrence: Recurrence,
    asked: Sequence[Place],
    *,
    state: str | None = None,
    count: int = 5,
    symbols: Tensor | None = None,
) -> Neighbours:
    """Find the states of other sequences that are nearest to some, by Euclidean distance.

    Contexts that a recurrence takes for the same end in the same state: what neighbours have in
    common is what it remembers, what tells them apart is what it has forgotten. Compared are all
    steps of all other rows; with `symbols`, a context that reads the same from its beginning, or
    from its last reset, counts once, and not at all if it is the one asked about.

    Args:
        recurrence: of a run, from `record`.
        asked: step and row of each state to find neighbours of; steps are in the order of reading.
        state: which state; by default the cell's first.
        count: how many neighbours to find of each.
        symbols: (time, batch) what the recurrence read at each step, as ids, in the same order; a
            step whose id is below 0, such as one of the padding, is left out.

    Raises:
        ConfigError: there is no such state.
        ShapeError: a place is none where the recurrence ran, or the symbols do not fit.

    Example:
        >>> from unrolled import inspect, unroll, zoo
        >>> cell = zoo.Elman(3, 8)
        >>> _ = torch.nn.init.zeros_(cell.U.weight)  # remembers the last symbol alone
        >>> ids = torch.tensor([[0, 1, 2], [1, 1, 1], [2, 0, 2]])  # (time, batch)
        >>> seen = inspect.record(lambda: unroll(cell, torch.eye(3)[ids], backend="eager"))
        >>> found = neighbours(seen.recurrences[0], [(2, 0)], count=2, symbols=ids)
        >>> found.places, found.distances  # like 0 1 2 are 2, and 2 1 2
        ((((0, 2), (2, 2)),), ((0.0, 0.0),))
    """
    if symbols is not None and symbols.shape != recurrence.active.shape:
        raise ShapeError(
            f"symbols has shape {tuple(symbols.shape)}: expected {tuple(recurrence.active.shape)}, "
            f"one for each step of {recurrence.name}"
        )
    name = next(iter(recurrence.states)) if state is None else state
    if name not in recurrence.states:
        raise ConfigError(
            f"{recurrence.name} has no state {name}: choose one of {', '.join(recurrence.states)}"
        )
    active = recurrence.active if symbols is None else recurrence.active & (symbols >= 0)
    _check(recurrence, active, asked)
    steps, rows = active.nonzero(as_tuple=True)
    vectors = recurrence.states[name].detach().flatten(2)[steps, rows].double()
    contexts = torch.arange(len(rows), device=rows.device)
    if symbols is not None:
        contexts = _contexts(symbols, recurrence.resets)[steps, rows]
    found = []
    for step, row in asked:
        own = int(((steps == step) & (rows == row)).nonzero())
        apart = torch.cdist(vectors[own][None], vectors)[0].nan_to_num(nan=math.inf)
        others = (rows != row) & (contexts != contexts[own]) & apart.isfinite()
        found.append(_nearest(apart, others.nonzero()[:, 0], contexts, count))
    places = [[(int(steps[i]), int(rows[i])) for i, _ in some] for some in found]
    return Neighbours(
        recurrence.name,
        name,
        tuple(asked),
        tuple(map(tuple, places)),
        tuple(tuple(distance for _, distance in some) for some in found),
    )


def _nearest(
    apart: Tensor, others: Tensor, contexts: Tensor, count: int
) -> list[tuple[int, float]]:
    """Take the nearest of some states, one for each context, with their relative distances."""
    if not len(others):
        return []
    mean = float(apart[others].mean()) or 1.0
    chosen: dict[int, tuple[int, float]] = {}
    for place in others[apart[others].argsort(stable=True)].tolist():
        chosen.setdefault(int(contexts[place]), (place, float(apart[place]) / mean))
        if len(chosen) == count:
            break
    return list(chosen.values())


def _contexts(symbols: Tensor, resets: Tensor | None) -> Tensor:
    """Number what was read up to each step, (time, batch): equal numbers for equal contexts.

    Example:
        >>> _contexts(torch.tensor([[7, 7, 8], [8, 8, 7]]), None).tolist()
        [[1, 1, 2], [3, 3, 4]]
    """
    before, first, found = torch.zeros_like(symbols[0]), 1, []
    for step, read in enumerate(symbols):
        if resets is not None:
            before = before.masked_fill(resets[step].to(before.device), 0)
        pairs, numbers = torch.stack([before, read], 1).unique(dim=0, return_inverse=True)
        before = numbers + first
        first += len(pairs)
        found.append(before)
    return torch.stack(found)


def _check(recurrence: Recurrence, active: Tensor, asked: Sequence[Place]) -> None:
    time, batch = active.shape
    for step, row in asked:
        if not (0 <= step < time and 0 <= row < batch and bool(active[step, row])):
            raise ShapeError(
                f"step {step} of row {row} is no state of {recurrence.name}: it ran over {batch} "
                f"rows of up to {time} steps"
            )

"""What the laws compare with: a plain loop over time, and the sequences to run it on."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unrolled.cell import Cell, State, wrap
from unrolled.recurrence import unroll

WARM_UP = 2  # steps before the first: the state given is then one that the cell can reach


@dataclass(frozen=True)
class Subject:
    """What a law is asked of: a cell on one backend and in one dtype."""

    cell: Cell
    inputs: int
    backend: str
    dtype: torch.dtype


@dataclass(frozen=True)
class Run:
    """A recurrence over a batch of sequences."""

    ys: Tensor  # (time, batch, *outputs)
    last: State  # (batch, *size) each
    states: State  # (time, batch, *size) each

    def named(self) -> dict[str, Tensor]:
        """Give every tensor under the name by which a report calls it."""
        last = {f"last {name}": value for name, value in self.last.items()}
        return {"y": self.ys} | last | self.states


@dataclass(frozen=True)
class Sequences:
    """A batch to run a cell on, and every tensor that has a gradient."""

    xs: Tensor  # (time, batch, inputs)
    state: State  # (batch, *size) each
    leaves: dict[str, Tensor]  # xs, the state and the cell's parameters


def prepare(cell: nn.Module, inputs: int, backend: str, dtype: torch.dtype) -> Subject:
    """Copy a cell for the laws: in that dtype, in eval mode, its parameters moved a little.

    Parameters move because a bias that starts at 0 would hide what a step does with it.

    Args:
        cell: a cell, or one of torch.nn's; it stays as it is.
        inputs: the number of features that it takes.
        backend: a name from `unrolled.backends.BACKENDS`.
        dtype: a floating-point type.

    Example:
        >>> prepare(nn.GRUCell(3, 5), 3, "eager", torch.float64).cell.states
        {'h': (5,)}
    """
    ready = copy.deepcopy(wrap(cell)).to(dtype).eval()
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in ready.parameters():
            noise = torch.randn(parameter.shape, generator=random, dtype=torch.float64)
            parameter.add_((0.1 * noise).to(parameter))
    return Subject(ready, inputs, backend, dtype)


def start(subject: Subject, batch: int) -> State:
    """Give the cell's own initial state."""
    return subject.cell.initial_state(batch, dtype=subject.dtype)


def sequences(subject: Subject, time: int, batch: int, *, strided: bool = False) -> Sequences:
    """Give random inputs and a state that the cell can reach, the same ones every time."""
    random = torch.Generator().manual_seed(time)
    steps = (WARM_UP + time, batch, subject.inputs)
    first = start(subject, batch)
    xs = torch.randn(steps, generator=random, dtype=torch.float64).to(next(iter(first.values())))
    with torch.no_grad():
        _, warm = unroll(subject.cell, xs[:WARM_UP], first, backend="eager")
    xs = _leaf(xs[WARM_UP:], strided)
    state = {name: _leaf(value, strided) for name, value in warm.items()}
    moving = {n: p for n, p in subject.cell.named_parameters() if p.requires_grad}
    given = {f"initial {name}": value for name, value in state.items()}
    return Sequences(xs, state, {"x": xs} | given | moving)


def _leaf(value: Tensor, strided: bool) -> Tensor:
    """Copy a tensor to where its gradient is taken; strided, every second number is another's."""
    copied = torch.stack([value, value], dim=-1)[..., 0] if strided else value.clone()
    return copied.detach().requires_grad_()


def loop(cell: Cell, xs: Tensor, state: State, resets: Tensor | None = None) -> Run:
    """Run a cell step by step: what every backend has to give.

    Args:
        cell: the cell.
        xs: (time, batch, inputs).
        state: (batch, *size) for each name.
        resets: (time,) bool, for all rows alike.
    """
    dummy = cell(xs.new_zeros(xs.shape[1:]), *state.values())[0].detach()
    ys, history = [dummy], [state]  # so that no step at all has its shapes too
    for t in range(xs.shape[0]):
        if resets is not None and resets[t]:
            state = cell.initial_state(xs.shape[1], dtype=xs.dtype)
        y, *new = cell(xs[t], *state.values())
        state = dict(zip(cell.states, new, strict=True))
        ys.append(y)
        history.append(state)
    states = {name: torch.stack([step[name] for step in history])[1:] for name in cell.states}
    return Run(torch.stack(ys)[1:], state, states)


def one_by_one(
    cell: Cell, given: Sequences, lengths: Sequence[int], resets: Tensor | None = None
) -> Run:
    """Run each sequence alone, to its own end: what a padded batch has to give.

    Args:
        cell: the cell.
        given: the padded batch.
        lengths: the true number of steps of each sequence.
        resets: (time, batch) bool.
    """
    time = given.xs.shape[0]
    rows = []
    for row, steps in enumerate(lengths):
        xs, state = row_of(given, row)
        alone = loop(cell, xs[:steps], state, None if resets is None else resets[:steps, row])
        rest = time - steps
        ys = torch.cat([alone.ys, alone.ys.new_zeros(rest, *alone.ys.shape[1:])])
        states = {
            name: torch.cat([values, alone.last[name].expand(rest, *values.shape[1:])])
            for name, values in alone.states.items()
        }
        rows.append(Run(ys, alone.last, states))
    return joined(rows)


def row_of(given: Sequences, row: int) -> tuple[Tensor, State]:
    """Give one row of a batch as a batch of one."""
    only = slice(row, row + 1)
    return given.xs[:, only], {name: value[only] for name, value in given.state.items()}


def joined(rows: Sequence[Run]) -> Run:
    """Put batches side by side."""
    return Run(
        torch.cat([run.ys for run in rows], dim=1),
        {name: torch.cat([run.last[name] for run in rows]) for name in rows[0].last},
        {name: torch.cat([run.states[name] for run in rows], dim=1) for name in rows[0].states},
    )


def weighted(run: Mapping[str, Tensor]) -> Tensor:
    """Sum all numbers, each with a weight of its own, so that no two errors cancel."""
    numbers = torch.cat([value.flatten() for value in run.values()])
    return (numbers * torch.cos(torch.arange(numbers.numel()).to(numbers))).sum()


def gradients(run: Mapping[str, Tensor], leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the gradients of the weighted sum; 0 by a leaf that it does not depend on."""
    total = weighted(run)
    if not total.requires_grad:
        return {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
    found = torch.autograd.grad(
        total, list(leaves.values()), allow_unused=True, materialize_grads=True, retain_graph=True
    )
    return dict(zip(leaves, found, strict=True))

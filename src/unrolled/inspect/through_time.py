"""Gradients through time: how large they are at every step, and how far back an output reaches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unrolled.cell import TORCH_CELLS, Cell, State
from unrolled.errors import ShapeError
from unrolled.inspect.recording import Recording, Recurrence, norms, record
from unrolled.recurrence import unroll


@dataclass(frozen=True)
class StateGradients:
    """The norm of a number's gradient by each state of one recurrence, at every step."""

    name: str  # the recurrence's
    norms: State  # (time, batch) for each state, 0 behind a sequence's end
    active: Tensor  # (time, batch) bool

    def mean(self, state: str) -> Tensor:
        """Average over the rows that have the step: (time,), NaN where none has."""
        return averaged(self.norms[state], self.active)


def averaged(values: Tensor, active: Tensor) -> Tensor:
    """Average (time, batch) over the rows that run: (time,), NaN where none does.

    Example:
        >>> averaged(torch.tensor([[1.0, 3.0]]), torch.tensor([[True, False]])).tolist()
        [1.0]
    """
    return torch.where(active, values, 0).sum(1) / active.sum(1)


def gradients_through_time(
    layers: nn.Module,
    xs: Tensor,
    loss: Callable[[Tensor], Tensor],
    *,
    lengths: Tensor | Sequence[int] | None = None,
) -> tuple[StateGradients, ...]:
    """Give the norm of a loss's gradient by every state at every step.

    The gradient is the whole one: all that follows from a state, in its own step and in later
    ones, in its own layer and in those above. A captured cell runs as a kernel.

    Args:
        layers: a cell, one of torch.nn's cells, a `Recurrent` or one of the drop-ins.
        xs: the inputs, (time, batch, features).
        loss: from the outputs to a number; the output is (time, batch, outputs).
        lengths: the true number of steps of each sequence; cells and `Recurrent` only.

    Returns:
        One for each layer and direction.

    Raises:
        ConfigError: the loss does not depend on the outputs.
        ShapeError: a shape or a length does not fit.

    Example:
        >>> from unrolled import zoo
        >>> found = gradients_through_time(
        ...     zoo.LSTM(3, 5), torch.randn(7, 2, 3), lambda ys: ys[-1].pow(2).sum()
        ... )
        >>> found[0].mean("c").shape
        torch.Size([7])
    """
    seen = record(lambda: outputs_of(layers, xs, lengths), layers, measure_gates=False)
    return gradients(seen, loss(seen.result))


def outputs_of(
    layers: nn.Module, xs: Tensor, lengths: Tensor | Sequence[int] | None = None
) -> Tensor:
    """Run a cell or layers over sequences and give the outputs alone."""
    if isinstance(layers, (Cell, *TORCH_CELLS)):
        return unroll(layers, xs, lengths=lengths)[0]
    return layers(xs)[0] if lengths is None else layers(xs, lengths=lengths)[0]


def gradients(seen: Recording, loss: Tensor) -> tuple[StateGradients, ...]:
    """Give the norms of a loss's gradient by every state of a recorded run.

    Args:
        seen: from `record`.
        loss: a number computed from the run's result.

    Raises:
        ConfigError: the run was not recorded for gradients, or the loss does not come from it.
    """
    found = seen.state_gradients(loss)
    return tuple(
        StateGradients(r.name, {name: norms(g) for name, g in by_state.items()}, r.active)
        for r, by_state in zip(seen.recurrences, found, strict=True)
    )


@dataclass(frozen=True)
class Reach:
    """How the outputs of some steps depend on the states of one recurrence at every step."""

    name: str  # the recurrence's
    steps: tuple[int, ...]  # of the outputs
    norms: State  # (len(steps), time, batch) for each state
    active: Tensor  # (time, batch) bool

    def matrix(self, state: str) -> Tensor:
        """Average over the rows that have the output's step: (len(steps), time)."""
        rows = self.active[list(self.steps)][:, None]
        found = self.norms[state]
        return torch.where(rows, found, 0).sum(2) / rows.sum(2)

    def distances(self, state: str, fraction: float = 0.01) -> Tensor:
        """Count the steps back over which the gradient stays above a fraction of its first norm.

        Args:
            state: which.
            fraction: of the norm by the state of the output's own step.

        Returns:
            (len(steps), batch) steps; NaN where a row does not have the output's step.
        """
        found = [self.norms[state][i, : t + 1].flip(0) for i, t in enumerate(self.steps)]
        counted = torch.stack([steps_above(back, fraction) for back in found])
        return counted.masked_fill(~self.active[list(self.steps)], torch.nan)


def steps_above(back: Tensor, fraction: float) -> Tensor:
    """Count the steps from the first until a norm falls below a fraction of it for good.

    Args:
        back: (steps, batch) norms, the newest step first.
        fraction: from 0 to 1.

    Example:
        >>> steps_above(torch.tensor([[8.0], [4.0], [2.0], [1.0]]), 0.25).tolist()
        [2.0]
    """
    above = (back >= fraction * back[:1]) & (back > 0)
    steps = torch.arange(len(back), device=back.device)[:, None]
    return torch.where(above, steps, 0).amax(0).to(back)


def reach(seen: Recording, values: Tensor, steps: Sequence[int] | None = None) -> tuple[Reach, ...]:
    """Measure how far back the value of each step reaches: one backward pass for each.

    Args:
        seen: from `record`.
        values: what came of the run, (time, batch) numbers such as the loss of each position; or
            (time, batch, features), whose gradients are then taken along one random direction, so
            that their squared norm is on average that of the whole Jacobian (Hutchinson 1990).
        steps: of the values, from 0; by default all.

    Returns:
        One for each recurrence. A recurrence with another number of steps than `values`, such as
        the encoder before a decoder, has its own steps in the columns.

    Raises:
        ConfigError: the run was not recorded for gradients, or the values do not come from it.
        ShapeError: the values have no time and batch, or a step is none of theirs.

    Example:
        >>> from unrolled import Recurrent, zoo
        >>> layers = Recurrent(zoo.GRU, 3, 5)
        >>> seen = record(lambda: layers(torch.randn(7, 2, 3))[0])
        >>> reach(seen, seen.result, steps=[6])[0].matrix("h").shape
        torch.Size([1, 7])
    """
    if values.dim() < 2:
        raise ShapeError(f"values has shape {tuple(values.shape)}: expected (time, batch, ...)")
    chosen = tuple(range(len(values)) if steps is None else steps)
    if any(not 0 <= t < len(values) for t in chosen):
        raise ShapeError(f"steps are {chosen}: expected 0 to {len(values) - 1}")
    if values.dim() > 2:
        values = (values * directions(values[0])).flatten(2).sum(2)
    found = [seen.state_gradients(values[t].sum()) for t in chosen]
    return tuple(
        Reach(
            r.name,
            chosen,
            {n: torch.stack([norms(one[place][n]) for one in found]) for n in r.states},
            r.active if r.time == len(values) else torch.ones_like(values, dtype=torch.bool),
        )
        for place, r in enumerate(seen.recurrences)
    )


def directions(like: Tensor) -> Tensor:
    """Give a random direction for each row, the same ones every time: of variance 1."""
    random = torch.Generator().manual_seed(0)
    return torch.randn(like.shape, generator=random, dtype=torch.float64).to(like)


def carried(recurrence: Recurrence) -> Tensor:
    """Give the gradient of a recurrence's last state by all its states at every step.

    Args:
        recurrence: of a run that was recorded for gradients.

    Returns:
        Norms over all states, (time, batch), each sequence's last step in row 0 and then back in
        time; 0 before its first step.
    """
    assert recurrence.leaves is not None
    value = torch.stack([(s * directions(s)).sum() for s in recurrence.last.values()]).sum()
    found = torch.autograd.grad(
        value,
        recurrence.leaves.tensors,
        retain_graph=True,
        allow_unused=True,
        materialize_grads=True,
    )
    by_state = recurrence.leaves.by_state(found)
    whole = torch.stack([norms(g) for g in by_state.values()]).square().sum(0).sqrt()
    ends = recurrence.active.sum(0)
    steps = ends - 1 - torch.arange(recurrence.time, device=whole.device)[:, None]
    return torch.where(steps >= 0, whole.gather(0, steps.clamp_min(0)), 0)

"""Parameter gradients by time lag: how much of what is learnt comes from how far back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from unrolled.cell import Cell, State, wrap
from unrolled.errors import ShapeError


@dataclass(frozen=True)
class LagGradients:
    """The gradient by each parameter, split by the steps from its use to the loss."""

    parts: State  # (lags, *shape) for each parameter; they sum to the whole gradient

    def norms(self) -> State:
        """Give the norm of each part: (lags,) for each parameter."""
        return {n: g.flatten(1).norm(dim=1) for n, g in self.parts.items()}

    def total(self) -> Tensor:
        """Give the norm over all parameters together: (lags,)."""
        return torch.stack([n.square() for n in self.norms().values()]).sum(0).sqrt()


def gradients_by_lag(
    cell: nn.Module,
    xs: Tensor,
    losses: Callable[[Tensor], Tensor],
    *,
    steps: Sequence[int] | None = None,
    lags: int | None = None,
) -> LagGradients:
    """Split the gradient by each parameter by the time from its use to the loss.

    Every step is given the parameters as tensors of its own, in a loop over time; a backward pass
    for each step of the loss then says what it owes to each use. The parts of all lags sum to the
    gradient of the losses of those steps.

    Args:
        cell: a cell, or one of torch.nn's.
        xs: the inputs, (time, batch, features).
        losses: from the outputs (time, batch, outputs) to a number for each step, (time, ...).
        steps: of the loss; by default all, at the cost of a backward pass each.
        lags: how many to keep, from 0; by default all. The last holds all that is further back.

    Raises:
        ShapeError: the losses do not have a number for each step, a step is none, or no lag is
            asked for.

    Example:
        >>> found = gradients_by_lag(nn.GRUCell(3, 5), torch.randn(7, 2, 3), lambda ys: ys.pow(2))
        >>> found.total().shape
        torch.Size([7])
    """
    ready, time = wrap(cell), len(xs)
    keep = time if lags is None else min(lags, time)
    given = {n: p for n, p in ready.named_parameters() if p.requires_grad}
    uses = [{n: p.detach().clone().requires_grad_() for n, p in given.items()} for _ in range(time)]
    values = losses(_run(ready, xs, uses))
    chosen = tuple(range(time) if steps is None else steps)
    if len(values) != time or keep < 1 or any(not 0 <= t < time for t in chosen):
        raise ShapeError(
            f"losses of shape {tuple(values.shape)}, steps {chosen} and {keep} lags for {time} "
            f"steps: expected ({time}, ...), steps from 0 to {time - 1}, and a lag at least"
        )
    parts = {n: torch.zeros(keep, *p.shape).to(p) for n, p in given.items()}
    for t in chosen:
        leaves = [p for use in uses[: t + 1] for p in use.values()]
        found = iter(
            torch.autograd.grad(
                values[t].sum(),
                leaves,
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
        )
        for s, use in enumerate(uses[: t + 1]):
            for name in use:
                parts[name][min(t - s, keep - 1)] += next(found)
    return LagGradients(parts)


def _run(cell: Cell, xs: Tensor, uses: Sequence[State]) -> Tensor:
    """Run step by step, each with its own parameters."""
    state, ys = tuple(cell.initial_state(xs.shape[1], device=xs.device).values()), []
    for x, use in zip(xs, uses, strict=True):
        y, *new = functional_call(cell, use, (x, *state))
        state = tuple(new)
        ys.append(y)
    return torch.stack(ys)

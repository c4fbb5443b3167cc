"""A training of a few hundred steps, for experiments."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unrolled.cell import CellFactory
from unrolled.layers.recurrent import Recurrent


@dataclass(frozen=True)
class Learnt:
    """How a training went, step by step; it ends with the first number that is none."""

    losses: list[float]
    norms: list[float]  # of the gradient, before it was clipped

    @property
    def last(self) -> float:
        """The mean loss over the last twentieth of the steps."""
        some = self.losses[-max(1, len(self.losses) // 20) :]
        return sum(some) / len(some)


def train(
    model: nn.Module,
    loss: Callable[[float], Tensor],
    optimizer: torch.optim.Optimizer,
    steps: int,
    *,
    clip: float = math.inf,
) -> Learnt:
    """Take steps down a loss.

    Args:
        model: what is trained.
        loss: draws a batch and gives its loss; it is told how far the training is, from 0 to 1.
        optimizer: of the model's parameters.
        steps: how many.
        clip: what the gradient's norm is clipped to.

    Example:
        >>> model = nn.Linear(1, 1)
        >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> learnt = train(model, lambda _: model(torch.ones(1)).square().sum(), sgd, 50)
        >>> learnt.last < 1e-6
        True
    """
    learnt = Learnt([], [])
    for step in range(steps):
        value = loss(step / steps)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), clip)
        learnt.losses.append(value.item())
        learnt.norms.append(norm.item())
        if not math.isfinite(learnt.losses[-1] + learnt.norms[-1]):
            break
        optimizer.step()
    return learnt


class Reader(nn.Module):
    """A layer of cells over sequences of vectors, and a linear map of its outputs.

    Args:
        cell: makes the cell.
        inputs: features of an input.
        hidden: units.
        outputs: features of what is given for each step.
        backend: as in `unroll`.

    Example:
        >>> from unrolled import zoo
        >>> Reader(zoo.GRU, 3, 8, 2)(torch.zeros(7, 5, 3)).shape
        torch.Size([7, 5, 2])
    """

    def __init__(
        self, cell: CellFactory, inputs: int, hidden: int, outputs: int, backend: str = "auto"
    ) -> None:
        super().__init__()
        self.recurrent = Recurrent(cell, inputs, hidden, backend=backend)
        self.out = nn.Linear(hidden, outputs)

    def forward(self, xs: Tensor) -> Tensor:
        """Give (time, batch, outputs) for (time, batch, inputs)."""
        return self.out(self.recurrent(xs)[0])


def smoothed(values: list[float], points: int = 100) -> tuple[list[float], list[float]]:
    """Average a curve over stretches of equal length: their middles, and the means.

    Example:
        >>> smoothed([1.0, 3.0, 5.0, 7.0], points=2)
        ([1.5, 3.5], [2.0, 6.0])
    """
    width = max(1, math.ceil(len(values) / points))
    starts = range(0, len(values) - width + 1, width)
    means = [sum(values[s : s + width]) / width for s in starts]
    return [s + (width + 1) / 2 for s in starts], means

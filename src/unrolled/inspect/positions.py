"""What stands at each position of a sequence: its loss, and what its input did for an output."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.errors import ConfigError, ShapeError
from unrolled.inspect.intervals import Interval, interval
from unrolled.inspect.through_time import averaged
from unrolled.recurrence import checked_lengths, padding


@dataclass(frozen=True)
class PositionLoss:
    """The loss at each position, over the sequences that have it."""

    mean: Tensor  # (time,), NaN where no sequence is so long
    rows: Tensor  # (time,) how many sequences have the position
    intervals: tuple[Interval | None, ...]  # of each mean; None where no sequence is so long


def loss_by_position(losses: Tensor, lengths: Tensor | Sequence[int] | None = None) -> PositionLoss:
    """Average the losses of a batch position by position.

    Args:
        losses: (time, batch), one for each symbol.
        lengths: the true number of steps of each sequence; what lies behind is never read.

    Raises:
        ShapeError: a shape or a length does not fit.

    Example:
        >>> found = loss_by_position(torch.tensor([[1.0, 3.0], [4.0, 9.0]]), [2, 1])
        >>> found.mean.tolist(), found.rows.tolist()
        ([2.0, 4.0], [2, 1])
    """
    if losses.dim() != 2:
        raise ShapeError(f"losses has shape {tuple(losses.shape)}: expected (time, batch)")
    losses = losses.detach()
    active = torch.ones_like(losses, dtype=torch.bool)
    if lengths is not None:
        ends = checked_lengths(lengths, len(losses), losses.shape[1], losses.device)
        active = active if ends is None else ~padding(ends, len(losses))
    intervals = tuple(
        interval(row[runs]) if bool(runs.any()) else None
        for row, runs in zip(losses, active, strict=True)
    )
    return PositionLoss(averaged(losses, active), active.sum(1), intervals)


@dataclass(frozen=True)
class Saliency:
    """What each input did for an output."""

    gradient: Tensor  # (time, batch) norm of the output's gradient by the input
    contribution: Tensor  # (time, batch) gradient times input: the first-order share, signed


def saliency(output: Tensor, inputs: Tensor) -> Saliency:
    """Measure how much an output follows each input, through the kernels that ran.

    The gradient's norm is Simonyan, Vedaldi & Zisserman 2014, arXiv:1312.6034; times the input it
    is the part of the output that the input accounts for where the model is linear.

    Args:
        output: numbers that were computed from the inputs, such as the logits of a prediction,
            (batch,); their sum is differentiated, and rows do not mix.
        inputs: (time, batch, features) that require a gradient: the vectors of an embedding.

    Raises:
        ConfigError: the inputs require no gradient, or the output does not depend on them.

    Example:
        >>> xs = torch.randn(7, 2, 3, requires_grad=True)
        >>> ys, _ = torch.nn.GRU(3, 5)(xs)
        >>> saliency(ys[-1].sum(-1), xs).gradient.shape
        torch.Size([7, 2])
    """
    if not inputs.requires_grad or not output.requires_grad:
        raise ConfigError(
            "there is no saliency: the inputs need requires_grad=True before the model runs, and "
            "the output has to come from them"
        )
    (found,) = torch.autograd.grad(output.sum(), inputs, retain_graph=True)
    return Saliency(found.norm(dim=-1), (found * inputs.detach()).sum(-1))

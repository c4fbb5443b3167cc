"""Calls made simple: sequences read from their ends, and what lies behind those."""

from dataclasses import replace

import torch
from torch import Tensor

from unrolled.backends.call import Backend, Call, Result, Step


def simplified(run: Backend) -> Backend:
    """Let a backend take any call that only reads forwards, and reads padding too.

    It is given sequences that are reversed where they are to be read from their ends, and zeros
    behind these.
    """

    def run_simplified(step: Step, call: Call) -> Result:
        xs, lengths, resets = call.xs, call.lengths, call.resets
        if lengths is not None:
            there = torch.arange(len(xs), device=xs.device)[:, None] < lengths
            xs = torch.where(there[(...,) + (None,) * (xs.dim() - 2)], xs, 0)
        if not call.reverse:
            return run(step, replace(call, xs=xs))
        resets = None if resets is None else reverse_resets(resets, lengths)
        found = run(step, replace(call, xs=reverse(xs, lengths), resets=resets, reverse=False))
        states = found.states and tuple(reverse(states, lengths) for states in found.states)
        return Result(reverse(found.ys, lengths), found.state, states)

    return run_simplified


def reverse(xs: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Reverse the order of every sequence's own steps; what lies behind its end stays there.

    Args:
        xs: (time, batch, ...).
        lengths: the true number of steps of each sequence, (batch,), on the device of xs; by
            default all have `time`.

    Returns:
        The sequences in reverse, (time, batch, ...); reversing twice gives xs back.

    Example:
        >>> reverse(torch.tensor([[1, 4], [2, 5], [3, 0]]), torch.tensor([3, 2])).tolist()
        [[3, 5], [2, 4], [1, 0]]
    """
    if lengths is None:
        return xs.flip(0)
    time, batch = xs.shape[:2]
    steps = torch.arange(time, device=xs.device)[:, None]
    source = torch.where(steps < lengths, lengths - 1 - steps, steps)
    return xs[source, torch.arange(batch, device=xs.device)]


def cuts_backwards(resets: Tensor) -> Tensor:
    """Give the steps before which someone who reads backwards starts afresh.

    A reset before step t cuts between t - 1 and t, so that is before reading t - 1. A reset before
    the first step cuts nothing that is read backwards.

    Args:
        resets: (time, batch) bool, false behind a sequence's end.

    Returns:
        (time, batch) bool, in the order of the steps.

    Example:
        >>> cuts_backwards(torch.tensor([[1], [0], [0], [1]]).bool()).int().flatten().tolist()
        [0, 0, 1, 0]
    """
    return torch.cat([resets[1:], torch.zeros_like(resets[:1])])


def reverse_resets(resets: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Give the resets of the reversed sequences, in the order of their steps; none behind ends.

    Args:
        resets: (time, batch) bool, as `unrolled.unroll` takes them.
        lengths: as in `reverse`.

    Example:
        >>> reverse_resets(torch.tensor([[1], [0], [0], [1]]).bool()).int().flatten().tolist()
        [0, 1, 0, 0]
    """
    turned = torch.cat([torch.zeros_like(resets[:1]), reverse(resets, lengths)[:-1]])
    if lengths is None:
        return turned
    return turned & (torch.arange(len(resets), device=resets.device)[:, None] < lengths)

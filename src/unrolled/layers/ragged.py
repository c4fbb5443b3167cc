"""Batches of sequences of different lengths: reading them backwards, and torch's packed form."""

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from unrolled.recurrence import padding


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
    source = torch.where(padding(lengths, time), steps, lengths - 1 - steps)
    return xs[source, torch.arange(batch, device=xs.device)]


def reverse_resets(resets: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Give the resets of the reversed sequences.

    A reset before step t cuts between t - 1 and t, so someone who reads backwards starts afresh
    before t - 1. A reset before the first step cuts nothing that is read backwards.

    Args:
        resets: (time, batch) bool, as `unrolled.unroll` takes them.
        lengths: as in `reverse`.

    Returns:
        (time, batch) bool, in the order of the reversed steps.

    Example:
        >>> reverse_resets(torch.tensor([[1], [0], [0], [1]]).bool()).int().flatten().tolist()
        [0, 1, 0, 0]
    """
    never = torch.zeros_like(resets[:1])
    return torch.cat([never, reverse(resets, lengths)[:-1]])


def unpack(packed: PackedSequence) -> tuple[Tensor, Tensor]:
    """Spread packed sequences over a padded batch, in the order in which they are packed.

    Returns:
        The steps (time, batch, ...), zero behind each sequence's end, and the lengths (batch,).

    Example:
        >>> packed = torch.nn.utils.rnn.pack_sequence([torch.ones(3, 1), torch.ones(2, 1)])
        >>> xs, lengths = unpack(packed)
        >>> xs.squeeze(-1).tolist(), lengths.tolist()
        ([[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]], [3, 2])
    """
    data, held = packed.data, _held(packed)
    xs = data.new_zeros(held.numel(), *data.shape[1:]).index_copy(0, _places(held, data), data)
    return xs.unflatten(0, held.shape), held.sum(0).to(data.device)


def pack(xs: Tensor, like: PackedSequence) -> PackedSequence:
    """Pack a padded batch (time, batch, ...) as `like` is packed: the way back from `unpack`."""
    data = xs.flatten(0, 1).index_select(0, _places(_held(like), xs))
    return PackedSequence(data, *like[1:])


def _held(packed: PackedSequence) -> Tensor:
    """Mark the steps that the sequences have: (time, batch) bool, on the CPU like `batch_sizes`."""
    return torch.arange(int(packed.batch_sizes[0])) < packed.batch_sizes[:, None]


def _places(held: Tensor, like: Tensor) -> Tensor:
    """Give the place of every packed step among the time * batch steps, on the device of `like`."""
    return held.flatten().nonzero().squeeze(1).to(like.device)

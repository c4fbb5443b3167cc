"""Batches of sequences of different lengths in torch's packed form."""

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence


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

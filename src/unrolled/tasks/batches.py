"""Batches of sequences: which items go together, and how they become one padded tensor."""

import random
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from torch import Tensor


def bucketed(lengths: Sequence[Any], batch: int, seed: int, *, window: int = 50) -> list[list[int]]:
    """Draw batches of items of like length, in random order.

    Items are shuffled, sorted by length within each window, cut into batches, and the batches
    shuffled: little padding, and yet other batches from every seed.

    lengths: one sort key per item, a length or a tuple such as (source length, target length).
    batch: items of a batch, at least 1; fewer where a window ends. seed: give each epoch its own.
    window: the batches sorted together; wider means less padding and less chance.
    Gives lists of indices; every index is in exactly one, and the same seed gives the same lists.

    >>> sorted(sorted(indices) for indices in bucketed([3, 9, 3, 9], batch=2, seed=0))
    [[0, 2], [1, 3]]
    """
    chance = random.Random(seed)
    order = list(range(len(lengths)))
    chance.shuffle(order)
    batches = []
    for start in range(0, len(order), window * batch):
        near = sorted(order[start : start + window * batch], key=lengths.__getitem__)
        batches += [near[cut : cut + batch] for cut in range(0, len(near), batch)]
    chance.shuffle(batches)
    return batches


def pad(sequences: Sequence[Sequence[int]], value: int) -> tuple[Tensor, Tensor]:
    """Lay sequences side by side and fill the shorter ones up at their ends.

    sequences: batch lists of ids, of any length, 0 included. value: what to fill up with.
    Gives the ids, int64 (time, batch), with the longest sequence's time, and the lengths,
    int64 (batch,).

    >>> ids, lengths = pad([[5, 6, 7], [8]], value=0)
    >>> ids.tolist(), lengths.tolist()
    ([[5, 8], [6, 0], [7, 0]], [3, 1])
    """
    steps = list(zip_longest(*sequences, fillvalue=value))
    ids = integers(steps).reshape(len(steps), len(sequences))
    return ids, integers([len(sequence) for sequence in sequences])


def integers(numbers: Sequence[Any]) -> Tensor:
    """Give a list of integers, or of equally long lists of them, as an int64 tensor.

    NumPy reads lists in a quarter of PyTorch's time.

    >>> integers([[1, 2], [3, 4]])
    tensor([[1, 2],
            [3, 4]])
    """
    return torch.from_numpy(np.array(numbers, dtype=np.int64))

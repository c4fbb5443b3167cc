import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.tasks.batches import bucketed, pad

LENGTHS = st.lists(st.integers(0, 30), max_size=60)


@settings(deadline=None, max_examples=50)
@given(LENGTHS, st.integers(1, 9), st.integers(), st.integers(1, 5))
def test_every_index_is_in_one_batch_and_none_is_too_large(lengths, batch, seed, window):
    batches = bucketed(lengths, batch, seed, window=window)
    assert sorted(index for indices in batches for index in indices) == list(range(len(lengths)))
    assert all(1 <= len(indices) <= batch for indices in batches)
    assert batches == bucketed(lengths, batch, seed, window=window)


def test_seeds_differ_and_batches_are_shuffled():
    lengths = random.Random(0).choices(range(20), k=400)
    batches = bucketed(lengths, 8, seed=0)
    assert batches != bucketed(lengths, 8, seed=1)
    longest = [max(lengths[index] for index in indices) for indices in batches]
    assert longest != sorted(longest)


@pytest.mark.parametrize("second", [False, True], ids=["lengths", "pairs-of-lengths"])
def test_items_of_a_batch_are_of_like_length(second):
    lengths = [length for length in range(10) for _ in range(8)]
    keys = [(length, length) for length in lengths] if second else lengths
    for indices in bucketed(keys, 8, seed=0):
        assert len({lengths[index] for index in indices}) == 1


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.integers(0, 2**40), max_size=5), max_size=5))
def test_padding_can_be_taken_off(sequences):
    ids, lengths = pad(sequences, -1)
    assert ids.dtype == lengths.dtype == torch.long
    assert ids.shape == (max(map(len, sequences), default=0), len(sequences))
    assert lengths.tolist() == list(map(len, sequences))
    for column, sequence in enumerate(sequences):
        assert ids[: len(sequence), column].tolist() == sequence
        assert ids[len(sequence) :, column].eq(-1).all()

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from unrolled.layers.ragged import pack, reverse, reverse_resets, unpack

TIME = 6
few = settings(deadline=None, max_examples=30)
ragged = st.lists(st.integers(0, TIME), min_size=1, max_size=4)


def steps(batch: int) -> torch.Tensor:
    return torch.arange(TIME * batch * 2.0).reshape(TIME, batch, 2)


@few
@given(ragged)
def test_each_sequence_is_reversed_and_its_padding_stays(lengths):
    xs = steps(len(lengths))
    got = reverse(xs, torch.tensor(lengths))
    for b, n in enumerate(lengths):
        assert torch.equal(got[:n, b], xs[:n, b].flip(0))
        assert torch.equal(got[n:, b], xs[n:, b])


@few
@given(ragged)
def test_reversing_twice_gives_the_same_back(lengths):
    xs, ends = steps(len(lengths)), torch.tensor(lengths)
    assert torch.equal(reverse(reverse(xs, ends), ends), xs)


def test_without_lengths_time_is_flipped():
    assert torch.equal(reverse(steps(2)), steps(2).flip(0))


def segments(resets: list[bool]) -> list[list[int]]:
    """Cut steps 0.. before every reset."""
    cut: list[list[int]] = []
    for t, fresh in enumerate(resets):
        if fresh or not cut:
            cut.append([])
        cut[-1].append(t)
    return cut


@few
@given(st.lists(st.booleans(), min_size=TIME, max_size=TIME), st.integers(1, TIME))
def test_the_reversed_resets_cut_the_reversed_sequence_into_the_same_parts(resets, length):
    column = torch.tensor(resets)[:, None]
    turned = reverse_resets(column, torch.tensor([length]))[:length, 0].tolist()
    forwards = segments(resets[:length])
    backwards = [[length - 1 - t for t in part][::-1] for part in segments(turned)][::-1]
    assert backwards == forwards


@few
@given(st.lists(st.integers(1, TIME), min_size=1, max_size=4), st.booleans())
def test_packed_sequences_are_unpacked_as_torch_does_and_packed_again(lengths, as_sorted):
    lengths = sorted(lengths, reverse=True) if as_sorted else lengths
    packed = pack_padded_sequence(
        steps(len(lengths)), torch.tensor(lengths), enforce_sorted=as_sorted
    )
    xs, ends = unpack(packed)
    padded, _ = pad_packed_sequence(packed)
    order = torch.arange(len(lengths)) if packed.sorted_indices is None else packed.sorted_indices
    assert torch.equal(xs, padded[:, order])
    assert ends.tolist() == sorted(lengths, reverse=True)
    again = pack(xs, packed)
    assert torch.equal(again.data, packed.data)
    assert again[1:] == packed[1:]  # the same tensors, not copies

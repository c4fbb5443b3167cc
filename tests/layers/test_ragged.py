import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from unrolled.layers.ragged import pack, unpack

TIME = 6
few = settings(deadline=None, max_examples=30)


def steps(batch: int) -> torch.Tensor:
    return torch.arange(TIME * batch * 2.0).reshape(TIME, batch, 2)


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

import torch
from torch import Tensor

from unrolled import zoo
from unrolled.models.encoder import Encoder

LENGTHS = [5, 0, 3]


def build(dropout: float = 0.0) -> Encoder:
    return Encoder(11, embedding=4, hidden=6, cell=zoo.LSTM, layers=2, dropout=dropout)


def batch() -> tuple[Tensor, Tensor]:
    return torch.randint(1, 11, (5, 3)), torch.tensor(LENGTHS)


def test_it_embeds_and_runs_both_ways() -> None:
    encoder, (source, lengths) = build(), batch()
    ys, state = encoder(source, lengths)
    expected = encoder.recurrent(encoder.embedding(source), lengths=lengths)
    torch.testing.assert_close((ys, state), expected, rtol=0, atol=0)
    assert ys.shape == (5, 3, encoder.outputs) == (5, 3, 12)
    assert {name: s.shape for name, s in state.items()} == {"h": (4, 3, 6), "c": (4, 3, 6)}


def test_what_stands_behind_the_end_is_not_read() -> None:
    encoder, (source, lengths) = build(), batch()
    other = source.clone()
    for row, length in enumerate(LENGTHS):
        other[length:, row] = 7
    ys, state = encoder(source, lengths)
    torch.testing.assert_close(encoder(other, lengths), (ys, state), rtol=0, atol=0)
    for row, length in enumerate(LENGTHS):
        assert not ys[length:, row].any()


def test_padding_is_embedded_as_zeros_and_stays_so() -> None:
    encoder = build()
    encoder(torch.zeros(5, 3, dtype=torch.long), torch.tensor([5, 5, 5]))[0].sum().backward()
    gradient = encoder.embedding.weight.grad
    assert gradient is not None and not gradient[0].any()
    assert not encoder.embedding.weight[0].any()


def test_features_are_dropped_in_training_only() -> None:
    encoder, (source, lengths) = build(dropout=0.5), batch()
    first, second = encoder(source, lengths)[0], encoder(source, lengths)[0]
    assert not torch.equal(first, second) and (first[0, 0] == 0).any()
    encoder.eval()
    first, second = encoder(source, lengths)[0], encoder(source, lengths)[0]
    assert torch.equal(first, second) and not (first[0, 0] == 0).any()

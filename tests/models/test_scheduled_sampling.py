from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled import zoo
from unrolled.errors import ConfigError
from unrolled.models.pointer import Decoded
from unrolled.models.seq2seq import Seq2Seq

SOURCES, TARGETS, BATCH = 11, 13, 3
attentions = pytest.mark.parametrize("attention", ["luong", "bahdanau"])


def build(attention: str = "luong") -> Seq2Seq:
    """Make a model whose scores are far enough apart that the next symbol matters."""
    model = Seq2Seq(
        SOURCES,
        TARGETS,
        embedding=4,
        hidden=6,
        encoder_cell=zoo.GRU,
        decoder_cell=zoo.LSTM,
        attention=attention,
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    return model.double()


def batch(time: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Give sources, their lengths and targets."""
    source, target = torch.randint(1, SOURCES, (5, BATCH)), torch.randint(1, TARGETS, (time, BATCH))
    return source, torch.tensor([5, 1, 3]), target


class Chain(nn.Module):
    """Stands in for a decoder: is sure that 3 symbols on comes next, and keeps what it was fed."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.recurrence = decoder.recurrence
        self.fed: list[Tensor] = []

    def decode(self, symbols: Tensor, state: Any, memory: Any, *, weights: bool) -> Decoded:
        self.fed.append(symbols)
        return Decoded(1e4 * F.one_hot((symbols + 3) % TARGETS, TARGETS).double(), state, None)


def feed(sampling: float, target: Tensor) -> Tensor:
    """Give the symbols that the decoder is fed at each step."""
    model, (source, lengths, _) = build(), batch()
    model.decoder = chain = Chain(model.decoder)  # pyright: ignore
    model(source, lengths, target, sampling=sampling)
    return torch.cat(chain.fed)


def test_without_sampling_the_target_is_fed() -> None:
    target = torch.randint(1, TARGETS, (20, BATCH))
    assert torch.equal(feed(0, target), target)


@pytest.mark.parametrize("sampling", [1.0, 1 - 1e-9])
def test_with_all_sampled_the_model_is_fed_its_own_draws(sampling: float) -> None:
    target = torch.randint(1, TARGETS, (20, BATCH))
    own = (target[0] + 3 * torch.arange(20)[:, None]) % TARGETS
    assert torch.equal(feed(sampling, target), own)


def test_with_half_sampled_each_symbol_is_the_target_or_its_own_draw() -> None:
    target = torch.randint(1, TARGETS, (200, BATCH))
    fed = feed(0.5, target)
    own, given = fed[1:] == (fed[:-1] + 3) % TARGETS, fed[1:] == target[1:]
    assert (own | given).all()
    assert 0.4 < (own & ~given).double().mean() < 0.55  # a draw is the target's by chance: 1 in 12
    assert ((own & ~given).any(1) & (given & ~own).any(1)).any()  # not all rows alike


@attentions
def test_sampling_with_next_to_no_probability_is_teacher_forcing(attention: str) -> None:
    model, given = build(attention=attention), batch()
    torch.testing.assert_close(model(*given, sampling=1e-12), model(*given))


@attentions
def test_sampling_follows_the_seed_and_can_be_trained(attention: str) -> None:
    model, given = build(attention=attention), batch()

    def run(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return model(*given, sampling=0.9)

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))
    F.cross_entropy(run(1).flatten(0, 1), given[2].flatten()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("sampling", [0.0, 0.5], ids="sampling-{}".format)
def test_no_target_gives_no_scores(sampling: float) -> None:
    assert build()(*batch(time=0), sampling=sampling).shape == (0, BATCH, TARGETS)


@pytest.mark.parametrize("sampling", [-0.1, 1.5, float("nan")])
def test_what_is_no_probability_is_refused(sampling: float) -> None:
    message = f"^sampling is {sampling}: expected a probability, from 0 to 1$"
    with pytest.raises(ConfigError, match=message):
        build()(*batch(), sampling=sampling)


def test_scores_that_are_no_numbers_come_out_as_such() -> None:
    """What trains the model is the one to say so, with the step."""
    model = build()
    with torch.no_grad():
        model.decoder.scores.bias.fill_(torch.nan)
    scores = model(*batch(), sampling=0.5)
    assert scores.isnan().all()

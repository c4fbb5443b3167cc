"""Laws of the transducer: its loss against all ways, its searches against all texts."""

import itertools
import math

import numpy as np
import pytest
import torch

from unrolled import zoo
from unrolled.errors import ConfigError
from unrolled.models import transducer
from unrolled.models.ngram import NGram
from unrolled.models.prefixes import END, Fusion
from unrolled.models.transducer import TransducerHead

STEPS, SIZES = [6, 4, 0], [3, 0, 2]
TARGETS = torch.tensor([[1, 2, 2], [9, 9, 9], [1, 2, 9]])


@pytest.fixture
def head() -> TransducerHead:
    torch.manual_seed(3)
    made = TransducerHead(5, 3, cell=zoo.GRU, embedding=4, hidden=6)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made.eval()


def lost(head: TransducerHead, ys: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    return head.loss(head(ys), torch.tensor(STEPS), TARGETS, torch.tensor(SIZES), smoothing)


def likely(head: TransducerHead, heard: np.ndarray, text: tuple[int, ...]) -> float:
    given, target = torch.from_numpy(heard)[:, None], torch.tensor([text], dtype=torch.long)
    steps, sizes = torch.tensor([[len(heard)], [len(text)]])
    return -head.loss(given, steps, target, sizes).item()


def test_a_padded_batch_is_its_recordings_one_by_one(head: TransducerHead) -> None:
    ys = torch.randn(6, 3, 5)
    expected = sum(
        likely(head, head(ys[:steps, row]).detach().numpy(), tuple(TARGETS[row, :size].tolist()))
        for row, (steps, size) in enumerate(zip(STEPS[:2], SIZES[:2], strict=True))
    )
    for row, steps in enumerate(STEPS):
        ys[steps:, row] = torch.nan
    assert lost(head, ys).item() == pytest.approx(-expected, rel=1e-5)


def test_a_large_lattice_is_computed_twice_and_comes_out_the_same(
    head: TransducerHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    ys, found = torch.randn(6, 3, 5), []
    for kept, places in ((1 << 26, 1 << 22), (0, 60)):
        monkeypatch.setattr(transducer, "KEPT", kept)
        monkeypatch.setattr(transducer, "PLACES", places)
        head.zero_grad()
        loss = lost(head, ys, smoothing=0.2)
        loss.backward()
        grads = [parameter.grad for parameter in head.parameters()]
        assert all(grad is not None and grad.abs().sum() > 0 for grad in grads)
        found.append([loss.detach(), *grads])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_smoothing_asks_for_all_symbols_alike(head: TransducerHead) -> None:
    """With all scores at zero all symbols are alike: log(symbols) a step."""
    for parameter in head.scores.parameters():
        torch.nn.init.zeros_(parameter)
    ys = torch.randn(6, 3, 5)
    alike = sum(STEPS) * math.log(3)
    expected = 0.75 * lost(head, ys).item() + 0.25 * alike
    assert lost(head, ys, smoothing=0.25).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("fused", [False, True], ids=["sound", "language"])
def test_a_beam_as_wide_as_the_space_weighs_texts_over_all_ways(
    head: TransducerHead, fused: bool
) -> None:
    """Two steps hold at most ten symbols, and those of up to three are likely enough to be met."""
    heard = head(torch.randn(2, 5)).detach().numpy()
    model = NGram.learn([[1, 2, 1], [2]], 3, 2)
    fusion = Fusion(model, 0.7, 0.3) if fused else None
    search = transducer.Beam(transducer._Joint(head), 3000, fusion, margin=math.inf)
    search.hear(heard)
    found = {one.symbols: one for one in search.found(10_000)}
    for size in range(4):
        for text in itertools.product((1, 2), repeat=size):
            assert found[text].sound == pytest.approx(likely(head, heard, text), abs=1e-4)
            said, state = 0.0, model.start
            for symbol in text:
                said += float(model.next(state)[symbol])
                state = model.after(state, symbol)
            said = 0.7 * (said + float(model.next(state)[END])) + 0.3 * size if fused else 0.0
            assert found[text].score == pytest.approx(found[text].sound + said)
    scores = [one.score for one in search.found(10_000)]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("width", [1, 4])
def test_a_search_in_parts_is_the_whole(head: TransducerHead, width: int) -> None:
    heard = head(torch.randn(9, 5)).detach().numpy()
    whole = head.search(heard, width, best=2)
    search = head.searching(width)
    for part in (heard[:4], heard[4:4], heard[4:]):
        search.hear(part)
    assert search.found(2) == whole and whole[0].symbols


def test_symbols_are_placed_where_they_are_written(head: TransducerHead) -> None:
    """A head that hears symbol 1 in feature 0 and symbol 2 in feature 1, and reads nothing."""
    for parameter in head.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        head.listens.weight[:2, :2] = 3 * torch.eye(2)
        head.scores.weight[1, 0] = head.scores.weight[2, 1] = 6
        head.scores.bias[0] = 4
    ys = torch.zeros(8, 5)
    ys[2, 0] = ys[5, 1] = 1
    heard = head(ys).detach().numpy()
    one, other = head.align(heard, [1, 2])
    assert (one.start, one.stop, other.start, other.stop) == (2, 3, 5, 6)
    assert 0.5 < one.probability < 1
    rows, shares = head.seen(heard, [1, 2])
    assert (rows, shares.argmax(1).tolist()) == ([1, 2], [2, 5])
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-4)
    assert head.least_steps([1, 1]) == 1 and head.align(heard, []) == []


def test_what_is_out_of_range_is_refused(head: TransducerHead) -> None:
    with pytest.raises(ConfigError, match="width is 0"):
        head.searching(0)

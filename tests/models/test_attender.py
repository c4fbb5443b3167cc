"""Laws of listen, attend and spell: its loss text by text, its search against all texts."""

import itertools

import numpy as np
import pytest
import torch

from unrolled import zoo
from unrolled.errors import ConfigError, ShapeError
from unrolled.models.attender import AttentionHead, monotone
from unrolled.models.ngram import NGram
from unrolled.models.prefixes import END, Fusion
from unrolled.models.transcriber import CTCHead

STEPS, SIZES = [6, 4, 1], [3, 0, 2]  # the last does not fit
TARGETS = torch.tensor([[1, 2, 2], [9, 9, 9], [1, 2, 9]])


def make(**more: float) -> AttentionHead:
    torch.manual_seed(5)
    made = AttentionHead(5, 3, cell=zoo.GRU, embedding=4, hidden=6, **more)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made.eval()


@pytest.fixture
def head() -> AttentionHead:
    return make()


def likely(head: AttentionHead, heard: np.ndarray, text: tuple[int, ...]) -> float:
    given, target = torch.from_numpy(heard)[:, None], torch.tensor([text], dtype=torch.long)
    steps, sizes = torch.tensor([[len(heard)], [len(text)]])
    return -head.loss(given, steps, target, sizes).item()


def test_the_loss_adds_up_the_recordings_one_by_one(head: AttentionHead) -> None:
    ys = torch.randn(6, 3, 5)
    expected = sum(
        likely(head, ys[:steps, row].numpy(), tuple(TARGETS[row, :size].tolist()))
        for row, (steps, size) in enumerate(zip(STEPS[:2], SIZES[:2], strict=True))
    )
    for row, steps in enumerate(STEPS):
        ys[steps:, row] = torch.nan
    found = head.loss(head(ys), torch.tensor(STEPS), TARGETS, torch.tensor(SIZES))
    assert found.item() == pytest.approx(-expected, rel=1e-5)


def test_ctc_has_its_share_of_the_loss() -> None:
    helped, alone, ys = make(ctc=0.25), make(), torch.randn(6, 2, 5)
    alone.load_state_dict(helped.state_dict(), strict=False)
    given = (torch.tensor(STEPS[:2]), TARGETS[:2], torch.tensor(SIZES[:2]))
    assert isinstance(helped.aid, CTCHead)
    aid = helped.aid.loss(helped.aid(ys), *given)
    expected = 0.75 * alone.loss(ys, *given) + 0.25 * aid
    assert helped.loss(ys, *given).item() == pytest.approx(expected.item(), rel=1e-5)
    with pytest.raises(ConfigError, match="ctc is 1: expected a share"):
        make(ctc=1)


@pytest.mark.parametrize("fused", [False, True], ids=["sound", "language"])
def test_a_beam_as_wide_as_the_space_ranks_all_texts(head: AttentionHead, fused: bool) -> None:
    heard = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    model = NGram.learn([[1, 2, 1], [2]], 3, 2)
    fusion = Fusion(model, 0.7, 2.5) if fused else None
    expected = {}
    for size in range(4):
        for text in itertools.product((1, 2), repeat=size):
            said, state = 0.0, model.start
            for symbol in text:
                said += float(model.next(state)[symbol])
                state = model.after(state, symbol)
            said = 0.7 * (said + float(model.next(state)[END])) + 2.5 * size if fused else 0.0
            expected[text] = likely(head, heard, text) + said
    found = head.search(heard, 1000, best=100, fusion=fusion)
    scores = {one.symbols: one.score for one in found}
    assert scores == pytest.approx(expected, abs=1e-4)
    assert [*scores] == sorted(scores, key=lambda text: -scores[text])


def test_width_one_takes_the_best_symbol_each_time(head: AttentionHead) -> None:
    heard = np.random.default_rng(1).normal(size=(5, 5)).astype(np.float32)
    [found] = head.search(heard, 1)
    assert 0 < len(found.symbols) <= 5
    text: tuple[int, ...] = ()
    while len(text) < 5:
        one, other = (head._looked(heard, (*text, s))[1][-1] for s in (1, 2))
        end = 1 - one - other
        if end >= max(one, other):
            break
        text = (*text, 1 if one >= other else 2)
    assert found.symbols == text
    assert head.search(heard[:0], 4)[0].symbols == ()


def test_symbols_are_where_attention_looked_and_never_go_back(head: AttentionHead) -> None:
    heard = np.random.default_rng(2).normal(size=(7, 5)).astype(np.float32)
    spans = head.align(heard, [1, 2, 2])
    starts = [span.start for span in spans]
    assert starts == sorted(starts) and all(0 < span.probability < 1 for span in spans)
    rows, weights = head.seen(heard, [1, 2, 2])
    assert rows == [1, 2, 2] and weights.shape == (3, 7)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)
    assert head.align(heard, []) == []
    with pytest.raises(ShapeError, match="3 symbols do not fit into 2 steps"):
        head.align(heard[:2], [1, 2, 2])


def test_a_monotone_path_is_the_best_of_all() -> None:
    weights = np.random.default_rng(3).random((3, 5))
    ways = itertools.combinations_with_replacement(range(5), 3)
    best = max(ways, key=lambda way: np.log(weights[range(3), way]).sum())
    assert tuple(monotone(weights)) == best

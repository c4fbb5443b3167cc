"""Laws of CTC decoding, against the enumeration of all paths and against torch's own loss."""

import math
from collections import defaultdict
from itertools import groupby, product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from unrolled.errors import ConfigError, ShapeError
from unrolled.models.ctc import align, beam, greedy
from unrolled.models.ngram import NGram, WordModel
from unrolled.models.prefixes import END, Fusion, LanguageModel

Text = tuple[int, ...]
TEXTS = [[1, 2, 3, 1, 1], [2, 3, 1], [1, 2], [2, 1, 3, 2, 2, 3, 1, 2]]  # 3 is the space
SEEDS = st.integers(0, 10_000)


def noise(steps: int, symbols: int, seed: int, sharpness: float = 2.0) -> np.ndarray:
    logits = sharpness * np.random.default_rng(seed).normal(size=(steps, symbols))
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def text_of(path: tuple[int, ...]) -> Text:
    return tuple(symbol for symbol, _ in groupby(path) if symbol)


def everything(log_probs: np.ndarray) -> dict[Text, float]:
    """Give the log-probability of every text, by adding up all paths."""
    steps, symbols = log_probs.shape
    found: dict[Text, float] = defaultdict(float)
    for path in product(range(symbols), repeat=steps):
        found[text_of(path)] += math.exp(sum(log_probs[t, s] for t, s in enumerate(path)))
    return {text: math.log(chance) for text, chance in found.items()}


def says(model: LanguageModel, text: Text) -> float:
    """Give the log-probability of a whole text, symbol by symbol."""
    state, total = model.start, 0.0
    for symbol in text:
        total += float(model.next(state)[symbol])
        state = model.after(state, symbol)
    return total + float(model.next(state)[END])


MODELS: dict[str, LanguageModel] = {
    "symbols": NGram.learn(TEXTS, symbols=4, order=3),
    "words": WordModel(TEXTS, symbols=4, space=3, order=2),
}


@given(steps=st.integers(0, 5), symbols=st.integers(2, 4), seed=SEEDS)
def test_a_beam_as_wide_as_the_space_finds_every_text(steps: int, symbols: int, seed: int) -> None:
    log_probs = noise(steps, symbols, seed)
    expected = everything(log_probs)
    found = beam(log_probs, 10_000, best=10_000, floor=0, margin=math.inf)
    assert {h.symbols: h.score for h in found} == pytest.approx(expected, abs=1e-9)
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
    assert all(h.sound == h.score for h in found)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_a_language_model_ranks_every_text(model: LanguageModel) -> None:
    log_probs = noise(5, 4, seed=3)
    fusion = Fusion(model, weight=0.7, bonus=0.4)
    expected = {
        text: sound + 0.7 * says(model, text) + 0.4 * len(text)
        for text, sound in everything(log_probs).items()
        if says(model, text) > -math.inf
    }
    found = beam(log_probs, 10_000, fusion=fusion, best=10_000, floor=0, margin=math.inf)
    assert {h.symbols: h.score for h in found if h.score > -math.inf} == pytest.approx(expected)


@given(seed=SEEDS, width=st.integers(1, 6))
def test_a_narrow_beam_never_counts_a_path_twice(seed: int, width: int) -> None:
    log_probs = noise(6, 3, seed)
    expected = everything(log_probs)
    found = beam(log_probs, width, best=width, floor=0, margin=math.inf)
    assert len({h.symbols for h in found}) == len(found) <= width
    assert all(h.sound <= expected[h.symbols] + 1e-9 for h in found)


def test_the_score_of_a_text_is_minus_torchs_loss() -> None:
    log_probs = noise(12, 5, seed=1)
    [best] = beam(log_probs, 2000, floor=0, margin=math.inf)
    loss = F.ctc_loss(
        torch.from_numpy(log_probs)[:, None],
        torch.tensor([best.symbols]),
        torch.tensor([12]),
        torch.tensor([len(best.symbols)]),
        reduction="sum",
    )
    assert best.score == pytest.approx(-loss.item(), abs=1e-3)


def test_unlikely_symbols_are_not_tried_and_unlikely_texts_not_kept() -> None:
    log_probs = np.log([[0.9, 0.0999, 0.0001], [0.9, 0.0999, 0.0001]])
    found = beam(log_probs, 100, best=100, floor=1e-3)
    assert {h.symbols for h in found} == {(), (1,)}
    found = beam(log_probs, 100, best=100, margin=5)
    assert {h.symbols for h in found} == {(), (1,)}
    assert beam(np.zeros((0, 3)), 4)[0].symbols == ()


@given(seed=SEEDS, steps=st.integers(0, 6))
def test_the_best_path_is_the_likeliest_one(seed: int, steps: int) -> None:
    log_probs = noise(steps, 3, seed)
    found = greedy(log_probs)
    paths = product(range(3), repeat=steps)
    best = max(paths, key=lambda path: sum(log_probs[t, s] for t, s in enumerate(path)))
    assert found.symbols == text_of(best)


@given(seed=SEEDS, text=st.lists(st.integers(1, 2), max_size=3))
def test_an_alignment_is_the_likeliest_path_of_its_text(seed: int, text: list[int]) -> None:
    log_probs = noise(6, 3, seed)
    spans = align(log_probs, text)
    path = [0] * 6
    for symbol, span in zip(text, spans, strict=True):
        path[span.start : span.stop] = [symbol] * (span.stop - span.start)
        held = np.exp(log_probs[span.start : span.stop, symbol])
        assert span.probability == pytest.approx(held.mean())
    assert text_of(tuple(path)) == tuple(text)
    paths = (p for p in product(range(3), repeat=6) if text_of(p) == tuple(text))
    best = max(sum(log_probs[t, s] for t, s in enumerate(p)) for p in paths)
    assert sum(log_probs[t, s] for t, s in enumerate(path)) == pytest.approx(best)


def test_a_text_that_does_not_fit_has_no_alignment() -> None:
    with pytest.raises(ShapeError, match="2 symbols do not fit into 2 steps"):
        align(noise(2, 3, seed=0), [1, 1])
    assert align(noise(0, 3, seed=0), []) == []


def test_a_search_for_nothing_is_refused() -> None:
    for width, best in ((0, 1), (3, 0)):
        with pytest.raises(ConfigError, match="expected at least 1"):
            beam(noise(2, 3, seed=0), width, best=best)
    with pytest.raises(ShapeError, match="expected .steps, symbols."):
        beam(np.zeros(3), 1)


@given(text=st.lists(st.integers(1, 3), max_size=12))
def test_what_follows_a_text_adds_up_to_one(text: list[int]) -> None:
    for model in MODELS.values():
        state = model.start
        for symbol in text:
            state = model.after(state, symbol)
        following = np.exp(model.next(state))
        assert following.sum() == pytest.approx(1)
        assert (following > 0).all()


def test_counts_are_smoothed_by_hand() -> None:
    """P(2 | 1) of TEXTS: after 1 come 2, 3 times of 8; of four kinds, the fourth is the end."""
    model = NGram.learn(TEXTS, symbols=4, order=2)
    symbols = {1: 7, 2: 7, 3: 4, END: 4}
    alone = (symbols[2] + 4 / 4) / (sum(symbols.values()) + 4)
    assert model.probabilities(())[2] == pytest.approx(alone)
    after = {2: 3, 1: 1, 3: 1, END: 2}
    assert model.probabilities((1,))[2] == pytest.approx(
        (after[2] + len(after) * alone) / (sum(after.values()) + len(after))
    )


def test_a_word_model_knows_words_and_their_order() -> None:
    model = MODELS["words"]
    assert says(model, (1, 2, 3, 1, 1)) > says(model, (1, 2, 3, 1, 2)) + 0.5  # seen, and not
    assert says(model, (2, 3, 1)) > says(model, (1, 3, 2))
    assert says(model, (2, 2, 2, 2)) > -30  # a new word is unlikely, not impossible


def test_texts_without_spaces_are_words() -> None:
    model = WordModel([[1, 2], [1, 2], [2, 2, 1]], symbols=3, space=END, order=2)
    assert says(model, (1, 2)) > math.log(0.3) > says(model, (1, 1))


def test_an_order_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="the order is 0; give at least 1"):
        NGram.learn(TEXTS, symbols=4, order=0)

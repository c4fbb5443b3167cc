import os
from itertools import islice, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.errors import ConfigError, DataError
from unrolled.tasks.metrics import error_rates
from unrolled.tasks.seq2seq.baseline import LetterBaseline, _best, _expected
from unrolled.tasks.seq2seq.pairs import group_references, read_pairs

SOUNDS = {"a": ["A"], "b": ["B"], "e": [], "x": ["K", "S"], "t": ["T"]}


def pronounced(words, sounds=SOUNDS):
    return [(word, [sound for letter in word for sound in sounds[letter]]) for word in words]


def enumerated(chance):
    """The expected use of each entry and the best sizes, from the list of all alignments."""
    n, positions = chance.shape[:2]
    used, total, best, best_sizes = np.zeros_like(chance), 0.0, -np.inf, None
    for sizes in product(range(3), repeat=n):
        if sum(sizes) != positions - 1:
            continue
        path = list(zip(range(n), np.cumsum(sizes), sizes, strict=True))
        score = sum(chance[entry] for entry in path)
        total += np.exp(score)
        for entry in path:
            used[entry] += np.exp(score)
        if score > best:
            best, best_sizes = score, list(sizes)
    return used / total, best_sizes


@pytest.mark.parametrize("letters", [1, 2, 4])
@pytest.mark.parametrize("share", [0, 0.5, 1], ids=["silent", "some", "two-each"])
def test_alignments_are_those_of_the_full_list(letters, share):
    time = int(2 * letters * share)
    chance = np.random.default_rng(0).normal(size=(3, letters, time + 1, 3))
    used, sizes = _expected(chance), _best(chance)
    for row in range(3):
        expected_use, expected_sizes = enumerated(chance[row])
        np.testing.assert_allclose(used[row], expected_use, atol=1e-12)
        assert sizes[row].tolist() == expected_sizes


def test_equal_alignments_are_resolved_alike_in_every_word():
    entry = np.log(np.random.default_rng(0).uniform(size=3))
    noise = 1e-13 * np.random.default_rng(1).normal(size=(200, 5, 4, 3))
    assert len(np.unique(_best(entry + noise), axis=0)) == 1  # five times the same letter


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(st.text("ab", max_size=6), st.lists(st.sampled_from("AB"), max_size=6))))
def test_the_order_of_the_pairs_is_of_no_account(pairs):
    pairs = [("aab", ["A", "B"]), *pairs]
    assert LetterBaseline.fit(pairs) == LetterBaseline.fit(pairs[::-1])


def test_a_long_pair_does_not_underflow():
    chance = np.full((1, 1000, 1001, 3), -300.0)
    np.testing.assert_allclose(_expected(chance)[0].sum(axis=(1, 2)), 1, rtol=1e-6)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.text("abext", min_size=1, max_size=6), max_size=20), st.integers(0, 2))
def test_a_regular_spelling_is_learned_exactly(words, context):
    pairs = pronounced(
        ["a", "b", "ab", "ba", "bat", "tab", "axt", "xa", "be", "tea", "ext", *words]
    )
    model = LetterBaseline.fit(pairs, context=context)
    for word, sounds in pairs:
        assert model.predict(word) == tuple(sounds)


def test_context_decides_and_backs_off():
    pairs = pronounced("a i o k ka ko ik ak".split(), {s: [s.upper()] for s in "aiok"})
    pairs += [("ci", ["S", "I"]), ("ca", ["K", "A"]), ("co", ["K", "O"])]
    assert LetterBaseline.fit(pairs, context=0).predict("ci") == ("K", "I")
    wide = LetterBaseline.fit(pairs, context=1)
    assert wide.predict("ci") == ("S", "I")
    assert wide.predict("ca") == ("K", "A")
    assert wide.predict("ick") == ("I", "K", "K")  # no window has c between i and k: c alone


def test_windows_know_where_a_word_ends():
    pairs = pronounced(["ab", "ba", "bb", "aa", "abab"], {"a": ["A"], "b": ["B"]})
    pairs += [("be", ["B"]), ("ae", ["A"]), ("eb", ["E", "B"]), ("ea", ["E", "A"])]
    assert LetterBaseline.fit(pairs, context=1).predict("ebbe") == ("E", "B", "B")


def test_what_was_never_seen_gives_nothing():
    model = LetterBaseline.fit(pronounced(["ab", "ba", "a"]), context=1)
    assert model.predict("") == ()
    assert model.predict("?!") == ()
    assert model.predict("a?b") == ("A", "B")


def test_pairs_that_cannot_be_aligned_are_left_out():
    good = pronounced(["ab", "ba", "a"])
    bad = [("", ["A"]), ("a", ["B", "B", "B"])]
    assert LetterBaseline.fit([*bad, *good]) == LetterBaseline.fit(good)
    with pytest.raises(DataError, match="no pair to fit; give letters with at most 2"):
        LetterBaseline.fit(bad)


def test_targets_may_all_be_empty():
    assert LetterBaseline.fit([("ab", [])]).predict("ab") == ()


@pytest.mark.parametrize("settings", [{"context": -1}, {"rounds": 0}], ids=str)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ConfigError, match="give at least 0 and at least 1"):
        LetterBaseline.fit(pronounced(["a"]), **settings)


@pytest.mark.skipif("UNROLLED_DATA" not in os.environ, reason="UNROLLED_DATA names no data folder")
def test_wider_context_pronounces_english_better():
    folder = Path(os.environ["UNROLLED_DATA"], "g2p", "cmudict_wikipron_split")
    pairs = islice(read_pairs(folder / "eng_cmudict_train.tsv"), 3000)
    train = [(pair.source, pair.target.split()) for pair in pairs]
    examples = group_references(read_pairs(folder / "eng_cmudict_dev.tsv"))[:1000]
    references = [[target.split() for target in example.targets] for example in examples]
    rates = []
    for context in (0, 1):
        model = LetterBaseline.fit(train, context=context)
        predictions = [model.predict(example.source) for example in examples]
        rates.append(error_rates(references, predictions).symbol_error_rate)
    assert 0.5 > rates[0] > 1.5 * rates[1] > 0.2

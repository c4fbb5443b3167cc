from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.errors import ConfigError, DataError
from unrolled.tasks.metrics import (
    ErrorRates,
    alignment,
    confusions,
    edit_distance,
    error_rates,
    wilson,
)

SHORT = st.text("abc", max_size=6)
ITEMS = st.lists(st.tuples(st.lists(SHORT, min_size=1, max_size=3), SHORT), min_size=1, max_size=8)


def recursive_distance(a, b):
    """The definition, one case after the other."""
    if not a or not b:
        return len(a) + len(b)
    return min(
        recursive_distance(a[1:], b) + 1,
        recursive_distance(a, b[1:]) + 1,
        recursive_distance(a[1:], b[1:]) + (a[0] != b[0]),
    )


@settings(deadline=None, max_examples=60)
@given(st.text("abc", max_size=5), st.text("abc", max_size=5))
def test_edit_distance_is_the_recursive_one(a, b):
    assert edit_distance(a, b) == recursive_distance(a, b) == edit_distance(b, a)


@settings(deadline=None, max_examples=60)
@given(SHORT, SHORT, SHORT)
def test_edit_distance_is_a_distance(a, b, c):
    assert (edit_distance(a, b) == 0) == (a == b)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)


@settings(deadline=None, max_examples=100)
@given(SHORT, SHORT)
def test_alignment_has_both_sequences_and_the_fewest_edits(a, b):
    pairs = alignment(a, b)
    assert "".join(left for left, _ in pairs if left is not None) == a
    assert "".join(right for _, right in pairs if right is not None) == b
    assert (None, None) not in pairs
    assert sum(left != right for left, right in pairs) == edit_distance(a, b)


def test_symbols_may_be_longer_than_a_letter():
    assert edit_distance(["AE", "T"], ["AE", "T", "S"]) == 1
    assert alignment(["AE", "T"], ("AH", "T")) == [("AE", "AH"), ("T", "T")]


def test_error_rates_by_hand():
    references = [["abc"], ["xy", "abcd"], ["ab", "cd"], ["aaaa", "bb"]]
    predictions = ["abc", "abcd", "ad", "bbb"]
    rates = error_rates(references, predictions)
    # right, right by the second reference, one edit from both, one from the shorter
    assert rates == ErrorRates(words=4, wrong_words=2, symbols=3 + 4 + 2 + 2, symbol_edits=2)
    assert rates.word_error_rate == 0.5
    assert rates.symbol_error_rate == 2 / 11


def test_of_references_equally_near_the_first_counts():
    assert error_rates([["abc", "a"]], ["ab"]).symbols == 3
    assert error_rates([["a", "abc"]], ["ab"]).symbols == 1


def test_an_empty_prediction_misses_everything():
    assert error_rates([["abc"]], [""]).symbol_error_rate == 1.0


@settings(deadline=None, max_examples=50)
@given(ITEMS)
def test_more_references_never_hurt_and_confusions_are_the_edits(items):
    references, predictions = [list(part) for part in zip(*items, strict=True)]
    rates = error_rates(references, predictions)
    fewer = error_rates([allowed[:1] for allowed in references], predictions)
    assert rates.symbol_edits <= fewer.symbol_edits
    assert rates.wrong_words <= fewer.wrong_words
    assert confusions(references, predictions).total() == rates.symbol_edits
    assert all(expected != got for expected, got in confusions(references, predictions))


def test_confusions_by_hand():
    counted = confusions([[("B", "IY")], [("AH",)], [("S",)]], [("B", "AY"), ("AH", "N"), ()])
    assert counted == Counter({("IY", "AY"): 1, (None, "N"): 1, ("S", None): 1})


@pytest.mark.parametrize("score", [error_rates, confusions])
@pytest.mark.parametrize(
    ("references", "predictions", "message"),
    [
        ([], [], "0 references for 0 predictions; give as many"),
        ([["a"]], ["a", "b"], "1 references for 2 predictions; give as many"),
        ([["a"], []], ["a", "b"], "item 1 has no reference; give at least one"),
    ],
    ids=["nothing", "lengths", "no-reference"],
)
def test_what_cannot_be_scored_is_refused(score, references, predictions, message):
    with pytest.raises(DataError, match=message):
        score(references, predictions)


@pytest.mark.parametrize(
    ("wrong", "total", "low", "high"),
    [  # Newcombe 1998, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(wrong, total, low, high):
    assert wilson(wrong, total) == pytest.approx((low, high), abs=5e-5)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_fraction_and_is_symmetric(counts):
    wrong, total = counts
    low, high = wilson(wrong, total)
    assert 0 <= low <= wrong / total <= high <= 1
    assert (low == 0) == (wrong == 0)
    assert wilson(total - wrong, total) == pytest.approx((1 - high, 1 - low))


def test_wilson_of_nothing_is_everything_and_of_nonsense_an_error():
    assert wilson(0, 0) == (0.0, 1.0)
    for wrong, total in ((3, 2), (-1, 2)):
        with pytest.raises(ConfigError, match=f"{wrong} wrong of 2; give a count from 0"):
            wilson(wrong, total)

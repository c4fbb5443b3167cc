"""How far predictions are from their references: edit distance, error rates, confusions."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from operator import itemgetter
from typing import TypeVar

from unrolled.errors import ConfigError, DataError

T = TypeVar("T")

_Z95 = 1.959963984540054  # a standard normal value lies within +- this 95 % of the time


@dataclass(frozen=True)
class ErrorRates:
    """What a set of predictions gets wrong, in whole words and in symbols.

    words, wrong_words: items, and those unlike all of their references.
    symbols, symbol_edits: symbols of the references, and edits that lead to them.

    >>> ErrorRates(words=4, wrong_words=1, symbols=20, symbol_edits=3).symbol_error_rate
    0.15
    """

    words: int
    wrong_words: int
    symbols: int
    symbol_edits: int

    @property
    def word_error_rate(self) -> float:
        """The fraction of words that are wrong, 0 to 1."""
        return self.wrong_words / self.words

    @property
    def symbol_error_rate(self) -> float:
        """Edits per reference symbol; above 1 where predictions are far too long."""
        return self.symbol_edits / max(self.symbols, 1)


def edit_distance(a: Sequence[object], b: Sequence[object]) -> int:
    """Count the fewest insertions, deletions and substitutions that turn one sequence into another.

    a, b: sequences of any length, 0 included, of anything that compares.
    Source: Levenshtein 1966; Wagner and Fischer 1974.

    >>> edit_distance("kitten", "sitting")
    3
    """
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            cost = diagonal if left == right else 1 + min(diagonal, row[j], row[j - 1])
            diagonal, row[j] = row[j], cost
    return row[-1]


def alignment(a: Sequence[T], b: Sequence[T]) -> list[tuple[T | None, T | None]]:
    """Lay two sequences side by side with as few edits as possible.

    Gives pairs in order, (symbol of a, symbol of b), with None opposite a symbol that only one has.
    Of several best alignments it takes the one that, from the end, substitutes before it deletes
    from a, and deletes before it inserts.

    >>> alignment("cart", "cat")
    [('c', 'c'), ('a', 'a'), ('r', None), ('t', 't')]
    """
    cost = [list(range(len(b) + 1))]
    for i, left in enumerate(a, 1):
        above, row = cost[-1], [i]
        for j, right in enumerate(b, 1):
            row.append(min(above[j - 1] + (left != right), above[j] + 1, row[-1] + 1))
        cost.append(row)
    pairs: list[tuple[T | None, T | None]] = []
    i, j = len(a), len(b)
    while i or j:
        if i and j and cost[i][j] == cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((a[i], b[j]))
        elif i and cost[i][j] == cost[i - 1][j] + 1:
            i -= 1
            pairs.append((a[i], None))
        else:
            j -= 1
            pairs.append((None, b[j]))
    return pairs[::-1]


def error_rates(
    references: Sequence[Sequence[Sequence[str]]], predictions: Sequence[Sequence[str]]
) -> ErrorRates:
    """Score predictions against the references that each of them may equal.

    references: for each item one or more allowed sequences of symbols. predictions: one sequence
    per item. An item is right if it equals any of its references; its edits are counted against
    the nearest, the first of those equally near.
    Raises DataError for no items, an item without a reference, or other numbers of the two.

    >>> rates = error_rates([[("AH",), ("EY",)], [("B", "IY")]], [("EY",), ("B", "AY")])
    >>> rates.word_error_rate, rates.symbol_edits, rates.symbols
    (0.5, 1, 3)
    """
    scored = list(_nearest(references, predictions))
    return ErrorRates(
        words=len(scored),
        wrong_words=sum(edits > 0 for _, _, edits in scored),
        symbols=sum(len(reference) for reference, _, _ in scored),
        symbol_edits=sum(edits for _, _, edits in scored),
    )


def confusions(
    references: Sequence[Sequence[Sequence[str]]], predictions: Sequence[Sequence[str]]
) -> Counter[tuple[str | None, str | None]]:
    """Count what was predicted in place of what, for a table of the most frequent errors.

    references, predictions and errors: as for `error_rates`.
    Gives the count of each (expected, got), without those that are equal; got is None where the
    prediction lacks a symbol, expected is None where it has one too many. The counts add up to
    the symbol edits.

    >>> confusions([[("B", "IY")]], [("B", "AY", "Z")]).most_common()
    [((None, 'AY'), 1), (('IY', 'Z'), 1)]
    """
    return Counter(
        (expected, got)
        for reference, prediction, edits in _nearest(references, predictions)
        if edits
        for expected, got in alignment(reference, prediction)
        if expected != got
    )


def wilson(wrong: int, total: int) -> tuple[float, float]:
    """Bound a fraction that was counted: the 95 % interval of Wilson's score.

    wrong: 0 to total. total: the items counted; of none, anything between 0 and 1 is possible.
    Gives the low and the high end, 0 to 1.
    Raises ConfigError for other counts. Source: Wilson 1927, doi:10.1080/01621459.1927.10502953.

    >>> [round(end, 4) for end in wilson(10, 100)]
    [0.0552, 0.1744]
    """
    if not 0 <= wrong <= total:
        raise ConfigError(f"{wrong} wrong of {total}; give a count from 0 to the total")
    if total == 0:
        return 0.0, 1.0
    spread = _Z95**2 / total

    def low(share: float) -> float:
        # the smaller root without a difference of near numbers, which could end below 0
        return share**2 / (share + spread / 2 + sqrt(spread * (share * (1 - share) + spread / 4)))

    return low(wrong / total), 1 - low((total - wrong) / total)


def _nearest(
    references: Sequence[Sequence[Sequence[str]]], predictions: Sequence[Sequence[str]]
) -> Iterator[tuple[Sequence[str], Sequence[str], int]]:
    """Give, per item, the reference it is nearest to, the prediction and the edits between them."""
    if not references or len(references) != len(predictions):
        raise DataError(
            f"{len(references)} references for {len(predictions)} predictions; "
            "give as many of one as of the other, at least one"
        )
    for item, (allowed, prediction) in enumerate(zip(references, predictions, strict=True)):
        if not allowed:
            raise DataError(f"item {item} has no reference; give at least one or leave it out")
        distances = ((reference, edit_distance(reference, prediction)) for reference in allowed)
        nearest, edits = min(distances, key=itemgetter(1))
        yield nearest, prediction, edits

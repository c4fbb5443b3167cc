"""What a system without a network reaches where output follows input, as sounds follow letters."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import ConfigError, DataError

_EDGE = ""  # stands for the letters before the first and after the last; no symbol is empty


@dataclass(frozen=True)
class LetterBaseline:
    """The most frequent chunk of target symbols for each letter, given the letters around it.

    context: how many letters on each side decide. chunks: for each window of letters seen, of
    1, 3, ... 2 context + 1 letters, its most frequent chunk of 0 to 2 target symbols.
    """

    context: int
    chunks: Mapping[tuple[str, ...], tuple[str, ...]]

    @classmethod
    def fit(
        cls,
        pairs: Sequence[tuple[Sequence[str], Sequence[str]]],
        *,
        context: int = 1,
        rounds: int = 5,
    ) -> Self:
        """Align each letter to 0, 1 or 2 target symbols, and count the chunks it is aligned to.

        Alignments are monotone. The chances of a chunk given its letter come from expectation
        maximisation over all of them; then the best alignment of each pair is counted. The idea is
        the many-to-many aligner of Jiampojamarn, Kondrak and Sherif 2007 (aclanthology N07-1047).

        pairs: (letters, target symbols); those with no letter or more than 2 symbols per letter
        cannot be aligned and are left out. For words: time and memory grow with the product of
        the two lengths. context: at least 0. rounds: of expectation maximisation, at least 1.
        Raises ConfigError for other settings, DataError if no pair can be aligned.

        >>> pairs = [("ab", ("A", "B")), ("b", ("B",)), ("axb", ("A", "K", "S", "B"))]
        >>> LetterBaseline.fit(pairs, context=0).predict("bxa")
        ('B', 'K', 'S', 'A')
        """
        if context < 0 or rounds < 1:
            raise ConfigError(f"context {context}, rounds {rounds}; give at least 0 and at least 1")
        counts: dict[tuple[str, ...], Counter[tuple[str, ...]]] = defaultdict(Counter)
        for index, sizes in _alignments(pairs, rounds):
            letters, target = pairs[index]
            start = 0
            for windows, size in zip(_windows(letters, context), sizes, strict=True):
                chunk = tuple(target[start : start + size])
                start += size
                for window in windows:
                    counts[window][chunk] += 1
        # among equals the alphabet decides, not the order of the pairs
        return cls(context, {w: min(c, key=lambda k: (-c[k], k)) for w, c in counts.items()})

    def predict(self, source: Sequence[str]) -> tuple[str, ...]:
        """Give the chunks of all letters, one after the other.

        Each letter takes the chunk of the widest window around it that was seen; a letter never
        seen gives nothing.

        >>> LetterBaseline(0, {("a",): ("A",), ("x",): ("K", "S")}).predict("a?x")
        ('A', 'K', 'S')
        """
        result: list[str] = []
        for windows in _windows(source, self.context):
            seen = (self.chunks[window] for window in windows if window in self.chunks)
            result += next(seen, ())
        return tuple(result)


def _windows(letters: Sequence[str], context: int) -> Iterator[list[tuple[str, ...]]]:
    """Give, for each letter, the windows centred on it, from the widest to the letter alone."""
    edge = (_EDGE,) * context
    padded = (*edge, *letters, *edge)
    for i in range(context, context + len(letters)):
        yield [padded[i - width : i + width + 1] for width in range(context, -1, -1)]


@dataclass(frozen=True)
class _Shape:
    """All pairs of as many letters and as many target symbols, n and m."""

    indices: list[int]  # which pairs
    # (pairs, n, m + 1, 3): for a letter, a position in the target and a size 0 to 2, the number of
    # the entry "this letter stands for the symbols of this size before this position"
    entries: NDArray[np.int32]


def _alignments(
    pairs: Sequence[tuple[Sequence[str], Sequence[str]]], rounds: int
) -> Iterator[tuple[int, list[int]]]:
    """Give the index of each pair that can be aligned, and the sizes of its letters' chunks."""
    shapes, letters = _shapes(pairs)
    chance = np.zeros(len(letters))  # the logarithm of each entry's probability given its letter
    for _ in range(rounds):
        counts = np.zeros(len(letters))
        for shape in shapes:
            expected = _expected(chance[shape.entries])
            counts += np.bincount(shape.entries.ravel(), expected.ravel(), len(letters))
        with np.errstate(divide="ignore"):  # an entry on no alignment has the chance 0
            chance = np.log(counts) - np.log(np.bincount(letters, counts))[letters]
    for shape in shapes:
        yield from zip(shape.indices, _best(chance[shape.entries]).tolist(), strict=True)


def _shapes(
    pairs: Sequence[tuple[Sequence[str], Sequence[str]]],
) -> tuple[list[_Shape], NDArray[np.int64]]:
    """Sort the pairs by shape and number their entries; give the shapes and each entry's letter."""
    by_shape: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, (source, target) in enumerate(pairs):
        if 0 < len(source) and len(target) <= 2 * len(source):
            by_shape[len(source), len(target)].append(index)
    if not by_shape:
        raise DataError("no pair to fit; give letters with at most 2 target symbols for each")
    letters = _numbers(source for source, _ in pairs)
    symbols = _numbers(target for _, target in pairs)
    base = len(symbols) + 1  # a chunk is a number of two digits, each a symbol or 0 for none
    codes: list[NDArray[np.int64]] = []
    for indices in by_shape.values():
        source = [[letters[letter] for letter in pairs[index][0]] for index in indices]
        target = [[0, 0, *(symbols[symbol] for symbol in pairs[index][1])] for index in indices]
        last = np.array(target)[:, 1:]
        two = last + base * np.array(target)[:, :-1]
        chunks = np.stack([np.zeros_like(last), last, two], axis=-1)
        codes.append(chunks[:, None] + base**2 * np.array(source)[:, :, None, None])
    known = np.unique(np.concatenate([np.unique(code) for code in codes]))
    shapes = [
        _Shape(indices, np.searchsorted(known, code).astype(np.int32))
        for indices, code in zip(by_shape.values(), codes, strict=True)
    ]
    return shapes, known // base**2


def _numbers(sequences: Iterable[Sequence[str]]) -> dict[str, int]:
    """Number the symbols of sequences from 1, by alphabet."""
    return {symbol: i for i, symbol in enumerate(sorted({s for seq in sequences for s in seq}), 1)}


def _expected(chance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the probability that an alignment of its pair uses an entry: forward-backward.

    chance (pairs, n, m + 1, 3) of the entries, in logarithms; the result has the same shape.
    """
    pairs, n, positions, _ = chance.shape
    reached = [_certain(pairs, positions, at=0)]  # (pairs, m + 1), after each letter
    for i in range(n):
        reached.append(np.logaddexp.reduce(_before(reached[-1]) + chance[:, i], axis=-1))
    used = np.empty_like(chance)
    ahead = _certain(pairs, positions, at=positions - 1)
    for i in reversed(range(n)):
        onward = chance[:, i] + ahead[:, :, None]
        used[:, i] = _before(reached[i]) + onward
        ahead = onward[:, :, 0].copy()
        for size in (1, 2):
            ahead[:, :-size] = np.logaddexp(ahead[:, :-size], onward[:, size:, size])
    return np.exp(used - reached[n][:, -1, None, None, None])


def _best(chance: NDArray[np.float64]) -> NDArray[np.int64]:
    """Give the sizes (pairs, n) of the chunks on each pair's most probable alignment: Viterbi."""
    pairs, n, positions, _ = chance.shape
    # on this grid sums are exact: alignments as good as each other, such as the two of "ll", tie,
    # and the same one wins in every word
    chance = np.rint(chance * 2**20) / 2**20
    reached = _certain(pairs, positions, at=0)
    choices = []  # of the size, (pairs, m + 1), at each letter
    for i in range(n):
        step = _before(reached) + chance[:, i]
        choices.append(step.argmax(axis=-1))
        reached = step.max(axis=-1)
    sizes = np.empty((pairs, n), dtype=np.int64)
    position = np.full(pairs, positions - 1)
    for i in reversed(range(n)):
        sizes[:, i] = choices[i][np.arange(pairs), position]
        position -= sizes[:, i]
    return sizes


def _certain(pairs: int, positions: int, at: int) -> NDArray[np.float64]:
    """Give chances (pairs, positions), in logarithms, of being at one position for certain."""
    chance = np.full((pairs, positions), -np.inf)
    chance[:, at] = 0
    return chance


def _before(chance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give (pairs, positions, 3): the chance of the position 0, 1 and 2 before each position."""
    before = np.full((*chance.shape, 3), -np.inf)
    before[:, :, 0] = chance
    before[:, 1:, 1] = chance[:, :-1]
    before[:, 2:, 2] = chance[:, :-2]
    return before

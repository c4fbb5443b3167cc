"""Language models that count: n-grams of symbols, and n-grams of words spelled in symbols.

Both give, for a text so far, a log-probability for every symbol that may follow, as a search wants
it (`unrolled.models.prefixes`). Symbols are numbers from 1 on; 0 is the end.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import ConfigError
from unrolled.models.prefixes import END

START = -1  # what stands before the first symbol
KEPT = 1 << 24  # numbers that a model keeps at hand at most

Context = tuple[int, ...]
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class NGram:
    """How often symbols follow one another, smoothed as Witten and Bell do it.

        P(s | h) = (count(h s) + kinds(h) P(s | h')) / (count(h) + kinds(h))

    where h' is h without its first symbol, kinds(h) the number of different symbols seen after h,
    and every symbol is equally likely where nothing is left of h. Witten & Bell 1991,
    doi:10.1109/18.87000, interpolated as in Chen & Goodman 1999, doi:10.1006/csla.1999.0128.

    counts: for each context, the symbols seen after it. order: symbols of an n-gram.
    symbols: how many there are, the end, 0, included.

    >>> model = NGram.learn([[1, 2], [1, 2], [1, 1]], symbols=3, order=2)
    >>> model.probabilities((1,)).round(2).tolist()  # the end, 1, 2
    [0.29, 0.32, 0.39]
    """

    order: int
    symbols: int
    counts: dict[Context, tuple[NDArray[np.int64], Vector]]
    _known: dict[Context, Vector] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def learn(cls, texts: Iterable[Sequence[int]], symbols: int, order: int) -> "NGram":
        """Count the n-grams of texts, and of all shorter ones. Raises ConfigError for order 0."""
        if order < 1:
            raise ConfigError(f"the order is {order}; give at least 1")
        seen: dict[Context, Counter[int]] = {}
        for text in texts:
            padded = (START,) * (order - 1) + tuple(text) + (END,)
            for place in range(order - 1, len(padded)):
                for length in range(order):
                    context = padded[place - length : place]
                    seen.setdefault(context, Counter())[padded[place]] += 1
        counts = {
            context: (np.array(list(own), np.int64), np.array(list(own.values()), np.float64))
            for context, own in seen.items()
        }
        return cls(order, symbols, counts)

    def probabilities(self, context: Context) -> Vector:
        """Give the probability (symbols,) of each symbol after a context of any length."""
        context = (
            context[len(context) - self.order + 1 :] if len(context) >= self.order else context
        )
        while context and context not in self.counts:
            context = context[1:]
        if context not in self._known:
            uniform = np.full(self.symbols, 1 / self.symbols)
            shorter = self.probabilities(context[1:]) if context else uniform
            _bound(self._known, self.symbols)
            self._known[context] = self._sharpened(context, shorter)
        return self._known[context]

    def _sharpened(self, context: Context, shorter: Vector) -> Vector:
        found, times = self.counts[context]
        sharp = shorter * len(found)
        sharp[found] += times
        return sharp / (times.sum() + len(found))

    @property
    def start(self) -> Context:
        """The context of a text's first symbol."""
        return (START,) * (self.order - 1)

    def next(self, state: Context) -> Vector:
        """Give the log-probabilities of what follows."""
        return np.log(self.probabilities(state))

    def after(self, state: Context, symbol: int) -> Context:
        """Give the context after one more symbol."""
        return (*state, symbol)[1:]


@dataclass(frozen=True)
class _Place:
    """A beginning of words: which of the sorted words begin so, and what follows in them."""

    first: int
    stop: int
    longer: dict[int, "_Place"]
    word: int | None  # the word that ends here, if one does


@dataclass(frozen=True)
class Spelling:
    """Where a text stands: the words before, and what is there of the next one."""

    history: Context
    prefix: Context


class WordModel:
    """An n-gram of words that speaks at every symbol, and takes words it has never seen.

    What follows the beginning of a word is as likely as all the words that go on so, together: the
    words are a sorted list, so those with a common beginning stand side by side and their sum is a
    difference of two cumulative sums. A word is a new one with the probability of the words seen
    once (Good 1953, doi:10.1093/biomet/40.3-4.237); then an n-gram of symbols, learnt from the
    list of words, spells it.

    Args:
        texts: to learn from, each its symbols.
        symbols: how many there are, the end, 0, included.
        space: the symbol between words.
        order: words of an n-gram.
        spelling_order: symbols of an n-gram that spells a new word.

    Example:
        Of the words (1, 2) and (1, 3), parted by 4, the first comes more often:

        >>> model = WordModel([[1, 2, 4, 1, 3, 4, 1, 2]], symbols=5, space=4, order=1)
        >>> following = np.exp(model.next(model.after(model.start, 1)))
        >>> bool(following[2] > following[3]), round(float(following.sum()), 6)
        (True, 1.0)
    """

    def __init__(
        self,
        texts: Iterable[Sequence[int]],
        symbols: int,
        *,
        space: int,
        order: int,
        spelling_order: int = 4,
    ) -> None:
        self.symbols, self.space = symbols, space
        sentences = [_words(text, space) for text in texts]
        times = Counter(word for sentence in sentences for word in sentence)
        self.words = sorted(times)
        self.numbers = {word: number for number, word in enumerate(self.words, 1)}
        numbered = [[self.numbers[word] for word in sentence] for sentence in sentences]
        # one more than there are words: the word that is not among them
        self.counted = NGram.learn(numbered, len(self.words) + 2, order)
        self.speller = NGram.learn(self.words, symbols, spelling_order)
        once = sum(count == 1 for count in times.values())
        self.new = max(once, 1) / (times.total() + 1)
        self.places = self._place(0, len(self.words), 0)
        self._sums: dict[Context, Vector] = {}
        self._scores: dict[Spelling, Vector] = {}

    @property
    def start(self) -> Spelling:
        """The state before the first word."""
        return Spelling(self.counted.start, ())

    def next(self, state: Spelling) -> Vector:
        """Give the log-probabilities of what follows: a symbol of the word, the space, the end."""
        if state not in self._scores:
            _bound(self._scores, self.symbols)
            with np.errstate(divide="ignore"):
                self._scores[state] = np.log(self._following(state))
        return self._scores[state]

    def after(self, state: Spelling, symbol: int) -> Spelling:
        """Give the state after one more symbol; a space ends the word."""
        if symbol != self.space:
            return Spelling(state.history, (*state.prefix, symbol))
        return Spelling(self._after_word(state), ())

    def _after_word(self, state: Spelling) -> Context:
        number = self.numbers.get(state.prefix, len(self.words) + 1)
        return self.counted.after(state.history, number)

    def _following(self, state: Spelling) -> Vector:
        sums = self._cumulative(state.history)
        place = self._find(state.prefix)
        follows = self.speller.probabilities(self.speller.start + state.prefix)
        if place is not None:
            follows = self.new * self._spelled(state.prefix) * follows
            for symbol, longer in place.longer.items():
                follows[symbol] += (1 - self.new) * (sums[longer.stop] - sums[longer.first])
            if place.word is not None:
                known = sums[place.word + 1] - sums[place.word]
                follows[END] += (1 - self.new) * known
        follows = follows / follows.sum()
        complete = follows[END]  # the word: then it is the last, or a space and others follow
        last = self.counted.probabilities(self._after_word(state))[END]
        follows[END] = complete * last
        follows[self.space] += complete * (1 - last)
        return follows

    def _cumulative(self, history: Context) -> Vector:
        """Add up the probabilities of the words, given that one more comes."""
        if history not in self._sums:
            chances = self.counted.probabilities(history)[1:-1]
            _bound(self._sums, len(self.words))
            self._sums[history] = np.concatenate([[0.0], np.cumsum(chances / chances.sum())])
        return self._sums[history]

    def _spelled(self, prefix: Context) -> float:
        """Give the probability that a new word begins so."""
        logs, context = 0.0, self.speller.start
        for symbol in prefix:
            logs += math.log(self.speller.probabilities(context)[symbol])
            context = self.speller.after(context, symbol)
        return math.exp(logs)

    def _place(self, first: int, stop: int, depth: int) -> _Place:
        """Part the sorted words from first to stop, alike up to depth, by the symbol there."""
        word = first if first < stop and len(self.words[first]) == depth else None
        longer: dict[int, _Place] = {}
        begin = first + (word is not None)
        while begin < stop:
            symbol = self.words[begin][depth]
            end = begin
            while end < stop and self.words[end][depth] == symbol:
                end += 1
            longer[symbol] = self._place(begin, end, depth + 1)
            begin = end
        return _Place(first, stop, longer, word)

    def _find(self, prefix: Context) -> _Place | None:
        place: _Place | None = self.places
        for symbol in prefix:
            place = place and place.longer.get(symbol)
        return place


def _words(text: Sequence[int], space: int) -> list[Context]:
    """Part a text at its spaces; several together are one."""
    words: list[list[int]] = [[]]
    for symbol in text:
        if symbol == space:
            words.append([])
        else:
            words[-1].append(symbol)
    return [tuple(word) for word in words if word]


def _bound(kept: dict[Any, Vector], size: int) -> None:
    """Forget vectors of some size that are kept at hand when there are too many."""
    if (len(kept) + 1) * size > KEPT:
        kept.clear()

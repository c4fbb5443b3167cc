"""Beginnings of texts as a search through sound meets them, and the language model's say in it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

END = 0  # what a language model calls the end of a text: a text has no blanks

Scores = NDArray[np.floating]


class LanguageModel(Protocol):
    """What says how likely each symbol is after those before it."""

    @property
    def start(self) -> Any:
        """The state before the first symbol."""
        ...

    def next(self, state: Any) -> Scores:
        """Give the log-probabilities (symbols,) of what follows; in the place END, of nothing."""
        ...

    def after(self, state: Any, symbol: int) -> Any:
        """Give the state after one more symbol."""
        ...


@dataclass(frozen=True)
class Fusion:
    """How a language model speaks up in the search (shallow fusion).

    A text is ranked by log P(text | sound) + weight * log P(text) + bonus * its symbols; the bonus
    makes up for what every further symbol costs. Hannun et al. 2014, arXiv:1408.2873.
    """

    model: LanguageModel
    weight: float = 0.5
    bonus: float = 0.0


@dataclass(frozen=True)
class Hypothesis:
    """A text that the search found."""

    symbols: tuple[int, ...]
    score: float  # what it was ranked by
    sound: float  # log P(text | sound), over the paths that the search has kept


@dataclass(frozen=True)
class Span:
    """The steps of a symbol, from start to before stop, and its mean probability there."""

    start: int
    stop: int
    probability: float


class Searching(Protocol):
    """A search that goes on while sound arrives."""

    def hear(self, heard: Scores) -> None:
        """Go through further steps (steps, features), as a head makes them."""
        ...

    def found(self, best: int = 1) -> list[Hypothesis]:
        """Give the texts found so far, at most `best`, the best first."""
        ...


@dataclass(slots=True, eq=False)
class Prefix:
    """A text so far: the beginnings of texts form a tree, so that each is there only once.

    >>> root = Prefix.root(None)
    >>> root.longer(3, None).longer(1, None).symbols(), root.longer(3, None) is root.longer(3, None)
    ((3, 1), True)
    """

    parent: Self | None
    symbol: int
    state: Any  # of the language model after it
    text: float  # weighted log-probability and bonus of its symbols
    children: dict[int, Self] = field(default_factory=dict)
    following: list[float] | None = None  # what each further symbol adds to `text`

    @classmethod
    def root(cls, fusion: Fusion | None) -> Self:
        """Give the text without symbols."""
        return cls(None, END, fusion and fusion.model.start, 0.0)

    def longer(self, symbol: int, fusion: Fusion | None) -> Self:
        """Give the text that has one more symbol, the same object whenever it is asked for."""
        longer = self.children.get(symbol)
        if longer is None:
            if fusion is None:
                longer = type(self)(self, symbol, None, 0.0)
            else:
                text = self.text + self.adds(fusion)[symbol]
                longer = type(self)(self, symbol, fusion.model.after(self.state, symbol), text)
            self.children[symbol] = longer
        return longer

    def adds(self, fusion: Fusion) -> list[float]:
        """Give what each further symbol adds to the text's rank."""
        if self.following is None:
            scores = fusion.weight * fusion.model.next(self.state) + fusion.bonus
            self.following = list(map(float, scores))
        return self.following

    def ending(self, fusion: Fusion | None) -> float:
        """Give what it adds to the rank that the text ends here."""
        if fusion is None:
            return 0.0
        return fusion.weight * float(fusion.model.next(self.state)[END])

    def symbols(self) -> tuple[int, ...]:
        """Read the text."""
        found: list[int] = []
        prefix: Prefix | None = self
        while prefix is not None and prefix.parent is not None:
            found.append(prefix.symbol)
            prefix = prefix.parent
        return tuple(reversed(found))


def ranked(
    texts: Sequence[tuple[Prefix, float]], fusion: Fusion | None, best: int
) -> list[Hypothesis]:
    """Rank texts that have ended, each given with its sound, and give the best of them."""
    found = [
        (sound + prefix.text + prefix.ending(fusion), sound, prefix) for prefix, sound in texts
    ]
    found.sort(key=lambda one: -one[0])
    return [Hypothesis(prefix.symbols(), score, sound) for score, sound, prefix in found[:best]]


def add(a: float, b: float) -> float:
    """Add two probabilities that are given by their logarithms.

    >>> round(math.exp(add(math.log(0.5), math.log(0.25))), 6)
    0.75
    """
    if a < b:
        a, b = b, a
    return a if b == -math.inf else a + math.log1p(math.exp(b - a))

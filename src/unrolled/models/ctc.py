"""From the log-probabilities of each step to symbols: best path, prefix beam search, alignment.

Here a step gives one log-probability for each symbol, and symbol 0 is the blank. A path names a
symbol at every step; the text it stands for has equal neighbours joined and then the blanks left
out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import ConfigError, ShapeError

BLANK = 0
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


def greedy(log_probs: Scores) -> Hypothesis:
    """Read the text off the single best path.

    log_probs: (steps, symbols).

    >>> path = np.log([[0.1, 0.8, 0.1], [0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])
    >>> greedy(path).symbols
    (1, 1)
    """
    score = float(log_probs.max(1).sum()) if len(log_probs) else 0.0
    symbols = tuple(symbol for symbol, _ in groupby(log_probs.argmax(1).tolist()) if symbol)
    return Hypothesis(symbols, score, score)


@dataclass(slots=True)
class _Prefix:
    """A text so far: the beginnings of texts form a tree, so that each is there only once."""

    parent: "_Prefix | None"
    symbol: int
    state: Any  # of the language model after it
    text: float  # weighted log-probability and bonus of its symbols
    blank: float = -math.inf  # log-probability of its paths that end in a blank ...
    last: float = -math.inf  # ... and in its last symbol
    blank_next: float = -math.inf  # the same, one step on
    last_next: float = -math.inf
    rank: float = 0.0  # what the kept ones are chosen by
    children: dict[int, "_Prefix"] = field(default_factory=dict)
    following: list[float] | None = None  # what each further symbol adds to `text`

    @property
    def sound(self) -> float:
        return _add(self.blank, self.last)

    def symbols(self) -> tuple[int, ...]:
        found: list[int] = []
        prefix: _Prefix | None = self
        while prefix is not None and prefix.parent is not None:
            found.append(prefix.symbol)
            prefix = prefix.parent
        return tuple(reversed(found))


def beam(
    log_probs: Scores,
    width: int,
    *,
    fusion: Fusion | None = None,
    best: int = 1,
    floor: float = 1e-5,
    margin: float = 12.0,
) -> list[Hypothesis]:
    """Search for the most likely texts, each over all of its paths.

    Prefix beam search: Graves & Jaitly 2014 (ICML); Hannun et al. 2014, arXiv:1408.2873.

    Args:
        log_probs: (steps, symbols).
        width: texts that are kept after each step, at least 1.
        fusion: a language model that has a say; by default only the sound counts.
        best: texts wanted.
        floor: symbols less likely than this at a step are not tried there.
        margin: texts whose log-probability is further than this below the best are not kept.

    Returns:
        The texts found, at most `best`, the best first.

    Raises:
        ConfigError: the width or `best` is below 1.
        ShapeError: the log-probabilities have another shape.

    Example:
        Two paths for the text 1 outweigh the single best path, which is empty:

        >>> log_probs = np.log([[0.6, 0.4], [0.6, 0.4]])
        >>> greedy(log_probs).symbols, beam(log_probs, 2)[0].symbols
        ((), (1,))
    """
    if width < 1 or best < 1:
        raise ConfigError(f"width is {width} and best {best}: expected at least 1")
    if log_probs.ndim != 2:
        raise ShapeError(f"log_probs has shape {log_probs.shape}: expected (steps, symbols)")
    root = _Prefix(None, BLANK, fusion and fusion.model.start, 0.0, blank=0.0)
    kept, least = [root], math.log(floor) if floor > 0 else -math.inf
    for row in log_probs:
        tried = [symbol for symbol in np.flatnonzero(row > least).tolist() if symbol != BLANK]
        kept = _step(kept, row.tolist(), tried, fusion)
        kept = _narrowed(kept, width, margin)
    found = [(prefix.sound + prefix.text + _ending(prefix, fusion), prefix) for prefix in kept]
    found.sort(key=lambda one: -one[0])
    return [Hypothesis(p.symbols(), score, p.sound) for score, p in found[:best]]


def _step(
    kept: Sequence[_Prefix],
    row: Sequence[float],
    tried: Sequence[int],
    fusion: Fusion | None,
) -> list[_Prefix]:
    """Take every text one step on, alone and with each symbol that is tried."""
    reached: dict[int, _Prefix] = {}
    for prefix in kept:
        sound = prefix.sound
        reached[id(prefix)] = prefix
        prefix.blank_next = _add(prefix.blank_next, sound + row[BLANK])
        if prefix.parent is not None:  # the last symbol goes on
            prefix.last_next = _add(prefix.last_next, prefix.last + row[prefix.symbol])
        for symbol in tried:
            # a symbol that comes twice has a blank between
            before = prefix.blank if symbol == prefix.symbol else sound
            if before > -math.inf:
                longer = _longer(prefix, symbol, fusion)
                reached[id(longer)] = longer
                longer.last_next = _add(longer.last_next, before + row[symbol])
    for prefix in reached.values():
        prefix.blank, prefix.last = prefix.blank_next, prefix.last_next
        prefix.blank_next = prefix.last_next = -math.inf
        prefix.rank = prefix.sound + prefix.text
    return list(reached.values())


def _narrowed(reached: list[_Prefix], width: int, margin: float) -> list[_Prefix]:
    """Keep the best texts; one that is dropped, and comes back, starts anew."""
    reached.sort(key=lambda prefix: -prefix.rank)
    least = reached[0].rank - margin
    kept = [prefix for prefix in reached[:width] if prefix.rank >= least]
    for prefix in reached[len(kept) :]:
        prefix.blank = prefix.last = -math.inf
    return kept


def _longer(prefix: _Prefix, symbol: int, fusion: Fusion | None) -> _Prefix:
    """Give the text that has one more symbol, the same object whenever it is asked for."""
    longer = prefix.children.get(symbol)
    if longer is None:
        if fusion is None:
            longer = _Prefix(prefix, symbol, None, 0.0)
        else:
            following = prefix.following
            if following is None:
                scores = fusion.weight * fusion.model.next(prefix.state) + fusion.bonus
                following = prefix.following = list(map(float, scores))
            state = fusion.model.after(prefix.state, symbol)
            longer = _Prefix(prefix, symbol, state, prefix.text + following[symbol])
        prefix.children[symbol] = longer
    return longer


def _ending(prefix: _Prefix, fusion: Fusion | None) -> float:
    if fusion is None:
        return 0.0
    return fusion.weight * float(fusion.model.next(prefix.state)[END])


def _add(a: float, b: float) -> float:
    """Add two probabilities that are given by their logarithms."""
    if a < b:
        a, b = b, a
    return a if b == -math.inf else a + math.log1p(math.exp(b - a))


def align(log_probs: Scores, symbols: Sequence[int]) -> list[Span]:
    """Say at which steps each symbol of a text is, on the best path that stands for this text.

    Args:
        log_probs: (steps, symbols).
        symbols: the text, without blanks.

    Returns:
        A span for each symbol, in order; they do not overlap.

    Raises:
        ShapeError: the text needs more steps than there are.

    Example:
        >>> path = np.log([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
        >>> [(span.start, span.stop) for span in align(path, [1, 2])]
        [(1, 3), (3, 4)]
    """
    states = np.full(2 * len(symbols) + 1, BLANK)
    states[1::2] = symbols
    steps = len(log_probs)
    emitted = log_probs[:, states]  # (steps, states)
    jumps = np.zeros(len(states), bool)  # over the blank between two different symbols
    jumps[3::2] = states[3::2] != states[1:-2:2]
    score = np.full(len(states), -math.inf)
    moves = np.zeros((steps, len(states)), np.int8)
    for t in range(steps):
        ways = np.full((3, len(states)), -math.inf)
        if t:
            ways[0], ways[1, 1:] = score, score[:-1]
            ways[2, 2:] = np.where(jumps[2:], score[:-2], -math.inf)
        else:
            ways[0, :2] = 0.0
        moves[t] = ways.argmax(0)
        score = ways.max(0) + emitted[t]
    state = max(range(max(0, len(states) - 2), len(states)), key=lambda s: score[s])
    if steps and score[state] == -math.inf or not steps and symbols:
        raise ShapeError(f"{len(symbols)} symbols do not fit into {steps} steps")
    path = []
    for t in range(steps - 1, -1, -1):
        path.append(state)
        state -= int(moves[t, state])
    return _spans(path[::-1], np.exp(emitted))


def _spans(path: Sequence[int], probabilities: Scores) -> list[Span]:
    """Gather the steps of each symbol: on the path through the states, those with odd numbers."""
    spans = []
    for state, steps in groupby(range(len(path)), key=path.__getitem__):
        if state % 2:
            held = list(steps)
            mean = float(probabilities[held, state].mean())
            spans.append(Span(held[0], held[-1] + 1, mean))
    return spans

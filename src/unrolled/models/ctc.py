"""From the log-probabilities of each step to symbols: best path, prefix beam search, alignment.

Here a step gives one log-probability for each symbol, and symbol 0 is the blank. A path names a
symbol at every step; the text it stands for has equal neighbours joined and then the blanks left
out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from unrolled.errors import ConfigError, ShapeError
from unrolled.models.prefixes import Fusion, Hypothesis, Prefix, Scores, Span, add, ranked

BLANK = 0


def greedy(log_probs: Scores) -> Hypothesis:
    """Read the text off the single best path.

    log_probs: (steps, symbols).

    >>> path = np.log([[0.1, 0.8, 0.1], [0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])
    >>> greedy(path).symbols
    (1, 1)
    """
    search = Greedy()
    search.hear(log_probs)
    return search.found()[0]


class Greedy:
    """Reads the text off the single best path, as steps arrive."""

    def __init__(self) -> None:
        self.symbols: list[int] = []
        self.last, self.score = BLANK, 0.0

    def hear(self, heard: Scores) -> None:
        """Go through further steps (steps, symbols)."""
        for symbol, _ in groupby(heard.argmax(1).tolist()):
            if symbol not in (BLANK, self.last):
                self.symbols.append(symbol)
            self.last = symbol
        self.score += float(heard.max(1).sum()) if len(heard) else 0.0

    def found(self, best: int = 1) -> list[Hypothesis]:
        """Give the text so far."""
        return [Hypothesis(tuple(self.symbols), self.score, self.score)]


@dataclass(slots=True, eq=False)
class _Text(Prefix):
    """A text so far, with its paths up to a step."""

    blank: float = -math.inf  # log-probability of its paths that end in a blank ...
    last: float = -math.inf  # ... and in its last symbol
    blank_next: float = -math.inf  # the same, one step on
    last_next: float = -math.inf
    rank: float = 0.0  # what the kept ones are chosen by

    @property
    def sound(self) -> float:
        return add(self.blank, self.last)


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
    if best < 1:
        raise ConfigError(f"best is {best}: expected at least 1")
    if log_probs.ndim != 2:
        raise ShapeError(f"log_probs has shape {log_probs.shape}: expected (steps, symbols)")
    search = Beam(width, fusion, floor=floor, margin=margin)
    search.hear(log_probs)
    return search.found(best)


class Beam:
    """The search of `beam`, which gives its arguments, as steps arrive."""

    def __init__(
        self,
        width: int,
        fusion: Fusion | None = None,
        *,
        floor: float = 1e-5,
        margin: float = 12.0,
    ) -> None:
        if width < 1:
            raise ConfigError(f"width is {width}: expected at least 1")
        self.width, self.fusion, self.margin = width, fusion, margin
        self.least = math.log(floor) if floor > 0 else -math.inf
        root = _Text.root(fusion)
        root.blank = 0.0
        self.kept = [root]

    def hear(self, heard: Scores) -> None:
        """Go through further steps (steps, symbols)."""
        for row in heard:
            tried = [s for s in np.flatnonzero(row > self.least).tolist() if s != BLANK]
            reached = _step(self.kept, row.tolist(), tried, self.fusion)
            self.kept = _narrowed(reached, self.width, self.margin)

    def found(self, best: int = 1) -> list[Hypothesis]:
        """Give the texts found so far, at most `best`, the best first."""
        return ranked([(text, text.sound) for text in self.kept], self.fusion, best)


def _step(
    kept: Sequence[_Text],
    row: Sequence[float],
    tried: Sequence[int],
    fusion: Fusion | None,
) -> list[_Text]:
    """Take every text one step on, alone and with each symbol that is tried."""
    reached: dict[int, _Text] = {}
    for prefix in kept:
        sound = prefix.sound
        reached[id(prefix)] = prefix
        prefix.blank_next = add(prefix.blank_next, sound + row[BLANK])
        if prefix.parent is not None:  # the last symbol goes on
            prefix.last_next = add(prefix.last_next, prefix.last + row[prefix.symbol])
        for symbol in tried:
            # a symbol that comes twice has a blank between
            before = prefix.blank if symbol == prefix.symbol else sound
            if before > -math.inf:
                longer = prefix.longer(symbol, fusion)
                reached[id(longer)] = longer
                longer.last_next = add(longer.last_next, before + row[symbol])
    for prefix in reached.values():
        prefix.blank, prefix.last = prefix.blank_next, prefix.last_next
        prefix.blank_next = prefix.last_next = -math.inf
        prefix.rank = prefix.sound + prefix.text
    return list(reached.values())


def _narrowed(reached: list[_Text], width: int, margin: float) -> list[_Text]:
    """Keep the best texts; one that is dropped, and comes back, starts anew."""
    reached.sort(key=lambda prefix: -prefix.rank)
    least = reached[0].rank - margin
    kept = [prefix for prefix in reached[:width] if prefix.rank >= least]
    for prefix in reached[len(kept) :]:
        prefix.blank = prefix.last = -math.inf
    return kept


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

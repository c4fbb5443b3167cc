"""Searches for what a transducer writes: the best symbol at each place, and a beam of texts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from unrolled.errors import ConfigError
from unrolled.models.prefixes import Fusion, Hypothesis, Prefix, Scores, add, ranked

BLANK = 0
MOST = 5  # symbols that may be written in a step


class Joint(Protocol):
    """What scores symbols, given a step and what is written before it."""

    def read(self, symbols: Sequence[int], states: Sequence[Any]) -> list[tuple[Scores, Any]]:
        """Read one more symbol of each text; give its features and the state after it.

        The symbol before the first is the blank, and the state before it None.
        """
        ...

    def score(self, step: Scores, written: Sequence[Scores]) -> Scores:
        """Give the log-probabilities (texts, symbols) of what each text goes on with in a step."""
        ...


class Greedy:
    """Writes the best symbol, until it is the blank, and goes on to the next step."""

    def __init__(self, joint: Joint) -> None:
        self.joint, self.symbols, self.score = joint, list[int](), 0.0
        [(self.written, self.state)] = joint.read([BLANK], [None])

    def hear(self, heard: Scores) -> None:
        """Go through further steps (steps, features)."""
        for step in heard:
            for _ in range(MOST):
                [row] = self.joint.score(step, [self.written])
                symbol = int(row.argmax())
                if symbol == BLANK:
                    break
                self.score += float(row[symbol])
                self.symbols.append(symbol)
                [(self.written, self.state)] = self.joint.read([symbol], [self.state])
            else:
                [row] = self.joint.score(step, [self.written])
            self.score += float(row[BLANK])

    def found(self, best: int = 1) -> list[Hypothesis]:
        """Give the text so far."""
        return [Hypothesis(tuple(self.symbols), self.score, self.score)]


@dataclass(slots=True, eq=False)
class _Text(Prefix):
    """A text so far, and what the prediction network made of it."""

    written: Any = None
    memory: Any = None


class Beam:
    """Keeps the likeliest texts after each step, each over all ways of writing it that were kept.

    Within a step every text may end the step by a blank, or go on by up to `MOST` symbols, each
    round of which keeps the best `width`; ways that come to the same text are added up. Graves 2012
    (section 2.5), with the symbols of a step limited as in the time-synchronous search of Saon,
    Tüske & Audhkhasi 2020 (ICASSP, algorithm 1).

    Args:
        joint: scores symbols.
        width: texts that are kept after each step, at least 1.
        fusion: a language model that has a say; by default only the sound counts.
        margin: texts whose log-probability is further than this below the best are not kept.

    Raises:
        ConfigError: the width is below 1.
    """

    def __init__(
        self, joint: Joint, width: int, fusion: Fusion | None = None, *, margin: float = 12.0
    ) -> None:
        if width < 1:
            raise ConfigError(f"width is {width}: expected at least 1")
        self.joint, self.width, self.fusion, self.margin = joint, width, fusion, margin
        self.kept = {_Text.root(fusion): 0.0}

    def hear(self, heard: Scores) -> None:
        """Go through further steps (steps, features)."""
        for step in heard:
            going, ended = self.kept, dict[_Text, float]()
            for round in range(MOST + 1):
                self._read(list(going))
                scores = self.joint.score(step, [text.written for text in going])
                for (text, sound), blank in zip(going.items(), scores[:, BLANK], strict=True):
                    ended[text] = add(ended.get(text, -math.inf), sound + float(blank))
                going = self._longer(going, scores, ended) if round < MOST else {}
                if not going:
                    break
            order = sorted(ended, key=lambda text: -ended[text] - text.text)[: self.width]
            least = ended[order[0]] + order[0].text - self.margin
            self.kept = {text: ended[text] for text in order if ended[text] + text.text >= least}

    def found(self, best: int = 1) -> list[Hypothesis]:
        """Give the texts found so far, at most `best`, the best first."""
        return ranked(list(self.kept.items()), self.fusion, best)

    def _read(self, texts: Sequence[_Text]) -> None:
        """Let the prediction network read the last symbols of texts that it has not read."""
        new = [text for text in texts if text.written is None]
        if new:
            states = [text.parent.memory if text.parent else None for text in new]
            found = self.joint.read([text.symbol for text in new], states)
            for text, (written, memory) in zip(new, found, strict=True):
                text.written, text.memory = written, memory

    def _longer(
        self, going: dict[_Text, float], scores: Scores, ended: dict[_Text, float]
    ) -> dict[_Text, float]:
        """Write one more symbol: the best texts that are not behind all that ended the step."""
        texts = list(going)
        sound = np.fromiter(going.values(), float)[:, None] + scores
        rank = sound + np.array([[text.text] for text in texts])
        if self.fusion is not None:
            rank = rank + np.array([text.adds(self.fusion) for text in texts])
        rank[:, BLANK] = -math.inf
        done = sorted((s + text.text for text, s in ended.items()), reverse=True)
        least = done[self.width - 1] if len(done) >= self.width else -math.inf
        least = max(least, done[0] - self.margin)
        flat = rank.ravel()
        best = np.argsort(-flat, kind="stable")[: self.width]
        places = [divmod(int(i), rank.shape[1]) for i in best if flat[i] > least]
        return {
            texts[row].longer(symbol, self.fusion): float(sound[row, symbol])
            for row, symbol in places
        }

"""The search for texts that are written from all that was heard: a beam of one symbol at a time."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from unrolled.errors import ConfigError
from unrolled.models.prefixes import END, Fusion, Hypothesis, Prefix, Scores, ranked


class Spelling(Protocol):
    """What scores the next symbol of texts, from one recording."""

    def __call__(self, symbols: Sequence[int], states: Sequence[Any]) -> tuple[Scores, list[Any]]:
        """Read the last symbol of each text, END before the first, from the state before it.

        Gives the log-probabilities (texts, symbols) of what follows, in the place END of nothing;
        and the states after. The state before the first is None.
        """
        ...


@dataclass(slots=True, eq=False)
class _Text(Prefix):
    """A text so far, and the state that its last symbol is read from."""

    memory: Any = None


class Beam:
    """Keeps the likeliest texts of each length until none can be better than one that has ended.

    `search.beam` asks for log-probabilities that are never above 0; a language model's bonus for
    each symbol may lift them above it, which is why this search stands beside it.

    Args:
        spelling: makes of the steps (steps, features) what scores symbols.
        width: texts of each length that are kept, at least 1; 1 takes the best symbol each time.
        fusion: a language model that has a say; by default only the sound counts.

    Raises:
        ConfigError: the width is below 1.
    """

    def __init__(
        self, spelling: Callable[[Scores], Spelling], width: int, fusion: Fusion | None = None
    ) -> None:
        if width < 1:
            raise ConfigError(f"width is {width}: expected at least 1")
        self.spelling, self.width, self.fusion = spelling, width, fusion
        self.heard: list[Scores] = []

    def hear(self, heard: Scores) -> None:
        """Keep further steps (steps, features)."""
        self.heard.append(heard)

    def found(self, best: int = 1) -> list[Hypothesis]:
        """Search in all that was heard; give at most `best` texts, the best first."""
        heard = np.concatenate(self.heard) if self.heard else np.zeros((0, 0), np.float32)
        if not len(heard):
            return [Hypothesis((), 0.0, 0.0)]
        spelling, ended = self.spelling(heard), dict[_Text, float]()
        going = {_Text.root(self.fusion): 0.0}
        for _ in range(len(heard) + 1):
            scores, states = spelling([t.symbol for t in going], [t.memory for t in going])
            going = self._longer(going, scores, states, ended)
            done = sorted((self._rank(*one) for one in ended.items()), reverse=True)
            live = [sound + text.text for text, sound in going.items()]
            if not live or (len(done) >= best and done[best - 1] >= max(live)):
                break
        return ranked(list((ended or going).items()), self.fusion, best)

    def _rank(self, text: _Text, sound: float) -> float:
        return sound + text.text + text.ending(self.fusion)

    def _longer(
        self,
        going: dict[_Text, float],
        scores: Scores,
        states: Sequence[Any],
        ended: dict[_Text, float],
    ) -> dict[_Text, float]:
        """Take the best ways on: those that end go to `ended`, the others are given."""
        texts = list(going)
        sound = np.fromiter(going.values(), float)[:, None] + scores
        rank = sound + np.array([[text.text] for text in texts])
        if self.fusion is not None:
            rank = rank + np.array([text.adds(self.fusion) for text in texts])
            rank[:, END] -= self.fusion.bonus
        flat, longer = rank.ravel(), dict[_Text, float]()
        for place in np.argsort(-flat, kind="stable")[: self.width]:
            row, symbol = divmod(int(place), rank.shape[1])
            if flat[place] == -math.inf:
                break
            if symbol == END:
                ended[texts[row]] = float(sound[row, END])
            else:
                text = texts[row].longer(symbol, self.fusion)
                text.memory = states[row]
                longer[text] = float(sound[row, symbol])
        return longer

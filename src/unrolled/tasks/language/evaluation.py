"""How surprised a language model is by a text, symbol by symbol and in all."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.models.language import LanguageModel
from unrolled.tasks.language.numbered import Numbered
from unrolled.tasks.progress import Progress

AT_ONCE = 4096  # symbols that are scored in a call
A_STREAM = 250_000  # symbols that one stream reads, where nothing else is asked
EXCERPT = 1500  # symbols whose losses are kept for the report
SAID_EVERY = 10.0  # seconds


@dataclass(frozen=True)
class Evaluation:
    """What a model made of a text."""

    unit: str
    symbols: int
    characters: int
    unknown: int  # symbols that the model does not know, scored as one
    nats: float  # in all
    streams: int
    seconds: float
    excerpt: NDArray[np.float64]  # the nats of the first symbols

    @property
    def figures(self) -> dict[str, float]:
        """The figures that are compared, the first first."""
        figures = figures_of(self.nats / self.symbols, self.unit)
        if self.unit == "pieces":
            figures["bits_per_character"] = self.nats / math.log(2) / self.characters
        return figures

    def lines(self) -> list[str]:
        """Say it in words."""
        names = {"loss": "nats a symbol", "bits_per_character": "bits a character"}
        known = f"{self.unknown:,} of them unknown" if self.unknown else "none unknown"
        return [
            *(f"{names.get(name, name):<18}{value:9.4f}" for name, value in self.figures.items()),
            f"{'symbols':<18}{self.symbols:9,}  ({known}; {self.characters:,} characters)",
            f"{'time':<18}{self.seconds:9.1f} s  "
            f"({self.symbols / max(self.seconds, 1e-9):,.0f} symbols a second, "
            f"{self.streams} side by side)",
        ]

    def record(self) -> dict[str, float | int | str]:
        """Give the figures as JSON."""
        return {
            **self.figures,
            "unit": self.unit,
            "symbols": self.symbols,
            "characters": self.characters,
            "unknown": self.unknown,
            "streams": self.streams,
            "seconds": round(self.seconds, 2),
        }


def figures_of(loss: float, unit: str) -> dict[str, float]:
    """Say a mean loss, in nats a symbol, as the field does for that unit.

    >>> figures_of(math.log(2), "characters")
    {'loss': 0.6931471805599453, 'bits_per_character': 1.0}
    """
    if unit == "characters":
        return {"loss": loss, "bits_per_character": loss / math.log(2)}
    return {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}


def evaluate(
    model: LanguageModel,
    text: Numbered,
    start: int,
    unit: str,
    *,
    streams: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """Score every symbol of a text, the state carried from its beginning to its end.

    Args:
        model: in eval mode.
        text: what to score.
        start: the id that is read before it.
        unit: what a symbol is.
        streams: places of the text that are read side by side, each from a fresh state; 0 is one
            for each 250,000 symbols.
        progress: where to say how far it is; by default nowhere.
    """
    begun = said = time.monotonic()
    streams = streams or -(-len(text.ids) // A_STREAM)
    total, count, excerpt = 0.0, 0, np.full(min(EXCERPT, len(text.ids)), np.nan)
    for places, losses in surprisals(model, text.ids, start, streams=streams):
        total, count = total + float(losses.sum()), count + len(losses)
        early = places < len(excerpt)
        excerpt[places[early]] = losses[early]
        if progress and time.monotonic() - said > SAID_EVERY:
            progress.note(f"scored {count:,} of {len(text.ids):,} symbols ...")
            said = time.monotonic()
    seconds = time.monotonic() - begun
    return Evaluation(unit, count, text.characters, text.unknown, total, streams, seconds, excerpt)


@torch.no_grad()
def surprisals(
    model: LanguageModel, ids: NDArray[np.integer], start: int, *, streams: int = 1
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Give the places of a text and the loss at each, in nats, a stretch at a time.

    The text is cut into as many streams, read side by side, each with a state of its own that is
    carried to its end; every symbol is scored once.

    Args:
        model: in eval mode.
        ids: of the text.
        start: the id that is read before it.
        streams: how many, at least 1.
    """
    device, count = model.embedding.weight.device, len(ids)
    length = -(-count // streams)
    firsts, state = length * np.arange(streams), None
    for time_ in range(0, length, max(1, AT_ONCE // streams)):
        stop = min(length, time_ + max(1, AT_ONCE // streams))
        places = np.arange(time_, stop)[:, None] + firsts
        inside = places < count
        wanted = ids[np.minimum(places, count - 1)].astype(np.int64)
        before = ids[np.clip(places - 1, 0, count - 1)].astype(np.int64)
        before[places == 0] = start
        read, right = torch.from_numpy(before), torch.from_numpy(wanted)
        losses, state = model.losses(read.to(device), right.to(device), state)
        yield places[inside], losses.double().cpu().numpy()[inside]

"""A trained model of speech: frames in, transcripts with the times of their words out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.models.prefixes import Fusion, Hypothesis, Searching
from unrolled.models.transcriber import Listener, Transcriber
from unrolled.tasks.cells import find_cell
from unrolled.tasks.transcribe import config
from unrolled.tasks.transcribe.alphabet import Alphabet
from unrolled.tasks.transcribe.heads import HEADS
from unrolled.tasks.transcribe.recordings import Frames

ROWS = 32  # recordings that are listened to side by side
PLACES = 1 << 16  # frames in them at most, so that long ones fit in memory


def build_model(settings: config.Model, features: int, alphabet: Alphabet) -> Transcriber:
    """Make the model that the settings describe, with fresh weights."""
    listener = Listener(
        features,
        settings.hidden,
        cell=find_cell(settings.cell),
        layers=settings.layers,
        stack=settings.stack,
        bidirectional=settings.bidirectional,
        layer_norm=settings.layer_norm,
        dropout=settings.dropout,
    )
    return Transcriber(listener, HEADS[settings.head](settings, listener.outputs, len(alphabet)))


@dataclass(frozen=True)
class Word:
    """A word that was heard."""

    text: str
    start: float  # seconds
    end: float
    probability: float  # mean over the steps of its symbols


@dataclass(frozen=True)
class Transcription:
    """What was heard in a recording."""

    text: str
    score: float  # log-probability, with what the language model had to say
    symbols: tuple[int, ...]


def pad_frames(recordings: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Lay recordings side by side: (time, batch, features), zero behind their ends, and lengths."""
    lengths = torch.tensor([len(frames) for frames in recordings])
    return torch.nn.utils.rnn.pad_sequence(list(recordings)), lengths


@dataclass(frozen=True)
class Recogniser:
    """A trained model with all that it needs to transcribe.

    model, alphabet: the model and its symbols. search: how transcripts are looked for.
    language: what has a say in that. seconds: from one frame to the next.
    """

    model: Transcriber
    alphabet: Alphabet
    search: config.Search
    language: Fusion | None
    seconds: float

    def listen(self, recordings: Sequence[Frames]) -> list[NDArray[np.float32]]:
        """Give what the head made of each recording (time, features): (steps, features)."""
        found: list[NDArray[np.float32]] = [np.empty((0, 0), np.float32) for _ in recordings]
        device = next(self.model.parameters()).device
        self.model.eval()
        for batch in _batches([len(frames) for frames in recordings]):
            frames, lengths = pad_frames([torch.from_numpy(recordings[i]) for i in batch])
            with torch.no_grad():
                ys, steps, _ = self.model(frames.to(device), lengths.to(device))
            heard = ys.cpu().numpy()
            for row, i in enumerate(batch):
                found[i] = np.ascontiguousarray(heard[: steps[row], row])
        return found

    def transcribe(self, heard: NDArray[np.float32], best: int = 1) -> list[Transcription]:
        """Look for the transcripts of a recording that was listened to, the best first."""
        width, fusion = self._width(best), self.language
        return self.read(self.model.head.search(heard, width, best=best, fusion=fusion))

    def begin(self, best: int = 1) -> Searching:
        """Begin a search for at most `best` transcripts; a beam narrower than this is widened."""
        return self.model.head.searching(self._width(best), self.language)

    def _width(self, best: int) -> int:
        width = self.search.width
        return width if width == 1 else max(width, best)

    def read(self, found: Sequence[Hypothesis]) -> list[Transcription]:
        """Write out what a search has found."""
        return [
            Transcription(
                " ".join(self.alphabet.decode(one.symbols).split()), one.score, one.symbols
            )
            for one in found
        ]

    def words(self, heard: NDArray[np.float32], found: Transcription) -> list[Word]:
        """Say when each word of a transcript was heard: a step is as exact as it can be."""
        spans = self.model.head.align(heard, found.symbols)
        step = self.seconds * self.model.listener.stack
        return [
            Word(
                self.alphabet.decode([found.symbols[place] for place in word]),
                round(step * spans[word[0]].start, 3),
                round(step * spans[word[-1]].stop, 3),
                float(np.mean([spans[place].probability for place in word])),
            )
            for word in self.alphabet.words(found.symbols)
        ]


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Put recordings of like length together, as many as fit."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    while order:
        batch = order[:ROWS]
        while len(batch) > 1 and len(batch) * lengths[batch[-1]] > PLACES:
            batch.pop()
        order = order[len(batch) :]
        yield batch

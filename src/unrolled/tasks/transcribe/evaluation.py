"""Scoring a trained model of speech on recordings it has not heard."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.files import write_atomically
from unrolled.tasks.metrics import ErrorRates, edit_distance, error_rates, wilson
from unrolled.tasks.progress import Progress
from unrolled.tasks.transcribe.config import Search
from unrolled.tasks.transcribe.corpus import Corpus
from unrolled.tasks.transcribe.manifest import Entry
from unrolled.tasks.transcribe.recogniser import Recogniser, Transcription

CHUNK = 512  # recordings between two reports of progress
DRAWN = 1000  # times that recordings are drawn anew for an interval


def rates(expected: Sequence[str], found: Sequence[str]) -> tuple[ErrorRates, ErrorRates]:
    """Compare transcripts word by word, and character by character.

    In both, a "word" of `ErrorRates` is a whole transcript, and a symbol a word or a character.

    >>> words, characters = rates(["go on", "yes"], ["go in", "yes"])
    >>> words.symbol_error_rate, characters.symbol_error_rate, words.word_error_rate
    (0.3333333333333333, 0.125, 0.5)
    """
    words = error_rates([[text.split()] for text in expected], [text.split() for text in found])
    characters = error_rates([[list(text)] for text in expected], [list(text) for text in found])
    return words, characters


@dataclass(frozen=True)
class Evaluation:
    """What a model made of recordings."""

    entries: tuple[Entry, ...]
    found: tuple[Transcription, ...]  # the best of each
    words: ErrorRates
    characters: ErrorRates
    lasting: float  # seconds of sound
    seconds: float  # that it took

    def interval(self) -> tuple[float, float]:
        """Bound the word error rate: 95 % of what other recordings of this kind would give.

        Recordings are drawn anew with replacement (Bisani & Ney 2004, ICASSP), as errors in one
        are not independent of each other.
        """
        edits = np.array([word_edits(*pair) for pair in self.pairs()])
        sizes = np.array([len(expected.split()) for expected, _ in self.pairs()])
        drawn = np.random.default_rng(0).integers(len(sizes), size=(DRAWN, len(sizes)))
        shares = edits[drawn].sum(1) / np.maximum(sizes[drawn].sum(1), 1)
        low, high = np.quantile(shares, [0.025, 0.975])
        return float(low), float(high)

    def pairs(self) -> list[tuple[str, str]]:
        """Give what was said and what was heard."""
        return [(e.transcript, f.text) for e, f in zip(self.entries, self.found, strict=True)]

    def lines(self) -> list[str]:
        """Say it in words."""
        words, characters = self.words, self.characters
        low, high = self.interval()
        wrong_low, wrong_high = wilson(words.wrong_words, words.words)
        return [
            f"word error rate       {words.symbol_error_rate:7.2%}  "
            f"({words.symbol_edits:,} edits in {words.symbols:,} words; "
            f"95 % interval {low:.2%} to {high:.2%})",
            f"character error rate  {characters.symbol_error_rate:7.2%}  "
            f"({characters.symbol_edits:,} edits in {characters.symbols:,} characters)",
            f"recordings wrong      {words.word_error_rate:7.2%}  "
            f"({words.wrong_words:,} of {words.words:,}; "
            f"95 % interval {wrong_low:.2%} to {wrong_high:.2%})",
            f"time                  {self.seconds:5.1f} s  "
            f"({self.lasting / max(self.seconds, 1e-9):,.0f} seconds of sound a second)",
        ]

    def record(self, search: Search) -> dict[str, Any]:
        """Give the figures as JSON, and how the transcripts were looked for."""
        low, high = self.interval()
        return {
            "word_error_rate": self.words.symbol_error_rate,
            "word_error_interval": [low, high],
            "character_error_rate": self.characters.symbol_error_rate,
            "recording_error_rate": self.words.word_error_rate,
            "words": self.words.symbols,
            "word_edits": self.words.symbol_edits,
            "characters": self.characters.symbols,
            "character_edits": self.characters.symbol_edits,
            "recordings": self.words.words,
            "wrong_recordings": self.words.wrong_words,
            "search": asdict(search),
            "sound_seconds": round(self.lasting, 1),
            "seconds": round(self.seconds, 2),
        }

    def write(self, path: Path) -> None:
        """Write path, transcript and what was expected, one line for each recording."""
        lines = (
            f"{entry.path}\t{found.text}\t{entry.transcript}\n"
            for entry, found in zip(self.entries, self.found, strict=True)
        )
        write_atomically(path, "".join(lines).encode())


def word_edits(expected: str, found: str) -> int:
    """Count the words to change, to add and to leave out."""
    return edit_distance(expected.split(), found.split())


def evaluate(
    recogniser: Recogniser, corpus: Corpus, progress: Progress | None = None
) -> Evaluation:
    """Transcribe every recording and compare with what was said.

    Args:
        recogniser: the trained model.
        corpus: the recordings.
        progress: where to say how far it is; by default nowhere.

    Returns:
        The transcripts, their error rates, and how long it took.
    """
    before = time.monotonic()
    found: list[Transcription] = []
    for start in range(0, len(corpus), CHUNK):
        if progress:
            progress.note(f"transcribing recording {start + 1:,} of {len(corpus):,} ...")
        items = range(start, min(start + CHUNK, len(corpus)))
        found += [
            recogniser.transcribe(heard)[0]
            for heard in recogniser.listen([corpus[i] for i in items])
        ]
    words, characters = rates(
        [entry.transcript for entry in corpus.entries], [one.text for one in found]
    )
    lasting = recogniser.seconds * sum(corpus.lengths)
    took = time.monotonic() - before
    return Evaluation(tuple(corpus.entries), tuple(found), words, characters, lasting, took)

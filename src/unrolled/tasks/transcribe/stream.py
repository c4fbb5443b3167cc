"""A recording that is heard while it lasts: the text so far after each chunk of it."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.cell import State
from unrolled.errors import ConfigError
from unrolled.tasks.transcribe.config import Model
from unrolled.tasks.transcribe.recogniser import Recogniser, Transcription
from unrolled.tasks.transcribe.recordings import Frames

ANYWHERE = ("corpus", "none")  # what features can be levelled over before the end is heard


def check_stream(model: Model, statistics: str, streams: bool) -> None:
    """Raise ConfigError if such a run cannot hear a stream; `streams`: whether its head can."""
    reasons = {
        "also reads from the end; train one with --no-bidirectional": model.bidirectional,
        f"has the head {model.head}, which needs all steps; train one with --head ctc or "
        "transducer": not streams,
        f"levels features over each {statistics}; train one with --statistics corpus": (
            statistics not in ANYWHERE
        ),
    }
    for reason, holds in reasons.items():
        if holds:
            raise ConfigError(f"--chunk: this run {reason}")


class Stream:
    """Hears one recording part by part, and comes to what it would of the whole.

    Args:
        recogniser: a trained model that reads from the start only.
        best: texts wanted.
    """

    def __init__(self, recogniser: Recogniser, best: int = 1) -> None:
        self.recogniser, self.best = recogniser, best
        self.search = recogniser.begin(best)
        self.state: State | None = None
        self.waiting: Frames | None = None  # too few frames for a step
        self.heard: list[NDArray[np.float32]] = []

    def hear(self, frames: Frames, *, last: bool = False) -> list[Transcription]:
        """Hear further frames (time, features), and give the texts so far, the best first.

        Frames that make no whole step wait for the next part, unless this one is the `last`.
        """
        if self.waiting is not None:
            frames = np.concatenate([self.waiting, frames])
        model = self.recogniser.model.eval()
        ready = len(frames) if last else len(frames) - len(frames) % model.listener.stack
        self.waiting = frames[ready:]
        if ready:
            device = next(model.parameters()).device
            given = torch.from_numpy(np.ascontiguousarray(frames[:ready]))[:, None].to(device)
            with torch.no_grad():
                ys, _, self.state = model(given, torch.tensor([ready], device=device), self.state)
            steps = ys[:, 0].cpu().numpy()
            self.heard.append(steps)
            self.search.hear(steps)
        return self.recogniser.read(self.search.found(self.best))

    def steps(self) -> NDArray[np.float32]:
        """Give all that the head made of what was heard, (steps, features)."""
        return np.concatenate(self.heard) if self.heard else np.empty((0, 0), np.float32)


def parts(frames: Frames, size: int) -> Iterator[tuple[Frames, bool]]:
    """Part a recording into chunks of `size` frames; say of each whether it is the last.

    >>> [(len(part), last) for part, last in parts(np.zeros((5, 2), np.float32), 2)]
    [(2, False), (2, False), (1, True)]
    """
    for start in range(0, len(frames), size):
        yield frames[start : start + size], start + size >= len(frames)

"""All recordings of a manifest, read once and kept on the disk, each feature on the same scale."""

import hashlib
import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import DataError
from unrolled.files import write_atomically
from unrolled.tasks.progress import Progress
from unrolled.tasks.transcribe.manifest import Entry, Refuse
from unrolled.tasks.transcribe.recordings import Frames, Reader

LEAST_SPREAD = 1e-5  # of a feature: one that never changes stays 0
SHOWN = 20  # faults that are told one by one
SAID = 5_000  # recordings between two words of progress


class Moments:
    """The mean and the spread of features, counted over any number of frames.

    >>> moments = Moments()
    >>> moments.add(np.array([[0.0, 2.0], [2.0, 2.0]]))
    >>> moments.mean.tolist(), moments.spread.tolist()
    ([1.0, 2.0], [1.0, 1e-05])
    """

    def __init__(self) -> None:
        self.count, self.sums, self.squares = 0, np.zeros(1), np.zeros(1)

    def add(self, frames: NDArray[np.floating]) -> None:
        """Count frames (time, features)."""
        wide = frames.astype(np.float64)
        self.count += len(wide)
        self.sums = self.sums + wide.sum(0)
        self.squares = self.squares + (wide * wide).sum(0)

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean (features,)."""
        return self.sums / max(self.count, 1)

    @property
    def spread(self) -> NDArray[np.float64]:
        """The standard deviation (features,)."""
        variance = self.squares / max(self.count, 1) - self.mean**2
        return np.sqrt(np.maximum(variance, 0)).clip(LEAST_SPREAD)


@dataclass(frozen=True)
class Format:
    """What all recordings of a model have in common.

    rate: samples a second, 0 of files of features. mean, spread: of each feature, over all that
    was learnt from.
    """

    rate: int
    mean: NDArray[np.float64]
    spread: NDArray[np.float64]

    @property
    def features(self) -> int:
        """Features of a frame."""
        return len(self.mean)

    def check(self, frames: Frames, path: Path) -> None:
        """Raise DataError for frames of other features."""
        if frames.shape[1] != self.features:
            raise DataError(
                f"{path}: has {frames.shape[1]} features a frame, not the {self.features} of what "
                "was learnt from; make it the same way"
            )

    def save(self, folder: Path) -> None:
        """Write it into a run; raise RunError if that fails."""
        record = {"rate": self.rate, "mean": self.mean.tolist(), "spread": self.spread.tolist()}
        write_atomically(folder / "format.json", (json.dumps(record) + "\n").encode())

    @classmethod
    def load(cls, folder: Path) -> "Format":
        """Read it from a run; raise DataError if it is missing or damaged."""
        path = folder / "format.json"
        try:
            record = json.loads(path.read_bytes())
            mean, spread = (np.array(record[name], np.float64) for name in ("mean", "spread"))
            found = cls(int(record["rate"]), mean, spread)
            if mean.ndim != 1 or mean.shape != spread.shape:
                raise ValueError
        except (OSError, ValueError, KeyError, TypeError):
            raise DataError(f"{path}: is missing or damaged; put the run's own back") from None
        return found


def level(frames: Frames, over: Moments | Format | None) -> Frames:
    """Bring features to mean 0 and variance 1, over what was counted; None changes nothing."""
    if over is None:
        return frames
    return ((frames - over.mean) / over.spread).astype(np.float32)


def own_level(frames: Frames, statistics: str, format: Format) -> Frames:
    """Level a recording that is heard alone: over itself, or over all that was learnt from."""
    if statistics in ("none", "corpus"):
        return level(frames, format if statistics == "corpus" else None)
    moments = Moments()
    moments.add(frames)
    return level(frames, moments)


class Faults:
    """Takes what is wrong with lines and files: stops at the first, or says and counts them.

    skip: whether to go on. progress: where they are said, the first few one by one.
    """

    def __init__(self, skip: bool, progress: Progress) -> None:
        self.skip, self.progress, self.count = skip, progress, 0

    def __call__(self, fault: DataError) -> None:
        """Raise the fault, or count it."""
        if not self.skip:
            raise DataError(f"{fault} (--skip-bad leaves such out)")
        self.count += 1
        if self.count <= SHOWN:
            self.progress.warn(f"left out: {fault}")

    def total(self) -> str:
        """Say how many were left out, or nothing."""
        return f"{self.count:,} recordings or lines were left out" if self.count else ""


class Corpus:
    """Recordings, their frames in a temporary file: memory stays flat however many there are.

    Args:
        entries: the recordings; at least one must be readable.
        reader: reads them.
        refuse: is told what is wrong with one, which is then left out, unless it raises.
        statistics: "utterance", "speaker", "corpus" or "none": over what features are levelled.
        format: what the recordings must have in common; by default what these have.
        progress: where to say how far it is.

    Attributes:
        entries: those that could be read.
        format: what they have in common.
        lengths: frames of each.

    Raises:
        DataError: none can be read, or speakers are asked for and not named.
    """

    def __init__(
        self,
        entries: Iterable[Entry],
        reader: Reader,
        refuse: Refuse,
        statistics: str,
        progress: Progress,
        format: Format | None = None,
    ) -> None:
        self.entries: list[Entry] = []
        self.statistics = statistics
        self.starts = [0]
        self._reader, self._digest = reader, hashlib.sha256()
        everyone, self._speakers = Moments(), dict[str, Moments]()
        rate, width = (format.rate, format.features) if format else (0, 0)
        # the file has no name, and lives as long as what maps it
        with tempfile.TemporaryFile() as file:
            for entry in entries:
                try:
                    frames, found = self._read(entry, rate, width)
                except DataError as fault:
                    refuse(DataError(f"{entry.where}: {fault}"))
                    continue
                rate, width = rate or found, frames.shape[1]
                file.write(self._keep(entry, frames))
                for moments in (everyone, self._speakers.setdefault(entry.speaker, Moments())):
                    moments.add(frames)
                if len(self.entries) % SAID == 0:
                    progress.note(f"{len(self.entries):,} recordings read ...")
            if not self.entries:
                raise DataError("none of the recordings can be used; see what is wrong with each")
            file.flush()
            shape = (self.starts[-1], width)
            self._frames = np.memmap(file, np.float32, mode="r", shape=shape)
        self.format = format or Format(rate, everyone.mean, everyone.spread)

    def _read(self, entry: Entry, rate: int, width: int) -> tuple[Frames, int]:
        """Read a recording as the others are, and its samples a second."""
        if self.statistics == "speaker" and not entry.speaker:
            raise DataError(
                "names no speaker; write one in a third column, or level by --statistics utterance"
            )
        frames, found = self._reader.read(entry.path, rate)
        if width and frames.shape[1] != width:
            raise DataError(
                f"{entry.path}: has {frames.shape[1]} features a frame, not the {width} that the "
                "others have; make it the same way"
            )
        return frames, found

    def _keep(self, entry: Entry, frames: Frames) -> bytes:
        """Count a recording in, and give its frames as bytes."""
        self.entries.append(entry)
        self.starts.append(self.starts[-1] + len(frames))
        data = np.ascontiguousarray(frames).tobytes()
        self._digest.update(f"{entry.transcript}\t{entry.speaker}\n".encode() + data)
        return data

    @property
    def lengths(self) -> list[int]:
        """Frames of each recording."""
        return np.diff(self.starts).tolist()

    @property
    def digest(self) -> str:
        """What tells these recordings and transcripts from others."""
        return self._digest.hexdigest()

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, item: int) -> Frames:
        """Give the levelled frames (time, features) of a recording."""
        frames = np.array(self._frames[self.starts[item] : self.starts[item + 1]])
        if self.statistics == "speaker":
            return level(frames, self._speakers[self.entries[item].speaker])
        return own_level(frames, self.statistics, self.format)

"""Recordings as frames of features: from sound files, and from files of features."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import DataError
from unrolled.tasks.transcribe import audio

CEPSTRA = 13  # features of a frame in Sphinx's files
WINDOW = 2  # frames on each side that a slope is measured over

Frames = NDArray[np.float32]  # (time, features)


@dataclass(frozen=True)
class Reader:
    """Reads recordings, all as they were when the model learnt.

    mels: bands of a frame that is made from sound. deltas: how many slopes are added, 0 to 2.
    seconds: from one frame to the next. most: seconds of the longest recording.
    """

    mels: int = 40
    deltas: int = 0
    seconds: float = 0.01
    most: float = 60.0

    def read(self, path: Path, rate: int = 0) -> tuple[Frames, int]:
        """Read a recording.

        Args:
            path: a sound file (.wav, .flac), an array (time, features) of NumPy (.npy), or a file
                of 13 cepstra a frame as Sphinx writes it (.mfc).
            rate: samples a second that a sound file must have; 0 takes any.

        Returns:
            The frames, and the samples a second; 0 of a file of features.

        Raises:
            DataError: the file cannot be used; the message names it and says why.
            ConfigError: what reads sound is not installed.
        """
        kind = path.suffix.lower()
        try:
            if kind in audio.SUFFIXES:
                samples, found = audio.read(path, rate, self.most)
                frames = audio.log_mel(samples, found, self.mels, self.seconds)
            elif kind in READERS:
                frames, found = READERS[kind](path), 0
            else:
                known = ", ".join((*audio.SUFFIXES, *READERS))
                raise DataError(f"is no kind of file that is known; give one of {known}")
            self._check(frames)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise DataError(f"{path}: {reason}; name a file that can be read") from error
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        return with_deltas(frames, self.deltas), found

    def _check(self, frames: Frames) -> None:
        if not frames.size:
            raise DataError("holds no sound; record it again, or leave it out")
        if len(frames) * self.seconds > self.most:
            raise DataError(
                f"lasts {len(frames) * self.seconds:.1f} s; cut it, or raise --max-seconds "
                f"({self.most:g})"
            )
        if not np.isfinite(frames).all():
            raise DataError("holds NaN or infinity; write it anew")


def _npy(path: Path) -> Frames:
    try:
        frames: NDArray[Any] = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise DataError(f"is no array of NumPy ({reason}); write it anew with np.save") from None
    if frames.ndim != 2 or frames.dtype.kind not in "fiu":
        raise DataError(
            f"holds {frames.dtype} of shape {frames.shape}; save numbers (frames, features)"
        )
    return frames.astype(np.float32)


def _mfc(path: Path) -> Frames:
    """Read Sphinx's format: the count of numbers, int32, then these, float32, in either order."""
    data = path.read_bytes()
    counts = {order: int.from_bytes(data[:4], order) for order in ("big", "little")}
    fitting = [order for order, count in counts.items() if 4 + 4 * count == len(data)]
    if not fitting:
        raise DataError(
            f"has {len(data):,} bytes, which does not fit its count of {counts['big']:,} numbers; "
            "is the file complete?"
        )
    numbers = np.frombuffer(data, {"big": ">f4", "little": "<f4"}[fitting[0]], offset=4)
    if len(numbers) % CEPSTRA:
        raise DataError(f"holds {len(numbers):,} numbers, not {CEPSTRA} a frame; write it anew")
    return numbers.reshape(-1, CEPSTRA).astype(np.float32)


READERS: dict[str, Callable[[Path], Frames]] = {".npy": _npy, ".mfc": _mfc}


def with_deltas(frames: Frames, orders: int) -> Frames:
    """Add to each frame how its features change, and how that changes.

    The slope of the line through five frames, as in Young et al. 2006 (The HTK Book, eq. 5.16).

    frames: (time, features). orders: 0 adds nothing, 1 slopes, 2 also the slopes of these.
    Gives (time, features * (1 + orders)).

    >>> with_deltas(np.arange(7, dtype=np.float32)[:, None], 1)[3].tolist()
    [3.0, 1.0]
    """
    blocks = [frames]
    scale = 2 * sum(n * n for n in range(1, WINDOW + 1))
    for _ in range(orders):
        padded = np.pad(blocks[-1], ((WINDOW, WINDOW), (0, 0)), mode="edge")
        slopes = [
            n * (padded[WINDOW + n :][: len(frames)] - padded[WINDOW - n :][: len(frames)])
            for n in range(1, WINDOW + 1)
        ]
        blocks.append((np.sum(slopes, 0) / scale).astype(np.float32))
    return np.concatenate(blocks, 1)

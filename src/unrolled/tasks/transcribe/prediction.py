"""Transcripts of files as soon as they are named, to a stream."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import DataError
from unrolled.tasks.readings import Line
from unrolled.tasks.transcribe.config import PredictConfig
from unrolled.tasks.transcribe.corpus import Format, own_level
from unrolled.tasks.transcribe.recogniser import Recogniser, Transcription
from unrolled.tasks.transcribe.recordings import Frames, Reader
from unrolled.tasks.transcribe.stream import Stream, parts

TOGETHER = 16  # files that are listened to together at most
ESCAPED = str.maketrans({"\t": "\\t", "\n": "\\n", "\r": "\\r"})  # would end a line or a column


@dataclass(frozen=True)
class Ear:
    """Reads a file as the model has learnt to hear: the same features, on the same scale."""

    reader: Reader
    format: Format
    statistics: str

    def frames(self, path: Path) -> Frames:
        """Read a recording; raise DataError, which names it, if it cannot be used."""
        frames, _ = self.reader.read(path, self.format.rate)
        self.format.check(frames, path)
        return own_level(frames, self.statistics, self.format)


@dataclass(frozen=True)
class Heard:
    """A file, and what was heard in it: nothing if it has a fault."""

    path: str
    steps: NDArray[np.float32]  # what the head made of them
    found: Sequence[Transcription]


def predict(
    recogniser: Recogniser,
    ear: Ear,
    readings: Iterable[Sequence[Line]],
    out: IO[bytes],
    err: IO[str],
    settings: PredictConfig,
) -> int:
    """Write a transcript for every file that is named, in order, and flush after each reading.

    Line n of the output belongs to the n-th name: a file that cannot be used gets an empty
    transcript. Heard in chunks, a file's line comes after one for each chunk that changed its text,
    with the seconds that were heard till then.

    Args:
        recogniser: the trained model.
        ear: reads the files.
        readings: names of files, as many at once as are there.
        out: where transcripts go, in UTF-8.
        err: where faults go, a line each.
        settings: how many transcripts, and how they are written.

    Returns:
        How many names had a fault.
    """

    def partly(path: str, seconds: float, text: str) -> None:
        out.write(f"{PARTLY[format](path, seconds, text)}\n".encode())
        out.flush()

    faults = 0
    format = "tsv" if settings.format == "text" and settings.best > 1 else settings.format
    for lines in readings:
        for start in range(0, len(lines), TOGETHER):
            recordings, wrong = _opened(ear, lines[start : start + TOGETHER])
            for fault in wrong:
                print(f"unrolled: {fault}", file=err, flush=True)
            faults += len(wrong)
            if settings.chunk:
                found = _streamed(recogniser, recordings, settings, partly)
            else:
                found = _heard(recogniser, recordings, settings.best)
            for heard in found:
                for text in WRITERS[format](recogniser, heard):
                    out.write(f"{text}\n".encode())
            out.flush()
    return faults


def _opened(
    ear: Ear, lines: Sequence[Line]
) -> tuple[list[tuple[str, Frames | None]], list[DataError]]:
    """Read the files that lines name: each name with its frames, and what is wrong."""
    recordings: list[tuple[str, Frames | None]] = []
    wrong: list[DataError] = []
    for line in lines:
        frames = None
        try:
            if line.fault:
                raise DataError(f"{line.where}: {line.fault}")
            if line.text:
                frames = ear.frames(Path(line.text))
        except DataError as fault:
            wrong.append(fault)
        recordings.append((line.text, frames))
    return recordings, wrong


def _heard(
    recogniser: Recogniser, recordings: Sequence[tuple[str, Frames | None]], best: int
) -> Iterator[Heard]:
    """Listen to recordings together, and give what was heard one by one."""
    there = [frames for _, frames in recordings if frames is not None]
    steps = iter(recogniser.listen(there))
    for path, frames in recordings:
        if frames is None:
            yield Heard(path, np.empty((0, 0), np.float32), ())
        else:
            heard = next(steps)
            yield Heard(path, heard, recogniser.transcribe(heard, best))


def _streamed(
    recogniser: Recogniser,
    recordings: Sequence[tuple[str, Frames | None]],
    settings: PredictConfig,
    partly: Callable[[str, float, str], None],
) -> Iterator[Heard]:
    """Hear recordings one by one, in chunks, and tell the text whenever it has changed."""
    size = max(1, round(settings.chunk / recogniser.seconds))
    for path, frames in recordings:
        if frames is None:
            yield Heard(path, np.empty((0, 0), np.float32), ())
            continue
        stream, count, told = Stream(recogniser, settings.best), 0, ""
        found: Sequence[Transcription] = ()
        for part, last in parts(frames, size):
            found, count = stream.hear(part, last=last), count + len(part)
            if not last and found[0].text != told:
                told = found[0].text
                partly(path, count * recogniser.seconds, told)
        yield Heard(path, stream.steps(), found)


def _text(recogniser: Recogniser, heard: Heard) -> Iterator[str]:
    yield heard.found[0].text if heard.found else ""


def _tsv(recogniser: Recogniser, heard: Heard) -> Iterator[str]:
    for one in heard.found:
        yield f"{heard.path.translate(ESCAPED)}\t{one.text}\t{one.score:.4f}"
    if not heard.found:
        yield f"{heard.path.translate(ESCAPED)}\t\t"


def _jsonl(recogniser: Recogniser, heard: Heard) -> Iterator[str]:
    for one in heard.found:
        words = [
            {**vars(word), "probability": round(word.probability, 4)}
            for word in recogniser.words(heard.steps, one)
        ]
        record = {"path": heard.path, "transcript": one.text, "score": round(one.score, 4)}
        yield json.dumps({**record, "words": words}, ensure_ascii=False)
    if not heard.found:
        yield json.dumps({"path": heard.path, "transcript": ""}, ensure_ascii=False)


def _partly_json(path: str, seconds: float, text: str) -> str:
    record = {"path": path, "seconds": round(seconds, 3), "transcript": text, "final": False}
    return json.dumps(record, ensure_ascii=False)


PARTLY: dict[str, Callable[[str, float, str], str]] = {
    "text": lambda path, seconds, text: f"{seconds:.2f}\t{text}",
    "tsv": lambda path, seconds, text: f"{path.translate(ESCAPED)}\t{seconds:.2f}\t{text}",
    "jsonl": _partly_json,
}
"""How the text so far is written, by formats as those of `WRITERS`."""

WRITERS: dict[str, Callable[[Recogniser, Heard], Iterator[str]]] = {
    "text": _text,
    "tsv": _tsv,
    "jsonl": _jsonl,
}

"""A text of any size: read in blocks, parted into what is learnt from and what is scored on."""

import codecs
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from unrolled.errors import DataError
from unrolled.tasks.language.config import Data
from unrolled.tasks.lines import Stream, normalize, opened

AT_ONCE = 1 << 18  # bytes that are read at once


@dataclass(frozen=True)
class Part:
    """A stretch of a file's text, in characters; it ends with the file where `stop` is None."""

    file: Path
    form: str = "nfc"  # the Unicode form that its text is brought into, see `normalize`
    start: int = 0
    stop: int | None = None

    def blocks(self) -> Iterator[str]:
        r"""Give its text in order, a block of bounded size at a time, with \n for every line end.

        A block ends with a line, or in a long line with a word, or anywhere if that is long too.

        Raises:
            DataError: the file cannot be read, or is not UTF-8; with the line.
        """
        place = 0
        for block in _blocks(self.file, self.form):
            end = place + len(block)
            stop = end if self.stop is None else min(end, self.stop)
            if wanted := block[max(0, self.start - place) : max(0, stop - place)]:
                yield wanted
            place = end
            if self.stop is not None and place >= self.stop:
                return


def parts(data: Data) -> dict[str, Part]:
    """Give what is learnt from and what is scored on: "train" and "dev".

    Without a dev file the last characters are held out; of tokens and pieces whole lines.

    Raises:
        DataError: there is no file, it cannot be read, or is too short.
    """
    if data.train is None:
        raise DataError("there is nothing to learn from; name a file of text with --train")
    whole = Part(data.train, data.normalize)
    if data.dev is not None:
        return {"train": whole, "dev": Part(data.dev, data.normalize)}
    length = sum(map(len, whole.blocks()))
    cut = int(length * (1 - data.held_out))
    if data.unit != "characters":
        cut = _line_end(whole, cut)
    if not 0 < cut < length:
        raise DataError(
            f"{data.train}: has too little text to hold some out; name a file of other text "
            "with --dev"
        )
    return {
        "train": Part(data.train, data.normalize, 0, cut),
        "dev": Part(data.train, data.normalize, cut),
    }


def _line_end(part: Part, place: int) -> int:
    """Find where the line ends that a character is in, or if no line ends any more, its word."""
    for mark in ("\n", " "):
        end = 0
        for block in part.blocks():
            if (found := block.find(mark, max(0, place - end - 1))) >= 0:
                return end + found + 1
            end += len(block)
    return end


def _blocks(path: Path, form: str) -> Iterator[str]:
    decode = codecs.getincrementaldecoder("utf-8-sig")().decode
    line, rest, raw = 1, "", b"?"
    with opened(path) as stream:
        while raw:
            raw = _read(stream, path, line)
            try:
                found = decode(raw, not raw)
            except UnicodeDecodeError as error:
                line += error.object[: error.start].count(b"\n")
                raise DataError(
                    f"{path}:{line}: byte {error.object[error.start]:#04x} is not UTF-8; "
                    "save the file as UTF-8"
                ) from None
            line += found.count("\n")
            text = rest + found
            cut = _cut(text) if raw else len(text)
            block, rest = text[:cut], text[cut:]
            if block:
                yield normalize(block.replace("\r\n", "\n"), form)


def _read(stream: Stream, path: Path, line: int) -> bytes:
    try:
        return stream.read(AT_ONCE)
    except (OSError, EOFError, zlib.error) as error:
        reason = str(error).lower().rstrip(".")
        raise DataError(
            f"{path}:{line}: cannot be read ({reason}); is the file complete?"
        ) from None


def _cut(text: str) -> int:
    """Find where a block may end: behind a line, else a word, else before the last letter."""
    if end := text.rfind("\n") + 1 or text.rfind(" ") + 1:
        return end
    end = len(text)
    while end and unicodedata.combining(text[end - 1]):
        end -= 1
    return max(0, end - 1)  # more marks, or the other half of CRLF, may be about to come

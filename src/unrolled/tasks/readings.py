"""Lines of a stream, as soon as they are there: for commands that stand in a pipe."""

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from unrolled.errors import ConfigError, DataError
from unrolled.tasks.lines import Parser, is_json, records

AT_ONCE = 1 << 16  # bytes that are read at once
TOGETHER = 256  # lines that are given together at most


@dataclass(frozen=True)
class Line:
    """A line of input: its text, or what is wrong with it and where."""

    where: str
    text: str
    fault: str = ""


def opened_stream(source: Path | None, prompt: str = "") -> AbstractContextManager[IO[bytes]]:
    """Open a file, plain or .gz, or standard input, to predict from its lines.

    Args:
        source: the file; None is standard input.
        prompt: what to tell a person who sits before standard input.

    Raises:
        ConfigError: it cannot be read, is JSON, or standard input or output is closed.
    """
    if sys.stdin is None or sys.stdout is None:  # as after >&-
        raise ConfigError("standard input or output is closed; open both")
    if source is None:
        if prompt and sys.stdin.isatty():
            print(f"{prompt} and press Enter; Ctrl-D ends", file=sys.stderr)
        return nullcontext(sys.stdin.buffer)
    if is_json(source):
        raise ConfigError(f"{source}: predict reads plain text; write one source a line")
    try:
        packed = source.name.lower().endswith(".gz")
        return cast(IO[bytes], gzip.open(source)) if packed else source.open("rb")
    except OSError as error:
        raise ConfigError(
            f"{source}: {(error.strerror or str(error)).lower()}; name a file that can be read"
        ) from None


def readings(stream: IO[bytes], name: str, max_line: int, parse: Parser) -> Iterator[list[Line]]:
    """Give the lines that are there, as many at once as arrive together, each in its place.

    Args:
        stream: text in UTF-8.
        name: what faults call it.
        max_line: characters of a line at most.
        parse: gives the text of a line as a sequence of one, or raises DataError.

    Raises:
        DataError: the stream itself cannot be read.
    """
    number, rest, too_long = 0, b"", False
    read = getattr(stream, "read1", stream.read)  # read1 gives what is there and does not wait
    while True:
        try:
            block = read(AT_ONCE)
        except (OSError, EOFError, zlib.error) as error:
            reason = str(error).lower().rstrip(".")
            raise DataError(f"{name}: cannot be read ({reason}); is it complete?") from None
        *whole, rest = (rest + block).split(b"\n")
        if not block and (rest or too_long):  # the last line has no newline
            whole, rest = [rest], b""
        lines: list[Line] = []
        for raw in whole:
            number += 1
            lines.append(_line(raw, f"{name}:{number}", max_line, too_long, parse))
            too_long = False
        if len(rest) > 4 * max_line + 6:  # whatever follows: do not gather it
            rest, too_long = b"", True
        for start in range(0, len(lines), TOGETHER):
            yield lines[start : start + TOGETHER]
        if not block:
            return


def _line(raw: bytes, where: str, max_line: int, too_long: bool, parse: Parser) -> Line:
    if too_long:
        return Line(where, "", f"is longer than {max_line} characters; shorten it")
    try:
        found = list(records(io.BytesIO(raw), "line", parse, max_line))
    except DataError as error:
        return Line(where, "", str(error).removeprefix("line:1: "))
    return Line(where, found[0][1][0] if found else "")

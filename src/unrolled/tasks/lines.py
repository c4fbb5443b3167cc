"""Text files, read strictly and line by line; letters brought into one Unicode form."""

import codecs
import gzip
import io
import itertools
import json
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from unrolled.errors import ConfigError, DataError

NORMAL_FORMS: dict[str, Callable[[str], str]] = {
    "none": str,
    "nfc": partial(unicodedata.normalize, "NFC"),
    "nfd": partial(unicodedata.normalize, "NFD"),
    "lower": lambda text: unicodedata.normalize("NFC", text.lower()),
}

Stream = BinaryIO | io.BufferedIOBase
Parser = Callable[[str], Sequence[str]]  # the text of a line -> its fields, or DataError


def normalize(text: str, form: str) -> str:
    """Bring text into one Unicode form, so that equal letters are equal symbols.

    form: "none" leaves it, "nfc" joins letters and marks, "nfd" takes them apart,
    "lower" joins them and writes small letters.
    Raises ConfigError for another form. Source: Unicode Standard Annex 15.

    >>> [len(normalize("\u00e9", form)) for form in ("nfc", "nfd")]
    [1, 2]
    """
    if form not in NORMAL_FORMS:
        raise ConfigError(f"the form {form!r} is unknown; choose one of {', '.join(NORMAL_FORMS)}")
    return NORMAL_FORMS[form](text)


def is_json(path: Path) -> bool:
    """Tell by its name whether a file holds JSON, one object a line.

    >>> is_json(Path("mails.jsonl.gz")), is_json(Path("mails.tsv"))
    (True, False)
    """
    return path.name.lower().removesuffix(".gz").endswith((".jsonl", ".json"))


def opened(path: Path) -> io.BufferedIOBase:
    """Open a file of bytes, plain or .gz by its name; raise DataError if that fails."""
    try:
        return gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{path}: {reason}; name a file that exists and can be read") from error


def lines(stream: Stream, name: str, max_line: int) -> Iterator[tuple[int, str]]:
    r"""Read UTF-8 text line by line, in bounded memory, blank lines included.

    stream: bytes; a byte order mark and CRLF line ends are dropped, nothing else is changed.
    name: what errors call it. max_line: the most characters of a line, at least 1.
    Gives the number of each line, from 1, and its text.
    Raises DataError, with name and line, for a line too long or not UTF-8, or a broken stream.

    >>> list(lines(io.BytesIO(b"the\n\ncat"), "here", 100))
    [(1, 'the'), (2, ''), (3, 'cat')]
    """
    for line, text, fault in all_lines(stream, name, max_line):
        if fault:
            raise DataError(f"{name}:{line}: {fault}")
        yield line, text


def all_lines(stream: Stream, name: str, max_line: int) -> Iterator[tuple[int, str, str]]:
    r"""Read as `lines` does, past lines that cannot be used: number, text, and what is wrong.

    What is not UTF-8 in a text is replaced; a line too long has none. Raises DataError, with name
    and line, for a broken stream.

    >>> list(all_lines(io.BytesIO(b"a\xff\nb\n"), "here", 100))  # doctest: +ELLIPSIS
    [(1, 'a\ufffd', 'byte 0xff at column 2 is not UTF-8; ...'), (2, 'b', '')]
    """
    # a character has at most 4 bytes, the mark at the start 3, CRLF 2: more is surely too long
    most = 4 * max_line + 6
    too_long = f"is longer than {max_line} characters; shorten it or raise max_line"
    for line in itertools.count(1):
        raw, fault = _next_line(stream, most, f"{name}:{line}"), ""
        if not raw:
            return
        if len(raw) == most:
            yield line, "", too_long
            while raw and not raw.endswith(b"\n"):  # for whoever goes on behind it
                raw = _next_line(stream, most, f"{name}:{line}")
            continue
        raw = raw.removeprefix(codecs.BOM_UTF8 if line == 1 else b"")
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            found = f"byte {raw[error.start]:#04x} at column {error.start + 1}"
            text, fault = (
                raw.decode(errors="replace"),
                f"{found} is not UTF-8; save the file as UTF-8",
            )
        text = text.removesuffix("\n").removesuffix("\r")
        yield (line, "", too_long) if len(text) > max_line else (line, text, fault)


def records(
    stream: Stream, name: str, parse: Parser, max_line: int
) -> Iterator[tuple[int, Sequence[str]]]:
    """Give the number and the fields of each line that is not blank, as `lines` reads them.

    parse: turns the text of a line into its fields, or raises DataError, which then names the line.
    """
    for line, text in lines(stream, name, max_line):
        if text.strip(" "):
            try:
                fields = parse(text)
            except DataError as fault:
                raise DataError(f"{name}:{line}: {fault}") from fault
            yield line, fields


def json_fields(text: str, fields: Sequence[str]) -> Sequence[str]:
    """Give the fields of a line that is a JSON object, all of them texts that are not empty.

    >>> json_fields('{"text": "so it goes", "label": "calm"}', ("label", "text"))
    ['calm', 'so it goes']
    """
    wanted = f"write one object a line with the strings {' and '.join(map(repr, fields))}"
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"is not JSON ({error}); {wanted}") from error
    if not isinstance(record, dict):
        raise DataError(f"is JSON but no object, {shown(text)}; {wanted}")
    for field in fields:
        if field not in record:
            raise DataError(f"has no field {field!r}, only {shown(', '.join(record))}; {wanted}")
        if not isinstance(record[field], str):
            raise DataError(
                f"field {field!r} is {type(record[field]).__name__}, not text; {wanted}"
            )
        if not record[field].isascii() and any("\ud800" <= c <= "\udfff" for c in record[field]):
            raise DataError(f"field {field!r} has half a surrogate pair; write both halves")
        refuse_empty(record[field], f"field {field!r}")
    return [record[field] for field in fields]


def _next_line(stream: Stream, most: int, where: str) -> bytes:
    """Read to the next line end, or `most` bytes; nothing after the last."""
    try:
        return stream.readline(most)
    except (OSError, EOFError, zlib.error) as error:
        reason = str(error).lower().rstrip(".")
        raise DataError(f"{where}: cannot be read ({reason}); is the file complete?") from error


def refuse_empty(text: str, side: str) -> None:
    """Raise DataError, which names the side, for a text of white space."""
    if not text.strip():
        raise DataError(f"the {side} is empty; fill it or delete the line")


def shown(text: str) -> str:
    """Quote a text, or the beginning of a long one, for an error.

    >>> print(shown("it's"))
    "it's"
    """
    return repr(text if len(text) <= 40 else text[:40] + "...")

"""Predictions line by line: from a stream, as soon as lines are there, to a stream."""

import io
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from unrolled.errors import DataError
from unrolled.tasks.config import PredictConfig
from unrolled.tasks.data import normalize, read_sources
from unrolled.tasks.seq2seq import Prediction, Translator
from unrolled.tasks.vocabulary import Vocabulary

AT_ONCE = 1 << 16  # bytes that are read at once
TOGETHER = 256  # lines that are decoded together at most
NAMED = 8  # unknown symbols that are named
ESCAPED = str.maketrans({"\t": "\\t", "\n": "\\n", "\r": "\\r"})  # would end a line or a column


@dataclass(frozen=True)
class Line:
    """A line of input: its text, or what is wrong with it and where."""

    where: str
    text: str
    fault: str = ""


def predict(
    translator: Translator,
    stream: IO[bytes],
    out: IO[bytes],
    err: IO[str],
    settings: PredictConfig,
    *,
    normal_form: str,
    max_line: int,
    name: str = "stdin",
) -> int:
    """Write a prediction for every line of a stream, in order, and flush after each reading.

    Line n of the output belongs to line n of the input: a line that cannot be read gets an empty
    prediction, as a blank one does, and one with symbols that the model does not know a guess.

    Args:
        translator: the trained model.
        stream: text in UTF-8, one source a line; of tab-separated lines the first column.
        out: where predictions go, in UTF-8.
        err: where faults go, a line each.
        settings: how many predictions, and how they are written.
        normal_form: the Unicode form that the model learnt, see `normalize`.
        max_line: characters of a line at most.
        name: what the stream is called in faults.

    Returns:
        How many lines had a fault.

    Raises:
        DataError: the stream itself cannot be read.
    """
    faults = 0
    format = "tsv" if settings.format == "text" and settings.best > 1 else settings.format
    write, known = WRITERS[format], translator.vocabularies.source
    for lines in _readings(stream, name, max_line):
        texts = [normalize(line.text, normal_form) for line in lines]
        there = [i for i, text in enumerate(texts) if text]
        found = translator.translate(
            [texts[i] for i in there], settings.best, weights=format == "jsonl"
        )
        predictions = dict(zip(there, found, strict=True))
        for i, line in enumerate(lines):
            if fault := line.fault or _unknown(known, texts[i]):
                faults += 1
                print(f"unrolled: {line.where}: {fault}", file=err, flush=True)
            for text in write(line.text, predictions.get(i, [])):
                out.write(f"{text}\n".encode())
        out.flush()
    return faults


def _unknown(known: Vocabulary, text: str) -> str:
    """Name what the model has never seen, or nothing."""
    unknown = known.unknown(text)
    if not unknown:
        return ""
    others = {text.upper(), text.lower()} - {text}
    hint = "; try the other case" if any(not known.unknown(other) for other in others) else ""
    names = ", ".join(map(repr, unknown[:NAMED])) + (", ..." if len(unknown) > NAMED else "")
    return f"the model has never seen {names}, so the prediction is a guess{hint}"


def _readings(stream: IO[bytes], name: str, max_line: int) -> Iterator[list[Line]]:
    """Give the lines that are there, as many at once as arrive together."""
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
            lines.append(_line(raw, f"{name}:{number}", max_line, too_long))
            too_long = False
        if len(rest) > 4 * max_line + 6:  # whatever follows: do not gather it
            rest, too_long = b"", True
        for start in range(0, len(lines), TOGETHER):
            yield lines[start : start + TOGETHER]
        if not block:
            return


def _line(raw: bytes, where: str, max_line: int, too_long: bool) -> Line:
    if too_long:
        return Line(where, "", f"is longer than {max_line} characters; shorten it")
    try:
        found = list(read_sources(io.BytesIO(raw), name="line", max_line=max_line))
    except DataError as error:
        return Line(where, "", str(error).removeprefix("line:1: "))
    return Line(where, found[0][1] if found else "")


def _text(source: str, found: Sequence[Prediction]) -> Iterator[str]:
    yield found[0].text.translate(ESCAPED) if found else ""


def _tsv(source: str, found: Sequence[Prediction]) -> Iterator[str]:
    for p in found:
        yield f"{source.translate(ESCAPED)}\t{p.text.translate(ESCAPED)}\t{p.score:.4f}"
    if not found:
        yield f"{source}\t\t"


def _jsonl(source: str, found: Sequence[Prediction]) -> Iterator[str]:
    for p in found:
        record = {
            "source": source,
            "target": p.text,
            "score": round(p.score, 6),
            "finished": p.finished,
            "source_symbols": p.source,
            "target_symbols": p.symbols,
            "weights": [] if p.weights is None else p.weights.double().round(decimals=4).tolist(),
        }
        yield json.dumps(record, ensure_ascii=False)
    if not found:
        yield json.dumps({"source": source, "target": ""}, ensure_ascii=False)


WRITERS: dict[str, Callable[[str, Sequence[Prediction]], Iterator[str]]] = {
    "text": _text,
    "tsv": _tsv,
    "jsonl": _jsonl,
}

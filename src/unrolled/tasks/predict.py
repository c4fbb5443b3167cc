"""Predictions line by line: from a stream, as soon as lines are there, to a stream."""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from unrolled.errors import DataError
from unrolled.tasks.config import PredictConfig
from unrolled.tasks.data import normalize, read_sources
from unrolled.tasks.seq2seq import Prediction, Translator

AT_ONCE = 1 << 16  # bytes that are read at once
TOGETHER = 256  # lines that are decoded together at most


@dataclass(frozen=True)
class Line:
    """A line of input: its number, and its text or what is wrong with it."""

    number: int
    text: str
    fault: str = ""


def predict(
    translator: Translator,
    stream: IO[bytes],
    out: IO[str],
    err: IO[str],
    settings: PredictConfig,
    *,
    normal_form: str,
    max_line: int,
    name: str = "stdin",
) -> int:
    """Write a prediction for every line of a stream, in order, and flush after each reading.

    A line that cannot be read, or that holds symbols the model does not know, is named on `err`;
    the first gets an empty prediction, the second the best that the model can do, so that line n
    of the output always belongs to line n of the input.

    Args:
        translator: the trained model.
        stream: text in UTF-8, one source a line; of tab-separated lines the first column.
        out: where predictions go.
        err: where faults go, a line each.
        settings: how many predictions, and how they are written.
        normal_form: the Unicode form that the model learnt, see `normalize`.
        max_line: characters of a line at most.
        name: what the stream is called in faults.

    Returns:
        How many lines had a fault.
    """
    faults = 0
    writer = WRITERS["tsv" if settings.format == "text" and settings.best > 1 else settings.format]
    for lines in _readings(stream, name, max_line):
        texts = [normalize(line.text, normal_form) for line in lines]
        good = [i for i, line in enumerate(lines) if not line.fault and line.text]
        found = translator.translate([texts[i] for i in good], settings.best)
        predictions = dict(zip(good, found, strict=True))
        for i, line in enumerate(lines):
            fault = line.fault or _unknown(translator, texts[i], f"{name}:{line.number}")
            if fault:
                faults += 1
                print(f"unrolled: {fault}", file=err, flush=True)
            for text in writer(line.text, predictions.get(i, [])):
                print(text, file=out)
        out.flush()
    return faults


def _unknown(translator: Translator, text: str, where: str) -> str:
    unknown = translator.vocabularies.source.unknown(text)
    if not unknown:
        return ""
    known = translator.vocabularies.source
    swapped = not known.unknown(text.upper()) or not known.unknown(text.lower())
    hint = "; try the other case" if swapped and text.upper() != text.lower() else ""
    names = ", ".join(map(repr, unknown[:8])) + (", ..." if len(unknown) > 8 else "")
    return f"{where}: the model has never seen {names}{hint}; the prediction is a guess"


def _readings(stream: IO[bytes], name: str, max_line: int) -> Iterator[list[Line]]:
    """Give the lines that are there, as many at once as arrive together."""
    number, rest, over = 0, b"", False
    read = getattr(stream, "read1", stream.read)  # read1 gives what is there and does not wait
    while True:
        block = read(AT_ONCE)
        *whole, rest = (rest + block).split(b"\n")
        if not block and rest:
            whole, rest = [*whole, rest], b""
        lines: list[Line] = []
        for raw in whole:
            number += 1
            lines.append(_line(b"" if over else raw, number, name, max_line, over))
            over = False
        if len(rest) > 4 * max_line + 6:  # too long already: do not gather the rest of it
            rest, over = b"", True
        for start in range(0, len(lines), TOGETHER):
            yield lines[start : start + TOGETHER]
        if not block:
            return


def _line(raw: bytes, number: int, name: str, max_line: int, over: bool) -> Line:
    where = f"{name}:{number}"
    if over:
        return Line(number, "", f"{where}: is longer than {max_line} characters; shorten it")
    try:
        found = list(read_sources(io.BytesIO(raw), name=name, max_line=max_line))
    except DataError as error:
        return Line(number, "", f"{where}: {str(error).split(': ', 1)[1]}")
    return Line(number, found[0][1] if found else "")


def _text(source: str, found: Sequence[Prediction]) -> Iterator[str]:
    yield found[0].text if found else ""


def _tsv(source: str, found: Sequence[Prediction]) -> Iterator[str]:
    for p in found:
        yield f"{source}\t{p.text}\t{p.score:.4f}"
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


WRITERS = {"text": _text, "tsv": _tsv, "jsonl": _jsonl}

"""Classes of new items: from a file, or line by line from a stream, as soon as lines are there."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from torch import Tensor

from unrolled.errors import DataError
from unrolled.tasks.classify.config import Fields, PredictConfig
from unrolled.tasks.classify.inputs import Texts
from unrolled.tasks.classify.items import holds_series, read_items
from unrolled.tasks.classify.labeller import Labeller
from unrolled.tasks.classify.ts import parse_series
from unrolled.tasks.faults import Faults
from unrolled.tasks.lines import is_json, normalize
from unrolled.tasks.readings import Line, readings

TABLES = (".csv", ".tsv")


def is_structured(path: Path) -> bool:
    """Tell by its name whether a file holds items, and not a plain text a line."""
    plain = path.name.lower().removesuffix(".gz")
    return holds_series(path) or is_json(path) or plain.endswith(TABLES)


def predict_file(
    labeller: Labeller, path: Path, fields: Fields, out: IO[bytes], settings: PredictConfig
) -> int:
    """Write the classes of each item of a file, a line each.

    Returns:
        How many items could not be read; each is named on standard error and left out.
    """
    faults = _Told()
    sequences = []
    for item in read_items(path, fields, faults, labels=False):
        try:
            sequences.append(labeller.inputs.encode(item.content))
        except DataError as fault:
            faults.found(item.where, str(fault))
    _write(labeller, labeller.probabilities(sequences), out, settings)
    return faults.count


def predict_lines(
    labeller: Labeller,
    stream: IO[bytes],
    name: str,
    fields: Fields,
    out: IO[bytes],
    settings: PredictConfig,
) -> int:
    """Write the classes of each line of a stream, in order, and flush after each reading.

    A line is a text, or a series as in a .ts file: numbers with commas between them, colons between
    features. Line n of the output belongs to line n of the input: a line that cannot be read, as a
    blank one, gets an empty line.

    Returns:
        How many lines had a fault; each is named on standard error.
    """
    faults = _Told()
    texts = isinstance(labeller.inputs, Texts)

    def content(text: str) -> Any:
        return normalize(text, fields.normalize) if texts else parse_series(text.split(":"))

    for lines in readings(stream, name, fields.max_line, lambda text: (text,)):
        sequences = [_encoded(labeller, line, content, faults) for line in lines]
        there = [sequence for sequence in sequences if sequence is not None]
        found = iter(labeller.probabilities(there))
        for sequence in sequences:
            if sequence is None:
                out.write(b"\n")
            else:
                _write(labeller, next(found)[None], out, settings)
        out.flush()
    return faults.count


class _Told(Faults):
    """Faults that are told on standard error, where they are found."""

    def __init__(self) -> None:
        super().__init__(skip=True)

    def found(self, where: str, reason: str) -> None:
        super().found(where, reason)
        print(f"unrolled: {where}: {reason}", file=sys.stderr, flush=True)


def _encoded(
    labeller: Labeller, line: Line, content: Callable[[str], Any], faults: Faults
) -> Any | None:
    try:
        if line.fault:
            raise DataError(line.fault)
        return labeller.inputs.encode(content(line.text)) if line.text.strip() else None
    except DataError as fault:
        faults.found(line.where, str(fault))
        return None


def _write(
    labeller: Labeller, probabilities: Tensor, out: IO[bytes], settings: PredictConfig
) -> None:
    names = labeller.classes.names
    best = probabilities.topk(min(settings.best, len(names)), dim=-1)
    for numbers, shares in zip(best.indices.tolist(), best.values.tolist(), strict=True):
        text = WRITERS[settings.format]([names[i] for i in numbers], shares)
        out.write(f"{text}\n".encode())


def _tsv(names: Sequence[str], shares: Sequence[float]) -> str:
    return "\t".join(_cells(names, shares))


def _cells(names: Sequence[str], shares: Sequence[float]) -> Iterator[str]:
    for name, share in zip(names, shares, strict=True):
        yield from (name.replace("\t", " ").replace("\n", " "), f"{share:.4f}")


def _jsonl(names: Sequence[str], shares: Sequence[float]) -> str:
    rounded = {name: round(share, 6) for name, share in zip(names, shares, strict=True)}
    return json.dumps({"label": names[0], "probabilities": rounded}, ensure_ascii=False)


WRITERS: dict[str, Callable[[Sequence[str], Sequence[float]], str]] = {
    "tsv": _tsv,
    "jsonl": _jsonl,
}

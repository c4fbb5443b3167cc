"""Files of items to classify: texts in tables or JSON lines, series in arrays or .ts files."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unrolled.errors import DataError
from unrolled.tasks.classify.arrays import read_arrays
from unrolled.tasks.classify.config import Fields
from unrolled.tasks.classify.ts import read_ts
from unrolled.tasks.faults import Faults
from unrolled.tasks.lines import all_lines, is_json, json_fields, normalize, opened
from unrolled.tasks.tables import column, read_table

SERIES = (".npz", ".ts", ".ts.gz")  # how the names of files of series end


@dataclass(frozen=True)
class Item:
    """Something to classify.

    where: the file and the line, or the place in it, that it was read from.
    content: a text, or a series (time, features) of float32. label: its class; None if not told.
    """

    where: str
    content: str | np.ndarray
    label: str | None


def holds_series(path: Path) -> bool:
    """Tell by its name whether a file holds series; otherwise it holds texts.

    >>> holds_series(Path("vowels.ts")), holds_series(Path("mails.jsonl.gz"))
    (True, False)
    """
    return path.name.lower().endswith(SERIES)


def read_items(path: Path, fields: Fields, faults: Faults, *, labels: bool = True) -> list[Item]:
    """Read all items of a file, in their order.

    .npz: two arrays, see `read_arrays`; .ts: see `read_ts`; .jsonl or .json: an object a line with
    two texts; .csv and .tsv: a head of column names, see `read_table`. Texts and .ts may be .gz.

    Args:
        path: the file.
        fields: what the text, the series and the label are called there.
        faults: where items go that cannot be used.
        labels: whether there are labels; without them, only what is to be classified is read.

    Raises:
        DataError: with the file and the line: it cannot be read, has no items, or, unless they are
            skipped, an item cannot be used.
    """
    if holds_series(path):
        read = read_arrays if path.name.lower().endswith(".npz") else read_ts
        found = (Item(*item) for item in read(path, fields, faults, labels))
    else:
        found = (_json_items if is_json(path) else _table_items)(path, fields, faults, labels)
    items = list(found)
    if not items:
        raise DataError(f"{path}: has no items; {faults.summary() or 'fill it or name another'}")
    return items


def fingerprint(file: Path | None, items: Sequence[Item]) -> dict[str, str | int]:
    """Give what tells these items from others: the file's name, their number and a digest."""
    digest = hashlib.sha256()
    for item in items:
        content = item.content if isinstance(item.content, str) else item.content.tolist()
        digest.update(json.dumps([content, item.label]).encode())
    return {"file": str(file), "items": len(items), "sha256": digest.hexdigest()}


def _table_items(path: Path, fields: Fields, faults: Faults, labels: bool) -> Iterator[Item]:
    names, rows = read_table(path, fields.max_line)
    text = column(path, names, fields.text_field, "--text-field")
    label = column(path, names, fields.label_field, "--label-field") if labels else None
    for row in rows:
        where = f"{path}:{row.line}"
        if row.fault:
            faults.found(where, row.fault)
        elif not row.cells[text].strip():
            faults.found(where, "the text is empty; fill it or delete the line")
        elif label is not None and not row.cells[label].strip():
            faults.found(where, "the label is empty; fill it or delete the line")
        else:
            name = None if label is None else row.cells[label].strip()
            yield Item(where, normalize(row.cells[text], fields.normalize), name)


def _json_items(path: Path, fields: Fields, faults: Faults, labels: bool) -> Iterator[Item]:
    wanted = (fields.text_field, fields.label_field)[: 2 if labels else 1]
    with opened(path) as stream:
        for number, line, broken in all_lines(stream, str(path), fields.max_line):
            if not line.strip(" ") and not broken:
                continue
            try:
                if broken:
                    raise DataError(broken)
                text, *label = json_fields(line, wanted)
            except DataError as fault:
                faults.found(f"{path}:{number}", str(fault))
            else:
                name = label[0].strip() if label else None
                yield Item(f"{path}:{number}", normalize(text, fields.normalize), name)

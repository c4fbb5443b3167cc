"""Series in .ts files, as sktime, aeon and the UEA and UCR archives write them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from unrolled.errors import DataError
from unrolled.tasks.classify.config import Fields
from unrolled.tasks.faults import Faults
from unrolled.tasks.lines import all_lines, opened, shown

KNOWN = (
    "problemname", "timestamps", "missing", "univariate", "dimensions", "dimension",
    "equallength", "serieslength", "classlabel", "targetlabel", "data",
)  # fmt: skip


def read_ts(
    path: Path, fields: Fields, faults: Faults, labels: bool
) -> Iterator[tuple[str, np.ndarray, str | None]]:
    """Read a .ts file: series of one length or of many, of one feature or several.

    The head is lines of ``@name value``, the last of them ``@data``; then each line is a series:
    the numbers of each feature with commas between them, colons between the features, and after
    the last colon the label, if ``@classLabel true``. Lines that begin with # are comments.

    path: the file, plain or .gz. fields: the longest line. faults: where lines go that cannot be
    used. labels: whether there must be labels; otherwise they may be missing, and are not read.
    Gives, for each line, where it stands, the series (time, features) as float32, and its label.
    Raises DataError, with file and line, for a head that is missing, unknown, or tells of time
    stamps or of targets instead of classes.
    """
    head: dict[str, str] = {}
    with opened(path) as stream:
        for number, text, broken in all_lines(stream, str(path), fields.max_line):
            where, text = f"{path}:{number}", text.strip()
            if broken and "data" in head:
                faults.found(where, broken)
                continue
            if broken:
                raise DataError(f"{where}: {broken}")
            if not text or text.startswith("#"):
                continue
            if "data" not in head:
                _add_to_head(head, text, where, labels)
                continue
            try:
                *features, label = text.split(":") if _is_true(head) else [*text.split(":"), ""]
                series = parse_series(features)
                yield where, series, _checked_label(label.strip(), head) if labels else None
            except DataError as fault:
                faults.found(where, str(fault))
    if "data" not in head:
        raise DataError(f"{path}: has no line @data; is it a .ts file?")


def parse_series(features: list[str]) -> np.ndarray:
    """Give a series (time, features) of float32 from the texts of its features.

    >>> parse_series(["1,2,3", "4,5,6"]).tolist()
    [[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]
    """
    if not features:
        raise DataError("has no series; write numbers, commas between them")
    rows = [_numbers(text, place) for place, text in enumerate(features)]
    lengths = [len(row) for row in rows]
    if min(lengths) != max(lengths):
        raise DataError(f"features of {min(lengths)} to {max(lengths)} steps; give all as many")
    return np.array(rows, dtype=np.float32).T


def _numbers(text: str, place: int) -> np.ndarray:
    cells = text.split(",")
    try:
        row = np.array(cells, dtype=np.float64)
    except ValueError:
        row = None
    if row is None or not (np.abs(row) < 3e38).all():
        wrong = next(filter(lambda cell: not _is_number(cell), cells), text)
        raise DataError(f"feature {place} has {shown(wrong)} where a finite number is expected")
    return row


def _is_number(cell: str) -> bool:
    try:
        return abs(float(cell)) < 3e38
    except ValueError:
        return False


def _add_to_head(head: dict[str, str], text: str, where: str, labels: bool) -> None:
    name, _, value = text.removeprefix("@").partition(" ")
    name, value = name.lower(), value.strip()
    if not text.startswith("@") or name not in KNOWN:
        raise DataError(f"{where}: {shown(text)} is no line of a .ts file's head; see @data")
    if name == "timestamps" and value.lower() != "false":
        raise DataError(f"{where}: the series have time stamps; write their values alone")
    if name == "targetlabel" and value.lower() != "false":
        raise DataError(f"{where}: the targets are numbers, not classes")
    if name == "data" and labels and not _is_true(head):
        raise DataError(f"{where}: no line above is @classLabel true and the names of the classes")
    head[name] = value


def _is_true(head: dict[str, str]) -> bool:
    return head.get("classlabel", "").lower().startswith("true")


def _checked_label(label: str, head: dict[str, str]) -> str:
    known = head["classlabel"].split()[1:]
    if label not in known:
        raise DataError(f"the label is {shown(label)}; @classLabel names {shown(' '.join(known))}")
    return label

"""Files of series: a column for each, a line for each value, or a line for each series."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from unrolled.errors import DataError
from unrolled.tasks.faults import Faults
from unrolled.tasks.forecast.clock import Clock, NotEven, find_clock, read_time
from unrolled.tasks.forecast.config import Columns
from unrolled.tasks.lines import shown
from unrolled.tasks.tables import Row, column, read_table

TIMELESS = Clock("number", 0, 1)  # of rows, which name no times


@dataclass(frozen=True)
class Series:
    """A series of evenly spaced values.

    values (steps,): finite numbers. known (steps or more, covariates): numbers that are known
    beforehand, of later steps too. where: the file and the line that it begins on.
    """

    name: str
    clock: Clock
    values: np.ndarray
    known: np.ndarray
    where: str

    def followed_by(self, later: "Series") -> "Series":
        """Join what comes right after; raise DataError if it does not come right after."""
        timeless = self.clock is TIMELESS
        here, there = self.clock.text(len(self.values)), later.clock.text(0)
        if not timeless and here != there:
            raise DataError(
                f"{later.where}: {self.name} goes on at {there}, but its history, {self.where}, "
                f"ends before {here}; begin there"
            )
        known = np.concatenate([self.known[: len(self.values)], later.known])
        values = np.concatenate([self.values, later.values])
        return replace(self, values=values, known=known)


def read_series(path: Path, columns: Columns, faults: Faults) -> list[Series]:
    """Read all series of a file.

    Args:
        path: CSV or TSV, see `read_table`.
        columns: how they stand in it.
        faults: where series go that cannot be used; those of a wide file stand or fall together.

    Raises:
        DataError: with file and line: it cannot be read; a value or a time is none; times are not
            evenly spaced, not sorted or there twice; there is no series.
    """
    series = LAYOUTS[columns.layout](path, columns, faults)
    if not series:
        raise DataError(f"{path}: has no series; {faults.summary() or 'fill it or name another'}")
    first = series[0].clock
    for one in series:
        if (one.clock.unit, one.clock.step) != (first.unit, first.step) and len(one.values) > 1:
            raise DataError(
                f"{one.where}: the steps of {one.name!r} are not as long as those of "
                f"{series[0].name!r}; write them into files of their own"
            )
    return series


def join(history: Sequence[Series], later: Sequence[Series]) -> list[Series]:
    """Join to each series what comes right after it; raise DataError for one without a history."""
    before = {series.name: series for series in history}
    for series in later:
        if series.name not in before:
            raise DataError(f"{series.where}: {series.name!r} has no history; name it there too")
    return [before[series.name].followed_by(series) for series in later]


def fingerprint(file: Path | None, series: Sequence[Series]) -> dict[str, str | int]:
    """Give what tells these series from others: the file's name, their number and a digest."""
    digest = hashlib.sha256()
    for one in series:
        digest.update(f"{one.name}\n{one.clock}\n".encode())
        digest.update(one.values.tobytes() + one.known.tobytes())
    return {"file": str(file), "items": len(series), "sha256": digest.hexdigest()}


@dataclass
class _Column:
    """One series while it is read; lines: of its values."""

    name: str
    times: list[datetime | int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    known: list[list[float]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    ended: int = 0  # the line from which on there are only covariates

    def add(self, row: Row, cell: str, known: list[float], columns: Columns) -> None:
        """Take one more value, or note that the series has ended and the steps to come begin."""
        if not cell.strip() and columns.covariates:
            self.ended = self.ended or row.line
        elif self.ended:
            raise _At(self.ended, f"{self.name} is empty, and goes on later; fill the gap")
        else:
            self.values.append(_number(cell, self.name))
        self.known.append(known)
        self.lines.append(row.line)

    def done(self, path: Path, style: str) -> Series:
        """Give the series, its times checked."""
        try:
            clock = find_clock(self.times, style)
        except NotEven as fault:
            time = self.times[fault.place]
            text = str(time) if self.times else ""
            raise _At(self.lines[fault.place], f"{self.name}: {text} {fault}") from None
        if not self.values:
            raise _At(self.lines[0], f"{self.name} has no values; fill it or leave it out")
        known = np.array(self.known, dtype=np.float64).reshape(len(self.known), -1)
        where = f"{path}:{self.lines[0]}"
        return Series(self.name, clock, np.array(self.values), known, where)


class _At(DataError):
    """A fault that is told of another line than the one being read."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def _wide(path: Path, columns: Columns, faults: Faults) -> list[Series]:
    names, rows = read_table(path, columns.max_line)
    time = column(path, names, columns.time_column, "--time-column") if columns.time_column else 0
    known = [column(path, names, name, "--covariates") for name in columns.covariates]
    places = [i for i in range(len(names)) if i != time and i not in known]
    if not places:
        raise DataError(f"{path}:1: has no column beside the time; add one for each series")
    found = {i: _Column(names[i] or str(i)) for i in places}
    times: list[datetime | int] = []
    style = ""
    for row in rows:
        try:
            if row.fault:
                raise DataError(row.fault)
            moment, style = read_time(row.cells[time], columns.time_format)
            times.append(moment)
            beforehand = _numbers(row, known, names)
            for i, one in found.items():
                one.add(row, row.cells[i], beforehand, columns)
        except DataError as fault:
            raise DataError(f"{path}:{_line(fault, row)}: {fault}") from None
    if not times:
        raise DataError(f"{path}: has no lines below its first; add one for each step")
    series = []
    for one in found.values():
        one.times = times
        try:
            series.append(one.done(path, style))
        except _At as fault:
            raise DataError(f"{path}:{fault.line}: {fault}") from None
    return series


def _long(path: Path, columns: Columns, faults: Faults) -> list[Series]:
    names, rows = read_table(path, columns.max_line)
    name = column(path, names, columns.id_column, "--id-column")
    value = column(path, names, columns.value_column, "--value-column")
    others = [i for i in range(len(names)) if i not in (name, value)]
    time = column(path, names, columns.time_column, "--time-column") if columns.time_column else -1
    if time < 0:
        if not others:
            raise DataError(f"{path}:1: has no column of times; name it with --time-column")
        time = others[0]
    known = [column(path, names, covariate, "--covariates") for covariate in columns.covariates]
    found: dict[str, _Column] = {}
    bad: set[str] = set()
    style = ""
    for row in rows:
        label = row.cells[name].strip() if row.cells else ""
        try:
            if row.fault:
                raise DataError(row.fault)
            if not label:
                raise DataError("the series has no name; fill it or delete the line")
            one = found.setdefault(label, _Column(label))
            moment, style = read_time(row.cells[time], columns.time_format)
            one.add(row, row.cells[value], _numbers(row, known, names), columns)
            one.times.append(moment)
        except DataError as fault:
            if not label or label not in bad:
                faults.found(f"{path}:{_line(fault, row)}", str(fault))
            bad.add(label)
    good = [one for one in found.values() if one.name not in bad]
    return list(_finished(good, path, style, faults))


def _finished(found: Sequence[_Column], path: Path, style: str, faults: Faults) -> Iterator[Series]:
    for one in found:
        try:
            yield one.done(path, style)
        except _At as fault:
            faults.found(f"{path}:{fault.line}", str(fault))


def _rows(path: Path, columns: Columns, faults: Faults) -> list[Series]:
    if columns.covariates:
        raise DataError("rows have no covariates; write a long file, or leave --covariates out")
    series: list[Series] = []
    names: set[str] = set()
    for place, row in enumerate(read_table(path, columns.max_line, head=False)[1]):
        if row.fault:
            faults.found(f"{path}:{row.line}", row.fault)
            continue
        name, *cells = (cell.strip() for cell in row.cells)
        while cells and not cells[-1]:
            cells.pop()
        if place == 0 and cells and not _is_number(cells[0]):
            continue  # names of columns
        try:
            if not name or name in names:
                raise DataError(f"the name {name!r} is empty or there twice; give each its own")
            if not cells:
                raise DataError(f"{name} has no values; fill it or leave it out")
            values = np.array([_number(cell, name) for cell in cells])
        except DataError as fault:
            faults.found(f"{path}:{row.line}", str(fault))
            continue
        names.add(name)
        known = np.zeros((len(values), 0))
        series.append(Series(name, TIMELESS, values, known, f"{path}:{row.line}"))
    return series


def _line(fault: DataError, row: Row) -> int:
    """Tell the line that a fault belongs to."""
    return fault.line if isinstance(fault, _At) else row.line


def _numbers(row: Row, places: Sequence[int], names: Sequence[str]) -> list[float]:
    return [_number(row.cells[i], names[i]) for i in places]


def _number(cell: str, name: str) -> float:
    if not cell.strip():
        raise DataError(f"{name} is empty; fill the gap")
    if not _is_number(cell):
        raise DataError(f"{name} is {shown(cell)}; write a finite number")
    return float(cell)


def _is_number(cell: str) -> bool:
    try:
        return abs(float(cell)) < 1e300
    except ValueError:
        return False


LAYOUTS: dict[str, Callable[[Path, Columns, Faults], list[Series]]] = {
    "wide": _wide,
    "long": _long,
    "rows": _rows,
}

"""Tables of text: CSV and TSV with a head of column names, read strictly and row by row."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from unrolled.errors import DataError
from unrolled.tasks.lines import all_lines, opened, shown


@dataclass(frozen=True)
class Row:
    """A row of a table: the line that it ends on, and its cells, or what is wrong with it."""

    line: int
    cells: Sequence[str]
    fault: str = ""


def read_table(path: Path, max_line: int, *, head: bool = True) -> tuple[list[str], Iterator[Row]]:
    r"""Open a table: the names of its columns, and its rows one by one.

    A name with .tsv means that tabs part the cells and that quotes are ordinary characters; any
    other name means commas, where a cell in double quotes may hold commas, line ends and, doubled,
    quotes (RFC 4180). A further .gz means compressed. Blank lines are skipped.

    path: the file. max_line: the most characters of a line, at least 1. head: whether the first row
    names the columns; without it there are no names, and rows may have any number of cells.
    Gives a row that has other cells than the head has names, or text that is not UTF-8, with its
    fault.
    Raises DataError, with the file and the line, for a file that cannot be read, a head that is not
    UTF-8, a line too long, broken quotes, no head, or a name that is there twice.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "days.csv")
    ...     _ = path.write_text('day,"rain, mm"\nMonday,3\n')
    ...     names, rows = read_table(path, 100)
    ...     names, [row.cells for row in rows]
    (['day', 'rain, mm'], [['Monday', '3']])
    """
    rows = _rows(path, max_line)
    if not head:
        return [], rows
    first = next(rows, None)
    if first is None:
        raise DataError(f"{path}: is empty; write the names of the columns in its first row")
    if first.fault:
        raise DataError(f"{path}:{first.line}: {first.fault}")
    names = [name.strip() for name in first.cells]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise DataError(
                f"{path}:{first.line}: two columns are called {shown(name)}; rename one"
            )
    return names, _checked(rows, len(names))


def column(path: Path, names: Sequence[str], name: str, flag: str) -> int:
    """Find the place of a column; raise DataError, which tells the flag to name another with."""
    if name not in names:
        found = ", ".join(map(repr, names[:8])) + (", ..." if len(names) > 8 else "")
        raise DataError(f"{path}:1: has no column {name!r}, only {found}; name it with {flag}")
    return names.index(name)


def is_tsv(path: Path) -> bool:
    """Tell by its name whether tabs part the cells of a table."""
    return path.name.lower().removesuffix(".gz").endswith(".tsv")


def _rows(path: Path, max_line: int) -> Iterator[Row]:
    faults: dict[int, str] = {}  # of the lines of the row that is being read
    with opened(path) as stream:
        texts = _texts(path, all_lines(stream, str(path), max_line), faults)
        if is_tsv(path):
            reader = csv.reader(texts, delimiter="\t", quoting=csv.QUOTE_NONE)
        else:
            reader = csv.reader(texts, strict=True)
        try:
            for cells in reader:
                if faults:
                    yield Row(*next((line, (), fault) for line, fault in faults.items()))
                    faults.clear()
                elif cells:
                    yield Row(reader.line_num, cells)
        except csv.Error as error:
            raise DataError(
                f"{path}:{reader.line_num}: is no CSV ({error}); correct its quotes"
            ) from None


def _texts(
    path: Path, found: Iterator[tuple[int, str, str]], faults: dict[int, str]
) -> Iterator[str]:
    """Give the texts of lines, and note which have a fault; what is too long ends the reading."""
    for number, text, fault in found:
        if fault and not text:
            raise DataError(f"{path}:{number}: {fault}")
        if fault:
            faults[number] = fault
        yield text + "\n"


def _checked(rows: Iterator[Row], count: int) -> Iterator[Row]:
    for row in rows:
        if row.fault or len(row.cells) == count:
            yield row
        else:
            yield Row(row.line, (), f"cells: {len(row.cells)}; the first row names {count} columns")

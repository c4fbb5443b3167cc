"""One page to read about a run: its content as values, then as one self-contained HTML file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from markupsafe import Markup

from unrolled.errors import ShapeError
from unrolled.files import write_atomically
from unrolled.inspect.figures import macros


@dataclass(frozen=True)
class Prose:
    """Plain text; an empty line parts its paragraphs."""

    kind: ClassVar[str] = "prose"
    text: str


@dataclass(frozen=True)
class Figure:
    """A figure drawn by `figures`, and the sentence that says what to see in it."""

    kind: ClassVar[str] = "figure"
    markup: Markup
    caption: str


@dataclass(frozen=True)
class Grid:
    """Figures side by side, as many as fit."""

    kind: ClassVar[str] = "grid"
    figures: Sequence[Figure]


@dataclass(frozen=True)
class Table:
    """Rows of text under named columns; the first column names its row, the numeric ones align.

    Raises ShapeError if a row does not have one cell per column.
    """

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[str] = ()

    def __post_init__(self) -> None:
        for place, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                found = f"table {self.caption!r} has {len(row)} cells in row {place}"
                raise ShapeError(f"{found}; expected {len(self.columns)}: give one per column")


@dataclass(frozen=True)
class Expander:
    """Blocks that stay folded under their summary until the reader asks for them."""

    kind: ClassVar[str] = "expander"
    summary: str
    blocks: "Sequence[Block]"


Block = Prose | Figure | Grid | Table | Expander


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    heading: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """What a report says: its title, one leading sentence, facts by name, and its sections."""

    title: str
    lead: str
    facts: Mapping[str, str] = field(default_factory=dict)
    sections: Sequence[Section] = ()


def render(page: Page) -> str:
    """Return the page as one HTML document that loads nothing and runs no script.

    Every text of the page is escaped; only the markup of a Figure is taken as it is.

    >>> "<h1>A &lt;b&gt; c</h1>" in render(Page("A <b> c", "One sentence."))
    True
    """
    return str(macros()["page"](page))


def write(page: Page, path: Path | str) -> None:
    """Write the page to path, whole or not at all: a file already there stays until the end.

    Raises RunError, which names the path and the reason, if the file cannot be written.

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(Page("Run 1", "One sentence."), f"{folder}/report.html")
    ...     os.listdir(folder)
    ['report.html']
    """
    write_atomically(path, render(page).encode())

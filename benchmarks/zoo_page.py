"""The page of the zoo: every cell by family, with its equations, its source and its speed."""

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from unrolled.cell import CellFactory, wrap

TITLE = """# The zoo

{count} published cells. Each is a class of `unrolled.zoo`, written as the equations that its
docstring states; `check_cell` computes them again in NumPy and compares. Take one with
`--cell NAME` on the command line, or `unroll(zoo.NAME(inputs, hidden), xs)`.

In the table: the class of the recurrence, as the compiler finds it; the parameters of
`NAME(256, 256)`; and how many times as fast as its own Python loop the cell trains with 128 steps,
for a batch of 32 and for a single row (medians; {processor},
{threads} threads, commit {commit}). `make bench-zoo` measures again and writes this page.
"""


def write_page(cells: Mapping[str, CellFactory], record: Mapping[str, Any]) -> str:
    """Write the page.

    Args:
        cells: by name.
        record: of `zoo.py`, its cells by name.
    """
    facts = {**record["machine"], "commit": record["commit"], "count": len(cells)}
    parts = [TITLE.format(**facts), _table(cells, record["cells"])]
    for module, names in groupby(cells, key=lambda name: cells[name].__module__):
        title = (sys.modules[module].__doc__ or "").splitlines()[0].rstrip(".")
        parts.append(f"## {title}\n")
        parts += [_section(name, cells[name]) for name in names]
    return "\n".join(parts)


def _table(cells: Mapping[str, CellFactory], measured: Mapping[str, Any]) -> str:
    lines = ["| cell | class | parameters | 32 rows | 1 row |", "|---|---|--:|--:|--:|"]
    for name in cells:
        found = measured[name]
        lines.append(
            f"| [{name}](#{name.lower()}) | {found['recurrence'] or 'not compiled'} "
            f"| {found['parameters']:,} | {_times(found['batch'])} | {_times(found['row'])} |"
        )
    return "\n".join(lines) + "\n"


def _times(measured: Mapping[str, float]) -> str:
    return f"{measured['ratio']:.1f} ({measured['ms']:.1f} ms)"


def _section(name: str, cell: CellFactory) -> str:
    parts = [f"### {name}", *_paragraphs(inspect.getdoc(cell) or "")]
    states = ", ".join(f"`{key}` {size}" for key, size in wrap(cell(3, 5)).states.items())
    parts.append(f"States of `{name}(3, 5)`: {states}.")
    return "\n\n".join(parts) + "\n"


def _paragraphs(docstring: str) -> Iterator[str]:
    """Give a docstring's paragraphs up to its arguments, the equations as a block of code."""
    for part in re.split(r"\n\n+", docstring):
        if re.match(r"(Args|Returns|Raises|Example|Attributes):", part):
            return
        yield f"```\n{inspect.cleandoc(part)}\n```" if part.startswith("    ") else part

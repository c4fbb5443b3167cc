"""The page of the zoo: every cell by family, with its equations, its source and its speed."""

import inspect
import re
import statistics
import sys
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from unrolled.cell import wrap
from unrolled.zoo import CELLS, WRAPPERS, wrappers

TITLE = """# The zoo

{count} published cells. Each is a class of `unrolled.zoo`, written as the equations that its
docstring states; `check_cell` computes them again in NumPy and compares. Take one with
`--cell NAME` on the command line, or `unroll(zoo.NAME(inputs, hidden), xs)`. What each family is
good for: [choosing a cell](choosing.md). What can go around any of them: [wrappers](#wrappers).

The table has the class of the recurrence, as the compiler finds it; the parameters of
`NAME(256, 256)`; the backend that `unroll` takes on a processor; and how many times as fast as its
own Python loop the cell trains, forward and back through 128 steps, for a batch of 32 and for a
single row, with the time that it takes. Medians over the cells: {batch:.1f} times and {row:.1f}
times ({processor}, {capability}, threads: {threads}, torch {torch}, commit {commit}).
The load average of the machine was {load[0]} to {load[1]} meanwhile: where that is more than its
processors, other work lengthens all times; ratios are of runs by turns.
`make bench-zoo` measures again and writes this page.
"""


def write_page(record: Mapping[str, Any]) -> str:
    """Write the page from the cells and the record of `zoo.py`."""
    measured = record["cells"]
    medians = {
        shape: statistics.median(measured[name][shape]["ratio"] for name in CELLS)
        for shape in ("batch", "row")
    }
    facts = {**record, **record["machine"], **medians, "count": len(CELLS)}
    parts = [TITLE.format(**facts), _table(measured)]
    for module, names in groupby(CELLS, key=lambda name: CELLS[name].__module__):
        title = (sys.modules[module].__doc__ or "").splitlines()[0].rstrip(".")
        parts.append(f"## {title}\n")
        parts += [_section(name) for name in names]
    parts.append("## Wrappers\n")
    parts += [f"{part}\n" for part in _paragraphs(inspect.getdoc(wrappers) or "")]
    for kind in WRAPPERS:
        parts += [f"### {kind.__name__}\n"]
        parts += [f"{part}\n" for part in _paragraphs(inspect.getdoc(kind) or "")]
    return "\n".join(parts)


def _table(measured: Mapping[str, Any]) -> str:
    lines = [
        "| cell | class | parameters | backend | 32 rows | 1 row |",
        "|---|---|--:|---|--:|--:|",
    ]
    for name in CELLS:
        found = measured[name]
        lines.append(
            f"| [{name}](#{name.lower()}) | {found['recurrence'] or 'unknown'} "
            f"| {found['parameters']:,} | {found['backend']} "
            f"| {_times(found['batch'])} | {_times(found['row'])} |"
        )
    obstacles = [f"- {name}: {f['obstacle']}" for name, f in measured.items() if f["obstacle"]]
    if obstacles:
        lines += ["", "These run step by step in PyTorch:", "", *obstacles]
    return "\n".join(lines) + "\n"


def _times(measured: Mapping[str, float]) -> str:
    return f"{measured['ratio']:.1f} ({measured['ms']:.1f} ms)"


def _section(name: str) -> str:
    parts = [f"### {name}", *_paragraphs(inspect.getdoc(CELLS[name]) or "")]
    states = ", ".join(f"`{key}` {size}" for key, size in wrap(CELLS[name](3, 5)).states.items())
    parts.append(f"States of `{name}(3, 5)`: {states}.")
    return "\n\n".join(parts) + "\n"


def _paragraphs(docstring: str) -> Iterator[str]:
    """Give a docstring's paragraphs up to its arguments, what is indented as a block of code."""
    block: list[str] = []
    for part in re.split(r"\n\n+", docstring):
        if part.startswith("    "):
            block.append(part)
            continue
        if block:
            yield _code(block)
            block = []
        if re.match(r"(Args|Returns|Raises|Example|Attributes):", part):
            return
        yield part[:-1] if part.endswith("::") else part
    if block:
        yield _code(block)


def _code(block: list[str]) -> str:
    return f"```\n{inspect.cleandoc(chr(10) + (chr(10) * 2).join(block))}\n```"

"""CaptureErrors that point at the user's own line and name the way out."""

import ast
import linecache
import operator
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import torch
from torch.fx import Node

from unrolled.cell import Cell
from unrolled.errors import CaptureError

PLACE, FUNCTION = "place", "autograd function"
"""What a node's `meta` has: the line that it comes from, and whose gradient is not its own."""
ELSEWHERE = (str(Path(torch.__file__).parent), str(Path(__file__).parent))
ON_VALUES = ("data-dependent", "Could not guard", "GuardOnDataDependent", "bool() on")
ON_BATCH = "ShapeEnv guards are frozen"
OTHER = "Write it with other operations"
RULE = "One program stands for every step, so the work may not depend on values."


class Unrecordable(Exception):
    """What a step does that no graph has, in words that follow "cannot be captured:"."""


def refused(cell: Cell, what: str, node: Node | None, use: str) -> CaptureError:
    """Give the error for a step that has a graph, but not one that may run for all steps.

    Args:
        cell: the cell.
        what: what it does, after "it".
        node: the operation that does it, if one does.
        use: what to write instead, after "Use".
    """
    place = None if node is None else node.meta.get(PLACE)
    return _error(type(cell).__name__, what, place, f"Use {use}")


def failed(cell: Cell, error: Exception) -> CaptureError:
    """Give the error for a step that torch could not make a graph of."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [(f.filename, f.lineno or 0) for f in frames if _is_users(f.filename)]
    place = places[-1] if places else None
    name = type(cell).__name__
    text = f"{type(error).__name__}: {error}"
    if any(sign in text for sign in ON_VALUES):
        written = f"{RULE} Write\n{_as_where(place)}"
        return _error(name, "it branches on a value of its state", place, written)
    if ON_BATCH in text:
        what = "it depends on how many rows a batch has"
        return _error(name, what, place, "Use x.shape[0] for shapes only")
    if isinstance(error, Unrecordable):
        return _error(name, str(error), place, OTHER)
    first = str(error).strip().partition("\n")[0]
    return _error(name, f"torch says {first!r}", place, OTHER)


def _error(cell: str, what: str, place: tuple[str, int] | None, way_out: str) -> CaptureError:
    lines = [f"{cell} cannot be captured: {what}"]
    if place is not None:
        file, line = place
        lines.append(f"    {Path(file).name}:{line}   {linecache.getline(file, line).strip()}")
    lines.append(f'{way_out}, or run this cell with backend="eager".')
    return CaptureError("\n".join(lines))


def _is_users(file: str) -> bool:
    return not file.startswith((*ELSEWHERE, "<")) and "contextlib" not in file


def _frames() -> Iterator[FrameType]:
    frame = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def here() -> tuple[str, int] | None:
    """Find the innermost line outside of torch and of the compiler that is being run."""
    users = ((f.f_code.co_filename, f.f_lineno) for f in _frames())
    return next((place for place in users if _is_users(place[0])), None)


def _as_where(place: tuple[str, int] | None) -> str:
    """Rewrite ``if condition: name = value`` as a torch.where, if the line is of that form."""
    general = "torch.where(condition, one, other)"
    if place is None:
        return general
    rows = _block(*place)
    indent = len(rows[0]) - len(rows[0].lstrip())
    try:
        (branch,) = ast.parse("".join(row[indent:] for row in rows)).body
    except (SyntaxError, ValueError):
        return general
    match branch:
        case ast.If(
            test=test, body=[ast.Assign(targets=[ast.Name(id=name)], value=value)], orelse=[]
        ):
            return f"torch.where({ast.unparse(test)}, {ast.unparse(value)}, {name})"
    return general


def _block(file: str, line: int) -> list[str]:
    """Read a line and the lines below it that are indented more, or an else."""
    rows = linecache.getlines(file)[line - 1 :]
    indent = len(rows[0]) - len(rows[0].lstrip())
    end = 1
    while end < len(rows):
        own = len(rows[end]) - len(rows[end].lstrip())
        if rows[end].strip() and own <= indent and not rows[end].lstrip().startswith("el"):
            break
        end += 1
    return rows[:end]


def unsupported(cell: str, node: Node, why: str) -> CaptureError:
    """Give the error for an operation that no program may have in its loop."""
    if node.op == "placeholder":
        return _error(cell, f"it reads {node.name} in the loop: {why}", None, OTHER)
    name = str(node.target).removesuffix(".default")
    return _error(
        cell, f"it has the operation {name} in the loop: {why}", node.meta.get(PLACE), OTHER
    )


def operation_name(node: Node) -> str:
    """Name the operation of a node; of a piece of a result, what gave that."""
    if node.target is operator.getitem:
        return operation_name(node.all_input_nodes[0])
    return getattr(node.target, "__name__", str(node.target)).partition(".")[0]

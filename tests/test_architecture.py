"""Who may import whom: a room is a module or a folder right under `unrolled`."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import unrolled

SOURCE = Path(unrolled.__file__).parent

CORE = {"recurrence", "cell", "errors"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "files": {"errors"},
    "cell": {"errors"},
    "ir": {"errors"},
    "compiler": {"ir", "cell", "errors"},
    "backends": {"ir", "files", "errors"},
    "kernels": {"compiler", "backends"},
    "multiply": {"backends", "errors"},
    "gradients": {"multiply", "compiler"},
    "backward": {"kernels", "gradients", "compiler", "backends", "errors"},
    "segments": {"backward", "kernels", "backends"},
    "loop": {"segments", "backward", "kernels", "compiler", "backends"},
    "operation": {"kernels", "backward", "compiler", "ir", "errors"},
    "ways": {"multiply", "kernels", "operation", "compiler", "backends"},
    "compiled": {"ways", "loop", "backward", "compiler", "backends", "cell", "errors"},
    "complex_states": {"cell"},
    "explanation": {"complex_states", "compiler", "backends", "cell", "errors"},
    "recurrence": {"complex_states", "compiled", "backends", "cell", "errors"},
    "zoo": {"cell", "errors"},
    "equations": CORE,
    "testing": {"equations", "backends"} | CORE,
    "layers": {"zoo", "backends", "compiler"} | CORE,
    "models": {"layers", "zoo"} | CORE,
    "inspect": {"models", "layers", "equations", "compiled", "compiler", "backends", "files"}
    | CORE,
    "experiments": {"inspect", "models", "layers", "zoo"} | CORE,
    "tasks": {"inspect", "models", "layers", "zoo", "backends", "files"} | CORE,
}
MAY_IMPORT["cli"] = set(MAY_IMPORT)
MAY_IMPORT["__init__"] = set(MAY_IMPORT) - {"cli"}
MAY_IMPORT["__main__"] = {"cli"}

FILES = sorted(SOURCE.rglob("*.py"))


def room(file: Path) -> str:
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(source: str) -> set[str]:
    """Name the rooms that a file imports, wherever in the file; "." for a relative import."""
    rooms = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            modules = ["unrolled.."]
        elif isinstance(node, ast.ImportFrom):
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        parts = [module.split(".") for module in modules]
        rooms |= {(*names, "__init__")[1] or "." for names in parts if names[0] == "unrolled"}
    return rooms - {"__version__"}


@pytest.mark.parametrize(
    ("source", "rooms"),
    [
        ("import torch\nfrom torch import nn", set()),
        ("from unrolled.cell import Cell", {"cell"}),
        ("from unrolled import zoo, unroll", {"zoo", "unroll"}),
        ("from unrolled import __version__", set()),
        ("import unrolled.tasks.seq2seq.pairs", {"tasks"}),
        ("import unrolled", {"__init__"}),
        ("from .cell import Cell", {"."}),
        ("def f():\n    from unrolled.cli import main", {"cli"}),
    ],
    ids=lambda value: value.splitlines()[-1].strip() if isinstance(value, str) else "",
)
def test_an_import_is_read(source: str, rooms: set[str]) -> None:
    assert imported(source) == rooms


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_a_file_imports_only_what_its_room_may(file: Path) -> None:
    found = imported(file.read_text(encoding="utf-8")) - {room(file)}
    assert room(file) in MAY_IMPORT, "a new room: give it a row in the table"
    assert found <= MAY_IMPORT[room(file)]


def test_no_import_leads_back_to_its_room() -> None:
    uses: dict[str, set[str]] = {}
    for file in FILES:
        found = imported(file.read_text(encoding="utf-8")) - {room(file)}
        uses[room(file)] = uses.get(room(file), set()) | found
    order = list(TopologicalSorter(uses).static_order())  # raises CycleError
    assert order.index("errors") < order.index("recurrence")

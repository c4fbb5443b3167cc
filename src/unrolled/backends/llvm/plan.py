"""`plan`: a program becomes nests of loops, each of which stores some values of every row.

A value is (rows, width). Everything of one width that needs no whole rows but those that lie in
memory already is one nest: matmuls first, whose sums stay in registers, and behind them the
pointwise operations, down to what is stored. A matmul needs whole rows of its operand, so the
operand is stored by a nest of a lower *level*. A reduction is made along the way, by the nest that
computes what it reduces, and others wait for it. Slices and concatenations move nothing: a value is
read and written through *windows*, width numbers from a base.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from unrolled.backends.llvm.levels import (
    Level,
    has_whole_lines,
    is_reduction,
    levels_of,
    line_of,
    needs_whole_rows,
    operand_at_rest,
    stands_alone,
    stored_values,
)
from unrolled.ir import Op, Operation, Program, Value

MOST_WINDOWS = 8  # that a wide value is cut into so that it fits into a narrower nest

Groups = dict[tuple[int, int, str], list["Store"]]
"""What is stored by nests of one level and one width; the third tells nests apart, for reductions
and matmuls that have one of their own."""


Kind = Literal["input", "constant", "state", "fixed", "output", "next", "buffer"]


@dataclass(frozen=True)
class Window:
    """Part of a value: as many numbers as the nest is wide, from `base` on."""

    value: str
    base: int


@dataclass(frozen=True)
class Home:
    """Rows in memory: what the program is given, what it gives, or a buffer between nests."""

    kind: Kind
    name: str


@dataclass(frozen=True)
class Place:
    """Where a value lies: from a number on in the rows of a home."""

    home: Home
    offset: int


@dataclass(frozen=True)
class Store:
    """A window is written to a place."""

    window: Window
    place: Place


@dataclass(frozen=True)
class Reduction:
    """A window that a nest computes is reduced, and the result is written to places."""

    operation: Operation
    window: Window
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Nest:
    """Loops over units and rows.

    A block-diagonal matmul has a nest of its own, whose segments are its blocks; any other nest has
    one segment. Where there are reductions, units are gone through line by line.
    """

    level: int
    width: int
    stores: tuple[Store, ...]
    reductions: tuple[Reduction, ...]
    windows: tuple[Window, ...]  # all that is computed or loaded, operands first
    loads: dict[Window, Place]  # those of them that lie in memory already
    alone: Operation | None = None  # the block-diagonal matmul

    @property
    def line(self) -> int:
        """Numbers side by side that belong to one sum of every reduction."""
        return min((line_of(r.operation) for r in self.reductions), default=self.width)


@dataclass(frozen=True)
class Plan:
    """The nests of one step in order, and the homes between them."""

    program: Program
    nests: tuple[Nest, ...]
    places: dict[str, Place]
    buffers: dict[str, int]  # width of each buffer by its name
    carried: dict[str, Home]  # where a state's successor is stored: an output, or a home of its own
    before: dict[str, str]  # outputs that are such a state as each step reads it: it lies there


def plan(program: Program) -> Plan:
    """Find the nests of a program."""
    operations = {operation.name: operation for operation in program.body}
    levels = levels_of(program, operations)
    stored = stored_values(program, operations, levels)
    places, buffers, carried = _places(program, operations, stored)
    before = _before(program, carried)
    stores = [
        store
        for value, place in _targets(program, places, carried)
        if place.home.name not in before or place.home.kind != "output"
        for store in _pieces(program, operations, value, place)
    ]
    nests = _nests(program, operations, levels, stores, places)
    return Plan(program, nests, places, buffers, carried, before)


def _before(program: Program, carried: dict[str, Home]) -> dict[str, str]:
    """Find the outputs that need not be stored: a step earlier, another output was the same."""
    states = {state for state, home in carried.items() if home.kind == "output"}
    used = set(carried.values())
    return {
        name: str(value)
        for name, value in program.outputs
        if str(value) in states and Home("output", name) not in used
    }


def _places(
    program: Program, operations: dict[str, Operation], stored: list[str]
) -> tuple[dict[str, Place], dict[str, int], dict[str, Home]]:
    """Give every value that lies in memory its place, and every state's successor its home."""
    places: dict[str, Place] = {}
    given: tuple[tuple[Kind, tuple[Value, ...]], ...] = (
        ("input", program.inputs),
        ("constant", program.constants),
        ("state", program.states),
        ("fixed", program.fixed),
    )
    for kind, values in given:
        for value in values:
            places[value.name] = Place(Home(kind, value.name), 0)
    carried: dict[str, Home] = {}
    outputs = {str(value): Home("output", name) for name, value in reversed(program.outputs)}
    for value, home in outputs.items():
        places.setdefault(value, Place(home, 0))
    for state, value in program.next:  # an output has room for one state before the first step
        carried[state] = outputs.pop(str(value), Home("next", state))
        places.setdefault(str(value), Place(carried[state], 0))
    buffers: dict[str, int] = {}
    for name in sorted(stored, key=lambda name: operations[name].op != Op.CONCAT):
        if name not in places:
            buffers[name] = program.types[name].width
            places[name] = Place(Home("buffer", name), 0)
        for store in _pieces(program, operations, name, places[name]):
            places.setdefault(store.window.value, store.place)
    return places, buffers, carried


def _targets(
    program: Program, places: dict[str, Place], carried: dict[str, Home]
) -> Iterator[tuple[str, Place]]:
    """Give all that is written: outputs, successors of states, and what later nests read."""
    for name, value in program.outputs:
        yield str(value), Place(Home("output", name), 0)
    for state, value in program.next:
        if carried[state].kind == "next":
            yield str(value), Place(carried[state], 0)
    for name, place in places.items():
        if place == Place(Home("buffer", name), 0):
            yield name, place


def _pieces(
    program: Program, operations: dict[str, Operation], value: str, place: Place
) -> Iterator[Store]:
    """Write a value whole; a concatenation piece by piece."""
    operation = operations.get(value)
    if operation is None or operation.op != Op.CONCAT:
        yield Store(Window(value, 0), place)
        return
    offset = place.offset
    for piece in map(str, operation.operands):
        yield from _pieces(program, operations, piece, Place(place.home, offset))
        offset += program.types[piece].width


def _nests(
    program: Program,
    operations: dict[str, Operation],
    levels: dict[str, Level],
    stores: Iterable[Store],
    places: dict[str, Place],
) -> tuple[Nest, ...]:
    """Put stores of one level and one width into one nest, and order the nests."""
    groups: Groups = defaultdict(list)
    reduced: dict[tuple[int, int], list[Store]] = defaultdict(list)
    for store in dict.fromkeys(stores):
        name = store.window.value
        level, operation = levels[name].number, operations.get(name)
        if operation is not None and is_reduction(operation):
            reduced[level, program.types[str(operation.operands[0])].width].append(store)
            continue
        alone = name if operation and stands_alone(program, operation) else ""
        groups[level, program.types[name].width, alone].append(store)
    groups = _cut_to_narrower(groups)
    for key, own in reduced.items():
        _join(groups, *key, own, program, operations, levels)
    ready: set[str] = set()
    nests = []

    def is_before(name: str, level: int) -> bool:
        return name not in operations or levels[name].number < level

    for level, width, alone in sorted(groups, key=lambda key: (key[0], not key[2], -key[1])):
        own = groups[level, width, alone]
        loads = {n: p for n, p in places.items() if n in ready or is_before(n, level)}
        plain = tuple(s for s in own if not is_reduction(operations.get(s.window.value)))
        reductions = _reductions(operations, own)
        wanted = [store.window for store in plain] + [reduction.window for reduction in reductions]
        operation = operations.get(alone)
        windows, found = _trace(operations, wanted, loads, operation)
        nests.append(Nest(level, width, plain, reductions, windows, found, operation))
        ready |= {s.window.value for s in plain if places.get(s.window.value) == s.place}
    return tuple(nests)


def _reductions(operations: dict[str, Operation], stores: Iterable[Store]) -> tuple[Reduction, ...]:
    places: dict[str, list[Place]] = defaultdict(list)
    for store in stores:
        if is_reduction(operations.get(store.window.value)):
            places[store.window.value].append(store.place)
    return tuple(
        Reduction(operations[name], Window(str(operations[name].operands[0]), 0), tuple(own))
        for name, own in places.items()
    )


def _join(
    groups: Groups,
    level: int,
    width: int,
    reduced: list[Store],
    program: Program,
    operations: dict[str, Operation],
    levels: dict[str, Level],
) -> None:
    """Let reductions of one width join what is computed anyway, if that is not behind matmuls.

    In one nest all lines are so many times the shortest. Lines of other lengths, or of no whole
    vectors, are gone through in nests of their own.
    """
    lines: dict[int, list[Store]] = defaultdict(list)
    whole = []
    for store in reduced:
        operation = operations[store.window.value]
        if has_whole_lines(program, operation):
            whole.append(line_of(operation))
        lines[line_of(operation)].append(store)
    together = [line for line in lines if line in whole and line % min(whole) == 0]
    for line in lines.keys() - together:
        groups[level, width, f"lines of {line}"] = lines[line]
    if together:
        plain = groups.pop((level, width, ""), [])
        behind = [store for store in plain if levels[store.window.value].product]
        others = [store for store in plain if store not in behind]
        key = "lines" if behind else ""
        groups[level, width, key] = [*others, *(s for line in together for s in lines[line])]
        if behind:
            groups[level, width, ""] = behind


def _cut_to_narrower(groups: Groups) -> Groups:
    """Cut wide values into windows of a narrower nest of their level: gates, as a rule.

    Matmuls that both need are then done once, and what is stored need not be loaded again.
    """
    result: Groups = defaultdict(list)
    for (level, width, alone), stores in groups.items():
        narrower = [
            n
            for other, n, lonely in groups
            if other == level
            and not (alone or lonely)
            and 1 < n < width
            and width % n == 0
            and width // n <= MOST_WINDOWS
        ]
        part = min(narrower, default=width)
        result[level, part, alone] += [
            Store(Window(s.window.value, base), Place(s.place.home, s.place.offset + base))
            for s in stores
            for base in range(0, width, part)
        ]
    return result


def _trace(
    operations: dict[str, Operation],
    wanted: Iterable[Window],
    loads: dict[str, Place],
    alone: Operation | None,
) -> tuple[tuple[Window, ...], dict[Window, Place]]:
    """Follow what is wanted back to what lies in memory; give all windows, operands first."""
    windows: dict[Window, None] = {}
    found: dict[Window, Place] = {}

    def visit(window: Window) -> None:
        if window in windows:
            return
        operation = operations.get(window.value)
        if window.value in loads:
            place = loads[window.value]
            found[window] = Place(place.home, place.offset + window.base)
        elif operation is not None and not (needs_whole_rows(operation) or alone):
            for read in operand_windows(operation, window):
                visit(read)
        windows[window] = None

    for window in wanted:
        visit(window)
    return tuple(windows), found


def operand_windows(operation: Operation, window: Window) -> list[Window]:
    """Give the windows that an operation reads for one window of its result."""
    begin = int(operation.attributes[0]) if operation.op == Op.SLICE else 0
    return [Window(o, window.base + begin) for o in operation.operands if isinstance(o, str)]


def place_of_rows(plan: Plan, name: str) -> Place:
    """Give the place of a value all of whose rows lie in memory.

    A slice of what is given lies there from the beginning; a copy of it that is an output does not.
    """
    operations = {operation.name: operation for operation in plan.program.body}
    if name in plan.places and not (name in operations and operand_at_rest(operations, name)):
        return plan.places[name]
    operation = operations[name]
    source = place_of_rows(plan, str(operation.operands[0]))
    return Place(source.home, source.offset + int(operation.attributes[0]))


def homes_read(plan: Plan) -> set[Home]:
    """Give the homes that some nest of this step or the next one reads."""
    read = {place.home for nest in plan.nests for place in nest.loads.values()}
    read |= set(plan.carried.values())
    whole = (str(o.operands[0]) for o in plan.program.body if needs_whole_rows(o))
    return read | {place_of_rows(plan, name).home for name in whole}

"""States that are written where they are read: one room for each instead of two."""

from collections.abc import Iterator

from unrolled.backends.llvm.levels import needs_whole_rows
from unrolled.backends.llvm.plan import Home, Nest, Plan, place_of_rows


def in_place(plan: Plan) -> frozenset[str]:
    """Find the states for which one room is enough: one nest both reads and writes them.

    So it is with a sum over time, or with a leaky state. A nest loads all that it reads for some of
    its units before it stores anything for them, and it is never at the same units twice: so it may
    read a state at the units that it writes, in windows side by side. A result of a reduction is
    stored when others of its row have been read or not, so a state that is one has two rooms.

    Example:
        >>> from unrolled.backends.llvm.plan import plan
        >>> from unrolled.ir import parse
        >>> sorted(in_place(plan(parse('''program float32
        ... input  a: rows 4
        ... state  g: rows 4
        ... state  h: rows 4
        ... fixed  U: 4x4
        ... b = add g, a : rows 4
        ... c = matmul h, U : rows 4
        ... next   g = b
        ... next   h = c'''))))
        ['g']
    """
    own = {state: home for state, home in plan.carried.items() if home.kind == "next"}
    whole = {place_of_rows(plan, name).home for name in _read_whole(plan)}
    reduced = {place.home for n in plan.nests for r in n.reductions for place in r.places}
    found = set()
    for state, after in own.items():
        before = Home("state", state)
        uses = [(nest, _offsets(nest, before, after)) for nest in plan.nests]
        uses = [(nest, offsets) for nest, offsets in uses if offsets]
        if before in whole or after in reduced or len(uses) != 1:
            continue
        ((nest, offsets),) = uses
        if not any(offset % nest.width for offset in offsets):
            found.add(state)
    return frozenset(found)


def _read_whole(plan: Plan) -> Iterator[str]:
    for operation in plan.program.body:
        if needs_whole_rows(operation):
            yield str(operation.operands[0])


def _offsets(nest: Nest, before: Home, after: Home) -> list[int]:
    """Say where a nest reads the one and writes the other."""
    read = [place.offset for place in nest.loads.values() if place.home == before]
    return read + [store.place.offset for store in nest.stores if store.place.home == after]

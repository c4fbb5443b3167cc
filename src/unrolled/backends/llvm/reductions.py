"""Sums and maxima over part of a row, seen as (outer, middle, inner) and reduced over middle."""

import math
from collections.abc import Callable, Sequence

from unrolled.backends.llvm.code import Code, Value
from unrolled.backends.llvm.pointwise import maximum
from unrolled.ir import Op, Operation

Combine = Callable[[Code, Value, Value], Value]

REDUCTIONS: dict[Op, tuple[Combine, float]] = {  # and what changes nothing
    Op.SUM: (lambda code, a, b: code.builder.fadd(a, b), 0.0),
    Op.MAX: (maximum, -math.inf),
}


def write_reduction(
    code: Code, operation: Operation, source: Value, targets: Sequence[Value]
) -> None:
    """Write the reduction of one row, and store it at every target."""
    outer, middle, inner = map(int, operation.attributes)
    reduce = _along_lanes if inner == 1 else _across_rows

    def body(number: Value, _: list[Value]) -> list[Value]:
        start = code.at(source, code.times(number, middle * inner))
        ends = [code.at(target, code.times(number, inner)) for target in targets]
        reduce(code, operation.op, start, middle, inner, ends)
        return []

    code.loop(0, outer, body)


def _along_lanes(
    code: Code, op: Op, source: Value, middle: int, inner: int, targets: Sequence[Value]
) -> None:
    """Reduce numbers that lie side by side: whole vectors first, then the lanes of one."""
    combine, neutral = REDUCTIONS[op]

    def body(unit: Value, values: list[Value]) -> list[Value]:
        mask = code.mask(unit, middle)
        vector = code.load(code.at(source, unit), mask)
        if mask is not None:
            vector = code.builder.select(mask, vector, code.constant(neutral))
        return [combine(code, values[0], vector)]

    (result,) = code.loop(0, middle, body, step=code.lanes, carry=[code.constant(neutral)])
    result = code.lane(code.folded(result, lambda a, b: combine(code, a, b)), 0)
    for target in targets:
        code.store_number(result, target)


def _across_rows(
    code: Code, op: Op, source: Value, middle: int, inner: int, targets: Sequence[Value]
) -> None:
    """Reduce numbers that lie `inner` apart: every lane for itself."""
    combine, neutral = REDUCTIONS[op]

    def units(unit: Value, _: list[Value]) -> list[Value]:
        mask = code.mask(unit, inner)

        def body(number: Value, values: list[Value]) -> list[Value]:
            place = code.at(source, code.add(code.times(number, inner), unit))
            return [combine(code, values[0], code.load(place, mask))]

        (result,) = code.loop(0, middle, body, carry=[code.constant(neutral)])
        for target in targets:
            code.store(result, code.at(target, unit), mask)
        return []

    code.loop(0, inner, units, step=code.lanes)

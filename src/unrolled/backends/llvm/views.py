"""Repeated and reordered rows: a vector of them is gathered from where the row lies in memory."""

from typing import Protocol

from unrolled.backends.llvm.code import Code, Value
from unrolled.ir import Op, Operation


class Units(Protocol):
    """Which units of the result are wanted."""

    @property
    def unit(self) -> Value:
        """The first."""
        ...

    @property
    def mask(self) -> Value | None:
        """The lanes that there are."""
        ...


def write_view(
    code: Code, operation: Operation, source: Value, base: int, width: int, units: Units
) -> Value:
    """Write one vector of an EXPAND or a SWAP of the row at `source`."""
    if operation.op == Op.EXPAND:
        outer, middle, inner = map(int, operation.attributes)
        if inner == 1 and base // middle == (base + width - 1) // middle:  # one number for all
            return code.load_spread(code.at(source, base // middle))
        if outer == 1 and base % inner + width <= inner:  # within one repetition
            return code.load(code.at(source, code.add(units.unit, base % inner)), units.mask)
        if inner == 1 and base % code.lanes == middle % code.lanes == 0:
            return code.load_spread(
                code.at(source, _divided(code, code.add(units.unit, base), middle)[0])
            )
        if base % code.lanes == inner % code.lanes == 0:
            first = _expanded_from(code, operation, code.add(units.unit, base))
            return code.load(code.at(source, first), units.mask)
    result = code.constant(0.0)
    for lane in range(code.lanes):
        position = code.add(code.add(units.unit, lane), base)
        last = code.index(base + width - 1)  # lanes behind the width read what is there
        position = code.builder.select(code.less(last, position), last, position)
        number = code.load_number(code.at(source, SOURCE[operation.op](code, operation, position)))
        result = code.with_lane(result, number, lane)
    return result


def _divided(code: Code, a: Value, b: int) -> tuple[Value, Value]:
    """Give quotient and remainder."""
    divisor = code.index(b)
    return code.builder.udiv(a, divisor), code.builder.urem(a, divisor)


def _expanded_from(code: Code, operation: Operation, position: Value) -> Value:
    _, middle, inner = map(int, operation.attributes)
    outer, rest = _divided(code, position, middle * inner)
    return code.add(code.times(outer, inner), _divided(code, rest, inner)[1])


def _swapped_from(code: Code, operation: Operation, position: Value) -> Value:
    _, a, b, inner = map(int, operation.attributes)
    rest, last = _divided(code, position, inner)
    rest, at_a = _divided(code, rest, a)
    outer, at_b = _divided(code, rest, b)
    row = code.add(code.times(code.add(code.times(outer, a), at_a), b), at_b)
    return code.add(code.times(row, inner), last)


SOURCE = {Op.EXPAND: _expanded_from, Op.SWAP: _swapped_from}

"""Repeated and reordered rows: a vector of them is gathered from where the row lies in memory."""

from typing import Any, Protocol

import numpy as np
from llvmlite import ir

from unrolled.backends.llvm.code import INDEX, Code, Value
from unrolled.ir import Op, Operation

PLACE = ir.IntType(32)


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
    return _gathered(code, operation, source, base, width, units)


def _gathered(
    code: Code, operation: Operation, source: Value, base: int, width: int, units: Units
) -> Value:
    """Take number by number from where a table says that it is."""
    places = _table(code, operation)
    result = code.constant(0.0)
    for lane in range(code.lanes):
        position = code.add(code.add(units.unit, lane), base)
        last = code.index(base + width - 1)  # lanes behind the width read what is there
        position = code.builder.select(code.less(last, position), last, position)
        place = code.builder.load(code.at(places, position, size=4), align=4, typ=PLACE)
        place = code.builder.zext(place, INDEX)
        result = code.with_lane(result, code.load_number(code.at(source, place)), lane)
    return result


def _table(code: Code, operation: Operation) -> Value:
    """Give a constant table: for each number of the result, where it comes from in its row."""
    shape = ",".join(str(int(size)) for size in operation.attributes)
    module, name = code.builder.module, f"places of {operation.op} {shape}"
    if name not in module.globals:
        places = SOURCE[operation.op](*map(int, operation.attributes)).ravel().tolist()
        type = ir.ArrayType(PLACE, len(places))
        table = ir.GlobalVariable(module, type, name)
        table.global_constant, table.linkage = True, "internal"
        table.initializer = ir.Constant(type, places)  # pyright: ignore[reportAttributeAccessIssue]
    return module.globals[name]


def _divided(code: Code, a: Value, b: int) -> tuple[Value, Value]:
    """Give quotient and remainder."""
    divisor = code.index(b)
    return code.builder.udiv(a, divisor), code.builder.urem(a, divisor)


def _expanded_from(code: Code, operation: Operation, position: Value) -> Value:
    _, middle, inner = map(int, operation.attributes)
    outer, rest = _divided(code, position, middle * inner)
    return code.add(code.times(outer, inner), _divided(code, rest, inner)[1])


def _expanded(outer: int, middle: int, inner: int) -> Any:
    return np.broadcast_to(
        np.arange(outer * inner).reshape(outer, 1, inner), (outer, middle, inner)
    )


def _swapped(outer: int, one: int, other: int, inner: int) -> Any:
    return np.arange(outer * one * other * inner).reshape(outer, one, other, inner).swapaxes(1, 2)


SOURCE = {Op.EXPAND: _expanded, Op.SWAP: _swapped}

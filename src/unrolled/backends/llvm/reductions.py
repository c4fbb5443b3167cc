"""Sums and maxima over part of a row, seen as (outer, middle, inner) and reduced over middle.

They are made along the way: the nest that computes what is reduced goes through it line by line.
Numbers that lie side by side (inner is 1) are combined in registers, lane by lane, and the lanes
with each other at the end of their last line. Others lie apart; there the result lies in memory
from the beginning, and every line is combined with its place in it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

from unrolled.backends.llvm.code import Code, Value
from unrolled.backends.llvm.pointwise import maximum
from unrolled.ir import Op, Operation

Combine = Callable[[Code, Value, Value], Value]

REDUCTIONS: dict[Op, tuple[Combine, float]] = {  # and what changes nothing
    Op.SUM: (lambda code, a, b: code.builder.fadd(a, b), 0.0),
    Op.MAX: (maximum, -math.inf),
}


@dataclass(frozen=True)
class Running:
    """One reduction of one row, as its nest comes along.

    Args:
        code: where to write it.
        operation: the reduction.
        targets: where the result goes.
        line: numbers of a line.
        together: vectors that are computed side by side, each with a register of its own.
    """

    code: Code
    operation: Operation
    targets: Sequence[Value]
    line: int
    together: int

    @property
    def begin(self) -> list[Value]:
        """Give what the registers hold at first."""
        return [self._neutral] * (self.together if self._side_by_side else 0)

    def prepare(self) -> None:
        """Write what the result is before the first line, where it is combined in memory."""
        if self._side_by_side:
            return
        outer, _, inner = self._shape
        for target in self.targets:
            self.code.fill(target, outer * inner, self._neutral)

    def take(
        self,
        registers: Sequence[Value],
        vectors: Sequence[Value],
        units: Sequence[Value],
        masks: Sequence[Value | None],
    ) -> list[Value]:
        """Write how vectors of the operand are taken in; give what the registers then hold.

        Args:
            registers: what they hold.
            vectors: so many as are computed together.
            units: the first unit of each.
            masks: lanes within the line.
        """
        code = self.code
        if self._side_by_side:
            chosen = [
                vector if mask is None else code.builder.select(mask, vector, self._neutral)
                for vector, mask in zip(vectors, masks, strict=True)
            ]
            return [self._combine(*pair) for pair in zip(registers, chosen, strict=True)]
        _, middle, inner = self._shape
        for vector, unit, mask in zip(vectors, units, masks, strict=True):
            block, inside = self._divided(unit, middle * inner)
            place = code.add(code.times(block, inner), self._divided(inside, inner)[1])
            before = code.load(code.at(self.targets[0], place), mask)
            after = self._combine(before, vector)
            for target in self.targets:
                code.store(after, code.at(target, place), mask)
        return []

    def end_line(self, number: Value, registers: Sequence[Value]) -> list[Value]:
        """Write what is done at the end of a line: the last one's of a sum gives a result."""
        if not self._side_by_side:
            return []
        lines = self._shape[1] // self.line
        result, last = self._divided(number, lines)
        if lines == 1:
            self._finish(result, registers)
            return [self._neutral] * self.together
        done = self.code.equal(last, lines - 1)
        with self.code.builder.if_then(done):
            self._finish(result, registers)
        select = self.code.builder.select
        return [select(done, self._neutral, register) for register in registers]

    def _finish(self, number: Value, registers: Sequence[Value]) -> None:
        vector = self.code.folded(reduce(self._combine, registers), self._combine)
        for target in self.targets:
            self.code.store_number(self.code.lane(vector, 0), self.code.at(target, number))

    def _combine(self, a: Value, b: Value) -> Value:
        return REDUCTIONS[self.operation.op][0](self.code, a, b)

    def _divided(self, a: Value, b: int) -> tuple[Value, Value]:
        build, divisor = self.code.builder, self.code.index(b)
        return build.udiv(a, divisor), build.urem(a, divisor)

    @property
    def _neutral(self) -> Value:
        return self.code.constant(REDUCTIONS[self.operation.op][1])

    @property
    def _shape(self) -> tuple[int, int, int]:
        outer, middle, inner = map(int, self.operation.attributes)
        return outer, middle, inner

    @property
    def _side_by_side(self) -> bool:
        return self._shape[2] == 1

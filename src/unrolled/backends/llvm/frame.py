"""Addresses: where the rows of every home lie at one step."""

from dataclasses import dataclass

from unrolled.backends.llvm.arguments import Layout
from unrolled.backends.llvm.code import Code, Value
from unrolled.backends.llvm.packing import Matrix
from unrolled.backends.llvm.plan import Home, Place, Plan, homes_read


@dataclass(frozen=True)
class Rows:
    """Rows in memory at one step."""

    base: Value
    stride: Value  # from row to row, in numbers


class Arguments:
    """The table of arguments, read once at the head of a function."""

    def __init__(self, code: Code, plan: Plan, layout: Layout, table: Value) -> None:
        self.code, self.plan, self.layout, self.table = code, plan, layout, table
        self.numbers = {
            name: code.load_index(code.at(table, slot, size=8))
            for name, slot in layout.slots.items()
        }
        self.read = homes_read(plan)
        self.pointers = {name: code.pointer(number) for name, number in self.numbers.items()}

    def matrix(self, name: str) -> Matrix:
        """Give a fixed value's address and strides."""
        axes = range(len(self.plan.program.types[name].shape))
        strides = tuple(self.numbers[f"fixed {name} {axis}"] for axis in axes)
        return Matrix(self.pointers[f"fixed {name}"], strides)

    def buffer(self, name: str) -> Rows:
        """Give the rows of a buffer."""
        start = self.code.times(self.numbers["batch"], self.layout.buffers[name])
        base = self.code.at(self.pointers["buffers"], start)
        return Rows(base, self.code.index(self.layout.widths[name]))

    def input(self, name: str, step: Value) -> Rows:
        """Give the rows of an input at a step."""
        offset = self.code.times(step, self.numbers[f"input {name} time"])
        base = self.code.at(self.pointers[f"input {name}"], offset)
        return Rows(base, self.numbers[f"input {name} row"])

    def output(self, name: str, step: Value) -> Rows:
        """Give the rows of an output at a step; they lie side by side, of all steps."""
        width = self.code.index(self.layout.outputs[name])
        offset = self.code.times(step, self.code.times(self.numbers["output step"], width))
        return Rows(self.code.at(self.pointers[f"output {name}"], offset), width)

    def ends(self, kind: str, state: str) -> Rows:
        """Give the rows that a state begins with ("first") or is left in ("last")."""
        return Rows(self.pointers[f"{kind} {state}"], self.numbers[f"{kind} {state} row"])

    def at_step(self, step: Value) -> dict[Home, Rows]:
        """Give the rows of every home at a step."""
        program = self.plan.program
        homes: dict[Home, Rows] = {}
        for value in program.inputs:
            homes[Home("input", value.name)] = self.input(value.name, step)
        for name in self.layout.outputs:
            homes[Home("output", name)] = self.output(name, step)
        for value in program.constants:
            rows = Rows(
                self.pointers[f"constant {value.name}"], self.numbers[f"constant {value.name} row"]
            )
            homes[Home("constant", value.name)] = rows
        for value in program.fixed:
            rows = Rows(self.pointers[f"fixed {value.name}"], self.code.index(0))
            homes[Home("fixed", value.name)] = rows
        for name in self.plan.buffers:
            homes[Home("buffer", name)] = self.buffer(f"buffer {name}")
        for value in program.states:
            homes |= self._state(value.name, step)
        return homes

    def _state(self, state: str, step: Value) -> dict[Home, Rows]:
        """Give the rows in which a state is read, and those in which its successor is stored."""
        code, home, successor = self.code, Home("state", state), self.plan.carried[state]
        if successor.kind == "output":
            before = code.add(step, -1)
            return {home: self.output(successor.name, before)}
        even = self.buffer(f"even {state}")
        if f"odd {state}" not in self.layout.buffers:  # it is written where it is read
            return {home: even, successor: even}
        odd = self.buffer(f"odd {state}")
        is_odd = code.builder.trunc(step, code.truth)
        now = code.builder.select(is_odd, odd.base, even.base)
        then = code.builder.select(is_odd, even.base, odd.base)
        return {home: Rows(now, even.stride), successor: Rows(then, even.stride)}


def address(code: Code, homes: dict[Home, Rows], place: Place, row: Value) -> Value:
    """Give the address of a place in one row."""
    rows = homes[place.home]
    return code.at(rows.base, code.add(code.times(row, rows.stride), place.offset))

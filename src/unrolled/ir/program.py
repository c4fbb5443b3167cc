"""A program: one step of a recurrence over typed values, as a value that prints and parses.

Its text has one line per value. This is a gated step, 3 units wide::

    program float32
    input  a: rows 6
    state  h: rows 3
    fixed  U: 3x6
    u = matmul h, U : rows 6
    s = add u, a : rows 6
    s_1 = slice[0, 3] s : rows 3
    f = sigmoid s_1 : rows 3
    s_2 = slice[3, 6] s : rows 3
    n = tanh s_2 : rows 3
    k = sub 1.0, f : rows 3
    m = mul k, n : rows 3
    g = mul f, h : rows 3
    h_1 = add m, g : rows 3
    output y = h_1
    next   h = h_1

`input` is given anew for every step, `constant` once for each row, `state` is carried from step to
step, `fixed` is the same for all rows and steps. An operation is written
``name = op[attributes] operands : type``; an operand is a name or a number. `output` is what every
step gives; `next` is the state that the following step reads. Batch and time appear nowhere.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from unrolled.errors import ProgramError
from unrolled.ir.ops import Attributes, Op, Type

Operand = str | float
"""The name of a value, or a number."""

DTypeName = Literal["float32", "float64"]


@dataclass(frozen=True)
class Value:
    """A value that the program is given."""

    name: str
    type: Type


@dataclass(frozen=True)
class Operation:
    """One operation, and the value that it gives."""

    name: str
    op: Op
    operands: tuple[Operand, ...]
    attributes: Attributes
    type: Type

    def __str__(self) -> str:
        attributes = f"[{', '.join(map(repr, self.attributes))}]" if self.attributes else ""
        operands = ", ".join(map(_shown, self.operands))
        return f"{self.name} = {f'{self.op}{attributes} {operands}'.strip()} : {self.type}"


@dataclass(frozen=True)
class Program:
    """One step: what it is given, what it does in order, what it gives."""

    dtype: DTypeName  # of all rows and fixed values
    inputs: tuple[Value, ...]  # anew for every step
    constants: tuple[Value, ...]  # once for each row
    states: tuple[Value, ...]  # carried from step to step
    fixed: tuple[Value, ...]  # the same for all rows and steps
    body: tuple[Operation, ...]
    outputs: tuple[tuple[str, Operand], ...]  # (name, value) that every step gives
    next: tuple[tuple[str, Operand], ...]  # (state, value) in the order of `states`

    def __str__(self) -> str:
        lines = [f"program {self.dtype}"]
        for word, values in self._given():
            lines += [f"{word:<6} {value.name}: {_declared(value.type)}" for value in values]
        lines += map(str, self.body)
        lines += [f"output {name} = {_shown(value)}" for name, value in self.outputs]
        lines += [f"next   {name} = {_shown(value)}" for name, value in self.next]
        return "\n".join(lines)

    def _given(self) -> Iterator[tuple[str, tuple[Value, ...]]]:
        yield "input", self.inputs
        yield "constant", self.constants
        yield "state", self.states
        yield "fixed", self.fixed

    @cached_property
    def given(self) -> tuple[Value, ...]:
        """All values that the program is given."""
        return tuple(value for _, values in self._given() for value in values)

    @cached_property
    def types(self) -> dict[str, Type]:
        """The type of every value by its name."""
        return {value.name: value.type for value in (*self.given, *self.body)}


def _shown(operand: Operand) -> str:
    return operand if isinstance(operand, str) else repr(operand)


def _declared(type: Type) -> str:
    return str(type).removeprefix("fixed ")


NAME = r"[A-Za-z_]\w*"
HEAD = re.compile(r"program (float32|float64)")
GIVEN = re.compile(rf"(input|constant|state|fixed)\s+({NAME}): (.+)")
GIVES = re.compile(rf"(output|next)\s+({NAME}) = (\S+)")
DOES = re.compile(rf"({NAME}) = (\w+)(?:\[(.*?)\])?(?: (.+?))? : (.+)")
OF_TEXT = {op.value: op for op in Op}
WHOLE = re.compile(r"-?\d+")


def parse(text: str) -> Program:
    """Read a program from its text; ``parse(str(p)) == p``.

    Args:
        text: the text, as in the head of this file; a line may end in ``# a remark``.

    Raises:
        ProgramError: a line cannot be read; the message names it.

    Example:
        >>> text = '''program float64
        ... state  h: rows 2
        ... h_1 = mul h, 0.5 : rows 2
        ... output y = h_1
        ... next   h = h_1'''
        >>> str(parse(text)) == text
        True
    """
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    head = HEAD.fullmatch(lines[0]) if lines else None
    if head is None:
        raise ProgramError("the text is no program: expected 'program float32' or 'float64' first")
    given: dict[str, list[Value]] = {"input": [], "constant": [], "state": [], "fixed": []}
    gives: dict[str, list[tuple[str, Operand]]] = {"output": [], "next": []}
    body: list[Operation] = []
    for line in lines[1:]:
        if match := GIVEN.fullmatch(line):
            word, name, type = match.groups()
            given[word].append(Value(name, _type(f"fixed {type}" if word == "fixed" else type)))
        elif match := GIVES.fullmatch(line):
            gives[match[1]].append((match[2], _operand(match[3])))
        elif match := DOES.fullmatch(line):
            body.append(_operation(line, *match.groups()))
        else:
            raise ProgramError(f"{line!r} is no line of a program: see unrolled.ir.program")
    return Program(
        dtype="float64" if head[1] == "float64" else "float32",
        inputs=tuple(given["input"]),
        constants=tuple(given["constant"]),
        states=tuple(given["state"]),
        fixed=tuple(given["fixed"]),
        body=tuple(body),
        outputs=tuple(gives["output"]),
        next=tuple(gives["next"]),
    )


def _operation(
    line: str, name: str, op: str, attributes: str | None, operands: str | None, type: str
) -> Operation:
    if op not in OF_TEXT:
        raise ProgramError(f"{line!r} has the operation {op!r}: expected one of unrolled.ir.ops")
    return Operation(
        name,
        OF_TEXT[op],
        tuple(_operand(o) for o in (operands or "").split(", ") if o),
        tuple(
            int(a) if WHOLE.fullmatch(a) else float(a) for a in (attributes or "").split(", ") if a
        ),
        _type(type),
    )


def _operand(text: str) -> Operand:
    if re.fullmatch(NAME, text) and text not in ("inf", "nan"):
        return text
    try:
        return float(text)
    except ValueError:
        raise ProgramError(f"{text!r} is no operand: expected a name or a number") from None


def _type(text: str) -> Type:
    kind, _, shape = text.partition(" ")
    sizes = [] if shape == "()" else shape.split("x")
    if kind not in ("rows", "mask", "fixed") or not all(map(WHOLE.fullmatch, sizes)):
        raise ProgramError(
            f"{text!r} is no type: expected one such as rows 5, mask 5 or fixed 5x15"
        )
    return Type(kind, tuple(map(int, sizes)))

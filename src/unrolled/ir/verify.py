"""`verify`: a program keeps the rules of its operations, or the first broken one is named."""

import re

from unrolled.errors import ProgramError
from unrolled.ir.ops import OPS, Type
from unrolled.ir.program import NAME, Operand, Operation, Program

RESERVED = frozenset({"inf", "nan", "program", "input", "constant", "state", "fixed", "next"})


def verify(program: Program) -> Program:
    """Check a program and give it back.

    Every name is given once and before it is read, every operation has the operands and the result
    that its row in `OPS` asks for, every state has a successor of its own type, and every output
    has rows.

    Raises:
        ProgramError: a rule is broken; the message names the line.

    Example:
        >>> from unrolled.ir import parse
        >>> lines = ("program float32", "state  h: rows 2", "next   h = g")
        >>> verify(parse(chr(10).join(lines)))
        Traceback (most recent call last):
        unrolled.errors.ProgramError: next h = g: g is not given before it is read
    """
    types: dict[str, Type] = {}
    for value in program.given:
        if (value.type.kind == "fixed") != (value in program.fixed) or value.type.kind == "mask":
            raise ProgramError(f"{value.name} is given as {value.type}: only `fixed` is fixed")
        _define(types, value.name, value.type)
    for operation in program.body:
        _define(types, operation.name, _checked(operation, types))
    names = [name for name, _ in program.outputs]
    for name, operand in program.outputs:
        if names.count(name) > 1:
            raise ProgramError(f"output {name} is given twice: expected every name once")
        if _read(operand, types, f"output {name} = {operand}").kind != "rows":
            raise ProgramError(f"output {name} = {operand}: expected rows")
    if [name for name, _ in program.next] != [value.name for value in program.states]:
        raise ProgramError("the states and their successors differ: expected one each, in order")
    for (name, operand), state in zip(program.next, program.states, strict=True):
        if (found := _read(operand, types, f"next {name} = {operand}")) != state.type:
            raise ProgramError(f"next {name} = {operand} has {found}: expected {state.type}")
    return program


def _define(types: dict[str, Type], name: str, type: Type) -> None:
    if name in types:
        raise ProgramError(f"{name} is given twice: expected every name once")
    if not re.fullmatch(NAME, name) or name in RESERVED:
        raise ProgramError(f"{name!r} is no name: expected letters, digits and _, and no keyword")
    types[name] = type


def _read(operand: Operand, types: dict[str, Type], line: str) -> Type:
    if not isinstance(operand, str):
        raise ProgramError(f"{line} is a number: expected the name of a value")
    if operand not in types:
        raise ProgramError(f"{line}: {operand} is not given before it is read")
    return types[operand]


def _checked(operation: Operation, types: dict[str, Type]) -> Type:
    """Give the type of an operation's result, if all about it is right."""
    spec, line = OPS[operation.op], str(operation)
    operands = tuple(
        _read(o, types, line) if isinstance(o, str) else None for o in operation.operands
    )
    if len(operands) != spec.arity and (spec.arity >= 0 or not operands):
        raise ProgramError(f"{line}: {len(operands)} operands, expected {spec.arity}")
    if len(operation.attributes) != len(spec.attributes):
        raise ProgramError(f"{line}: expected the attributes [{', '.join(spec.attributes)}]")
    try:
        found = spec.rule(operands, operation.attributes)
    except ProgramError as error:
        raise ProgramError(f"{line}: {error}") from None
    if found != operation.type:
        raise ProgramError(f"{line} gives {found}: expected the type that is written")
    return found

"""`simplify`: Program -> Program, the same values with fewer operations."""

from collections.abc import Iterable
from dataclasses import replace

from unrolled.ir import Op, Operand, Operation, Program, without_unread

COMMUTE = frozenset({Op.ADD, Op.MUL, Op.MINIMUM, Op.MAXIMUM, Op.AND, Op.OR, Op.EQ, Op.NE})
NOTHING: dict[Op, tuple[float, float]] = {  # operand that changes nothing: on the left, the right
    Op.ADD: (0.0, 0.0),
    Op.SUB: (float("nan"), 0.0),
    Op.MUL: (1.0, 1.0),
    Op.DIV: (float("nan"), 1.0),
}
POWERS = {0.5: Op.SQRT, -0.5: Op.RSQRT, -1.0: Op.RECIPROCAL}


def simplify(program: Program) -> Program:
    """Fold what changes nothing, compute once what is written twice, drop what nobody reads.

    Results stay the same number for number, but for the sign of a 0.

    Example:
        >>> from unrolled.ir import parse
        >>> print(simplify(parse('''program float32
        ... state  h: rows 2
        ... a = mul h, 1.0 : rows 2
        ... b = tanh a : rows 2
        ... c = tanh h : rows 2
        ... d = slice[0, 1] b : rows 1
        ... e = pow[2.0] b : rows 2
        ... f = add e, c : rows 2
        ... next   h = f''')))
        program float32
        state  h: rows 2
        b = tanh h : rows 2
        e = mul b, b : rows 2
        f = add e, b : rows 2
        next   h = f
    """
    names: dict[str, Operand] = {}
    known: dict[object, str] = {}
    made: dict[str, Operation] = {}
    for operation in program.body:
        read = tuple(names.get(o, o) if isinstance(o, str) else o for o in operation.operands)
        written = _power(replace(operation, operands=read))
        same = _folded(written, made, program)
        key = _key(written)
        if same is not None:
            names[operation.name] = same
        elif key in known:
            names[operation.name] = known[key]
        else:
            known[key] = written.name
            made[written.name] = written
    renamed = replace(
        program,
        body=tuple(made.values()),
        outputs=tuple((name, _new(names, value)) for name, value in program.outputs),
        next=tuple((name, _new(names, value)) for name, value in program.next),
    )
    return without_unread(renamed)


def _new(names: dict[str, Operand], operand: Operand) -> Operand:
    return names.get(operand, operand) if isinstance(operand, str) else operand


def _key(operation: Operation) -> object:
    """Give what two operations have in common that give the same value."""
    operands: Iterable[Operand] = operation.operands
    if operation.op in COMMUTE:
        operands = sorted(operands, key=str)
    return operation.op, tuple(map(repr, operands)), operation.attributes


def _power(operation: Operation) -> Operation:
    """Write a power as the operation that it is."""
    if operation.op is not Op.POW:
        return operation
    (exponent,), (base,) = operation.attributes, operation.operands
    if exponent == 2:
        return replace(operation, op=Op.MUL, operands=(base, base), attributes=())
    if exponent in POWERS:
        return replace(operation, op=POWERS[exponent], attributes=())
    return operation


def _folded(operation: Operation, made: dict[str, Operation], program: Program) -> Operand | None:
    """Give the value that an operation only passes on, if it does."""
    if operation.op in NOTHING:
        left, right = operation.operands
        neutral = NOTHING[operation.op]
        passed = left if right == neutral[1] else right if left == neutral[0] else None
        if isinstance(passed, str) and _has_rows(passed, made, program):
            return passed
    before = made.get(str(operation.operands[0])) if operation.operands else None
    width = _width(str(operation.operands[0]), made, program) if operation.operands else 0
    if operation.op is Op.SLICE and operation.attributes == (0, width):
        return operation.operands[0]
    if operation.op is Op.EXPAND and operation.attributes[1] == 1:
        return operation.operands[0]
    if operation.op is Op.CONCAT and len(operation.operands) == 1:
        return operation.operands[0]
    if operation.op is Op.SLICE and before is not None and before.op is Op.CONCAT:
        return _piece(operation, before, made, program)
    if operation.op is Op.NEG and before is not None and before.op is Op.NEG:
        return before.operands[0]
    return None


def _piece(
    cut: Operation, joined: Operation, made: dict[str, Operation], program: Program
) -> Operand | None:
    """Give the operand of a concat that a slice takes out whole, if it does."""
    begin = 0
    for operand in joined.operands:
        end = begin + _width(str(operand), made, program)
        if cut.attributes == (begin, end):
            return operand
        begin = end
    return None


def _has_rows(name: str, made: dict[str, Operation], program: Program) -> bool:
    return name in made or all(value.name != name for value in program.fixed)


def _width(name: str, made: dict[str, Operation], program: Program) -> int:
    if name in made:
        return made[name].type.width
    return next((value.type.width for value in program.given if value.name == name), 0)

"""Programs without what nobody reads."""

from dataclasses import replace

from unrolled.ir.ops import Op
from unrolled.ir.program import Operand, Operation, Program


def without_unread(program: Program) -> Program:
    """Drop the operations, inputs and fixed values that no output and no state depends on."""
    read = {value for _, value in (*program.outputs, *program.next)}
    body: list[Operation] = []
    for operation in reversed(program.body):
        if operation.name in read:
            body.append(operation)
            read.update(operation.operands)
    return replace(
        program,
        inputs=tuple(value for value in program.inputs if value.name in read),
        constants=tuple(value for value in program.constants if value.name in read),
        fixed=tuple(value for value in program.fixed if value.name in read),
        body=tuple(reversed(body)),
    )


def without_slopes(program: Program) -> Program:
    """Drop what only gradients read: for who computes values alone.

    Example:
        >>> from unrolled.ir import parse
        >>> print(without_slopes(parse('''program float32
        ... state  h: rows 2
        ... a = sign h : rows 2
        ... b = tanh h : rows 2
        ... c = surrogate a, h, b : rows 2
        ... next   h = c''')))
        program float32
        state  h: rows 2
        a = sign h : rows 2
        next   h = a
    """
    values: dict[Operand, Operand] = {}
    body: list[Operation] = []

    def new(operand: Operand) -> Operand:
        return values.get(operand, operand)

    for operation in program.body:
        read = tuple(map(new, operation.operands))
        value = program.types.get(str(read[0])) if operation.op is Op.SURROGATE else None
        if value is not None and value.kind == "rows":
            values[operation.name] = read[0]
        else:
            body.append(replace(operation, operands=read))
    if not values:
        return program
    outputs, states = (
        tuple((name, new(value)) for name, value in pairs)
        for pairs in (program.outputs, program.next)
    )
    return without_unread(replace(program, body=tuple(body), outputs=outputs, next=states))

"""When each value of a program can be had, and which values have to lie in memory for that."""

from dataclasses import dataclass

from unrolled.ir import OPS, Op, Operation, Program


def operand_at_rest(operations: dict[str, Operation], name: str) -> bool:
    """Say whether a value is given, or a slice of what is given: whole rows of it lie in memory."""
    operation = operations.get(name)
    if operation is None:
        return True
    source = operation.operands[0] if operation.op == Op.SLICE else None
    return isinstance(source, str) and operand_at_rest(operations, source)


def needs_whole_rows(operation: Operation) -> bool:
    """Say whether an operation reads more of a row than the window that it computes."""
    return OPS[operation.op].kind in ("matmul", "reduction") or operation.op in (Op.EXPAND, Op.SWAP)


def stands_alone(program: Program, operation: Operation) -> bool:
    """Say whether an operation has a nest of its own."""
    if OPS[operation.op].kind == "matmul":
        return len(program.types[str(operation.operands[1])].shape) == 3
    return OPS[operation.op].kind == "reduction"


def read_from_memory(program: Program, operation: Operation) -> bool:
    """Say whether others can read the result only once it is stored, all of it."""
    return operation.op == Op.CONCAT or stands_alone(program, operation)


@dataclass(frozen=True)
class Level:
    """When a value can be had, and whether it costs a matmul or a reduction to have it again."""

    number: int
    dear: bool


def levels_of(program: Program, operations: dict[str, Operation]) -> dict[str, Level]:
    """Give the level of every value: one more than that of all that has to be stored before it."""
    levels = {value.name: Level(0, False) for value in program.given}
    for name, operation in operations.items():
        read = [o for o in operation.operands if isinstance(o, str)]
        number = max((levels[o].number for o in read), default=0)
        waits = [o for o in read if o in operations and must_lie(program, operations, operation, o)]
        number = max([number, *(levels[o].number + 1 for o in waits)])
        costly = OPS[operation.op].kind in ("matmul", "reduction")
        dear = costly or any(levels[o].dear for o in read)
        levels[name] = Level(number, dear)
    return levels


def must_lie(
    program: Program, operations: dict[str, Operation], reader: Operation, read: str
) -> bool:
    """Say whether `reader` can begin only when all of `read`, which is computed, is stored."""
    if reader.op == Op.CONCAT:  # it is written piece by piece
        return False
    whole = needs_whole_rows(reader) and reader.operands[0] == read
    at_rest = operand_at_rest(operations, read)
    return (whole and not at_rest) or read_from_memory(program, operations[read])


def stored_values(
    program: Program, operations: dict[str, Operation], levels: dict[str, Level]
) -> list[str]:
    """Name the values that a later nest reads from memory, in order."""
    stored: dict[str, None] = {}
    for name, operation in operations.items():
        if stands_alone(program, operation):
            stored[name] = None
        for read in operation.operands:
            if not isinstance(read, str) or read not in operations:
                continue
            later = levels[read].dear and levels[read].number < levels[name].number
            if later or must_lie(program, operations, operation, read):
                stored[read] = None
    return list(stored)

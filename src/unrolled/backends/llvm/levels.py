"""When each value of a program can be had, and which values have to lie in memory for that."""

from collections import Counter
from dataclasses import dataclass

from unrolled.ir import OPS, Op, Operation, Program

WHOLE_LINES = 16
"""Numbers that make up whole vectors on every processor."""


MOST_CUTS = 8
"""Pieces of a value that are computed where they are read; it is stored first for more of them."""


def operand_at_rest(operations: dict[str, Operation], name: str) -> bool:
    """Say whether a value is given, or a slice of what is given: whole rows of it lie in memory."""
    operation = operations.get(name)
    if operation is None:
        return True
    source = operation.operands[0] if operation.op == Op.SLICE else None
    return isinstance(source, str) and operand_at_rest(operations, source)


def needs_whole_rows(operation: Operation) -> bool:
    """Say whether an operation reads more of a row than the window that it computes.

    A reduction does not: it is made along the way, by the nest that computes what it reduces.
    """
    return OPS[operation.op].kind == "matmul" or operation.op in (Op.EXPAND, Op.SWAP)


def stands_alone(program: Program, operation: Operation) -> bool:
    """Say whether an operation has a nest of its own: a block-diagonal matmul."""
    if OPS[operation.op].kind != "matmul":
        return False
    return len(program.types[str(operation.operands[1])].shape) == 3


def is_reduction(operation: Operation | None) -> bool:
    """Say whether an operation reduces."""
    return operation is not None and OPS[operation.op].kind == "reduction"


def line_of(operation: Operation) -> int:
    """Give how many numbers side by side a reduction takes in, or writes, in one go."""
    _, middle, inner = map(int, operation.attributes)
    return middle if inner == 1 else inner


def has_whole_lines(program: Program, operation: Operation) -> bool:
    """Say whether a reduction goes through its operand in whole vectors, but for a row's last."""
    line = line_of(operation)
    return line % WHOLE_LINES == 0 or line == program.types[str(operation.operands[0])].width


def read_from_memory(program: Program, operation: Operation) -> bool:
    """Say whether others can read the result only once it is stored, all of it."""
    alone = operation.op == Op.CONCAT or stands_alone(program, operation)
    return alone or is_reduction(operation)


def often_cut(operations: dict[str, Operation]) -> frozenset[str]:
    """Name the values that are cut into many pieces, each of which would compute them anew."""
    cut = Counter(str(o.operands[0]) for o in operations.values() if o.op == Op.SLICE)
    return frozenset(name for name, times in cut.items() if times > MOST_CUTS)


@dataclass(frozen=True)
class Level:
    """When a value can be had, and what it costs to have it."""

    number: int
    dear: bool  # to have it again takes a matmul or a reduction
    product: bool  # it is computed behind the matmuls of its level


def levels_of(program: Program, operations: dict[str, Operation]) -> dict[str, Level]:
    """Give the level of every value: one more than that of all that has to be stored before it."""
    levels = {value.name: Level(0, False, False) for value in program.given}
    cut = often_cut(operations)
    for name, operation in operations.items():
        read = [o for o in operation.operands if isinstance(o, str)]
        number = max((levels[o].number for o in read), default=0)
        waits = [o for o in read if must_lie(program, operations, levels, cut, operation, o)]
        number = max([number, *(levels[o].number + 1 for o in waits)])
        matmul = OPS[operation.op].kind == "matmul"
        dear = matmul or is_reduction(operation) or any(levels[o].dear for o in read)
        behind = any(levels[o].product for o in read if levels[o].number == number)
        levels[name] = Level(number, dear, matmul or behind)
    return levels


def must_lie(
    program: Program,
    operations: dict[str, Operation],
    levels: dict[str, Level],
    cut: frozenset[str],
    reader: Operation,
    read: str,
) -> bool:
    """Say whether `reader` can begin only when all of `read`, if it is computed, is stored.

    A reduction can so behind matmuls, whose nests go through rows in blocks of units, and where its
    lines are not of whole vectors, in which all else would have to be computed too.
    """
    if reader.op == Op.CONCAT or read not in operations:  # that is written piece by piece
        return False
    if read_from_memory(program, operations[read]) or reader.op == Op.SLICE and read in cut:
        return True
    if is_reduction(reader):
        if operand_at_rest(operations, read):
            return False
        return levels[read].product or not has_whole_lines(program, reader)
    whole = needs_whole_rows(reader) and reader.operands[0] == read
    return whole and not operand_at_rest(operations, read)


def stored_values(
    program: Program, operations: dict[str, Operation], levels: dict[str, Level]
) -> list[str]:
    """Name the values that a later nest reads from memory, in order."""
    stored: dict[str, None] = {}
    cut = often_cut(operations)
    for name, operation in operations.items():
        if stands_alone(program, operation) or is_reduction(operation):
            stored[name] = None
        for read in operation.operands:
            if not isinstance(read, str) or read not in operations:
                continue
            later = levels[read].dear and levels[read].number < levels[name].number
            if later or must_lie(program, operations, levels, cut, operation, read):
                stored[read] = None
    return list(stored)

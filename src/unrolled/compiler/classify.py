"""`classify`: what a program's states do to each other decides what may solve it."""

from enum import StrEnum

from unrolled.ir import OPS, Op, Operation, Program


class Recurrence(StrEnum):
    """The classes of recurrences."""

    LINEAR = "linear diagonal"  # a sum of multiples of the states, number by number: a scan
    NONLINEAR = "nonlinear diagonal"  # each place of the states by itself: no product in the loop
    MIXING = "full mixing"  # places read each other: step by step


FREE, LINEAR, BENT = range(3)  # how a value moves with the states
SAME = frozenset({Op.NEG, Op.DETACH})
SUMS = frozenset({Op.ADD, Op.SUB})


def classify(program: Program) -> Recurrence:
    """Give the class of a program.

    A state that is only an input of steps before, as in a convolution over time, is known before
    the loop, and counts as an input itself.

    Args:
        program: the loop of a step.

    Returns:
        Its class; a program in which places of a state only change their order counts as mixing.

    Example:
        >>> from unrolled.ir import parse
        >>> classify(parse('''program float32
        ... input  a: rows 2
        ... input  b: rows 2
        ... state  h: rows 2
        ... m = mul a, h : rows 2
        ... h_1 = add m, b : rows 2
        ... next   h = h_1''')).value
        'linear diagonal'
    """
    moves = {value.name: FREE for value in program.given}
    moves |= dict.fromkeys(_unknown(program), LINEAR)
    feeding = _upstream(program)
    for operation in program.body:
        own = [moves[o] if isinstance(o, str) else FREE for o in operation.operands]
        if any(own) and OPS[operation.op].kind != "pointwise" and operation.name in feeding:
            return Recurrence.MIXING
        moves[operation.name] = _moves(operation, own)
    if any(moves[str(value)] == BENT for _, value in program.next):
        return Recurrence.NONLINEAR
    return Recurrence.LINEAR


def _moves(operation: Operation, own: list[int]) -> int:
    """Say how a result moves with the states, from how its operands do."""
    if not any(own) or operation.op in SAME:
        return max(own, default=FREE)
    if operation.op in SUMS:
        return max(own)
    if operation.op is Op.MUL:
        return min(sum(own), BENT)
    if operation.op is Op.DIV and own[1] == FREE:
        return own[0]
    if operation.op is Op.WHERE and own[0] == FREE:
        return max(own[1:])
    return BENT


def _unknown(program: Program) -> set[str]:
    """Name the states that depend on what the loop computes, and not on earlier inputs alone."""
    unknown = {state.name for state in program.states}
    while True:
        touched = set(unknown)
        for operation in program.body:
            if any(operand in touched for operand in operation.operands):
                touched.add(operation.name)
        left = {state for state, value in program.next if state in unknown and value in touched}
        if left == unknown:
            return unknown
        unknown = left


def _upstream(program: Program) -> set[str]:
    """Name the values that the next states depend on."""
    reached = {str(value) for _, value in program.next}
    for operation in reversed(program.body):
        if operation.name in reached:
            reached.update(str(operand) for operand in operation.operands)
    return reached

"""`memory`: what the forward stores for the backward, and what the backward computes again."""

from dataclasses import dataclass, replace

from unrolled.compiler.adjoint import Adjoint, Gradient
from unrolled.ir import OPS, Op, Operation, Program, Value, verify

COSTLY = frozenset(
    {Op.EXP, Op.EXPM1, Op.LOG, Op.LOG1P, Op.SIN, Op.COS, Op.ERF, Op.ATAN, Op.SIGMOID, Op.TANH}
    | {Op.SOFTPLUS, Op.POW}
)
"""Pointwise operations that take longer than reading their result back from memory."""


@dataclass(frozen=True)
class Training:
    """A program and its backward, and what passes between them.

    `forward` gives the outputs of the program first, then what is stored; `backward` reads stored
    values and the program's own inputs by their names.
    """

    forward: Program
    backward: Program
    stored: tuple[str, ...]
    gradients: tuple[Gradient, ...]
    prefix: str  # as in `Adjoint`


def memory(program: Program, back: Adjoint) -> Training:
    """Decide which values of the forward are stored for the backward.

    A value that the backward needs is stored if it is a product, a reduction, or costly to
    compute; another is computed again from stored values, unless that would need more of them.
    The program's inputs are there in any case.

    Args:
        program: the forward.
        back: its adjoint.

    Example:
        >>> from unrolled.compiler.adjoint import adjoint
        >>> from unrolled.ir import parse
        >>> program = parse('''program float32
        ... input  a: rows 2
        ... state  h: rows 2
        ... n = tanh h : rows 2
        ... m = mul n, a : rows 2
        ... k = mul m, m : rows 2
        ... next   h = k''')
        >>> training = memory(program, adjoint(program))
        >>> training.stored
        ('n',)
        >>> print(training.backward.body[0])
        m = mul n, a : rows 2
    """
    made = {operation.name: operation for operation in program.body}
    kept = [value.name for value in program.states] + list(made)
    there = {value.name for value in program.given} - {value.name for value in program.states}
    outside = {name for g in back.gradients for name in (g.left, g.right)}
    stored = [name for name in kept if name in outside]  # a product after the loop reads them whole
    needed = {value.name for value in back.program.inputs}  # gradients of outputs among them
    again: dict[str, Operation] = {}
    for name in kept:
        if name in needed and name not in stored:
            plan: dict[str, Operation] = {}
            leaves = _leaves(name, made, {*there, *stored, *again}, plan)
            widths = sum(program.types[leaf].width for leaf in leaves)
            cheaper = name not in leaves and widths <= program.types[name].width
            stored += leaves if cheaper else [name]
            again |= plan if cheaper else {}
    return Training(
        forward=verify(
            replace(program, outputs=(*program.outputs, *((kept_as(n), n) for n in stored)))
        ),
        backward=verify(_reading(program, back.program, stored, again)),
        stored=tuple(stored),
        gradients=back.gradients,
        prefix=back.prefix,
    )


def kept_as(name: str) -> str:
    """Name the output that stores a value.

    Example:
        >>> kept_as("h")
        'keep_h'
    """
    return f"keep_{name}"


def _reading(
    program: Program, back: Program, stored: list[str], again: dict[str, Operation]
) -> Program:
    """Let the backward read what is stored, and compute the rest again before all else."""
    body = (*again.values(), *back.body)
    read = {operand for operation in body for operand in operation.operands}
    read |= {value for _, value in (*back.outputs, *back.next)}
    inputs = {value.name: value for value in (*back.inputs, *program.inputs)}
    inputs |= {name: Value(name, program.types[name]) for name in stored}
    return replace(
        back,
        inputs=tuple(v for v in inputs.values() if v.name in read and v.name not in again),
        constants=tuple(v for v in program.constants if v.name in read),
        fixed=tuple(v for v in program.fixed if v.name in read),
        body=body,
    )


def _leaves(
    name: str, made: dict[str, Operation], there: set[str], plan: dict[str, Operation]
) -> list[str]:
    """Give the values that have to be stored so that one can be computed again, by `plan`."""
    operation = made.get(name)
    if operation is None or not _cheap(operation):
        return [name]
    leaves: list[str] = []
    for operand in operation.operands:
        if isinstance(operand, str) and operand not in {*there, *plan, *leaves}:
            leaves += _leaves(operand, made, {*there, *leaves}, plan)
    plan[name] = operation
    return leaves


def _cheap(operation: Operation) -> bool:
    return OPS[operation.op].kind in ("pointwise", "shape") and operation.op not in COSTLY

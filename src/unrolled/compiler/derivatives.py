"""The table `ADJOINT`: a row for each operation, written as in a book of calculus."""

import math
from collections.abc import Callable
from typing import Protocol

from unrolled.ir import Op, Operand
from unrolled.ir.ops import Attributes


class Writer(Protocol):
    """Writes an operation into the backward program."""

    def emit(self, op: Op, *operands: Operand, attributes: Attributes = ()) -> str:
        """Give the name of the operation's value."""
        ...

    def kind(self, operand: Operand) -> str:
        """Give "rows", "mask", "fixed" or "number"."""
        ...


class Term:
    """A value of the forward or the backward program; arithmetic on it writes operations."""

    def __init__(self, writer: Writer, operand: Operand, attributes: Attributes = ()) -> None:
        self.writer, self.operand, self.attributes = writer, operand, attributes

    def apply(self, op: Op, *others: "Term | float", attributes: Attributes = ()) -> "Term":
        """Write an operation of which this is the first operand."""
        operands = (other.operand if isinstance(other, Term) else other for other in others)
        name = self.writer.emit(op, self.operand, *operands, attributes=attributes)
        return Term(self.writer, name)

    def __add__(self, other: "Term | float") -> "Term":
        return self.apply(Op.ADD, other)

    def __sub__(self, other: "Term | float") -> "Term":
        return self.apply(Op.SUB, other)

    def __mul__(self, other: "Term | float") -> "Term":
        return self.apply(Op.MUL, other)

    def __truediv__(self, other: "Term | float") -> "Term":
        return self.apply(Op.DIV, other)

    def __neg__(self) -> "Term":
        return self.apply(Op.NEG)

    def __rsub__(self, other: float) -> "Term":
        return Term(self.writer, self.writer.emit(Op.SUB, other, self.operand))

    def where(self, one: "Term | float", other: "Term | float") -> "Term":
        """Choose by this mask."""
        return self.apply(Op.WHERE, one, other)


Gradients = tuple[Term | None, ...]
Derivative = Callable[..., Gradients]
"""(gradient of the result, result, *operands) -> a gradient for each operand, None for 0."""


def none(g: Term, y: Term, *operands: Term) -> Gradients:
    """Pass nothing back: the result does not move with its operands, or must not."""
    return (None,) * len(operands)


def _clamp(g: Term, y: Term, a: Term) -> Gradients:
    low, high = y.attributes
    inside = a.apply(Op.GE, low).apply(Op.AND, a.apply(Op.LE, high))
    return (inside.where(g, 0.0),)


def _pow(g: Term, y: Term, a: Term) -> Gradients:
    exponent = y.attributes[0]
    return (g * (a.apply(Op.POW, attributes=(exponent - 1,)) * exponent),)


def _nearer(op: Op) -> Derivative:
    """Minimum and maximum: to the operand that was taken; half to each where they are equal."""

    def derivative(g: Term, y: Term, a: Term, b: Term) -> Gradients:
        wide = a if a.writer.kind(a.operand) == "rows" else b
        other = b if wide is a else a
        half, same = g * 0.5, wide.apply(Op.EQ, other)
        taken = same.where(half, wide.apply(op, other).where(g, 0.0))
        left = same.where(half, wide.apply(op, other).where(0.0, g))
        return (taken, left) if wide is a else (left, taken)

    return derivative


def _max(g: Term, y: Term, a: Term) -> Gradients:
    _, middle, _ = view = y.attributes
    at_top = a.apply(Op.EQ, y.apply(Op.EXPAND, attributes=view)).where(1.0, 0.0)
    share = g / at_top.apply(Op.SUM, attributes=view)
    return (share.apply(Op.EXPAND, attributes=view) * at_top,)


def _swap(g: Term, y: Term, a: Term) -> Gradients:
    outer, one, other, inner = y.attributes
    return (g.apply(Op.SWAP, attributes=(outer, other, one, inner)),)


ADJOINT: dict[Op, Derivative] = {
    Op.NEG: lambda g, y, a: (-g,),
    Op.ABS: lambda g, y, a: (g * a.apply(Op.SIGN),),
    Op.SIGN: none,
    Op.FLOOR: none,
    Op.ROUND: none,
    Op.EXP: lambda g, y, a: (g * y,),
    Op.EXPM1: lambda g, y, a: (g * (y + 1.0),),
    Op.LOG: lambda g, y, a: (g / a,),
    Op.LOG1P: lambda g, y, a: (g / (a + 1.0),),
    Op.SQRT: lambda g, y, a: (g / (y * 2.0),),
    Op.RSQRT: lambda g, y, a: (g * (y * y * y) * -0.5,),
    Op.RECIPROCAL: lambda g, y, a: (-(g * (y * y)),),
    Op.SIN: lambda g, y, a: (g * a.apply(Op.COS),),
    Op.COS: lambda g, y, a: (-(g * a.apply(Op.SIN)),),
    Op.ERF: lambda g, y, a: (g * ((-(a * a)).apply(Op.EXP) * (2 / math.sqrt(math.pi))),),
    Op.ATAN: lambda g, y, a: (g / (a * a + 1.0),),
    Op.SIGMOID: lambda g, y, a: (g * (y * (1.0 - y)),),
    Op.TANH: lambda g, y, a: (g * (1.0 - y * y),),
    Op.RELU: lambda g, y, a: (y.apply(Op.GT, 0.0).where(g, 0.0),),
    Op.SOFTPLUS: lambda g, y, a: (g * a.apply(Op.SIGMOID),),
    Op.DETACH: none,
    Op.CLAMP: _clamp,
    Op.POW: _pow,
    Op.ADD: lambda g, y, a, b: (g, g),
    Op.SUB: lambda g, y, a, b: (g, -g),
    Op.MUL: lambda g, y, a, b: (g * b, g * a),
    Op.DIV: lambda g, y, a, b: (g / b, -(g * y / b)),
    Op.MINIMUM: _nearer(Op.LT),
    Op.MAXIMUM: _nearer(Op.GT),
    Op.LT: none,
    Op.LE: none,
    Op.GT: none,
    Op.GE: none,
    Op.EQ: none,
    Op.NE: none,
    Op.AND: none,
    Op.OR: none,
    Op.NOT: none,
    Op.WHERE: lambda g, y, m, a, b: (None, m.where(g, 0.0), m.where(0.0, g)),
    Op.SURROGATE: lambda g, y, value, at, slope: (g, g * slope, None),
    # the matrix has its gradient from one product after the loop: see `adjoint`
    Op.MATMUL: lambda g, y, a, m: (g.apply(Op.MATMUL_T, m), None),
    Op.MATMUL_T: lambda g, y, a, m: (g.apply(Op.MATMUL, m), None),
    Op.SUM: lambda g, y, a: (g.apply(Op.EXPAND, attributes=y.attributes),),
    Op.MAX: _max,
    Op.EXPAND: lambda g, y, a: (g.apply(Op.SUM, attributes=y.attributes),),
    Op.SLICE: lambda g, y, a: (g,),  # for the place that was cut out: see `adjoint`
    Op.CONCAT: none,  # each operand's piece: see `adjoint`
    Op.SWAP: _swap,
    Op.FILL: none,
}

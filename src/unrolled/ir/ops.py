"""The operations of a program: one table, a row each.

What an operation computes is defined by the interpreter (`backends/interpreter`); every other
backend is tested against it. Widths never broadcast by themselves between rows: a value of width 1
is spread by `expand` first. A fixed vector (n,), a fixed scalar () and a number spread over rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from unrolled.errors import ProgramError


@dataclass(frozen=True)
class Type:
    """What a value is: rows of numbers, rows of truth values, or the same for all rows.

    ``rows`` and ``mask`` have the shape (width,), for each row and each step; ``fixed`` has the
    shape of a matrix (k, n), of block-diagonal matrices (blocks, k, n), of a vector (n,) or ().
    """

    kind: Literal["rows", "mask", "fixed"]
    shape: tuple[int, ...]

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return self.shape[-1] if self.shape else 1

    def __str__(self) -> str:
        return f"{self.kind} {'x'.join(map(str, self.shape)) or '()'}"


def rows(width: int) -> Type:
    """Give the type of rows of `width` numbers."""
    return Type("rows", (width,))


def mask(width: int) -> Type:
    """Give the type of rows of `width` truth values."""
    return Type("mask", (width,))


def fixed(*shape: int) -> Type:
    """Give the type of a value that is the same for all rows and steps."""
    return Type("fixed", shape)


class Op(StrEnum):
    """The name of an operation."""

    NEG = "neg"
    ABS = "abs"
    SIGN = "sign"
    FLOOR = "floor"
    ROUND = "round"
    EXP = "exp"
    EXPM1 = "expm1"
    LOG = "log"
    LOG1P = "log1p"
    SQRT = "sqrt"
    RSQRT = "rsqrt"
    RECIPROCAL = "reciprocal"
    SIN = "sin"
    COS = "cos"
    ERF = "erf"
    ATAN = "atan"
    SIGMOID = "sigmoid"
    TANH = "tanh"
    RELU = "relu"
    SOFTPLUS = "softplus"
    DETACH = "detach"
    CLAMP = "clamp"
    POW = "pow"
    ADD = "add"
    SUB = "sub"
    MUL = "mul"
    DIV = "div"
    MINIMUM = "minimum"
    MAXIMUM = "maximum"
    LT = "lt"
    LE = "le"
    GT = "gt"
    GE = "ge"
    EQ = "eq"
    NE = "ne"
    AND = "and"
    OR = "or"
    NOT = "not"
    WHERE = "where"
    SURROGATE = "surrogate"
    MATMUL = "matmul"
    MATMUL_T = "matmul_t"
    SUM = "sum"
    MAX = "max"
    EXPAND = "expand"
    SLICE = "slice"
    CONCAT = "concat"
    SWAP = "swap"
    FILL = "fill"


Kind = Literal["pointwise", "matmul", "reduction", "shape"]
Attributes = tuple[int | float, ...]
Operand = Type | None
"""The type of an operand; None for a number."""
Rule = Callable[[tuple[Operand, ...], Attributes], Type]
"""(types of the operands, attributes) -> the type of the result, or a ProgramError."""


@dataclass(frozen=True)
class Spec:
    """One row of the table."""

    kind: Kind
    arity: int  # -1: one or more
    attributes: tuple[str, ...]
    rule: Rule


def _fail(found: str, expected: str) -> ProgramError:
    return ProgramError(f"{found}: expected {expected}")


def _pointwise(*expected: str, gives: Literal["rows", "mask"] = "rows") -> Rule:
    """Rows (or masks) of one width; what is given as rows may also be a vector or a number."""

    def rule(operands: tuple[Operand, ...], attributes: Attributes) -> Type:
        wide = [o for o in operands if o is not None and o.kind != "fixed"]
        if not wide:
            raise _fail("no operand has rows", "at least one")
        for operand, kind in zip(operands, expected, strict=True):
            if operand is None or operand.kind == "fixed":
                if kind == "mask":
                    raise _fail(f"{operand or 'a number'} stands for truth values", "a mask")
                if operand is not None and operand.shape not in ((), wide[0].shape):
                    raise _fail(f"{operand} beside {wide[0]}", "() or the same width")
            elif operand.kind != kind:
                raise _fail(f"{operand} as operand", kind)
            elif operand.shape != wide[0].shape:
                raise _fail(f"{operand} beside {wide[0]}", "the same width")
        return Type(gives, wide[0].shape)

    return rule


def _operand(operands: tuple[Operand, ...], index: int, *kinds: str) -> Type:
    operand = operands[index]
    if operand is None or operand.kind not in kinds:
        raise _fail(f"{operand or 'a number'} as operand {index}", " or ".join(kinds))
    return operand


def _matmul(transposed: bool) -> Rule:
    def rule(operands: tuple[Operand, ...], attributes: Attributes) -> Type:
        value, matrix = _operand(operands, 0, "rows"), _operand(operands, 1, "fixed")
        if len(matrix.shape) not in (2, 3):
            raise _fail(f"{matrix} as matrix", "(k, n) or (blocks, k, n)")
        blocks = matrix.shape[0] if len(matrix.shape) == 3 else 1
        k, n = matrix.shape[-2:][::-1] if transposed else matrix.shape[-2:]
        if value.width != blocks * k:
            raise _fail(f"{value} times {matrix}", f"rows {blocks * k}")
        return rows(blocks * n)

    return rule


def _view(operands: tuple[Operand, ...], attributes: Attributes, width: int) -> Type:
    value = _operand(operands, 0, "rows", "mask")
    if value.width != width:
        raise _fail(f"{value} seen as {list(attributes)}", f"width {width}")
    return value


def _reduction(operands: tuple[Operand, ...], attributes: Attributes) -> Type:
    outer, middle, inner = map(int, attributes)
    if _view(operands, attributes, outer * middle * inner).kind != "rows":
        raise _fail("a mask is reduced", "rows")
    return rows(outer * inner)


def _expand(operands: tuple[Operand, ...], attributes: Attributes) -> Type:
    outer, middle, inner = map(int, attributes)
    value = _view(operands, attributes, outer * inner)
    return Type(value.kind, (outer * middle * inner,))


def _swap(operands: tuple[Operand, ...], attributes: Attributes) -> Type:
    outer, a, b, inner = map(int, attributes)
    return _view(operands, attributes, outer * a * b * inner)


def _slice(operands: tuple[Operand, ...], attributes: Attributes) -> Type:
    value, (begin, end) = _operand(operands, 0, "rows", "mask"), map(int, attributes)
    if not 0 <= begin < end <= value.width:
        raise _fail(f"slice [{begin}, {end}] of {value}", "0 <= begin < end <= width")
    return Type(value.kind, (end - begin,))


def _concat(operands: tuple[Operand, ...], attributes: Attributes) -> Type:
    return rows(sum(_operand(operands, i, "rows").width for i in range(len(operands))))


def _fill(operands: tuple[Operand, ...], attributes: Attributes) -> Type:
    return rows(int(attributes[1]))


def _unary(*attributes: str) -> Spec:
    return Spec("pointwise", 1, attributes, _pointwise("rows"))


def _binary() -> Spec:
    return Spec("pointwise", 2, (), _pointwise("rows", "rows"))


def _compare() -> Spec:
    return Spec("pointwise", 2, (), _pointwise("rows", "rows", gives="mask"))


def _logic(arity: int) -> Spec:
    return Spec("pointwise", arity, (), _pointwise(*["mask"] * arity, gives="mask"))


VIEW = ("outer", "middle", "inner")

OPS: dict[Op, Spec] = {
    Op.NEG: _unary(),
    Op.ABS: _unary(),
    Op.SIGN: _unary(),
    Op.FLOOR: _unary(),
    Op.ROUND: _unary(),  # half to even
    Op.EXP: _unary(),
    Op.EXPM1: _unary(),
    Op.LOG: _unary(),
    Op.LOG1P: _unary(),
    Op.SQRT: _unary(),
    Op.RSQRT: _unary(),
    Op.RECIPROCAL: _unary(),
    Op.SIN: _unary(),
    Op.COS: _unary(),
    Op.ERF: _unary(),
    Op.ATAN: _unary(),
    Op.SIGMOID: _unary(),
    Op.TANH: _unary(),
    Op.RELU: _unary(),
    Op.SOFTPLUS: _unary(),  # log(1 + exp(a)); a itself above 20
    Op.DETACH: _unary(),  # the value itself, without a gradient
    Op.CLAMP: _unary("low", "high"),
    Op.POW: _unary("exponent"),
    Op.ADD: _binary(),
    Op.SUB: _binary(),
    Op.MUL: _binary(),
    Op.DIV: _binary(),
    Op.MINIMUM: _binary(),  # NaN if one operand is
    Op.MAXIMUM: _binary(),
    Op.LT: _compare(),
    Op.LE: _compare(),
    Op.GT: _compare(),
    Op.GE: _compare(),
    Op.EQ: _compare(),
    Op.NE: _compare(),
    Op.AND: _logic(2),
    Op.OR: _logic(2),
    Op.NOT: _logic(1),
    Op.WHERE: Spec("pointwise", 3, (), _pointwise("mask", "rows", "rows")),
    # the first; what moves it, by what slope, are the others
    Op.SURROGATE: Spec("pointwise", 3, (), _pointwise("rows", "rows", "rows")),
    # value (blocks * k) by (k, n) or (blocks, k, n), block by block; transposed: (blocks * n)
    Op.MATMUL: Spec("matmul", 2, (), _matmul(transposed=False)),
    Op.MATMUL_T: Spec("matmul", 2, (), _matmul(transposed=True)),
    # a row seen as (outer, middle, inner), reduced over middle; expand repeats over middle
    Op.SUM: Spec("reduction", 1, VIEW, _reduction),
    Op.MAX: Spec("reduction", 1, VIEW, _reduction),
    Op.EXPAND: Spec("shape", 1, VIEW, _expand),
    Op.SLICE: Spec("shape", 1, ("begin", "end"), _slice),
    Op.CONCAT: Spec("shape", -1, (), _concat),
    # a row seen as (outer, a, b, inner) becomes (outer, b, a, inner)
    Op.SWAP: Spec("shape", 1, ("outer", "a", "b", "inner"), _swap),
    Op.FILL: Spec("shape", 0, ("number", "width"), _fill),
}

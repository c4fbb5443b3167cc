"""The table `LOWER`: a row for each ATen operation that may be in the loop."""

import math
from collections.abc import Callable, Mapping
from math import prod

import torch
from torch.fx import Node

from unrolled.compiler.lowering import Lowering, Rule, Wide
from unrolled.compiler.products import einsum, linear, matmul
from unrolled.compiler.reductions import REDUCTIONS
from unrolled.compiler.shapes import SHAPES
from unrolled.compiler.step import features
from unrolled.errors import CaptureError
from unrolled.ir import Op, Operand
from unrolled.ir.surrogate import surrogate

aten = torch.ops.aten

Formula = Callable[..., str]
"""(lowering, *operands) -> the name of the value: one pointwise operation in those of the IR."""


def _one(op: Op) -> Formula:
    return lambda low, *operands: low.emit(op, *operands)


def _scaled(op: Op) -> Formula:
    """Add or subtract a multiple."""

    def formula(low: Lowering, a: Operand, b: Operand, alpha: Operand = 1.0) -> str:
        return low.emit(op, a, b if alpha == 1 else low.emit(Op.MUL, b, alpha))

    return formula


def _clamp(
    low: Lowering, a: Operand, lowest: Operand = -math.inf, highest: Operand = math.inf
) -> str:
    return low.emit(Op.CLAMP, a, attributes=(float(lowest), float(highest)))


def _power(low: Lowering, a: Operand, exponent: Operand) -> str:
    return low.emit(Op.POW, a, attributes=(float(exponent),))


def _power_of(low: Lowering, base: Operand, exponent: Operand) -> str:
    if float(base) <= 0:
        raise CaptureError(
            f"{low.step.cell} cannot be captured: it takes powers of {base}, which have no "
            'logarithm. Run this cell with backend="eager".'
        )
    return low.emit(Op.EXP, low.emit(Op.MUL, exponent, math.log(float(base))))


def _leaky_relu(low: Lowering, a: Operand, slope: Operand = 0.01) -> str:
    return low.emit(Op.WHERE, low.emit(Op.GT, a, 0.0), a, low.emit(Op.MUL, a, slope))


def _elu(
    low: Lowering,
    a: Operand,
    alpha: Operand = 1.0,
    scale: Operand = 1.0,
    input_scale: Operand = 1.0,
) -> str:
    bent = low.emit(Op.EXPM1, low.emit(Op.MUL, _clamp(low, a, highest=0.0), input_scale))
    chosen = low.emit(Op.WHERE, low.emit(Op.GT, a, 0.0), a, low.emit(Op.MUL, bent, alpha))
    return low.emit(Op.MUL, chosen, scale)


def _gelu(low: Lowering, a: Operand) -> str:
    bell = low.emit(Op.ERF, low.emit(Op.MUL, a, math.sqrt(0.5)))
    return low.emit(Op.MUL, low.emit(Op.MUL, a, 0.5), low.emit(Op.ADD, bell, 1.0))


def _gelu_tanh(low: Lowering, a: Operand) -> str:
    cube = low.emit(Op.MUL, low.emit(Op.MUL, a, a), low.emit(Op.MUL, a, 0.044715))
    inner = low.emit(Op.MUL, low.emit(Op.ADD, a, cube), math.sqrt(2 / math.pi))
    bell = low.emit(Op.TANH, inner)
    return low.emit(Op.MUL, low.emit(Op.MUL, a, 0.5), low.emit(Op.ADD, bell, 1.0))


def _softplus(low: Lowering, a: Operand, beta: Operand = 1.0, threshold: Operand = 20.0) -> str:
    if beta == 1 and threshold == 20:
        return low.emit(Op.SOFTPLUS, a)
    scaled = low.emit(Op.MUL, a, beta)
    bent = low.emit(Op.DIV, low.emit(Op.SOFTPLUS, _clamp(low, scaled, highest=threshold)), beta)
    return low.emit(Op.WHERE, low.emit(Op.GT, scaled, threshold), a, bent)


def _mish(low: Lowering, a: Operand) -> str:
    return low.emit(Op.MUL, a, low.emit(Op.TANH, low.emit(Op.SOFTPLUS, a)))


def _towards(op: Op) -> Formula:
    """Round away from floor: ceil(a) = -floor(-a)."""
    return lambda low, a: low.emit(Op.NEG, low.emit(op, low.emit(Op.NEG, a)))


def _multiple(op: Op, factor: float) -> Formula:
    return lambda low, a: low.emit(Op.MUL, low.emit(op, a), factor)


def _hyperbolic(op: Op) -> Formula:
    """Cosh and sinh, by sums and differences of exponentials."""

    def formula(low: Lowering, a: Operand) -> str:
        up, down = low.emit(Op.EXP, a), low.emit(Op.EXP, low.emit(Op.NEG, a))
        return low.emit(Op.MUL, low.emit(op, up, down), 0.5)

    return formula


NUMBERS: dict[object, Formula] = {  # operands and result are rows
    aten.neg.default: _one(Op.NEG),
    aten.abs.default: _one(Op.ABS),
    aten.sign.default: _one(Op.SIGN),
    aten.sgn.default: _one(Op.SIGN),
    aten.floor.default: _one(Op.FLOOR),
    aten.ceil.default: _towards(Op.FLOOR),
    aten.round.default: _one(Op.ROUND),
    aten.exp.default: _one(Op.EXP),
    aten.expm1.default: _one(Op.EXPM1),
    aten.log.default: _one(Op.LOG),
    aten.log2.default: _multiple(Op.LOG, 1 / math.log(2)),
    aten.log10.default: _multiple(Op.LOG, 1 / math.log(10)),
    aten.log1p.default: _one(Op.LOG1P),
    aten.sqrt.default: _one(Op.SQRT),
    aten.rsqrt.default: _one(Op.RSQRT),
    aten.reciprocal.default: _one(Op.RECIPROCAL),
    aten.sin.default: _one(Op.SIN),
    aten.cos.default: _one(Op.COS),
    aten.sinh.default: _hyperbolic(Op.SUB),
    aten.cosh.default: _hyperbolic(Op.ADD),
    aten.erf.default: _one(Op.ERF),
    aten.atan.default: _one(Op.ATAN),
    aten.sigmoid.default: _one(Op.SIGMOID),
    aten.tanh.default: _one(Op.TANH),
    aten.relu.default: _one(Op.RELU),
    aten.detach.default: _one(Op.DETACH),
    surrogate: _one(Op.SURROGATE),
    aten.softplus.default: _softplus,
    aten.mish.default: _mish,
    aten.elu.default: _elu,
    aten.leaky_relu.default: _leaky_relu,
    aten.hardtanh.default: _clamp,
    aten.pow.Tensor_Scalar: _power,
    aten.pow.Scalar: _power_of,
    aten.add.Tensor: _scaled(Op.ADD),
    aten.add.Scalar: _scaled(Op.ADD),
    aten.sub.Tensor: _scaled(Op.SUB),
    aten.sub.Scalar: _scaled(Op.SUB),
    aten.mul.Tensor: _one(Op.MUL),
    aten.mul.Scalar: _one(Op.MUL),
    aten.div.Tensor: _one(Op.DIV),
    aten.div.Scalar: _one(Op.DIV),
    aten.minimum.default: _one(Op.MINIMUM),
    aten.maximum.default: _one(Op.MAXIMUM),
    aten.lt.Tensor: _one(Op.LT),
    aten.lt.Scalar: _one(Op.LT),
    aten.le.Tensor: _one(Op.LE),
    aten.le.Scalar: _one(Op.LE),
    aten.gt.Tensor: _one(Op.GT),
    aten.gt.Scalar: _one(Op.GT),
    aten.ge.Tensor: _one(Op.GE),
    aten.ge.Scalar: _one(Op.GE),
    aten.eq.Tensor: _one(Op.EQ),
    aten.eq.Scalar: _one(Op.EQ),
    aten.ne.Tensor: _one(Op.NE),
    aten.ne.Scalar: _one(Op.NE),
}

TRUTHS: dict[object, Formula] = {  # operands and result are masks
    aten.logical_and.default: _one(Op.AND),
    aten.logical_or.default: _one(Op.OR),
    aten.logical_xor.default: lambda low, a, b: low.emit(
        Op.AND, low.emit(Op.OR, a, b), low.emit(Op.NOT, low.emit(Op.AND, a, b))
    ),
    aten.logical_not.default: _one(Op.NOT),
    aten.bitwise_and.Tensor: _one(Op.AND),
    aten.bitwise_or.Tensor: _one(Op.OR),
    aten.bitwise_not.default: _one(Op.NOT),
}


def _pointwise(formula: Formula, truths: bool = False) -> Rule:
    """Make a row of a formula over operands of one shape."""

    def rule(low: Lowering, node: Node, *arguments: object, **named: object) -> Wide:
        given = [low.operand(a, node) for a in arguments if a is not None]
        extra = {name: low.operand(a, node) for name, a in named.items() if a is not None}
        width = prod(features(node))
        as_asked = [low.truth(a, width) if truths else low.number(a) for a in given]
        return low.result(node, formula(low, *as_asked, **extra))

    return rule


def _clamp_rule(low: Lowering, node: Node, a: object, *bounds: object, **named: object) -> Wide:
    lowest, highest = (*bounds, *named.values(), None, None)[:2]
    lowest = named.get("min", lowest if bounds else None)
    highest = named.get("max", highest if len(bounds) > 1 else None)
    value = low.number(low.operand(a, node))
    ends = (-math.inf if lowest is None else lowest, math.inf if highest is None else highest)
    return low.result(node, low.emit(Op.CLAMP, value, attributes=tuple(map(float, ends))))  # pyright: ignore


def _gelu_rule(low: Lowering, node: Node, a: object, approximate: str = "none") -> Wide:
    formula = _gelu_tanh if approximate == "tanh" else _gelu
    return low.result(node, formula(low, low.number(low.operand(a, node))))


def _where(low: Lowering, node: Node, mask: object, a: object, b: object) -> Wide:
    condition = low.truth(low.operand(mask, node), prod(features(node)))
    values = (low.number(low.operand(value, node)) for value in (a, b))
    return low.result(node, low.emit(Op.WHERE, condition, *values))


PRODUCTS: Mapping[object, Rule] = {
    aten.linear.default: linear,
    aten.matmul.default: matmul,
    aten.bmm.default: matmul,
    aten.mm.default: matmul,
    aten.einsum.default: einsum,
}

POINTWISE: Mapping[object, Rule] = {
    **{target: _pointwise(formula) for target, formula in NUMBERS.items()},
    **{target: _pointwise(formula, truths=True) for target, formula in TRUTHS.items()},
    aten.clamp.default: _clamp_rule,
    aten.gelu.default: _gelu_rule,
    aten.where.self: _where,
}

LOWER: Mapping[object, Rule] = {
    **POINTWISE,
    **PRODUCTS,
    **REDUCTIONS,
    **SHAPES,
}

"""The pointwise operations of a program, each written for one vector: a table, a row each."""

from collections.abc import Callable

from unrolled.backends.llvm import special_math
from unrolled.backends.llvm import vector_math as vm
from unrolled.backends.llvm.code import Code, Value
from unrolled.ir import Op

Rule = Callable[..., Value]
"""(code, *operands, *attributes) -> the result."""


def _rounded(code: Code, x: Value) -> Value:
    """Round half to even: large numbers have nothing behind the point already."""
    build, bound = code.builder, 2.0**code.float.mantissa
    size, limit = code.unary("fabs", x), code.constant(bound)
    near = build.fsub(build.fadd(size, limit), limit)
    return build.select(code.compare("<", size, limit), vm.with_sign_of(code, near, x), x)


def _floor(code: Code, x: Value) -> Value:
    near = _rounded(code, x)
    below = code.builder.fsub(near, code.constant(1.0))
    return code.builder.select(code.compare(">", near, x), below, near)


def _sign(code: Code, x: Value) -> Value:
    one = vm.with_sign_of(code, code.constant(1.0), x)
    away = code.compare(">", code.unary("fabs", x), code.constant(0.0))
    return code.builder.select(away, one, code.constant(0.0))  # of NaN too it is 0 in PyTorch


def _reciprocal(code: Code, x: Value) -> Value:
    return code.builder.fdiv(code.constant(1.0), x)


def _clamp(code: Code, x: Value, low: float, high: float) -> Value:
    return vm.at_most(code, vm.at_least(code, x, low), high)


def _power(code: Code, x: Value, exponent: float) -> Value:
    """Multiply for whole exponents up to 64 and for halves; else e^(exponent log x)."""
    build, size = code.builder, abs(exponent)
    if size > 64 or size * 2 != int(size * 2):
        return _power_by_logarithm(code, x, exponent)
    result = vm.sqrt(code, x) if size != int(size) else code.constant(1.0)
    square, rest = x, int(size)
    while rest:
        result = build.fmul(result, square) if rest % 2 else result
        square, rest = build.fmul(square, square), rest // 2
    return _reciprocal(code, result) if exponent < 0 else result


def _power_by_logarithm(code: Code, x: Value, exponent: float) -> Value:
    scaled = code.builder.fmul(vm.log(code, x), code.constant(exponent))
    return vm.exp(code, scaled)


def _bounded(how: str) -> Rule:
    """Take the smaller or larger operand; NaN if one is."""

    def rule(code: Code, a: Value, b: Value) -> Value:
        chosen = code.builder.select(code.compare(how, a, b), a, b)
        return code.builder.select(code.compare("!=", a, a), a, chosen)

    return rule


def _compared(how: str) -> Rule:
    return lambda code, a, b: code.compare(how, a, b)


def _built(name: str) -> Rule:
    """Take the instruction that LLVM has for it."""
    return lambda code, *operands: getattr(code.builder, name)(*operands)


maximum = _bounded(">")

POINTWISE: dict[Op, Rule] = {
    Op.NEG: _built("fneg"),
    Op.ABS: vm.absolute,
    Op.SIGN: _sign,
    Op.FLOOR: _floor,
    Op.ROUND: _rounded,
    Op.EXP: vm.exp,
    Op.EXPM1: vm.expm1,
    Op.LOG: vm.log,
    Op.LOG1P: vm.log1p,
    Op.SQRT: vm.sqrt,
    Op.RSQRT: lambda code, x: _reciprocal(code, vm.sqrt(code, x)),
    Op.RECIPROCAL: _reciprocal,
    Op.SIN: special_math.sin,
    Op.COS: special_math.cos,
    Op.ERF: special_math.erf,
    Op.ATAN: special_math.atan,
    Op.SIGMOID: vm.sigmoid,
    Op.TANH: vm.tanh,
    Op.RELU: vm.relu,
    Op.SOFTPLUS: vm.softplus,
    Op.DETACH: lambda code, x: x,
    Op.CLAMP: _clamp,
    Op.POW: _power,
    Op.ADD: _built("fadd"),
    Op.SUB: _built("fsub"),
    Op.MUL: _built("fmul"),
    Op.DIV: _built("fdiv"),
    Op.MINIMUM: _bounded("<"),
    Op.MAXIMUM: maximum,
    Op.LT: _compared("<"),
    Op.LE: _compared("<="),
    Op.GT: _compared(">"),
    Op.GE: _compared(">="),
    Op.EQ: _compared("=="),
    Op.NE: _compared("!="),
    Op.AND: _built("and_"),
    Op.OR: _built("or_"),
    Op.NOT: _built("not_"),
    Op.WHERE: _built("select"),
    Op.SURROGATE: lambda code, value, at, slope: value,
}

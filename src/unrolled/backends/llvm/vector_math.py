"""Functions of a vector, from additions and multiplications: exp, log, sigmoid, tanh and others.

No constant of these functions was fitted: every polynomial is a Taylor series on a range that is
short enough for it. NaN and infinities come out as PyTorch has them: no minimum or maximum of
LLVM's is used, for those swallow NaN; a comparison and a selection do not.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llvmlite import ir

from unrolled.backends.llvm.code import Code, Value


@dataclass(frozen=True)
class Series:
    """How far the series go, and where results stop changing, for one float type."""

    exp_terms: int  # of e^r, |r| <= log(2) / 2
    log_terms: int  # of 2 artanh(s), |s| < 0.172
    exp_low: float  # e^x is 0 from here down
    exp_high: float  # and infinite from here up
    log2_high: float  # log(2) in two parts; a small integer times the first is exact
    log2_low: float


SERIES = {
    "float32": Series(7, 5, -104.0, 89.0, 0.693359375, -2.12194440e-4),
    "float64": Series(13, 10, -746.0, 710.0, 6.93145751953125e-1, 1.42860682030941723212e-6),
}

SOFTPLUS_LINEAR_FROM = 20.0  # PyTorch's default threshold: softplus(x) = x above it


def polynomial(code: Code, x: Value, coefficients: Sequence[float]) -> Value:
    """Write c0 + c1 x + c2 x^2 + ... by Horner's rule."""
    *rest, result = map(code.constant, coefficients)
    for coefficient in reversed(rest):
        result = code.fma(result, x, coefficient)
    return result


def at_most(code: Code, x: Value, limit: float) -> Value:
    """Write min(x, limit) that keeps NaN."""
    bound = code.constant(limit)
    return code.builder.select(code.compare(">", x, bound), bound, x)


def at_least(code: Code, x: Value, limit: float) -> Value:
    """Write max(x, limit) that keeps NaN."""
    bound = code.constant(limit)
    return code.builder.select(code.compare("<", x, bound), bound, x)


def exp(code: Code, x: Value) -> Value:
    """Write e^x."""
    series = SERIES[code.kind]
    x = at_least(code, at_most(code, x, series.exp_high), series.exp_low)
    n, r = _halvings(code, x)
    return _scale(code, code.builder.fadd(_expm1_near_0(code, r), code.constant(1.0)), n)


def expm1(code: Code, x: Value) -> Value:
    """Write e^x - 1, precise near 0."""
    build, series = code.builder, SERIES[code.kind]
    # Half of what is wanted, doubled at the end: e^x alone overflows before e^x - 1 / 2 would.
    x = at_least(code, at_most(code, x, series.exp_high), series.exp_low / 2)
    n, r = _halvings(code, x)
    half = _power_of_2(code, build.fsub(n, code.constant(1.0)))
    result = code.fma(half, _expm1_near_0(code, r), build.fsub(half, code.constant(0.5)))
    return build.fadd(result, result)


def log(code: Code, x: Value) -> Value:
    """Write the natural logarithm: -infinity at 0, NaN below."""
    build, series = code.builder, SERIES[code.kind]
    mantissa = code.float.mantissa
    smallest = 2.0 ** (1 - code.float.bias)
    tiny = code.compare("<", x, code.constant(smallest))  # denormal: brought into the usual range
    lifted = build.fmul(x, code.constant(2.0 ** (mantissa + 1)))
    shift = build.select(tiny, code.constant(-(mantissa + 1.0)), code.constant(0.0))
    raw = build.bitcast(build.select(tiny, lifted, x), code.integers)
    # x = 2^n m with sqrt(1/2) <= m < sqrt(2), so that log(m) loses nothing against n log(2).
    root = build.bitcast(code.constant(math.sqrt(0.5)), code.integers)
    n = build.ashr(build.sub(raw, root), code.whole(mantissa))
    m = build.bitcast(build.sub(raw, build.shl(n, code.whole(mantissa))), code.vector)
    n = build.fadd(_to_float(code, n), shift)
    f = build.fsub(m, code.constant(1.0))
    s = build.fdiv(f, build.fadd(f, code.constant(2.0)))  # log(m) = 2 artanh(s)
    square = build.fmul(s, s)
    tail = polynomial(code, square, [2 / (2 * i + 3) for i in range(series.log_terms)])
    # 2 s = f - s f: so written, s and its rounding errors weigh little near x = 1.
    rest = build.fsub(build.fmul(build.fmul(s, square), tail), build.fmul(s, f))
    rest = code.fma(n, code.constant(series.log2_low), rest)
    result = code.fma(n, code.constant(series.log2_high), build.fadd(f, rest))
    infinity = code.constant(math.inf)
    result = build.select(code.compare("==", x, infinity), infinity, result)
    result = build.select(
        code.compare("==", x, code.constant(0.0)), code.constant(-math.inf), result
    )
    usual = code.compare(">=", x, code.constant(0.0))
    return build.select(usual, result, code.constant(math.nan))


def log1p(code: Code, x: Value) -> Value:
    """Write log(1 + x), precise near 0."""
    build, one = code.builder, code.constant(1.0)
    w = build.fadd(x, one)
    # What w lost of x by rounding comes back through x / (w - 1): Kahan's correction.
    corrected = build.fmul(log(code, w), build.fdiv(x, build.fsub(w, one)))
    unchanged = build.or_(
        code.compare("==", w, one), code.compare("==", x, code.constant(math.inf))
    )
    return build.select(unchanged, x, corrected)


def sigmoid(code: Code, x: Value) -> Value:
    """Write 1 / (1 + e^-x)."""
    build, one = code.builder, code.constant(1.0)
    return build.fdiv(one, build.fadd(one, exp(code, build.fneg(x))))


def tanh(code: Code, x: Value) -> Value:
    """Write the hyperbolic tangent, as -t / (t + 2) with t = e^(-2 |x|) - 1, and the sign of x."""
    build = code.builder
    doubled = build.fmul(code.unary("fabs", x), code.constant(-2.0))
    n, r = _halvings(code, at_least(code, doubled, -40.0))  # tanh(20) is 1 in both types
    scale = _power_of_2(code, n)
    t = code.fma(scale, _expm1_near_0(code, r), build.fsub(scale, code.constant(1.0)))
    size = build.fdiv(build.fneg(t), build.fadd(t, code.constant(2.0)))
    return with_sign_of(code, size, x)


def softplus(code: Code, x: Value) -> Value:
    """Write log(1 + e^x), and x itself above 20, where PyTorch's turns linear."""
    build = code.builder
    small = log1p(code, exp(code, build.fneg(code.unary("fabs", x))))
    result = build.fadd(at_least(code, x, 0.0), small)
    return build.select(code.compare(">", x, code.constant(SOFTPLUS_LINEAR_FROM)), x, result)


def sqrt(code: Code, x: Value) -> Value:
    """Write the square root: NaN below 0."""
    return code.unary("sqrt", x)


def absolute(code: Code, x: Value) -> Value:
    """Write |x|."""
    return code.unary("fabs", x)


def relu(code: Code, x: Value) -> Value:
    """Write max(x, 0) that keeps NaN."""
    return at_least(code, x, 0.0)


UNARY: dict[str, Callable[[Code, Value], Value]] = {
    "exp": exp,
    "expm1": expm1,
    "log": log,
    "log1p": log1p,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "softplus": softplus,
    "sqrt": sqrt,
    "abs": absolute,
    "relu": relu,
}


def _rounder(code: Code) -> Value:
    """Give the number that, added to a small one, pushes what is behind its point out."""
    return code.constant(1.5 * 2.0**code.float.mantissa)


def _halvings(code: Code, x: Value) -> tuple[Value, Value]:
    """Write x = n log(2) + r: n a whole number in a float, |r| <= log(2) / 2."""
    build, series, rounder = code.builder, SERIES[code.kind], _rounder(code)
    n = build.fsub(code.fma(x, code.constant(1 / math.log(2)), rounder), rounder)
    r = code.fma(n, code.constant(-series.log2_high), x)
    return n, code.fma(n, code.constant(-series.log2_low), r)


def _expm1_near_0(code: Code, r: Value) -> Value:
    """Write e^r - 1 = r + r^2 (1/2 + r/6 + ...)."""
    terms = SERIES[code.kind].exp_terms
    tail = polynomial(code, r, [1 / math.factorial(i) for i in range(2, terms + 1)])
    return code.fma(code.builder.fmul(r, r), tail, r)


def to_integer(code: Code, n: Value) -> Value:
    """Turn small whole numbers in floats into integers."""
    rounder = _rounder(code)
    shifted = code.builder.bitcast(code.builder.fadd(n, rounder), code.integers)
    return code.builder.sub(shifted, code.builder.bitcast(rounder, code.integers))


def _to_float(code: Code, n: Value) -> Value:
    """Turn small integers into floats."""
    rounder = _rounder(code)
    shifted = code.builder.add(n, code.builder.bitcast(rounder, code.integers))
    return code.builder.fsub(code.builder.bitcast(shifted, code.vector), rounder)


def _power_of_2(code: Code, n: Value) -> Value:
    """Write 2^n for a whole n within the range of normal numbers: n becomes the exponent."""
    biased = code.builder.add(to_integer(code, n), code.whole(code.float.bias))
    shifted = code.builder.shl(biased, code.whole(code.float.mantissa))
    return code.builder.bitcast(shifted, code.vector)


def _scale(code: Code, x: Value, n: Value) -> Value:
    """Write x 2^n, whether or not that is a normal number."""
    build = code.builder
    if code.target.scalef:
        letter, every = ("ps", 16) if code.float.bytes == 4 else ("pd", 8)
        lanes = ir.Constant(ir.IntType(every), -1)
        rounding = ir.Constant(ir.IntType(32), 4)  # the current mode
        name = f"llvm.x86.avx512.mask.scalef.{letter}.512"
        return code.intrinsic(name, code.vector, [x, n, x, lanes, rounding])
    first = build.ashr(to_integer(code, n), code.whole(1))  # in two steps: 2^n may be no number
    first = _to_float(code, first)
    for part in (first, build.fsub(n, first)):
        x = build.fmul(x, _power_of_2(code, part))
    return x


def with_sign_of(code: Code, size: Value, sign: Value) -> Value:
    """Write the size of one with the sign of another, zeros included."""
    name = f"llvm.copysign.v{code.lanes}{code.float.letter}"
    return code.intrinsic(name, code.vector, [size, sign])

"""Sine, cosine, the error function and the arctangent of a vector."""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir

from unrolled.backends.llvm.code import Code, Value
from unrolled.backends.llvm.vector_math import polynomial, to_integer, with_sign_of

QUARTER = {  # pi / 2 in parts; a whole number below 2^12 times any but the last is exact
    "float32": (1.5703125, 4.8351287841796875e-4, 3.13855707645416259765e-7, 6.0771005e-11),
    "float64": (1.57079631090164184570, 1.58932547122958567342e-8, 6.12323399573676603587e-17),
}
TERMS = {"float32": 6, "float64": 10}  # of the series of sine and cosine, |r| <= pi / 4
FAR = 4096.0  # from here on, the C library's function is called for each number

ERF_DEGREES = {"float32": (7, 16, 4.0), "float64": (13, 44, 6.0)}
"""Degree of erf(x) / x in x^2 below 1, of erf(x) above, and where erf is 1."""

ATAN_DEGREES = {"float32": 11, "float64": 23}
"""Degree of atan(x) / x in x^2 below 1."""


def sin(code: Code, x: Value) -> Value:
    """Write the sine."""
    return _circular(code, x, 0, "sin")


def cos(code: Code, x: Value) -> Value:
    """Write the cosine: the sine, a quarter of a turn on."""
    return _circular(code, x, 1, "cos")


def erf(code: Code, x: Value) -> Value:
    """Write the error function."""
    build = code.builder
    near, far, end = _erf_coefficients(code.kind)
    size = code.unary("fabs", x)
    square = build.fmul(x, x)
    small = build.fmul(
        x, _chebyshev(code, code.fma(square, code.constant(2.0), code.constant(-1.0)), near)
    )
    scale, shift = 2.0 / (end - 1.0), -(end + 1.0) / (end - 1.0)
    large = _chebyshev(code, code.fma(size, code.constant(scale), code.constant(shift)), far)
    large = build.select(code.compare("<", size, code.constant(end)), large, code.constant(1.0))
    result = build.select(
        code.compare("<", size, code.constant(1.0)), small, with_sign_of(code, large, x)
    )
    return build.select(code.compare("!=", x, x), x, result)


def atan(code: Code, x: Value) -> Value:
    """Write the arctangent: above 1, of the reciprocal, up to a quarter of a turn."""
    build, one = code.builder, code.constant(1.0)
    size = code.unary("fabs", x)
    far = code.compare(">", size, one)
    inner = build.select(far, build.fdiv(one, size), size)
    t = code.fma(build.fmul(inner, inner), code.constant(2.0), code.constant(-1.0))
    angle = build.fmul(inner, _chebyshev(code, t, _atan_coefficients(code.kind)))
    angle = build.select(far, build.fsub(code.constant(math.pi / 2), angle), angle)
    return build.select(code.compare("!=", x, x), x, with_sign_of(code, angle, x))


def _circular(code: Code, x: Value, turn: int, name: str) -> Value:
    """Write sin(x + turn pi / 2): reduced to within pi / 4 of a quarter, then a series."""
    build = code.builder
    rounder = code.constant(1.5 * 2.0**code.float.mantissa)
    n = build.fsub(code.fma(x, code.constant(2 / math.pi), rounder), rounder)
    r = x
    for part in QUARTER[code.kind]:
        r = code.fma(n, code.constant(-part), r)
    quarter = build.add(to_integer(code, n), code.whole(turn))
    square, terms = build.fmul(r, r), TERMS[code.kind]
    signed = [(-1) ** i / math.factorial(2 * i) for i in range(terms)]
    cosine = polynomial(code, square, signed)
    signed = [(-1) ** i / math.factorial(2 * i + 1) for i in range(1, terms)]
    sine = code.fma(build.fmul(r, square), polynomial(code, square, signed), r)
    zero, one, two = code.whole(0), code.whole(1), code.whole(2)
    odd = build.icmp_signed("!=", build.and_(quarter, one), zero)
    value = build.select(odd, cosine, sine)
    negative = build.icmp_signed("!=", build.and_(quarter, two), zero)
    value = build.select(negative, build.fneg(value), value)
    far = build.not_(code.compare("<", code.unary("fabs", x), code.constant(FAR)))
    return _where_rare(code, far, value, lambda: _each_lane(code, name, x))


def _where_rare(code: Code, mask: Value, value: Value, other: Callable[[], Value]) -> Value:
    """Take `other` where the mask is on; it is only computed if there is such a lane."""
    build = code.builder
    some = build.icmp_unsigned(
        "!=", build.bitcast(mask, ir.IntType(code.lanes)), ir.Constant(ir.IntType(code.lanes), 0)
    )
    before = build.block
    with build.if_then(some, likely=False):
        mixed = build.select(mask, other(), value)
        inside = build.block
    result = build.phi(value.type)
    result.add_incoming(value, before)
    result.add_incoming(mixed, inside)
    return result


def _each_lane(code: Code, name: str, x: Value) -> Value:
    """Write one call of the C library for each number."""
    result = x
    for lane in range(code.lanes):
        number = code.lane(x, lane)
        called = code.intrinsic(f"llvm.{name}.{code.float.letter}", code.number, [number])
        result = code.with_lane(result, called, lane)
    return result


def _chebyshev(code: Code, t: Value, coefficients: Sequence[float]) -> Value:
    """Write a sum of Chebyshev polynomials of t in [-1, 1], by Clenshaw's recurrence."""
    build = code.builder
    doubled = build.fadd(t, t)
    first, *rest = map(code.constant, coefficients)
    last, before = code.constant(0.0), code.constant(0.0)
    for coefficient in reversed(rest):
        last, before = code.fma(doubled, last, build.fsub(coefficient, before)), last
    return code.fma(t, last, build.fsub(first, before))


@cache
def _erf_coefficients(kind: str) -> tuple[list[float], list[float], float]:
    """Interpolate the C library's erf at Chebyshev's points."""
    near, far, end = ERF_DEGREES[kind]

    def below(t: np.ndarray) -> Any:
        x = np.sqrt((t + 1) / 2)
        return np.array([math.erf(value) / value for value in x])

    def above(t: np.ndarray) -> Any:
        return np.array([math.erf(value) for value in (t * (end - 1) + end + 1) / 2])

    interpolate = np.polynomial.chebyshev.chebinterpolate
    return interpolate(below, near).tolist(), interpolate(above, far).tolist(), end


@cache
def _atan_coefficients(kind: str) -> list[float]:
    def ratio(t: np.ndarray) -> Any:
        x = np.sqrt((t + 1) / 2)
        return np.arctan(x) / x

    return np.polynomial.chebyshev.chebinterpolate(ratio, ATAN_DEGREES[kind]).tolist()

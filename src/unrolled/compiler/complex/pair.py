"""Pairs of real numbers, of which many are known to be zero."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Real = Any
"""A real tensor, a number, or None: zeros of any shape, with which nothing need be done."""


@dataclass(frozen=True)
class Pair:
    """A complex tensor: its real and its imaginary part."""

    real: Real
    imag: Real

    @classmethod
    def of(cls, value: Any) -> "Pair":
        """Give a number of any kind as a pair."""
        if isinstance(value, Pair):
            return value
        if isinstance(value, complex):
            real = value.real if value.imag == 0 else value.real or None
            return Pair(real, value.imag or None)
        return Pair(value, None)

    @property
    def conjugate(self) -> "Pair":
        """The number with the other sign of its imaginary part."""
        return Pair(self.real, scaled(self.imag, -1.0))

    @property
    def square(self) -> Real:
        """The square of the size."""
        return plus(product(self.real, self.real), product(self.imag, self.imag))


def plus(a: Real, b: Real) -> Real:
    """Add."""
    return b if a is None else a if b is None else a + b


def scaled(a: Real, factor: float) -> Real:
    """Multiply by a number."""
    return None if a is None else a * factor


def product(a: Real, b: Real) -> Real:
    """Multiply."""
    return None if a is None or b is None else a * b


def over(a: Real, b: Real) -> Real:
    """Divide by what is not zero."""
    return None if a is None else a / b


def filled(x: Real, like: Real) -> Real:
    """Give a number, and nothing, as a tensor."""
    return x if isinstance(x, Tensor) else torch.full_like(like, x or 0.0)


def bilinear(function: Callable[[Real, Real], Real]) -> Callable[..., Pair]:
    """Multiply: real parts less imaginary ones, and each with the other."""

    def made(a: Real, b: Real) -> Real:
        return None if a is None or b is None else function(a, b)

    def rule(one: Any, other: Any) -> Pair:
        a, b = Pair.of(one), Pair.of(other)
        real = plus(made(a.real, b.real), scaled(made(a.imag, b.imag), -1.0))
        return Pair(real, plus(made(a.real, b.imag), made(a.imag, b.real)))

    return rule


times = bilinear(lambda a, b: a * b)


def is_pair(value: Any) -> bool:
    """Tell a pair from what has no parts."""
    return isinstance(value, Pair)


def even(value: Any) -> Any:
    """Give both parts of a pair one shape."""
    if not isinstance(value, Pair) or (isinstance(value.real, Tensor) and value.imag is None):
        return value
    real, imag = filled(value.real, value.imag), filled(value.imag, value.real)
    if real.shape != imag.shape:
        real, imag = torch.broadcast_tensors(real, imag)
    return Pair(real, imag)

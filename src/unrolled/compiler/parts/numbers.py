"""Functions of one number at a time, in parts."""

import math
from typing import Any

import torch
from torch import Tensor

from unrolled.compiler.parts.table import Parts

aten = torch.ops.aten

FAR = 2.0**15
"""From here on, an inverse hyperbolic function is a logarithm."""


def _trunc(x: Tensor) -> Tensor:
    return torch.where(x < 0, x.ceil(), x.floor())


def _product_error(a: Tensor, b: Tensor) -> Tensor:
    """Give what rounding took from a b: of the products of halves all are exact (Dekker 1971)."""
    split = 2.0**12 + 1 if a.dtype == torch.float32 else 2.0**27 + 1

    def halves(x: Tensor) -> tuple[Tensor, Tensor]:
        high = x * split - (x * split - x)
        return high, x - high

    (a_high, a_low), (b_high, b_low) = halves(a), halves(b)
    return ((a_high * b_high - a * b) + a_high * b_low + a_low * b_high) + a_low * b_low


def _rest(x: Tensor, y: Any, quotient: Parts) -> tuple[Tensor, Tensor]:
    """Give x - quotient(x / y) y, and y as a tensor.

    The quotient may be one too large by rounding. Beyond 2^24, or 2^53, it is no number of wholes.
    """
    y = y if isinstance(y, Tensor) else torch.full((), y, dtype=x.dtype)
    times = quotient(x / y)
    if not x.is_floating_point():
        return x - times * y, y
    rest = (x - times * y) - _product_error(times, y)
    return torch.where((x.abs() < math.inf) & (y.abs() == math.inf), x, rest), y


def _remainder(x: Tensor, y: Any) -> Tensor:
    rest, y = _rest(x, y, torch.floor)
    return torch.where((rest != 0) & ((rest < 0) != (y < 0)), rest + y, rest)


def _fmod(x: Tensor, y: Any) -> Tensor:
    rest, y = _rest(x, y, _trunc)
    back = torch.where(x < 0, -y.abs(), y.abs())
    return torch.where((rest != 0) & ((rest < 0) != (x < 0)), rest + back, rest)


def _div(x: Tensor, y: Any, *, rounding_mode: str | None = None) -> Tensor:
    if rounding_mode is None:
        return x / y
    return _trunc(x / y) if rounding_mode == "trunc" else ((x - _remainder(x, y)) / y).round()


def _is_negative(x: Tensor) -> Tensor:
    return (x < 0) | (1 / x < 0)  # -0.0 too


def _copysign(x: Tensor, y: Tensor) -> Tensor:
    return torch.where(_is_negative(y), -x.abs(), x.abs())


def _power(x: Tensor, y: Tensor) -> Tensor:
    """x^y = e^(y log |x|), negative where x is and y is odd, nothing where x is and y is broken."""
    size = torch.where(x == 0, 1.0, x.abs())
    power = (y * size.log()).exp()
    odd = _remainder(y, 2.0) == 1
    power = torch.where((x < 0) & odd, -power, power)
    power = torch.where((x < 0) & (y != y.floor()), math.nan, power)
    power = torch.where((x == 1) & (y.abs() == math.inf), 1.0, power)
    large = torch.where(y > 0, 0.0, math.nan)
    of_zero = torch.where(y == 0, 1.0, torch.where(y < 0, math.inf, large))
    of_zero = torch.where(y == 1, x, of_zero)  # and its gradient
    return torch.where(x == 0, of_zero, power)


def hypotenuse(x: Tensor, y: Tensor) -> Tensor:
    """The larger times the root of a sum that is 1 to 2: no square overflows."""
    large, small = torch.maximum(x.abs(), y.abs()), torch.minimum(x.abs(), y.abs())
    ratio = small / torch.where((large == 0) | (large == math.inf), 1.0, large)
    return torch.where(large == math.inf, large, large * (1 + ratio * ratio).sqrt())


def _asin(x: Tensor) -> Tensor:
    return (x / ((1 - x) * (1 + x)).sqrt()).atan()


def _acos(x: Tensor) -> Tensor:
    return 2 * ((1 - x) / (1 + x)).sqrt().atan()


def _atan2(y: Tensor, x: Tensor) -> Tensor:
    """The smaller by the larger, which is not 0, and then turned to where it belongs."""
    flat = y.abs() <= x.abs()
    large, small = torch.where(flat, x, y), torch.where(flat, y, x)
    angle = (small / torch.where(large == 0, 1.0, large)).atan()
    down = _is_negative(y)
    behind = torch.where(_is_negative(x), torch.where(down, -math.pi, math.pi), 0.0)
    return torch.where(flat, angle + behind, torch.where(down, -math.pi / 2, math.pi / 2) - angle)


def _atanh(x: Tensor) -> Tensor:
    return 0.5 * (x.log1p() - (-x).log1p())


def _asinh(x: Tensor) -> Tensor:
    size = x.abs()
    middle = torch.where(size > FAR, 1.0, size)
    middle = (middle + (1 + middle * middle).sqrt()).log()
    far = torch.where(size > FAR, size, 1.0).log() + math.log(2)
    large = torch.where(size > FAR, far, middle)
    near = torch.where(size < 1, x, 0.0)
    small = _atanh(near / (1 + near * near).sqrt())
    return torch.where(size < 1, small, torch.where(x < 0, -large, large))


def _acosh(x: Tensor) -> Tensor:
    middle = torch.where(x > FAR, 2.0, x)
    found = (middle + ((middle - 1) * (middle + 1)).sqrt()).log()
    return torch.where(x > FAR, x.log() + math.log(2), found)


def _clamp(x: Tensor, min: Tensor | None = None, max: Tensor | None = None) -> Tensor:
    """At a bound, the gradient is that of x."""
    x = x if min is None else torch.where((x < min) | (min != min), min, x)
    return x if max is None else torch.where((x > max) | (max != max), max, x)


def _copy(x: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    return source.to(x.dtype).expand(x.shape)


def _batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    momentum: float,
    eps: float,
) -> tuple[Tensor, None, None]:
    """Normalise by statistics that are kept: all of it but a product and a sum before the loop."""
    slope = torch.rsqrt(variance + eps)
    slope = slope if weight is None else slope * weight
    begin = -mean * slope if bias is None else bias - mean * slope
    wide = (-1, *[1] * (x.dim() - 2))
    return x * slope.reshape(wide) + begin.reshape(wide), None, None


NUMBERS: dict[object, Parts] = {
    aten.trunc.default: _trunc,
    aten._native_batch_norm_legit_no_training.default: _batch_norm,
    aten.remainder.Tensor: _remainder,
    aten.remainder.Scalar: _remainder,
    aten.fmod.Tensor: _fmod,
    aten.fmod.Scalar: _fmod,
    aten.div.Tensor_mode: _div,
    aten.signbit.default: _is_negative,
    aten.copysign.Tensor: _copysign,
    aten.pow.Tensor_Tensor: _power,
    aten.hypot.default: hypotenuse,
    aten.tan.default: lambda x: x.sin() / x.cos(),
    aten.asin.default: _asin,
    aten.acos.default: _acos,
    aten.atan2.default: _atan2,
    aten.asinh.default: _asinh,
    aten.acosh.default: _acosh,
    aten.atanh.default: _atanh,
    aten.exp2.default: lambda x: (x * math.log(2)).exp(),
    aten.isnan.default: lambda x: x != x,
    aten.isinf.default: lambda x: x.abs() == math.inf,
    aten.clamp.Tensor: _clamp,
    aten.copy.default: _copy,
}

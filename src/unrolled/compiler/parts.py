"""`PARTS`: operations of PyTorch that a loop has in parts, written in others that it has whole.

Only in the loop: before and behind it PyTorch runs them as they are. They are given what PyTorch's
operations of these names are; NotImplemented says that this one cannot be taken apart.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from unrolled.compiler.blame import Unrecordable

aten = torch.ops.aten

Parts = Callable[..., Any]

MOST_WEIGHTS = 1 << 17
"""Numbers of a matrix that a convolution becomes, at most: larger ones take PyTorch less time."""


FAR = 2.0**15
"""From here on, an inverse hyperbolic function is a logarithm."""

MOST_PIECES = 256
"""Pieces that a value is cut into, at most: more take more than a second to compile."""


# One number at a time.


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


def _hypot(x: Tensor, y: Tensor) -> Tensor:
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


# Along a dimension.


def _scan(combine: Parts) -> Parts:
    """Combine each number with all before it: those one before, then those two before, four, ..."""

    def scanned(x: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
        size, step = x.shape[dim], 1
        while step < size:
            behind = combine(x.narrow(dim, step, size - step), x.narrow(dim, 0, size - step))
            x = torch.cat([x.narrow(dim, 0, step), behind], dim)
            step *= 2
        return x

    return scanned


def _values_of(scan: Parts) -> Parts:
    return lambda x, dim: (scan(x, dim), None)


def _fold(combine: Parts) -> Parts:
    """Combine all numbers along dimensions: one half with the other."""

    def folded(
        x: Tensor, dims: Any = None, keepdim: bool = False, dtype: torch.dtype | None = None
    ) -> Tensor:
        wanted = [dims] if isinstance(dims, int) else dims
        if wanted is None:
            return NotImplemented
        for dim in wanted:
            while (size := x.shape[dim]) > 1:
                half = size // 2
                both = combine(x.narrow(dim, 0, half), x.narrow(dim, half, half))
                x = torch.cat([both, x.narrow(dim, size - 1, 1)], dim) if size % 2 else both
        if keepdim:
            return x
        return x.squeeze(tuple(wanted))

    return folded


def _truths(fold: Parts) -> Parts:
    return lambda x, *rest: fold(x if x.dtype == torch.bool else x != 0, *rest)


def _smallest(x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, None]:
    return x.amin(dim, keepdim), None


def _var_mean(
    x: Tensor, dim: Any = None, *, correction: float | None = None, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    own = 1 if correction is None else correction
    return x.var(dim, correction=own, keepdim=keepdim), x.mean(dim, keepdim)


def _norm(x: Tensor, order: float = 2, dim: Any = None, keepdim: bool = False) -> Tensor:
    if order in (1, 2, math.inf) or order <= 0:
        return NotImplemented
    total = x.abs().pow(order).sum(dim, keepdim)
    safe = torch.where(total == 0, 1.0, total).pow(1 / order)  # the gradient of a norm of 0 is 0
    return torch.where(total == 0, 0.0, safe)


# Numbers that move.


def _flip(x: Tensor, dims: Sequence[int]) -> Tensor:
    for dim in dims:
        if x.shape[dim] > MOST_PIECES:
            return NotImplemented
        x = torch.cat(x.split(1, dim)[::-1], dim)
    return x


def _roll(x: Tensor, shifts: Sequence[int], dims: Sequence[int] = ()) -> Tensor:
    if not dims:
        return NotImplemented
    for shift, dim in zip(shifts, dims, strict=True):
        first = -shift % x.shape[dim]
        if first:
            behind = x.narrow(dim, first, x.shape[dim] - first)
            x = torch.cat([behind, x.narrow(dim, 0, first)], dim)
    return x


def _index_select(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """Put runs of numbers that lie side by side one behind the other."""
    if index.dim() != 1 or not _is_known(index):
        return NotImplemented
    places = [place % x.shape[dim] for place in index.tolist()]
    runs: list[list[int]] = []
    for place in places:
        if runs and place == sum(runs[-1]):
            runs[-1][1] += 1
        else:
            runs.append([place, 1])
    if len(runs) > MOST_PIECES:
        return NotImplemented
    return torch.cat([x.narrow(dim, begin, count) for begin, count in runs], dim)


def _index(x: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    used = [dim for dim, index in enumerate(indices) if index is not None]
    if len(used) != 1:
        return NotImplemented
    index = indices[used[0]]
    return _index_select(x, used[0], index) if isinstance(index, Tensor) else NotImplemented


def _is_known(index: Tensor) -> bool:
    return type(index) is Tensor and index.dtype != torch.bool


def _diagonal(x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    first, second = dim1 % x.dim(), dim2 % x.dim()
    down, across = max(0, -offset), max(0, offset)
    size = min(x.shape[first] - down, x.shape[second] - across)
    if size > MOST_PIECES:
        return NotImplemented
    after = second - (second > first)
    picked = [x.select(first, down + i).select(after, across + i) for i in range(size)]
    return torch.stack(picked, -1)


def _unfold(x: Tensor, dim: int, size: int, step: int) -> Tensor:
    dim, many = dim % x.dim(), (x.shape[dim] - size) // step + 1
    parts = [_every(x, dim, first, many, step) for first in range(size)]
    return torch.stack(parts, dim).movedim(dim, -1)


def _every(x: Tensor, dim: int, first: int, many: int, step: int) -> Tensor:
    """Take so many numbers, each a step behind the one before."""
    return aten.slice.Tensor(x, dim, first, first + (many - 1) * step + 1, step)


def _windows(
    x: Tensor, sizes: Sequence[int], steps: Sequence[int], apart: Sequence[int]
) -> list[Tensor]:
    """Give the numbers of all windows over the last dimensions, one place of each at a time."""
    found = [x]
    for axis, (size, step, gap) in enumerate(zip(sizes, steps, apart, strict=True)):
        dim = axis - len(sizes)
        many = (x.shape[dim] - gap * (size - 1) - 1) // step + 1
        found = [
            _every(value, dim, place * gap, many, step) for value in found for place in range(size)
        ]
    return found


def _twice(size: int | Sequence[int]) -> list[int]:
    both = [size] if isinstance(size, int) else list(size)
    return both * 2 if len(both) == 1 else both


def _average_pool(
    x: Tensor,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil: bool = False,
    with_padding: bool = True,
    divisor: int | None = None,
) -> Tensor:
    sizes, (down, across) = _twice(kernel), _twice(padding)
    if ceil or (down or across) and not with_padding:
        return NotImplemented
    padded = functional.pad(x, (across, across, down, down)) if down or across else x
    parts = _windows(padded, sizes, _twice(stride or kernel), (1, 1))
    return sum(parts[1:], parts[0]) / (divisor or len(parts))


def _largest_pool(
    x: Tensor,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil: bool = False,
) -> tuple[Tensor, None]:
    if ceil:
        return NotImplemented
    down, across = _twice(padding)
    edges = (across, across, down, down)
    padded = functional.pad(x, edges, value=-math.inf) if down or across else x
    first, *others = _windows(padded, _twice(kernel), _twice(stride or kernel), _twice(dilation))
    for other in others:
        first = torch.maximum(first, other)
    return first, None


def _even_pool(x: Tensor, size: Sequence[int]) -> Tensor:
    high, wide = x.shape[-2:]
    if high % size[0] or wide % size[1]:
        return NotImplemented
    apart = x.unflatten(-1, (size[1], wide // size[1])).unflatten(-3, (size[0], high // size[0]))
    return apart.mean((-3, -1))


# Products.


def _times(number: Any, x: Tensor) -> Tensor:
    return x if number == 1 else number * x


def _addmm(x: Tensor, left: Tensor, right: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    return _times(beta, x) + _times(alpha, left @ right)


def _convolution(x: Tensor, weight: Tensor, bias: Tensor | None, *options: Any) -> Tensor:
    """A product with a matrix: what each number of x becomes if it is 1 and all others are 0."""
    shape = [int(size) for size in x.shape[1:]]
    inputs = math.prod(shape)
    ones = torch.eye(inputs, dtype=weight.dtype).view(inputs, *shape)
    made = aten.convolution.default(ones, weight, None, *options)
    out = [int(size) for size in made.shape[1:]]
    if inputs * math.prod(out) > MOST_WEIGHTS:
        return NotImplemented
    found = (x.flatten(1) @ made.flatten(1)).unflatten(1, out)
    return found if bias is None else found + bias.view(-1, *(1 for _ in out[1:]))


def _einsum(equation: str, operands: Sequence[Tensor], **_: Any) -> Tensor:
    """Two at a time."""
    given, arrow, result = equation.replace(" ", "").partition("->")
    names = given.split(",")
    if len(operands) < 3 or not arrow or "." in equation:
        return NotImplemented
    (one, two, *rest), (first, second, *others) = names, operands
    later = {*result, *"".join(rest)}
    both = "".join(dict.fromkeys(letter for letter in one + two if letter in later))
    joined = torch.einsum(f"{one},{two}->{both}", first, second)
    return torch.einsum(f"{','.join([both, *rest])}->{result}", joined, *others)


_any = _truths(_fold(torch.logical_or))

PARTS: dict[object, Parts] = {
    aten.trunc.default: _trunc,
    aten.remainder.Tensor: _remainder,
    aten.remainder.Scalar: _remainder,
    aten.fmod.Tensor: _fmod,
    aten.fmod.Scalar: _fmod,
    aten.div.Tensor_mode: _div,
    aten.signbit.default: _is_negative,
    aten.copysign.Tensor: _copysign,
    aten.pow.Tensor_Tensor: _power,
    aten.hypot.default: _hypot,
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
    aten.cumsum.default: _scan(torch.add),
    aten.cumprod.default: _scan(torch.mul),
    aten.logcumsumexp.default: _scan(torch.logaddexp),
    aten.cummax.default: _values_of(_scan(torch.maximum)),
    aten.cummin.default: _values_of(_scan(torch.minimum)),
    aten.prod.dim_int: _fold(torch.mul),
    aten.any.dim: _any,
    aten.any.dims: _any,
    aten.min.dim: _smallest,
    aten.var_mean.correction: _var_mean,
    aten.linalg_vector_norm.default: _norm,
    aten.flip.default: _flip,
    aten.roll.default: _roll,
    aten.index_select.default: _index_select,
    aten.index.Tensor: _index,
    aten.diagonal.default: _diagonal,
    aten.unfold.default: _unfold,
    aten.avg_pool2d.default: _average_pool,
    aten.max_pool2d_with_indices.default: _largest_pool,
    aten._adaptive_avg_pool2d.default: _even_pool,
    aten.addmm.default: _addmm,
    aten.convolution.default: _convolution,
    aten.einsum.default: _einsum,
}


# Everywhere: PyTorch looks at the batch to do these, or fails.


def _pad(x: Tensor, sizes: Sequence[int], edge: Callable[..., Tensor]) -> Tensor:
    """Put edges around the last dimensions, or cut them where they are negative."""
    for place in range(0, len(sizes), 2):
        dim, (before, after) = x.dim() - 1 - place // 2, sizes[place : place + 2]
        cut = x.narrow(dim, max(0, -before), x.shape[dim] - max(0, -before) - max(0, -after))
        parts = [cut]
        if before > 0:
            parts.insert(0, edge(cut, dim, before, first=True))
        if after > 0:
            parts.append(edge(cut, dim, after, first=False))
        x = torch.cat(parts, dim) if len(parts) > 1 else cut
    return x


def _constant_pad(x: Tensor, sizes: Sequence[int], value: float = 0) -> Tensor:
    def edge(x: Tensor, dim: int, size: int, *, first: bool) -> Tensor:
        return x.new_full((*x.shape[:dim], size, *x.shape[dim + 1 :]), value)

    return _pad(x, sizes, edge)


def _around(x: Tensor, dim: int, size: int, *, first: bool) -> Tensor:
    return x.narrow(dim, x.shape[dim] - size if first else 0, size)


def _mirrored(x: Tensor, dim: int, size: int, *, first: bool) -> Tensor:
    return x.narrow(dim, 1 if first else x.shape[dim] - 1 - size, size).flip(dim)


def _same(x: Tensor, dim: int, size: int, *, first: bool) -> Tensor:
    return x.narrow(dim, 0 if first else x.shape[dim] - 1, 1).repeat_interleave(size, dim)


def _bilinear(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    outputs, own, other = weight.shape
    matrix = weight.permute(1, 0, 2).reshape(own, outputs * other)
    found = ((x @ matrix).unflatten(-1, (outputs, other)) * y.unsqueeze(-2)).sum(-1)
    return found if bias is None else found + bias


EVERYWHERE: dict[object, Parts] = {
    aten.constant_pad_nd.default: _constant_pad,
    aten._pad_circular.default: partial(_pad, edge=_around),
    aten.reflection_pad1d.default: partial(_pad, edge=_mirrored),
    aten.reflection_pad2d.default: partial(_pad, edge=_mirrored),
    aten.replication_pad1d.default: partial(_pad, edge=_same),
    aten.replication_pad2d.default: partial(_pad, edge=_same),
    aten.bilinear.default: _bilinear,
}


def refuse_places(target: object) -> Unrecordable:
    """Give the error for who asks an operation in parts for places, not values."""
    return Unrecordable(f"it reads where {target} has found its values: no program has that")

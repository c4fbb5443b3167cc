"""`COMPLEX`: what PyTorch does with complex numbers, a row each, done with pairs."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.nn import functional
from torch.utils._pytree import tree_map

from unrolled.compiler.blame import Unrecordable
from unrolled.compiler.complex.fourier import fourier
from unrolled.compiler.complex.pair import (
    Pair,
    Real,
    bilinear,
    filled,
    is_pair,
    over,
    plus,
    scaled,
    times,
)
from unrolled.compiler.parts.numbers import hypotenuse

aten = torch.ops.aten


def _each(function: Callable[..., Any]) -> Callable[..., Any]:
    """Do the same with both parts: what moves numbers, or adds them up."""

    def rule(*given: Any, **named: Any) -> Any:
        real = function(*_mapped(given, lambda pair: pair.real), **named)
        imag = function(*_mapped(given, lambda pair: filled(pair.imag, pair.real)), **named)
        if isinstance(real, Tensor):
            return Pair(real, imag)
        return tuple(map(Pair, real, imag))

    return rule


def _mapped(given: Any, part: Callable[[Pair], Any]) -> Any:
    """Give one part of each pair, also of those in lists; all else as it is."""
    return tree_map(lambda x: part(x) if is_pair(x) else x, list(given), is_leaf=is_pair)


def _joined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Put tensors of a list together, real ones too."""
    both = _each(function)

    def rule(tensors: Any, *rest: Any, **named: Any) -> Any:
        return both([Pair.of(tensor) for tensor in tensors], *rest, **named)

    return rule


def _add(one: Any, other: Any, *, alpha: float = 1) -> Pair:
    a, b = Pair.of(one), Pair.of(other)
    return Pair(plus(a.real, scaled(b.real, alpha)), plus(a.imag, scaled(b.imag, alpha)))


def _sub(one: Any, other: Any, *, alpha: float = 1) -> Pair:
    return _add(one, other, alpha=-alpha)


def _divide(one: Any, other: Any) -> Pair:
    a, b = Pair.of(one), Pair.of(other)
    if b.imag is None:
        return Pair(over(a.real, b.real), over(a.imag, b.real))
    made = times(a, b.conjugate)
    return Pair(over(made.real, b.square), over(made.imag, b.square))


def _power(base: Pair, exponent: Any) -> Pair:
    if exponent != int(exponent) or not 1 <= exponent <= 16:
        raise Unrecordable(f"it takes a complex number to the power of {exponent}")
    found = base
    for _ in range(int(exponent) - 1):
        found = times(found, base)
    return found


def _size(z: Pair) -> Real:
    return z.real.abs() if z.imag is None else hypotenuse(z.real, z.imag)


def _angle(z: Pair) -> Real:
    return torch.atan2(filled(z.imag, z.real), z.real)


def _sign(z: Pair) -> Pair:
    """Z / |z|; of 0 it is 0."""
    size = _size(z)
    safe = torch.where(size == 0, 1.0, size)
    return Pair(z.real / safe, over(z.imag, safe))


def _polar(size: Tensor, angle: Tensor) -> Pair:
    return Pair(size * angle.cos(), size * angle.sin())


def _exp(z: Pair) -> Pair:
    size = z.real.exp()
    return Pair(size, None) if z.imag is None else _polar(size, z.imag)


def _linear(x: Any, weight: Any, bias: Any = None) -> Pair:
    made = bilinear(functional.linear)(x, weight)
    return made if bias is None else _add(made, bias)


def _einsum(equation: str, operands: Any, **_: Any) -> Pair:
    if len(operands) != 2:
        raise Unrecordable(f"it has an einsum of {len(operands)} complex operands")
    return bilinear(partial(torch.einsum, equation))(*operands)


def _to(x: Any, *given: Any, dtype: torch.dtype | None = None, **_: Any) -> Any:
    types = (value for value in (dtype, *given) if isinstance(value, torch.dtype))
    wanted = next(types, None)
    if wanted is None or (isinstance(x, Pair) and wanted.is_complex):
        return x
    if isinstance(x, Pair):
        return x.real.to(wanted)
    return Pair(x.to(wanted.to_real()), None)


def _norm(z: Pair, order: float = 2, dim: Any = None, keepdim: bool = False, **_: Any) -> Real:
    return torch.linalg.vector_norm(_size(z), order, dim, keepdim)


def _either(mask: Tensor, one: Real, other: Real) -> Real:
    if one is None and other is None:
        return None
    return torch.where(mask, 0.0 if one is None else one, 0.0 if other is None else other)


def _choose(mask: Tensor, one: Any, other: Any) -> Pair:
    a, b = Pair.of(one), Pair.of(other)
    real = _either(mask, a.real, b.real)
    imag = _either(mask, a.imag, b.imag)
    return Pair(real, imag)


def _made(function: OpOverload) -> Callable[..., Pair]:
    """Give a real tensor of known numbers as a complex one."""

    def rule(*given: Any, dtype: torch.dtype | None = None, **named: Any) -> Pair:
        wanted = None if dtype is None else dtype.to_real()
        real = function(*_mapped(given, lambda pair: pair.real), dtype=wanted, **named)
        return Pair(real, None)

    return rule


ALIKE = (
    *(aten.view.default, aten.reshape.default, aten.unsqueeze.default, aten.squeeze.dim),
    *(aten.permute.default, aten.transpose.int, aten.t.default, aten.numpy_T.default),
    *(aten.mT.default, aten.expand.default, aten.expand_as.default, aten.clone.default),
    *(aten.detach.default, aten.slice.Tensor, aten.select.int),
    *(aten.split.Tensor, aten.split_with_sizes.default, aten.chunk.default),
    *(aten.unbind.int, aten.narrow.default, aten.flatten.using_ints, aten.unflatten.int),
    *(aten.movedim.int, aten.repeat.default, aten.flip.default, aten.roll.default),
    *(aten.index.Tensor, aten.index_select.default, aten.sum.dim_IntList),
    *(aten.mean.dim, aten.cumsum.default, aten.neg.default),
    aten.constant_pad_nd.default,
)

COMPLEX: dict[object, Callable[..., Any]] = {
    **{target: _each(target) for target in ALIKE},
    aten.cat.default: _joined(aten.cat.default),
    aten.stack.default: _joined(aten.stack.default),
    aten.real.default: lambda z: Pair.of(z).real,
    aten.imag.default: lambda z: filled(z.imag, z.real),
    aten.view_as_real.default: lambda z: torch.stack([z.real, filled(z.imag, z.real)], -1),
    aten.view_as_complex.default: lambda x: Pair(x.select(-1, 0), x.select(-1, 1)),
    aten.complex.default: Pair,
    aten.polar.default: _polar,
    aten._conj.default: lambda z: z.conjugate,
    aten.conj_physical.default: lambda z: z.conjugate,
    aten.resolve_conj.default: lambda z: z,
    aten.mH.default: lambda z: _each(aten.mT.default)(z.conjugate),
    aten.adjoint.default: lambda z: _each(aten.mT.default)(z.conjugate),
    aten.matrix_H.default: lambda z: _each(aten.mT.default)(z.conjugate),
    aten.add.Tensor: _add,
    aten.sub.Tensor: _sub,
    aten.rsub.Scalar: lambda z, other, alpha=1: _sub(other, z, alpha=alpha),
    aten.mul.Tensor: times,
    aten.div.Tensor: _divide,
    aten.reciprocal.default: lambda z: _divide(1.0, z),
    aten.square.default: lambda z: times(z, z),
    aten.pow.Tensor_Scalar: _power,
    aten.abs.default: _size,
    aten.angle.default: _angle,
    aten.sgn.default: _sign,
    aten.exp.default: _exp,
    aten.log.default: lambda z: Pair(_size(z).log(), _angle(z)),
    aten.matmul.default: bilinear(torch.matmul),
    aten.mm.default: bilinear(torch.mm),
    aten.bmm.default: bilinear(torch.bmm),
    aten.linear.default: _linear,
    aten.einsum.default: _einsum,
    aten.linalg_vector_norm.default: _norm,
    aten.where.self: _choose,
    aten.where.ScalarOther: _choose,
    aten.where.ScalarSelf: _choose,
    aten.to.dtype: _to,
    aten._to_copy.default: _to,
    aten.zeros_like.default: _made(aten.zeros_like.default),
    aten.ones_like.default: _made(aten.ones_like.default),
    aten.zeros.default: _made(aten.zeros.default),
    aten.ones.default: _made(aten.ones.default),
    aten.new_zeros.default: _made(aten.new_zeros.default),
    aten.fft_fft.default: fourier(inverse=False),
    aten.fft_ifft.default: fourier(inverse=True),
    aten.fft_rfft.default: fourier(inverse=False, real=True),
    aten.fft_irfft.default: fourier(inverse=True, real=True),
}

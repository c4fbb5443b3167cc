"""Sums, products and maxima along a dimension, running or whole, in parts."""

import math
from typing import Any

import torch
from torch import Tensor

from unrolled.compiler.parts.table import Parts

aten = torch.ops.aten


def _scan(combine: Parts) -> Parts:
    """Combine each number with all before it: those one before, then those two before, four, ..."""

    def scanned(x: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
        x = x.long() if x.dtype == torch.bool else x
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


ALONG: dict[object, Parts] = {
    aten.cumsum.default: _scan(torch.add),
    aten.cumprod.default: _scan(torch.mul),
    aten.logcumsumexp.default: _scan(torch.logaddexp),
    aten.cummax.default: _values_of(_scan(torch.maximum)),
    aten.cummin.default: _values_of(_scan(torch.minimum)),
    aten.prod.dim_int: _fold(torch.mul),
    aten.any.dim: _truths(_fold(torch.logical_or)),
    aten.any.dims: _truths(_fold(torch.logical_or)),
    aten.var_mean.correction: _var_mean,
    aten.linalg_vector_norm.default: _norm,
}

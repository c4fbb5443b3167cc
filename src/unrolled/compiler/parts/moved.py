"""Numbers that change places, and pooling, in parts."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from unrolled.compiler.parts.places import MOST_PLACES
from unrolled.compiler.parts.table import Parts

aten = torch.ops.aten

MOST_PIECES = 256
"""Pieces that a value is cut into, at most: more take more than a second to compile."""


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
    if index.dim() != 1 or index.dtype == torch.bool:
        return NotImplemented
    if not _is_known(index):
        return _picked(x, dim, index)
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
    """Read two dimensions side by side as one."""
    used = [(dim, index) for dim, index in enumerate(indices) if index is not None]
    (dim, index), *others = used
    if not others:
        return _index_select(x, dim, index)
    (other, along), *more = others
    if more or other != dim + 1 or not (_is_known(index) and _is_known(along)):
        return NotImplemented
    both = index % x.shape[dim] * x.shape[other] + along % x.shape[other]
    found = _index_select(x.flatten(dim, other), dim, both.flatten())
    return found if found is NotImplemented else found.unflatten(dim, both.shape)


def _index_add(x: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """Add numbers at places that the index says, for each row the same."""
    size = x.shape[dim]
    if not isinstance(size, int) or size * index.shape[0] > MOST_PLACES:
        return NotImplemented
    here = (index % size).unsqueeze(1) == torch.arange(size, device=index.device)
    added = torch.where(here, source.movedim(dim, -1).unsqueeze(-1), 0.0).sum(-2)
    return x + alpha * added.movedim(-1, dim)


def _picked(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """Compare with all places: the index is a buffer, whose numbers may change."""
    size = x.shape[dim]
    if not isinstance(index.shape[0], int) or size * index.shape[0] > MOST_PLACES:
        return NotImplemented
    here = (index % size).unsqueeze(1) == torch.arange(size, device=index.device)
    return torch.where(here, x.movedim(dim, -1).unsqueeze(-2), 0.0).sum(-1).movedim(-1, dim)


def _index_put(
    x: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False
) -> Tensor:
    """Put one number wherever a mask says."""
    one = len(indices) == 1 and values.dim() == 0 and not accumulate
    mask = indices[0] if one else None
    if mask is None or mask.dtype != torch.bool:
        return NotImplemented
    return torch.where(mask.reshape(*mask.shape, *[1] * (x.dim() - mask.dim())), values, x)


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


MOVED: dict[object, Parts] = {
    aten.flip.default: _flip,
    aten.roll.default: _roll,
    aten.index_select.default: _index_select,
    aten.index.Tensor: _index,
    aten.index_add.default: _index_add,
    aten.index_put.default: _index_put,
    aten.diagonal.default: _diagonal,
    aten.unfold.default: _unfold,
    aten.avg_pool2d.default: _average_pool,
    aten.max_pool2d_with_indices.default: _largest_pool,
    aten._adaptive_avg_pool2d.default: _even_pool,
}

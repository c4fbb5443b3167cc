"""Places: where the largest number is, what stands at a place, and orders, in parts.

A place is a whole number in the loop as any other number is. It is compared with all places there
are, so what is done with it costs as much as all of them.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.compiler.parts.table import Parts

aten = torch.ops.aten

MOST_SORTED = 16
"""Numbers that are put in order, at most: one after the other is found, among all."""

MOST_PLACES = 1 << 16
"""Numbers that places are compared with, in all."""

MOST_WORDS = 1 << 12
"""Rows of a matrix that is multiplied so that one of them is looked up."""

LEAST = -(1 << 24)
"""Below every whole number that a loop in float32 can have."""


def _places(x: Tensor, dim: int) -> Tensor:
    """Number what lies along a dimension."""
    behind = x.dim() - 1 - dim % x.dim()
    return torch.arange(x.shape[dim], device=x.device).reshape(-1, *[1] * behind)


def _first(at: Tensor, dim: int, keepdim: bool) -> Tensor:
    """Give the first place that is marked."""
    return torch.where(at, _places(at, dim), at.shape[dim]).amin(dim, keepdim)


def _argmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    if dim is None:
        return NotImplemented
    return _first((x == x.amax(dim, True)) | (x != x), dim, keepdim)  # NaN is the largest


def _argmin(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    return _argmax(-x, dim, keepdim)


def _largest(x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    return x.amax(dim, keepdim), _argmax(x, dim, keepdim)


def _smallest(x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    return x.amin(dim, keepdim), _argmin(x, dim, keepdim)


def _topk(
    x: Tensor, count: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> tuple[Tensor, Tensor]:
    """Find the first, then the first of the others, and so on; NaN is the largest."""
    if count > MOST_SORTED:
        return NotImplemented
    places, least = _places(x, dim), -torch.inf if x.is_floating_point() else LEAST
    key = x if largest else torch.where(x != x, least, -x)
    left = (places >= 0).expand(x.shape[dim], *x.shape[dim % x.dim() + 1 :]) | (x != x)
    values: list[Tensor] = []
    found: list[Tensor] = []
    for _ in range(count):
        top = torch.where(left, key, least).amax(dim, True)
        place = _first(left & ((key == top) | (key != key)), dim, True)
        here = places == place
        left = left & ~here
        values.append(torch.where(here, x, x.new_zeros(())).sum(dim, True))
        found.append(place)
    return torch.cat(values, dim), torch.cat(found, dim)


def _sort(x: Tensor, dim: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
    return _topk(x, x.shape[dim], dim, descending)


def _stable_sort(
    x: Tensor, *, stable: bool | None, dim: int = -1, descending: bool = False
) -> tuple[Tensor, Tensor]:
    return _sort(x, dim, descending)


def _median(x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """Give the middle one, of two the smaller."""
    count = x.shape[dim] // 2 + 1
    if count > MOST_SORTED:
        return NotImplemented
    values, places = _topk(x, count, dim)
    middle = values.narrow(dim, count - 1, 1)
    middle = torch.where((x != x).any(dim, True), torch.nan, middle)
    found = middle, places.narrow(dim, count - 1, 1)
    return found if keepdim else (found[0].squeeze(dim), found[1].squeeze(dim))


def _embedding(
    weight: Tensor, index: Tensor, padding: Any = -1, scaled: bool = False, sparse: bool = False
) -> Tensor:
    """Multiply by a row of zeros with a one: for a few words, as fast as a look."""
    if not isinstance(padding, int) or scaled or weight.shape[0] > MOST_WORDS:
        return NotImplemented
    if padding >= 0:  # that row does not learn
        weight = torch.where(_places(weight, 0) == padding, weight.detach(), weight)
    return _one_hot(index, weight.shape[0]).to(weight.dtype) @ weight


def _one_hot(index: Tensor, classes: int = -1) -> Tensor:
    if classes < 0:
        return NotImplemented
    return (index.unsqueeze(-1) == torch.arange(classes, device=index.device)).long()


def _gather(x: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    dim = dim % x.dim()
    if _others(x, dim) != _others(index, dim) or _compared(x, dim, index) > MOST_PLACES:
        return NotImplemented
    here = index.unsqueeze(dim + 1) == _places(x, dim)
    if x.dtype == torch.bool:
        return (here & x.unsqueeze(dim)).any(dim + 1)
    return torch.where(here, x.unsqueeze(dim), x.new_zeros(())).sum(dim + 1)


def _scatter(x: Tensor, dim: int, index: Tensor, source: Any) -> Tensor:
    """Put numbers at places, the last one where several are meant."""
    dim = dim % x.dim()
    size = index.shape[dim]
    if _others(x, dim) != _others(index, dim) or size > MOST_SORTED:
        return NotImplemented
    for at in range(size):
        value = source.narrow(dim, at, 1) if isinstance(source, Tensor) else source
        x = torch.where(index.narrow(dim, at, 1) == _places(x, dim), value, x)
    return x


def _scatter_add(x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    dim = dim % x.dim()
    if _others(x, dim) != _others(index, dim) or _compared(x, dim, index) > MOST_PLACES:
        return NotImplemented
    here = index.unsqueeze(dim + 1) == _places(x, dim)
    return x + torch.where(here, source.unsqueeze(dim + 1), x.new_zeros(())).sum(dim)


def _others(x: Tensor, dim: int) -> Sequence[object]:
    """Give the sizes beside one."""
    return [size for place, size in enumerate(x.shape) if place != dim]


def _compared(x: Tensor, dim: int, index: Tensor) -> int:
    """Count the comparisons of places for each row of a batch."""
    sizes = (size for size in index.shape if isinstance(size, int))
    return x.shape[dim] * torch.Size(sizes).numel()


PLACES: dict[object, Parts] = {
    aten.argmax.default: _argmax,
    aten.argmin.default: _argmin,
    aten.max.dim: _largest,
    aten.min.dim: _smallest,
    aten.topk.default: _topk,
    aten.sort.default: _sort,
    aten.sort.stable: _stable_sort,
    aten.median.dim: _median,
    aten.embedding.default: _embedding,
    aten.gather.default: _gather,
    aten.scatter.value: _scatter,
    aten.scatter.src: _scatter,
    aten.scatter_add.default: _scatter_add,
}

ONE_HOT: dict[object, Parts] = {aten.one_hot.default: _one_hot}
"""From the first: PyTorch looks at the numbers to do it."""

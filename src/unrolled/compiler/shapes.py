"""Rows of the table `LOWER` for operations that move numbers about, and what rows share."""

from collections.abc import Sequence
from math import inf, prod
from operator import getitem

import torch
from torch.fx import Node

from unrolled.compiler.lowering import Lowering, Rule, Wide
from unrolled.compiler.step import batch_axis, features
from unrolled.ir import Op

aten = torch.ops.aten


MANY = 16
"""Pieces of a value from which on its dimensions change places instead."""


def wide(low: Lowering, node: Node, argument: object) -> Wide:
    """Give an operand that has rows."""
    value = low.given(argument)
    if not isinstance(value, Wide):
        raise low.error(node, "it is asked for fixed values only")
    return value


def numbers(low: Lowering, node: Node, argument: object) -> Wide:
    """Give an operand as rows of numbers."""
    value = wide(low, node, argument)
    return Wide(low.as_rows(value), value.dims, value.axis)


def places_of(low: Lowering, node: Node, value: Wide, dims: object) -> list[int]:
    """Give dimensions as places among a value's features."""
    rank = len(value.dims) + 1
    wanted = range(rank) if dims is None else [dims] if isinstance(dims, int) else dims
    full = [int(d) % rank for d in wanted]  # pyright: ignore[reportGeneralTypeIssues]
    if value.axis in full or not full:
        raise low.error(node, "it mixes the rows of a batch")
    return [d - (d > value.axis) for d in full]


def shaped(node: Node, value: Wide) -> Wide:
    """See a value in the shape that its node has, of as many numbers in the same order."""
    axis = batch_axis(node)
    return Wide(value.name, features(node), value.axis if axis is None else axis, value.mask)


def _view(low: Lowering, node: Node, a: object, *_: object, **__: object) -> Wide:
    value = wide(low, node, a)
    seen = shaped(node, value)
    if prod(value.dims[: value.axis]) != prod(seen.dims[: seen.axis]):
        raise low.error(node, "it mixes the rows of a batch")
    return seen


def _permute(low: Lowering, node: Node, a: object, order: Sequence[int]) -> Wide:
    value = wide(low, node, a)
    rank = len(value.dims) + 1
    full = [d % rank for d in order]
    places = [d - (d > value.axis) for d in full if d != value.axis]
    return shaped(node, low.permuted(value, places))


def _expand(low: Lowering, node: Node, a: object, *_: object, **__: object) -> Wide:
    return low.result(node, low.operand(a, node))


def _to(low: Lowering, node: Node, a: object, *_: object, **__: object) -> Wide:
    value, dtype = wide(low, node, a), node.meta["val"].dtype
    whole = not (dtype.is_floating_point or dtype.is_complex)
    if dtype == torch.bool:
        found = low.truth(value.name, prod(value.dims))
        return Wide(str(found), value.dims, value.axis, mask=True)
    if dtype != low.dtype and not whole:
        raise low.error(node, f"it computes in {dtype}, the cell in {low.dtype}")
    name = low.as_rows(value)
    if whole and node.all_input_nodes[0].meta["val"].dtype.is_floating_point:
        if dtype not in (torch.int64, torch.int32):
            raise low.error(node, f"it makes whole numbers ({dtype}) of what it computes")
        name = _towards_zero(low, name)
    return shaped(node, Wide(name, value.dims, value.axis))


def _towards_zero(low: Lowering, name: str) -> str:
    below, above = low.emit(Op.NEG, name), low.emit(Op.FLOOR, name)
    below = low.emit(Op.NEG, low.emit(Op.FLOOR, below))
    return low.emit(Op.WHERE, low.emit(Op.LT, name, 0.0), below, above)


def _same(low: Lowering, node: Node, a: object, *_: object, **__: object) -> Wide:
    return shaped(node, wide(low, node, a))


def _cut(low: Lowering, value: Wide, place: int, begin: int, end: int) -> str:
    """Take numbers begin to end of one feature dimension."""
    inner, outer, size = prod(value.dims[place + 1 :]), prod(value.dims[:place]), value.dims[place]
    if (begin, end) == (0, size):
        return value.name
    if outer > MANY:  # bring them together, and back to their places
        turned = low.emit(Op.SWAP, value.name, attributes=(1, outer, size, inner))
        ends = (begin * outer * inner, end * outer * inner)
        taken = low.emit(Op.SLICE, turned, attributes=ends)
        return low.emit(Op.SWAP, taken, attributes=(1, end - begin, outer, inner))
    own = size * inner
    pieces = [
        low.emit(Op.SLICE, value.name, attributes=(o * own + begin * inner, o * own + end * inner))
        for o in range(outer)
    ]
    return pieces[0] if outer == 1 else low.emit(Op.CONCAT, *pieces)


def _slice(
    low: Lowering,
    node: Node,
    a: object,
    dim: int = 0,
    begin: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Wide:
    value = wide(low, node, a)
    if dim % (len(value.dims) + 1) == value.axis:
        if features(node) == value.dims and (begin or 0, step) == (0, 1) and (end or inf) > 1 << 60:
            return value
        raise low.error(node, "it takes some rows of a batch")
    (place,) = places_of(low, node, value, dim)
    first, last, stride = slice(begin, end, step).indices(value.dims[place])
    if first >= last:  # nothing, which `cat` leaves out
        return shaped(node, Wide(value.name, (), 0, value.mask))
    if stride == 1:
        return shaped(node, Wide(_cut(low, value, place, first, last), (), 0, value.mask))
    count = len(range(first, last, stride))
    begin = first - first % stride
    if count * stride <= value.dims[place] - begin:  # columns of a matrix
        rows = _cut(low, value, place, begin, begin + count * stride)
        dims = (*value.dims[:place], count, stride, *value.dims[place + 1 :])
        matrix = Wide(rows, dims, value.axis, value.mask)
        column = _cut(low, matrix, place + 1, first % stride, first % stride + 1)
        return shaped(node, Wide(column, (), 0, value.mask))
    pieces = [_cut(low, value, place, i, i + 1) for i in range(first, last, stride)]
    return _stacked(low, node, [Wide(p, _one_of(value, place), 0) for p in pieces], place)


def _one_of(value: Wide, place: int) -> tuple[int, ...]:
    return (*value.dims[:place], 1, *value.dims[place + 1 :])


def _select(low: Lowering, node: Node, a: object, dim: int, index: int) -> Wide:
    value = wide(low, node, a)
    (place,) = places_of(low, node, value, dim)
    at = index % value.dims[place]
    return shaped(node, Wide(_cut(low, value, place, at, at + 1), (), 0, value.mask))


def _split(
    low: Lowering, node: Node, a: object, sizes: Sequence[int] | int, dim: int = 0
) -> tuple[Wide, ...]:
    value = wide(low, node, a)
    (place,) = places_of(low, node, value, dim)
    whole = value.dims[place]
    if isinstance(sizes, int):
        sizes = [min(sizes, whole - begin) for begin in range(0, whole, sizes)]
    found, begin = [], 0
    for size in sizes:
        dims = (*value.dims[:place], size, *value.dims[place + 1 :])
        name = _cut(low, value, place, begin, begin + size)
        found.append(Wide(name, dims, value.axis, value.mask))
        begin += size
    return tuple(found)


def _stacked(low: Lowering, node: Node, parts: Sequence[Wide], place: int) -> Wide:
    """Put values side by side along one feature dimension."""
    outer, widths = prod(parts[0].dims[:place]), [prod(part.dims[place:]) for part in parts]
    if outer > MANY:
        inner, pieces = prod(parts[0].dims[place + 1 :]), []
        for part, width in zip(parts, widths, strict=True):
            turn = (1, outer, width // inner, inner)
            one = width == inner
            pieces.append(part.name if one else low.emit(Op.SWAP, part.name, attributes=turn))
        joined = low.emit(Op.CONCAT, *pieces)
        back = (1, sum(widths) // inner, outer, inner)
        return shaped(node, Wide(low.emit(Op.SWAP, joined, attributes=back), (), 0))
    pieces = [
        low.emit(Op.SLICE, p.name, attributes=(o * w, (o + 1) * w)) if outer > 1 else p.name
        for o in range(outer)
        for p, w in zip(parts, widths, strict=True)
    ]
    return shaped(node, Wide(low.emit(Op.CONCAT, *pieces), (), 0))


def _cat(low: Lowering, node: Node, tensors: Sequence[Node], dim: int = 0) -> Wide:
    dims, axis = features(node), batch_axis(node)
    parts: list[Wide] = []
    for tensor in tensors:
        if 0 in tensor.meta["val"].shape:
            continue
        value = low.given(tensor)
        if not isinstance(value, Wide) or axis is None:
            raise low.error(node, "it joins a fixed value to rows: expand it to the batch first")
        parts.append(Wide(low.as_rows(value), value.dims, value.axis))
    (place,) = places_of(low, node, Wide("", dims, axis or 0), dim)
    return _stacked(low, node, parts, place)


def _repeat(low: Lowering, node: Node, a: object, times: Sequence[int]) -> Wide:
    value = wide(low, node, a)
    out = shaped(node, value)
    counts = [n for i, n in enumerate(times) if i != out.axis]
    if times[out.axis] != 1 or out.axis != value.axis + len(times) - len(value.dims) - 1:
        raise low.error(node, "it repeats the rows of a batch")
    dims = (1,) * (len(counts) - len(value.dims)) + value.dims
    apart = Wide(value.name, tuple(n for d in dims for n in (1, d)), 0, value.mask)
    wanted = tuple(n for pair in zip(counts, dims, strict=True) for n in pair)
    return Wide(low.spread(apart, wanted), out.dims, out.axis, value.mask)


def _fill(low: Lowering, node: Node, *arguments: object, **_: object) -> Wide:
    number = arguments[-1]
    if not isinstance(number, (int, float)):
        raise low.error(node, "it is filled with a value")
    axis, dims = batch_axis(node) or 0, features(node)
    return Wide(low.emit(Op.FILL, attributes=(float(number), prod(dims))), dims, axis)


def _getitem(low: Lowering, node: Node, source: Node, index: int) -> Wide:
    values = low.values[source]
    value = values[index] if isinstance(values, tuple) else None
    if value is None:
        raise low.error(node, "of its results only the first has a program")
    return value


SHAPES: dict[object, Rule] = {
    aten.view.default: _view,
    aten.reshape.default: _view,
    aten.unsqueeze.default: _view,
    aten.squeeze.dim: _view,
    aten.squeeze.dims: _view,
    aten.permute.default: _permute,
    aten.expand.default: _expand,
    aten.clone.default: _same,
    aten.alias.default: _same,
    aten._to_copy.default: _to,
    aten.slice.Tensor: _slice,
    aten.select.int: _select,
    aten.split_with_sizes.default: _split,
    aten.split.Tensor: _split,
    aten.cat.default: _cat,
    aten.repeat.default: _repeat,
    aten.full.default: _fill,
    aten.full_like.default: _fill,
    getitem: _getitem,
}

STILL = frozenset(
    {aten.view.default, aten.reshape.default, aten.unsqueeze.default, aten.squeeze.dim}
    | {aten.squeeze.dims, aten.expand.default, aten.clone.default, aten.alias.default}
    | {aten.slice.Tensor, aten.split_with_sizes.default, aten.split.Tensor, getitem}
)
"""Of these the ones that leave every number where it is: in the loop they cost nothing."""

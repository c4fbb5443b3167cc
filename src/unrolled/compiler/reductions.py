"""Rows of the table `LOWER` for operations that reduce features, and for norms."""

from collections.abc import Sequence
from math import isinf, prod

import torch
from torch.fx import Node

from unrolled.compiler.lowering import Given, Lowering, Plain, Rule, Wide
from unrolled.compiler.shapes import numbers, places_of, shaped
from unrolled.ir import Op

aten = torch.ops.aten


def reduced(low: Lowering, op: Op, value: Wide, places: Sequence[int]) -> Wide:
    """Reduce over some features, each of which keeps a width of 1."""
    name, dims = value.name, list(value.dims)
    for place in sorted(places, reverse=True):
        if dims[place] != 1:
            view = (prod(dims[:place]), dims[place], prod(dims[place + 1 :]))
            name, dims[place] = low.emit(op, name, attributes=view), 1
    return Wide(name, tuple(dims), value.axis)


def _mean(low: Lowering, value: Wide, places: Sequence[int]) -> Wide:
    total = reduced(low, Op.SUM, value, places)
    count = prod(value.dims[place] for place in places)
    return Wide(low.emit(Op.MUL, total.name, 1 / count), total.dims, total.axis)


def _spread_back(low: Lowering, op: Op, value: Wide, narrow: Wide) -> Wide:
    """Apply an operation of a value and its own reduction."""
    name = low.emit(op, value.name, low.spread(narrow, value.dims))
    return Wide(name, value.dims, value.axis)


def _deviations(low: Lowering, value: Wide, places: Sequence[int]) -> tuple[Wide, Wide]:
    """Give the distance from the mean, and its square."""
    away = _spread_back(low, Op.SUB, value, _mean(low, value, places))
    return away, Wide(low.emit(Op.MUL, away.name, away.name), away.dims, away.axis)


def _sum(
    low: Lowering, node: Node, a: object, dims: object = None, *_: object, **__: object
) -> Wide:
    value = numbers(low, node, a)
    return shaped(node, reduced(low, Op.SUM, value, places_of(low, node, value, dims)))


def _mean_rule(
    low: Lowering, node: Node, a: object, dims: object = None, *_: object, **__: object
) -> Wide:
    value = numbers(low, node, a)
    return shaped(node, _mean(low, value, places_of(low, node, value, dims)))


def _amax(low: Lowering, node: Node, a: object, dims: object = None, *_: object) -> Wide:
    value = numbers(low, node, a)
    return shaped(node, reduced(low, Op.MAX, value, places_of(low, node, value, dims)))


def _amin(low: Lowering, node: Node, a: object, dims: object = None, *_: object) -> Wide:
    value = numbers(low, node, a)
    turned = Wide(low.emit(Op.NEG, value.name), value.dims, value.axis)
    found = reduced(low, Op.MAX, turned, places_of(low, node, value, dims))
    return shaped(node, Wide(low.emit(Op.NEG, found.name), found.dims, found.axis))


def _var(low: Lowering, node: Node, a: object, dims: object = None, **named: object) -> Wide:
    value = numbers(low, node, a)
    places = places_of(low, node, value, dims)
    count = prod(value.dims[p] for p in places) - float(named.get("correction", 1) or 0)  # pyright: ignore
    total = reduced(low, Op.SUM, _deviations(low, value, places)[1], places)
    divided = low.emit(Op.DIV, total.name, float(count))
    return shaped(node, Wide(divided, total.dims, total.axis))


def _norm(
    low: Lowering, node: Node, a: object, order: float = 2, dims: object = None, *_: object
) -> Wide:
    value = numbers(low, node, a)
    places = places_of(low, node, value, dims)
    if order == 1 or isinf(order) and order > 0:
        sizes = Wide(low.emit(Op.ABS, value.name), value.dims, value.axis)
        return shaped(node, reduced(low, Op.SUM if order == 1 else Op.MAX, sizes, places))
    if order != 2:
        raise low.error(node, f"the norm of order {order} has no program")
    squares = Wide(low.emit(Op.MUL, value.name, value.name), value.dims, value.axis)
    total = reduced(low, Op.SUM, squares, places)
    none = low.emit(Op.EQ, total.name, 0.0)  # the gradient of a norm of 0 is 0
    safe = low.emit(Op.SQRT, low.emit(Op.WHERE, none, 1.0, total.name))
    return shaped(node, Wide(low.emit(Op.WHERE, none, 0.0, safe), total.dims, total.axis))


def _below_largest(low: Lowering, value: Wide, places: Sequence[int]) -> Wide:
    """Move a value so that its largest number is 0: then no exponential overflows."""
    largest = reduced(low, Op.MAX, value, places)
    still = Wide(low.emit(Op.DETACH, largest.name), largest.dims, largest.axis)
    return _spread_back(low, Op.SUB, value, still)


def _softmax(low: Lowering, node: Node, a: object, dim: int, *_: object) -> Wide:
    value = numbers(low, node, a)
    places = places_of(low, node, value, dim)
    moved = _below_largest(low, value, places)
    powers = Wide(low.emit(Op.EXP, moved.name), value.dims, value.axis)
    return _spread_back(low, Op.DIV, powers, reduced(low, Op.SUM, powers, places))


def _log_softmax(low: Lowering, node: Node, a: object, dim: int, *_: object) -> Wide:
    value = numbers(low, node, a)
    places = places_of(low, node, value, dim)
    moved = _below_largest(low, value, places)
    powers = Wide(low.emit(Op.EXP, moved.name), value.dims, value.axis)
    total = reduced(low, Op.SUM, powers, places)
    return _spread_back(
        low, Op.SUB, moved, Wide(low.emit(Op.LOG, total.name), total.dims, total.axis)
    )


def _normal(low: Lowering, value: Wide, places: Sequence[int], epsilon: float) -> Wide:
    away, squares = _deviations(low, value, places)
    spread = low.emit(Op.ADD, _mean(low, squares, places).name, epsilon)
    narrow = reduced(low, Op.SUM, squares, places)
    inverse = Wide(low.emit(Op.RSQRT, spread), narrow.dims, narrow.axis)
    return _spread_back(low, Op.MUL, away, inverse)


def _scaled(low: Lowering, value: Wide, weight: Given | None, bias: Given | None) -> Wide:
    name = value.name
    for op, factor in ((Op.MUL, weight), (Op.ADD, bias)):
        if isinstance(factor, Plain):
            own = (1,) * (len(value.dims) - len(factor.dims)) + factor.dims
            seen = Plain(factor.node, own)
            fixed = low.view(seen, range(len(own)), value.dims, (prod(value.dims),))
            name = low.emit(op, name, fixed)
    return Wide(name, value.dims, value.axis)


def _layer_norm(
    low: Lowering,
    node: Node,
    a: object,
    shape: Sequence[int],
    weight: object = None,
    bias: object = None,
    epsilon: float = 1e-5,
    *_: object,
) -> Wide:
    value = numbers(low, node, a)
    places = places_of(low, node, value, [-1 - i for i in range(len(shape))])
    factors = [None if f is None else low.given(f) for f in (weight, bias)]
    if not all(f is None or isinstance(f, Plain) for f in factors):
        raise low.error(node, "its weight depends on the row")
    return _scaled(low, _normal(low, value, places, epsilon), *factors)


def _group_norm(low: Lowering, node: Node, *given: object) -> tuple[Wide | None, ...]:
    a, weight, bias, _, channels, inner, groups, epsilon = given
    value = numbers(low, node, a)
    split = Wide(value.name, (int(groups), prod(value.dims) // int(groups)), 0)  # pyright: ignore
    normal = _normal(low, split, [1], float(epsilon))  # pyright: ignore[reportArgumentType]
    seen = Wide(normal.name, (int(channels), int(inner)), 0)  # pyright: ignore
    factors = [None if f is None else low.given(f) for f in (weight, bias)]
    factors = [Plain(f.node, (*f.dims, 1)) if isinstance(f, Plain) else None for f in factors]
    return Wide(_scaled(low, seen, *factors).name, value.dims, value.axis), None, None


REDUCTIONS: dict[object, Rule] = {
    aten.sum.default: _sum,
    aten.sum.dim_IntList: _sum,
    aten.mean.default: _mean_rule,
    aten.mean.dim: _mean_rule,
    aten.amax.default: _amax,
    aten.amin.default: _amin,
    aten.var.correction: _var,
    aten.linalg_vector_norm.default: _norm,
    aten.softmax.int: _softmax,
    aten.log_softmax.int: _log_softmax,
    aten.layer_norm.default: _layer_norm,
    aten.native_group_norm.default: _group_norm,
}

"""`separate`: Step -> Step, what a map reads beside the state is mapped on its own.

Steps are often written with one matrix for both, ``W(cat([x, h]))``. The half of x can be made
before the loop, for all steps at once.
"""

from itertools import groupby
from operator import getitem
from typing import cast

import torch
from torch.fx import Node

from unrolled.compiler.step import Step, features, insert, of_parameters, spread

aten = torch.ops.aten

Run = tuple[bool, list[Node]]
"""Values that lie side by side, and whether they depend on the state: all of them, or none."""


def separate(step: Step, *, inside: int = 0) -> Step:
    """Make maps of values side by side sums of maps, where some of the values need no state.

    Args:
        step: the captured step; its graph is changed.
        inside: up to how many numbers beside the state stay there, since the loop is to have their
            product: one product is faster than two.

    Example:
        >>> from unrolled.cell import Cell
        >>> from unrolled.compiler.capture import capture
        >>> class Elman(Cell):
        ...     def __init__(self) -> None:
        ...         super().__init__(h=5)
        ...         self.W = torch.nn.Linear(8, 5)
        ...     def forward(self, x, h):
        ...         h = torch.tanh(self.W(torch.cat([x, h], -1)))
        ...         return h, h
        >>> print(separate(capture(Elman(), torch.zeros(2, 3))))
        split_with_sizes_default = split_with_sizes(W.weight, [3, 5], 1)
        getitem = getitem(split_with_sizes_default, 0)
        getitem_1 = getitem(split_with_sizes_default, 1)
        linear_default = linear(x, getitem, W.bias)
        linear_default_1 = linear(h, getitem_1)
        add_tensor = add.Tensor(linear_default, linear_default_1)
        tanh = tanh(add_tensor)
    """
    on_state = spread(step.nodes, step.before)
    known = {*step.tensors, *step.values, *of_parameters(step)}
    instead: dict[Node, Node] = {}
    for node in step.nodes:
        if node.target is not aten.linear.default or node.args[1] not in known:
            continue
        runs = _runs(node, on_state)
        alone = [sum(map(_width, values)) for mixed, values in runs if not mixed]
        if 0 < len(alone) < len(runs) and max(alone) > inside:
            instead[node] = _sum_of_maps(node, [values for _, values in runs])
            on_state.add(instead[node])
    return step.with_results([instead.get(node, node) for node in (step.y, *step.after)])


def _runs(node: Node, on_state: set[Node]) -> list[Run]:
    """Give the values whose features a map reads side by side."""
    value = cast("Node", node.args[0])
    if value.target is not aten.cat.default:
        return []
    pieces, *along = value.args
    if along not in ([-1], [value.meta["val"].dim() - 1]):
        return []
    pieces, types = cast("list[Node]", pieces), {value.meta["val"].dtype}
    if {piece.meta["val"].dtype for piece in pieces} != types:
        return []  # a map, unlike what puts values side by side, takes one type
    runs = groupby(pieces, on_state.__contains__)
    return [(mixed, list(run)) for mixed, run in runs]


def _width(node: Node) -> int:
    return features(node)[-1]


def _sum_of_maps(node: Node, runs: list[list[Node]]) -> Node:
    """Put a sum of maps in the place of one."""
    graph, (_, weight, *bias) = node.graph, node.args
    with graph.inserting_before(node):
        sizes = [sum(map(_width, values)) for values in runs]
        split = insert(graph, aten.split_with_sizes.default, weight, sizes, 1)
        weights = [insert(graph, getitem, split, i) for i in range(len(runs))]
        total = None
        for values, own in zip(runs, weights, strict=True):
            alone = len(values) == 1
            value = values[0] if alone else insert(graph, aten.cat.default, values, -1)
            made = insert(graph, aten.linear.default, value, own, *([] if total else bias))
            total = insert(graph, aten.add.Tensor, total, made) if total else made
    assert total is not None
    node.replace_all_uses_with(total)
    graph.erase_node(node)
    return total

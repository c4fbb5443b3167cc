"""`join`: Step -> Step, one matrix for all linear maps that read the same value.

A cell keeps one matrix per symbol of its paper; one large product is several times faster than four
small ones, before the loop, in it, and in the gradients after it.
"""

from collections.abc import Callable
from dataclasses import replace
from operator import getitem

import torch
from torch.fx import Graph, Node
from torch.fx.node import Argument

from unrolled.compiler.step import Step, reached

aten = torch.ops.aten


def join(step: Step) -> Step:
    """Put linear maps of one value side by side, in the order in which they stand.

    Maps that no state needs stay apart from those that one does: they can wait until after the
    loop.

    Example:
        >>> from unrolled.cell import wrap
        >>> from unrolled.compiler.capture import capture
        >>> from unrolled.zoo import GRU
        >>> step = capture(GRU(3, 5, bias=False), torch.zeros(2, 3))
        >>> for line in str(join(step)).splitlines()[:3]:
        ...     print(line)
        cat_default = cat([W_r.weight, W_z.weight, W_n.weight])
        linear_default = linear(x, cat_default)
        split_with_sizes_default = split_with_sizes(linear_default, [5, 5, 5], -1)
    """
    graph, copies = Graph(), {}
    graph.graph_copy(step.y.graph, copies)
    for old, new in copies.items():
        new.name = old.name
    feeds = set(reached(step.after))
    groups: dict[object, list[Node]] = {}
    for node in step.nodes:
        if node.target is aten.linear.default and all(p in step.tensors for p in node.args[1:]):
            key = (node.args[0], len(node.args), node in feeds)
            groups.setdefault(key, []).append(node)
    for group in groups.values():
        if len(group) > 1:
            pieces = _side_by_side(graph, [copies[node] for node in group])
            copies |= dict(zip(group, pieces, strict=True))
    results = [copies[node] for node in (step.y, *step.after)]
    renewed = replace(
        step,
        x=copies[step.x],
        before=tuple(copies[node] for node in step.before),
        constants={name: copies[node] for name, node in step.constants.items()},
        tensors={copies[node]: path for node, path in step.tensors.items()},
        values={copies[node]: value for node, value in step.values.items()},
        y=results[0],
        after=tuple(results[1:]),
    )
    return replace(renewed, nodes=reached(results))


def _side_by_side(graph: Graph, group: list[Node]) -> list[Node]:
    """Put one linear map in the place of several, and give its pieces."""
    with graph.inserting_before(group[0]):
        joined = [
            _call(graph, aten.cat.default, list(parts))
            for parts in zip(*(node.args[1:] for node in group), strict=True)
        ]
        whole = _call(graph, aten.linear.default, group[0].args[0], *joined)
        sizes = [node.meta["val"].shape[-1] for node in group]
        split = _call(graph, aten.split_with_sizes.default, whole, sizes, -1)
        pieces = [_call(graph, getitem, split, i) for i in range(len(group))]
    for node, piece in zip(group, pieces, strict=True):
        node.replace_all_uses_with(piece)
        graph.erase_node(node)
    return pieces


def _call(graph: Graph, target: Callable[..., object], *arguments: Argument) -> Node:
    node = graph.call_function(target, arguments)
    values = [torch.fx.map_arg(a, lambda operand: operand.meta["val"]) for a in arguments]
    node.meta["val"] = target(*values)
    return node

"""`join`: Step -> Step, one matrix for all linear maps that read the same value.

A cell keeps one matrix per symbol of its paper; one large product is several times faster than four
small ones, before the loop, in it, and in the gradients after it.
"""

from collections.abc import Sequence
from itertools import accumulate
from operator import getitem
from typing import Any, cast

import torch
from torch.fx import Node

from unrolled.compiler.step import Step, insert, of_parameters, reached

aten = torch.ops.aten


def join(step: Step) -> Step:
    """Put linear maps of one value side by side, in the order in which they stand.

    Their matrices are parameters, or computed of parameters alone; those that are cut from one
    matrix, as `torch.nn`'s stacked ones are, are that matrix, and nothing is copied. Maps that no
    state needs stay apart from those that one does: they can wait until after the loop.

    Args:
        step: the captured step; its graph is changed.

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
    feeds, known = set(reached(step.after)), {*step.tensors, *step.values, *of_parameters(step)}
    varying = [node for node in step.nodes if node not in known]
    for node in step.nodes:
        if node in known and varying:
            varying[0].prepend(node)  # a matrix may be computed behind the first that reads
    groups: dict[object, list[Node]] = {}
    for node in step.nodes:
        if node.target is aten.linear.default and all(p in known for p in node.args[1:]):
            key = (node.args[0], len(node.args), node in feeds)
            groups.setdefault(key, []).append(node)
    instead: dict[Node, Node] = {}
    for group in groups.values():
        if len(group) > 1:
            instead |= dict(zip(group, _side_by_side(group), strict=True))
    return step.with_results([instead.get(node, node) for node in (step.y, *step.after)])


def _side_by_side(group: list[Node]) -> list[Node]:
    """Put one linear map in the place of several, and give its pieces."""
    graph = group[0].graph
    with graph.inserting_before(group[0]):
        joined = [
            _whole(parts) or insert(graph, aten.cat.default, list(parts))
            for parts in zip(*(node.args[1:] for node in group), strict=True)
        ]
        whole = insert(graph, aten.linear.default, group[0].args[0], *joined)
        sizes = [node.meta["val"].shape[-1] for node in group]
        split = insert(graph, aten.split_with_sizes.default, whole, sizes, -1)
        pieces = [insert(graph, getitem, split, i) for i in range(len(group))]
    for node, piece in zip(group, pieces, strict=True):
        node.replace_all_uses_with(piece)
        graph.erase_node(node)
    return pieces


def _whole(parts: Sequence[Any]) -> Node | None:
    """Give the value that was cut along its first axis into these parts, in order and all of it."""
    cuts = [_cut(part) for part in parts]
    sources, begins = {source for source, _ in cuts}, [begin for _, begin in cuts]
    sizes = [part.meta["val"].shape[0] for part in parts]
    if len(sources) > 1 or begins != [0, *accumulate(sizes)][:-1]:
        return None
    (source,) = sources
    return source if source.meta["val"].shape[0] == sum(sizes) else None


def _cut(part: Node) -> tuple[Node, int]:
    """Give what a value is cut from along its first axis, and where it begins there."""
    source, *place = cast("list[Any]", part.args) or [part]
    if part.target is getitem and source.target is aten.split_with_sizes.default:
        whole, sizes, *axis = cast("list[Any]", source.args)
        if not axis or axis[0] % whole.meta["val"].dim() == 0:
            return whole, sum(sizes[: place[0]])
    if part.target is aten.slice.Tensor and len(place) == 3 and place[0] == 0:
        return source, place[1]
    return part, 0

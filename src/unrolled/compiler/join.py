"""`join`: Step -> Step, one matrix for all linear maps that read the same value.

A cell keeps one matrix per symbol of its paper; one large product is several times faster than four
small ones, before the loop, in it, and in the gradients after it.
"""

from operator import getitem

import torch
from torch import Tensor, nn
from torch.fx import Node

from unrolled.compiler.step import Step, insert, of_parameters, reached

aten = torch.ops.aten

TENSORS = {Tensor, nn.Parameter}
"""Types of tensors that no tracer has wrapped."""


def join(step: Step) -> Step:
    """Put linear maps of one value side by side, in the order in which they stand.

    Their matrices are parameters, or computed of parameters alone. Maps that no state needs stay
    apart from those that one does: they can wait until after the loop.

    Args:
        step: the captured step; its graph is changed.

    Example:
        >>> from unrolled.cell import wrap
        >>> from unrolled.compiler.capture import capture
        >>> from unrolled.zoo import GRU
        >>> step = capture(GRU(3, 5, bias=False), torch.zeros(2, 3))
        >>> for line in str(join(step)).splitlines()[:3]:
        ...     print(line)
        side_by_side = side_by_side([W_r.weight, W_z.weight, W_n.weight])
        linear_default = linear(x, side_by_side)
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
            insert(graph, side_by_side, list(parts))
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


def side_by_side(pieces: list[Tensor]) -> Tensor:
    """Put tensors one after the other along their first axis.

    Those that are cut from one tensor in that order are that tensor: nothing is copied, neither
    here nor, of gradients, on the way back.

    Example:
        >>> stacked = torch.randn(6, 2)
        >>> side_by_side(list(stacked.chunk(3))) is stacked
        True
    """
    whole = pieces[0]._base
    if whole is not None and _is_cut_into(whole, pieces) and _follow(pieces, whole):
        return whole
    return torch.cat(pieces)


def _is_cut_into(whole: Tensor, pieces: list[Tensor]) -> bool:
    """Tell whether the pieces are all of a tensor, in order."""
    if not {*map(type, pieces)} <= TENSORS or torch._C._are_functorch_transforms_active():
        return False  # a tracer's
    begin, size = whole.storage_offset(), whole.shape[1:]
    for piece in pieces:
        if piece._base is not whole or piece.storage_offset() != begin or piece.shape[1:] != size:
            return False
        begin += piece.numel()
    return (
        whole.numel() == begin - whole.storage_offset()
        and whole.is_contiguous()
        and all(piece.is_contiguous() and piece.dtype == whole.dtype for piece in pieces)
    )


def _follow(pieces: list[Tensor], whole: Tensor) -> bool:
    """Tell whether gradients for the pieces would be one for the whole."""
    if not torch.is_grad_enabled():
        return True
    for function in {piece.grad_fn for piece in pieces}:  # of one cut there is one
        source = None if function is None else function.next_functions[0][0]
        if function is None:
            alike = not whole.requires_grad
        elif whole.grad_fn is None:
            alike = getattr(source, "variable", None) is whole
        else:
            alike = source is whole.grad_fn
        if not alike:
            return False
    return True

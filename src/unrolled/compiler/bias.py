"""`bias`: the biases of maps before the loop are added in it, where they cost nothing."""

from dataclasses import replace

import torch
from torch.fx import Node

from unrolled.compiler.partition import Parts
from unrolled.compiler.step import Step, insert

aten = torch.ops.aten


def bias(step: Step, parts: Parts) -> tuple[Step, Parts]:
    """Leave the bias out of linear maps that the loop alone reads, and add it there.

    Before the loop a bias is written over all rows of all steps, and the product is added to it; in
    the loop it is one addition in a register.

    Args:
        step: the captured step; its graph is changed.
        parts: its parts.

    Returns:
        The step and the parts with an addition in `kept` for each bias.

    Example:
        >>> from unrolled.compiler.capture import capture
        >>> from unrolled.compiler.partition import partition
        >>> from unrolled.zoo import Elman
        >>> step = capture(Elman(3, 5), torch.zeros(2, 3))
        >>> print(bias(step, partition(step))[1])
        fixed:
        hoisted:
          linear_default = linear(x, W.weight)
        kept:
          add_tensor = add.Tensor(linear_default, W.bias)
          linear_1 = linear(h, U.weight, U.bias)
          add_6 = add.Tensor(add_tensor, linear_1)
          tanh = tanh(add_6)
        sunk:
    """
    results, inside = {step.y, *step.after}, set(parts.kept)
    instead: dict[Node, tuple[Node, Node]] = {}
    for node in parts.hoisted:
        has_bias = node.target is aten.linear.default and node.args[2:] not in ((), (None,))
        alone = bool(node.users) and all(user in inside for user in node.users)
        if has_bias and alone and node not in results and node.meta["val"].dtype == step.dtype:
            instead[node] = _added_apart(node)
    nodes = tuple(new for node in step.nodes for new in instead.get(node, (node,)))
    added = [pair[1] for pair in instead.values()]
    hoisted = tuple(instead[node][0] if node in instead else node for node in parts.hoisted)
    return replace(step, nodes=nodes), replace(parts, hoisted=hoisted, kept=(*added, *parts.kept))


def _added_apart(node: Node) -> tuple[Node, Node]:
    """Put a product and an addition in the place of a linear map."""
    x, weight, own = node.args
    with node.graph.inserting_before(node):
        product = insert(node.graph, aten.linear.default, x, weight)
        total = insert(node.graph, aten.add.Tensor, product, own)
    node.replace_all_uses_with(total)
    node.graph.erase_node(node)
    return product, total

"""`maps`: Step -> Step, a product with a matrix of parameters is a linear map, however written."""

from typing import cast

import torch
from torch.fx import Node

from unrolled.compiler.step import Step, insert, of_parameters

aten = torch.ops.aten

PRODUCTS = (aten.mm.default, aten.matmul.default)


def maps(step: Step) -> Step:
    """Write ``h @ U`` as the linear map of the matrix turned over, as later passes know it.

    Args:
        step: the captured step; its graph is changed.

    Example:
        >>> from unrolled.cell import Cell
        >>> from unrolled.compiler.capture import capture
        >>> class Elman(Cell):
        ...     def __init__(self) -> None:
        ...         super().__init__(h=5)
        ...         self.U = torch.nn.Parameter(torch.eye(5))
        ...     def forward(self, x, h):
        ...         h = torch.tanh(x + h @ self.U)
        ...         return h, h
        >>> print(maps(capture(Elman(), torch.zeros(2, 5))))
        t_default = t(U)
        linear_default = linear(h, t_default)
        add = add.Tensor(x, linear_default)
        tanh = tanh(add)
    """
    known = {*step.tensors, *step.values, *of_parameters(step)}
    instead: dict[Node, Node] = {}
    for node in step.nodes:
        if node.target not in PRODUCTS:
            continue
        value, matrix = cast("tuple[Node, Node]", node.args)
        if matrix in known and value not in known and matrix.meta["val"].dim() == 2:
            instead[node] = _as_map(node, value, matrix)
    return step.with_results([instead.get(node, node) for node in (step.y, *step.after)])


def _as_map(node: Node, value: Node, matrix: Node) -> Node:
    with node.graph.inserting_before(node):
        turned = insert(node.graph, aten.t.default, matrix)
        made = insert(node.graph, aten.linear.default, value, turned)
    node.replace_all_uses_with(made)
    node.graph.erase_node(node)
    return made

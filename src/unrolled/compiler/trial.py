"""A captured graph is tried with numbers: it gives what the cell gives, and rows stay apart."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.fx import Graph, Interpreter, Node

from unrolled.cell import Cell
from unrolled.compiler.blame import operation_name, refused
from unrolled.compiler.parts import Drawn
from unrolled.compiler.step import batch_axis

NEAR = 1e-2  # of each other are results that are the same, or
UNITS = 64  # in the last place of what is less exact
PUSH = 8.0  # how far one row is moved to see whether another follows


def refuse_mixing(
    cell: Cell, graph: Graph, given: Sequence[Node], numbers: Mapping[Node, Tensor]
) -> Sequence[Tensor]:
    """Move one row of everything up and down: no value of another row may follow.

    Args:
        cell: what was captured, for errors.
        graph: of one step.
        given: its input, states and constants.
        numbers: for every placeholder of the graph.

    Returns:
        The results where nothing is moved.
    """
    graph.eliminate_dead_code()
    values = _Values(graph)
    whole, found = values.of(numbers)
    for push in (PUSH, -PUSH):
        moved = {node: numbers[node].clone() for node in given}
        for tensor in moved.values():
            if tensor.is_floating_point() or tensor.is_complex():
                tensor[0] += push
            elif tensor.dtype == torch.bool:
                tensor[0] ^= True
        for node, value in values.of({**numbers, **moved})[0].items():
            if not torch.equal(_others(node, value), _others(node, whole[node])):
                raise refused(
                    cell,
                    f"it mixes the rows of a batch ({operation_name(node)})",
                    node,
                    "operations over features only, such as layer_norm for batch_norm",
                )
    return found


def is_close(found: Tensor, expected: object) -> bool:
    """Tell whether a graph gives what the cell gave."""
    if not isinstance(expected, Tensor):
        return False
    units = UNITS * torch.finfo(found.dtype).eps if found.is_floating_point() else 0.0
    near = max(NEAR, units)
    return torch.allclose(found, expected.to(found), near, near, equal_nan=True)


class _Values(Interpreter):
    """Runs a graph and keeps the value of every node."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(nn.Module(), graph=graph)
        self.inputs = [node for node in graph.nodes if node.op == "placeholder"]

    def of(self, numbers: Mapping[Node, Tensor]) -> tuple[dict[Node, Tensor], Sequence[Tensor]]:
        """Give every value, and the results."""
        self.found: dict[Node, Tensor] = {}
        with torch.no_grad(), Drawn():
            results = self.run(*(numbers[node] for node in self.inputs))
        return self.found, results

    def run_node(self, n: Node) -> object:
        result = super().run_node(n)
        if isinstance(result, Tensor) and n.op == "call_function":
            self.found[n] = result
        return result


def _others(node: Node, value: Tensor) -> Tensor:
    """Give all rows but the first, all of a value that has no rows; NaN made comparable."""
    axis = batch_axis(node)
    rest = value if axis is None else value.narrow(axis, 1, value.shape[axis] - 1)
    return rest.nan_to_num() if rest.is_floating_point() else rest

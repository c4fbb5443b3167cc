"""A captured step: the graph of core ATen operations, its inputs, states and parameters named."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.fx import Graph, Node
from torch.fx.node import Argument


@dataclass(frozen=True)
class Step:
    """One step of a cell, as it ran; the batch is a symbol in its shapes."""

    cell: str  # its class
    dtype: torch.dtype
    states: dict[str, tuple[int, ...]]  # size of each, without the batch
    x: Node
    before: tuple[Node, ...]  # the states, in the cell's order
    constants: dict[str, Node]  # what every step is given alike, by name
    tensors: dict[Node, str]  # parameters and buffers, by their path in the cell
    values: dict[Node, Tensor]  # tensors that the step's code makes from numbers
    nodes: tuple[Node, ...]  # operations in order, each of use
    y: Node
    after: tuple[Node, ...]  # the new states

    def __str__(self) -> str:
        return "\n".join(shown(node) for node in self.nodes)

    def copied(self) -> "Step":
        """Give the same step in a graph of its own, which passes may change."""
        graph, copies = Graph(), {}
        graph.graph_copy(self.y.graph, copies)
        for old, new in copies.items():
            new.name = old.name
        return Step(
            self.cell,
            self.dtype,
            self.states,
            x=copies[self.x],
            before=tuple(copies[node] for node in self.before),
            constants={name: copies[node] for name, node in self.constants.items()},
            tensors={copies[node]: path for node, path in self.tensors.items()},
            values={copies[node]: value for node, value in self.values.items()},
            nodes=tuple(copies[node] for node in self.nodes),
            y=copies[self.y],
            after=tuple(copies[node] for node in self.after),
        )

    def with_results(self, results: Sequence[Node]) -> "Step":
        """Give the step with another output and other new states, as its graph now has them."""
        y, *after = results
        return replace(self, y=y, after=tuple(after), nodes=reached(results))


def shown(node: Node) -> str:
    """Write one operation as a line."""
    target = getattr(node.target, "__name__", str(node.target)).removesuffix(".default")
    arguments = [*map(str, node.args), *(f"{k}={v}" for k, v in node.kwargs.items())]
    return f"{node.name} = {target}({', '.join(arguments)})"


def batch_axis(node: Node) -> int | None:
    """Give the place of the batch in a tensor's shape; None where it has none.

    Example:
        >>> batch_axis(torch.fx.Graph().placeholder("x")) is None
        True
    """
    value = node.meta.get("val")
    if not isinstance(value, Tensor):
        return None
    return next((i for i, n in enumerate(value.shape) if isinstance(n, torch.SymInt)), None)


def features(node: Node) -> tuple[int, ...]:
    """Give a tensor's shape without its batch."""
    return tuple(n for n in node.meta["val"].shape if not isinstance(n, torch.SymInt))


def is_size(node: Node) -> bool:
    """Say whether a node is a number, such as the batch, and no tensor: every part may have it."""
    return isinstance(node.meta.get("val"), (int, torch.SymInt))


def spread(nodes: Iterable[Node], sources: Iterable[Node]) -> set[Node]:
    """Give the sources and the nodes that read one of them, directly or not."""
    found = set(sources)
    for node in nodes:
        if any(operand in found for operand in node.all_input_nodes):
            found.add(node)
    return found


def upstream(results: Iterable[Node]) -> set[Node]:
    """Give the nodes that one of the results reads, directly or not, and the results."""
    found: set[Node] = set()
    waiting = list(results)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += node.all_input_nodes
    return found


def of_parameters(step: Step) -> tuple[Node, ...]:
    """Give the operations that read neither input nor state, such as a matrix under a mask.

    Those with a row for each sequence, such as ``ones(batch, 5)``, are none of them.
    """
    varying = spread(step.nodes, [step.x, *step.before, *step.constants.values()])
    return tuple(
        node
        for node in step.nodes
        if node not in varying and not is_size(node) and batch_axis(node) is None
    )


def reached(results: Sequence[Node]) -> tuple[Node, ...]:
    """Give the operations that some results depend on, in the graph's order."""
    found = upstream(results)
    return tuple(n for n in results[0].graph.nodes if n in found and n.op == "call_function")


def insert(graph: Graph, target: Callable[..., object], *arguments: Argument) -> Node:
    """Put an operation where the graph is being written, with the value that it would have."""
    node = graph.call_function(target, arguments)
    values = [torch.fx.map_arg(a, lambda operand: operand.meta["val"]) for a in arguments]
    node.meta["val"] = target(*values)
    return node

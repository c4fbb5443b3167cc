"""A piece of a step that runs as ordinary PyTorch, for all rows and all steps at once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import Argument

ROWS = "rows of a batch"
"""The name under which a piece reads how many rows it is run for."""


def to_loop(name: str) -> str:
    """Name what a piece gives to the program, apart from what it gives to other pieces.

    Example:
        >>> to_loop("U")
        'U of the loop'
    """
    return f"{name} of the loop"


@dataclass(frozen=True)
class Piece:
    """Operations of a step: what they read, and what they give, by name."""

    reads: tuple[str, ...]
    gives: tuple[str, ...]
    module: GraphModule

    def run(self, given: Mapping[str, Tensor], rows: int) -> dict[str, Tensor]:
        """Run the piece; autograd follows as it does any PyTorch.

        Args:
            given: every tensor that it reads.
            rows: how many rows those with rows have.
        """
        if self.passes is not None:
            return {name: given[read] for name, read in self.passes.items()}
        found = self.module.forward(*(rows if name == ROWS else given[name] for name in self.reads))
        return dict(zip(self.gives, found, strict=True))

    @cached_property
    def passes(self) -> dict[str, str] | None:
        """What it gives by what it reads, if it only passes that on."""
        *nodes, output = self.module.graph.nodes
        if any(node.op != "placeholder" for node in nodes) or ROWS in self.reads:
            return None
        read = dict(zip(nodes, self.reads, strict=True))
        given = cast("tuple[Node, ...]", output.args[0])
        return {name: read[node] for name, node in zip(self.gives, given, strict=True)}

    @cached_property
    def draws(self) -> bool:
        """Whether it draws random numbers, others every time."""
        tags = (getattr(node.target, "tags", ()) for node in self.module.graph.nodes)
        return any(torch.Tag.nondeterministic_seeded in found for found in tags)

    def with_calls(self, functions: "Mapping[object, Callable[..., Tensor]]") -> "Piece":
        """Give the piece with other functions in the place of some of its operations'."""
        graph = Graph()
        graph.output(graph.graph_copy(self.module.graph, {}))
        for node in graph.nodes:
            node.target = functions.get(node.target, node.target)
        return replace(self, module=GraphModule(torch.nn.Module(), graph))

    def __str__(self) -> str:
        lines = [str(node.format_node()) for node in self.module.graph.nodes]
        return "\n".join(line for line in lines if "call_function" in line)


class Builder:
    """Copies operations of a step into a piece, with what they read as its arguments."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.reads: dict[str, Node] = {}
        self.gives: dict[str, Node] = {}
        self.copies: dict[Node, Node] = {}

    def read(self, name: str) -> Node:
        """Give the argument of that name."""
        if name not in self.reads:
            last = next(reversed(self.reads.values()), None)
            with self.graph.inserting_after(last):  # None: at the beginning
                self.reads[name] = self.graph.placeholder(f"a{len(self.reads)}")
        return self.reads[name]

    def take(self, node: Node) -> Node:
        """Copy an operation; what has not been copied before becomes an argument."""
        if node not in self.copies:
            for operand in node.all_input_nodes:
                self.of(operand)
            self.copies[node] = self.graph.node_copy(node, self.of)
        return self.copies[node]

    def of(self, node: Node) -> Node:
        """Give what stands for a node of the step: its copy, its size, or an argument."""
        if node in self.copies:
            return self.copies[node]
        if node.target is torch.ops.aten.sym_size.int:
            return self.read(ROWS)
        if node.op == "call_function" and isinstance(node.meta.get("val"), (int, torch.SymInt)):
            return self.take(node)
        return self.read(node.name)

    def call(self, target: object, *arguments: Argument) -> Node:
        """Append an operation of our own."""
        return self.graph.call_function(target, arguments)  # pyright: ignore[reportArgumentType]

    def built(self) -> Piece:
        """Give the piece."""
        self.graph.output(tuple(self.gives.values()))
        self.graph.lint()
        module = GraphModule(torch.nn.Module(), self.graph)
        return Piece(tuple(self.reads), tuple(self.gives), module)

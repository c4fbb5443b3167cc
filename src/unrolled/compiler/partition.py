"""`partition`: Step -> Parts, by what each operation reads and what reads it."""

import operator
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch.fx import Node

from unrolled.compiler.parts import DRAWS
from unrolled.compiler.step import Step, is_size, of_parameters, shown, spread, upstream


@dataclass(frozen=True)
class Parts:
    """The operations of one captured step, each in exactly one part, in graph order."""

    fixed: tuple[Node, ...]  # read parameters only: run once per call
    hoisted: tuple[Node, ...]  # read the input, not the state: all steps at once, before the loop
    kept: tuple[Node, ...]  # read the state and are read by the next state: the loop
    sunk: tuple[Node, ...]  # read the state, nothing feeds back: all steps at once, after the loop

    def __str__(self) -> str:
        lines: list[str] = []
        for part in fields(self):
            nodes: tuple[Node, ...] = getattr(self, part.name)
            lines += [f"{part.name}:", *(f"  {shown(node)}" for node in nodes)]
        return "\n".join(lines)


def partition(step: Step) -> Parts:
    """Put each operation of a step in the part that runs it least often.

    Args:
        step: the captured step.

    Returns:
        The parts. Cutting what the input brought along into pieces costs nothing in the loop, so
        such operations are kept if what reads them is: the input stays one tensor.

    Example:
        >>> from unrolled.compiler.capture import capture
        >>> from unrolled.zoo import Elman
        >>> print(partition(capture(Elman(3, 5), torch.zeros(2, 3))))
        fixed:
        hoisted:
          linear = linear(x, W.weight, W.bias)
        kept:
          linear_1 = linear(h, U.weight, U.bias)
          add = add.Tensor(linear, linear_1)
          tanh = tanh(add)
        sunk:
    """
    nodes = [node for node in step.nodes if not is_size(node)]
    on_state = spread(nodes, step.before)
    on_input = spread(nodes, [step.x, *step.constants.values()])
    feeds = upstream(step.after)
    fixed = of_parameters(step)
    free = {n for n in nodes if n not in on_state | on_input | {*fixed}}  # ones(batch, 5)
    free -= {n for n in free if n.target in DRAWS}
    kept = {n for n in nodes if n in on_state and n in feeds}
    kept |= {n for n in nodes if n.target is operator.getitem and n.args[0] in kept}
    for node in reversed(nodes):
        if node in on_state or node in fixed:
            continue
        users = [user for user in node.users if user in nodes]
        cuts = node in free or _cuts(node)
        if cuts and users and all(user in kept for user in users) and node not in step.after:
            kept.add(node)
    kept -= {n for n in kept - on_state if n.target is operator.getitem and n.args[0] not in kept}
    sunk = {n for n in nodes if n in on_state and n not in kept}
    rest = {*fixed, *kept, *sunk}
    return Parts(
        fixed=fixed,
        hoisted=tuple(n for n in nodes if n not in rest),
        kept=tuple(n for n in nodes if n in kept),
        sunk=tuple(n for n in nodes if n in sunk),
    )


CUTS: frozenset[Callable[..., object]] = frozenset(
    {
        torch.ops.aten.split_with_sizes.default,
        torch.ops.aten.split.Tensor,
        torch.ops.aten.slice.Tensor,
    }
)


def _cuts(node: Node) -> bool:
    """Say whether a node takes a piece of the features of a value."""
    if node.target is operator.getitem:
        return any(operand.target in CUTS for operand in node.all_input_nodes)
    return node.target in CUTS

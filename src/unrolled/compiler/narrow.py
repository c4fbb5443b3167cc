"""`narrow`: Parts -> Parts, so that little passes between the loop and what is around it."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from math import prod

from torch import Tensor
from torch.fx import Node

from unrolled.compiler.aten import LOWER, PRODUCTS
from unrolled.compiler.partition import Parts, is_size
from unrolled.compiler.step import Step, features


def narrow(step: Step, parts: Parts) -> Parts:
    """Take operations into the loop that make what passes its border narrower.

    `partition` takes out of the loop all that it can. But the outer product of a key and a value
    is a matrix for every step, and so is the state that a query reads: written to memory and read
    again, they cost more than their operations in the loop. So an operation whose operands are
    together narrower than its result is done behind the border, and one that makes its operands
    narrower before it.

    Args:
        step: the captured step.
        parts: its parts.

    Returns:
        The parts, with more in `kept`. Products with parameters stay outside: for all steps at once
        they are far cheaper than in the loop.

    Example:
        >>> import torch
        >>> from unrolled.compiler.capture import capture
        >>> from unrolled.compiler.partition import partition
        >>> from unrolled.zoo import RetNet
        >>> step = capture(RetNet(3, 8), torch.zeros(2, 3))
        >>> for parts in (partition(step), narrow(step, partition(step))):
        ...     print([node.name for node in parts.kept])
        ['mul_12', 'add_41']
        ['mul_12', 'mul_19', 'add_41', 'permute', 'mul_28', 'sum_1']
    """
    border = _Border(step, parts)
    for node in reversed(parts.hoisted):
        if border.readers(node) and border.price(node) < _width(node):
            border.take(node)
    for node in (*step.before, *step.nodes):
        if node in border.inside and border.worth(node) < _width(node):
            for reader in border.left(node):
                border.take(reader)
    kept = border.inside
    return replace(
        parts,
        hoisted=tuple(node for node in parts.hoisted if node not in kept),
        kept=tuple(node for node in step.nodes if node in kept),
        sunk=tuple(node for node in parts.sunk if node not in kept),
    )


class _Border:
    """What is in the loop so far, and what passes its border."""

    def __init__(self, step: Step, parts: Parts) -> None:
        self.inside = {*step.before, *parts.kept}
        self.hoisted, self.sunk = {step.x, *parts.hoisted}, set(parts.sunk)
        self.result = step.y
        self.prices: dict[Node, int] = {}
        self.worths: dict[Node, int] = {}

    def take(self, node: Node) -> None:
        """Take an operation into the loop."""
        self.inside.add(node)
        self.prices.clear()
        self.worths.clear()

    def readers(self, node: Node) -> bool:
        """Tell whether the loop reads a value, and nothing else does."""
        return bool(node.users) and all(user in self.inside for user in node.users)

    def left(self, node: Node) -> list[Node]:
        """Give what reads a value after the loop."""
        return [user for user in node.users if user in self.sunk and user not in self.inside]

    def price(self, node: Node) -> int:
        """Give the least width to hand to the loop so that it has a value from before it."""
        if node not in self.hoisted or node in self.inside:
            return 0  # a parameter, a constant, a size: no width for every step
        return _least(self.prices, node, self._made_inside)

    def _made_inside(self, node: Node) -> int | None:
        return sum(map(self.price, _operands(node))) if _may_be_inside(node) else None

    def worth(self, node: Node) -> int:
        """Give the least width to hand out so that what reads a value after the loop has it."""
        return _least(self.worths, node, self._read_inside)

    def _read_inside(self, node: Node) -> int | None:
        readers, total = self.left(node), 0
        if not readers or node is self.result:
            return None
        for reader in readers:
            others = [other for other in _operands(reader) if other is not node]
            if not _may_be_inside(reader) or any(
                other in self.sunk and other not in self.inside for other in others
            ):
                return None
            total += self.worth(reader) + sum(map(self.price, others))
        return total


def _least(known: dict[Node, int], node: Node, other: Callable[[Node], int | None]) -> int:
    """Give the width of a value or what can stand for it, whichever is less."""
    if node not in known:
        known[node] = _width(node)
        instead = other(node)
        if instead is not None:
            known[node] = min(known[node], instead)
    return known[node]


def _may_be_inside(node: Node) -> bool:
    """Tell whether the loop can have an operation, at the cost of its results alone."""
    if node.target not in LOWER:
        return False
    return node.target not in PRODUCTS or all(_has_rows(operand) for operand in _operands(node))


def _operands(node: Node) -> Iterable[Node]:
    return [operand for operand in node.all_input_nodes if not is_size(operand)]


def _has_rows(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and len(features(node)) < value.dim()


def _width(node: Node) -> int:
    """Give how many numbers a value has for each row; of several values, in all."""
    value = node.meta["val"]
    if isinstance(value, Tensor):
        return prod(features(node))
    return max(1, sum(_width(user) for user in node.users))

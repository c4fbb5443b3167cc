"""`narrow`: Parts -> Parts, so that little is written and read between the loop and the rest."""

from collections.abc import Callable
from dataclasses import replace
from math import prod
from operator import getitem

import torch
from torch import Tensor
from torch.fx import Node

from unrolled.compiler.aten import LOWER, POINTWISE, PRODUCTS
from unrolled.compiler.partition import Parts
from unrolled.compiler.shapes import STILL
from unrolled.compiler.step import Step, features, is_size


def narrow(step: Step, parts: Parts, *, inputs: int = 0, outputs: int = 0) -> Parts:
    """Take operations into the loop that cost more around it.

    `partition` takes out of the loop all that it can. But around the loop each operation writes
    its result for all steps and another reads it, while in the loop it stays in a register. So
    pointwise operations next to the loop go into it, and others if less passes the loop's border
    then: the outer product of a key and a value is a matrix for every step, and so is the state
    that a query reads.

    Args:
        step: the captured step.
        parts: its parts.
        inputs: the most numbers of an input whose products with parameters go into the loop too.
            For many rows they cost no more there, and what they give, wider as a rule, is neither
            written nor read; for a few, the loop would read one more matrix at every step.
        outputs: the most numbers of a value that follows from the state whose products with
            parameters go in, so that nothing behind them goes over all rows of all steps. One that
            is the output itself has nothing behind it and stays outside.

    Returns:
        The parts, with more in `kept`. Other products with parameters stay outside: for all steps
        at once they are far cheaper than in the loop.

    Example:
        >>> from unrolled.compiler.capture import capture
        >>> from unrolled.compiler.partition import partition
        >>> from unrolled.zoo import MinGRU
        >>> step = capture(MinGRU(3, 8), torch.zeros(2, 3))
        >>> for parts in (partition(step), narrow(step, partition(step))):
        ...     print(*(node.target for node in parts.kept))
        aten.mul.Tensor aten.add.Tensor
        aten.sigmoid.default aten.sub.Tensor aten.mul.Tensor aten.mul.Tensor aten.add.Tensor
    """
    border = _Border(step, parts, inputs, outputs)
    for node in (*step.before, *step.nodes):
        if border.goes_in_behind(node):
            border.take(node)
        if node in border.inside and border.worth(node) < _width(node):
            for reader in border.left(node):
                border.take(reader)
    for node in reversed(parts.hoisted):
        if border.goes_in_before(node):
            border.take(node)
    border.leave_idle(step.nodes)
    kept = border.inside
    return replace(
        parts,
        hoisted=tuple(node for node in parts.hoisted if node not in kept),
        kept=tuple(node for node in step.nodes if node in kept),
        sunk=tuple(node for node in parts.sunk if node not in kept),
    )


class _Border:
    """What is in the loop so far, and what passes its border."""

    def __init__(self, step: Step, parts: Parts, inputs: int, outputs: int) -> None:
        self.step, self.inputs, self.outputs = step, inputs, outputs
        self.inside = {*step.before, *parts.kept}
        self.hoisted, self.sunk = {step.x, *parts.hoisted}, set(parts.sunk)
        self.prices: dict[Node, int] = {}
        self.worths: dict[Node, int] = {}

    def take(self, node: Node) -> None:
        """Take an operation into the loop."""
        self.inside.add(node)
        self.prices.clear()
        self.worths.clear()

    def goes_in_before(self, node: Node) -> bool:
        """Tell whether the loop alone reads a value, and does better to compute it."""
        read = node.users or node in self.step.after
        if not (read and all(user in self.inside for user in node.users)):
            return False
        if not self._may_be_inside(node):
            return False
        if node.target in POINTWISE or node.target in STILL or self.price(node) < _width(node):
            return True
        # a product outside is written, its input is there: of one width, the product goes in
        return self._is_of_parameters(node) and self._made_inside(node) == _width(node)

    def goes_in_behind(self, node: Node) -> bool:
        """Tell whether an operation on what the loop computes does better in it."""
        if node not in self.sunk or not self._may_be_inside(node) or not self._can_be_read(node):
            return False
        widths = [_width(operand) for operand in _operands(node) if operand in self.inside]
        if node.target in STILL or self._is_of_parameters(node):
            return node is not self.step.y
        return node.target in POINTWISE and _width(node) <= max(widths)

    def leave_idle(self, nodes: tuple[Node, ...]) -> None:
        """Leave views outside that nothing in the loop reads, and pieces of what is outside."""
        for node in nodes:
            if node.target is getitem and node.args[0] not in self.inside:
                self.inside.discard(node)
        for node in reversed(nodes):
            idle = node in self.sunk and not any(user in self.inside for user in node.users)
            if idle and node.target in STILL:
                self.inside.discard(node)

    def left(self, node: Node) -> list[Node]:
        """Give what reads a value after the loop."""
        return [user for user in node.users if user in self.sunk and user not in self.inside]

    def price(self, node: Node) -> int:
        """Give the least width to hand to the loop so that it has a value from before it."""
        if node not in self.hoisted or node in self.inside:
            return 0  # a parameter, a constant, a size: no width for every step
        return _least(self.prices, node, self._made_inside)

    def _made_inside(self, node: Node) -> int | None:
        return sum(map(self.price, _operands(node))) if self._may_be_inside(node) else None

    def worth(self, node: Node) -> int:
        """Give the least width to hand out so that what reads a value after the loop has it."""
        return _least(self.worths, node, self._read_inside)

    def _read_inside(self, node: Node) -> int | None:
        readers, total = self.left(node), 0
        if not readers or node is self.step.y:
            return None
        for reader in readers:
            if not self._may_be_inside(reader) or not self._can_be_read(reader, node):
                return None
            others = [other for other in _operands(reader) if other is not node]
            total += self.worth(reader) + sum(map(self.price, others))
        return total

    def _can_be_read(self, reader: Node, given: Node | None = None) -> bool:
        """Tell whether the loop has all that an operation reads of what follows from the state."""
        operands = (operand for operand in _operands(reader) if operand is not given)
        return all(operand in self.inside or operand not in self.sunk for operand in operands)

    def _may_be_inside(self, node: Node) -> bool:
        """Tell whether the loop can have an operation, at the cost of its results alone."""
        if node.target not in LOWER:
            return False
        rows = [operand for operand in _operands(node) if _has_rows(operand)]
        if self._is_of_parameters(node):
            limit = self.outputs if node in self.sunk else self.inputs
            if len(rows) != 1 or _width(rows[0]) > limit:
                return False
        return all(value in (self.step.dtype, torch.bool) for value in map(_dtype, [node, *rows]))

    def _is_of_parameters(self, node: Node) -> bool:
        return node.target in PRODUCTS and not all(map(_has_rows, _operands(node)))


def _least(known: dict[Node, int], node: Node, other: Callable[[Node], int | None]) -> int:
    """Give the width of a value or what can stand for it, whichever is less."""
    if node not in known:
        known[node] = _width(node)
        instead = other(node)
        if instead is not None:
            known[node] = min(known[node], instead)
    return known[node]


def _operands(node: Node) -> list[Node]:
    return [operand for operand in node.all_input_nodes if not is_size(operand)]


def _one_of(node: Node) -> Tensor:
    """Give the value of a node; of several values the first."""
    value = node.meta["val"]
    return value if isinstance(value, Tensor) else value[0]


def _dtype(node: Node) -> torch.dtype:
    return _one_of(node).dtype


def _has_rows(node: Node) -> bool:
    return any(isinstance(size, torch.SymInt) for size in _one_of(node).shape)


def _width(node: Node) -> int:
    """Give how many numbers a value has for each row; of several values, in all."""
    value = node.meta["val"]
    if isinstance(value, Tensor):
        return prod(features(node))
    return sum(prod(n for n in one.shape if not isinstance(n, torch.SymInt)) for one in value)

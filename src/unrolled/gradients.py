"""Gradients made from what the loops gave for every step: products and sums over all steps."""

from collections.abc import Mapping

import torch
from torch import Tensor

from unrolled.compiler import Gradient


class Products:
    """What the gradients of one recurrence are made from.

    Args:
        known: what was given, what the forward stored and the backward gave, by name.
        given: what the forward was given.
        rounded: round the factors of products to bfloat16, and so their results.
    """

    def __init__(
        self, known: Mapping[str, Tensor], given: Mapping[str, Tensor], *, rounded: bool
    ) -> None:
        self.known, self.given, self.rounded = known, given, rounded
        self.sums: dict[str, Tensor] = {}  # two biases that are added to each other have the same
        self.factors: dict[str, Tensor] = {}

    def gradient(self, gradient: Gradient) -> Tensor:
        """Make one gradient, see `Gradient`."""
        right = self.known[gradient.right]
        if gradient.how == "sequence":
            return right
        if gradient.how == "constant":
            return right.sum(0)
        if gradient.how == "vector":
            if gradient.right not in self.sums:
                rows = _flat(right)  # as a product with ones: twice as fast as a sum
                self.sums[gradient.right] = rows.new_ones(rows.shape[0]) @ rows
            return self.sums[gradient.right]
        if gradient.how == "scalar":
            return right.sum()
        return self._product(gradient).to(right.dtype)

    def _product(self, gradient: Gradient) -> Tensor:
        left, right = self._factor(gradient.left), self._factor(gradient.right)
        if gradient.how in ("operand", "operand of turned"):
            return _by_blocks(right, left if gradient.how == "operand of turned" else left.mT)
        matrix = self.given[gradient.of]
        left, right = _flat(left), _flat(right)
        if matrix.dim() == 2:  # in the matrix's own layout: the parameter's gradient needs no copy
            return (right.T @ left).T if matrix.stride(0) == 1 else left.T @ right
        blocks, k, n = matrix.shape
        by_block = left.unflatten(1, (blocks, k)).permute(1, 2, 0)
        return by_block @ right.unflatten(1, (blocks, n)).transpose(0, 1)

    def _factor(self, name: str) -> Tensor:
        """Give a factor, rounded once however often it is read."""
        if not self.rounded:
            return self.known[name]
        if name not in self.factors:
            self.factors[name] = self.known[name].to(torch.bfloat16)
        return self.factors[name]


def _by_blocks(rows: Tensor, matrix: Tensor) -> Tensor:
    """Multiply rows (time, batch, width) with a matrix, or each of their blocks with its own."""
    if matrix.dim() == 2:
        return rows @ matrix
    blocks, k, _ = matrix.shape
    return torch.einsum("tbik,ikn->tbin", rows.unflatten(2, (blocks, k)), matrix).flatten(2)


def _flat(sequence: Tensor) -> Tensor:
    """Give (time, batch, width) as (time * batch, width); `flatten` would fix sizes in a graph."""
    time, batch, width = sequence.shape
    return sequence.reshape(time * batch, width)

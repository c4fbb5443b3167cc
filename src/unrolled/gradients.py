"""Gradients made from what the loops gave for every step: products and sums over all steps."""

from collections.abc import Mapping

import torch
from torch import Tensor

from unrolled.compiler import Gradient
from unrolled.multiply import multiply


class Products:
    """What the gradients of one recurrence are made from.

    Args:
        known: what was given, what the forward stored and the backward gave, by name.
        given: what the forward was given.
        pieces: of a factor of products, see `multiply`.
    """

    def __init__(
        self, known: Mapping[str, Tensor], given: Mapping[str, Tensor], *, pieces: int | None
    ) -> None:
        self.known, self.given, self.pieces = known, given, pieces
        self.sums: dict[str, Tensor] = {}  # two biases that are added to each other have the same

    def gradient(self, gradient: Gradient) -> Tensor:
        """Make one gradient, see `Gradient`."""
        right = self.known[gradient.right]
        if gradient.how == "sequence":
            return right
        if gradient.how == "constant":
            return right.sum(0)
        if gradient.how == "outer":
            left = self.known[gradient.left]
            return torch.bmm(left.permute(1, 2, 0), right.transpose(0, 1)).flatten(1)
        if gradient.how == "vector":
            if gradient.right not in self.sums:
                rows = _flat(right)  # as a product with ones: twice as fast as a sum
                self.sums[gradient.right] = rows.new_ones(rows.shape[0]) @ rows
            return self.sums[gradient.right]
        if gradient.how == "scalar":
            return right.sum()
        if gradient.how in ("operand", "operand of turned"):
            matrix = self.given[gradient.left]
            return self._of_operand(right, matrix if gradient.how != "operand" else matrix.mT)
        return self._of_matrix(self.known[gradient.left], right, self.given[gradient.of])

    def _of_operand(self, right: Tensor, matrix: Tensor) -> Tensor:
        """Multiply the rows of all steps with a matrix, or each of their blocks with its own."""
        time, batch, _ = right.shape
        rows = _flat(right)
        if matrix.dim() == 2:
            return multiply(rows, matrix, self.pieces).reshape(time, batch, matrix.shape[1])
        by_block = rows.unflatten(1, matrix.shape[:2]).transpose(0, 1)
        made = multiply(by_block, matrix, self.pieces).transpose(0, 1)
        return made.reshape(time, batch, matrix.shape[0] * matrix.shape[2])

    def _of_matrix(self, left: Tensor, right: Tensor, matrix: Tensor) -> Tensor:
        """Sum the products of two values over all rows of all steps."""
        operand, rows = _flat(left), _flat(right)
        if matrix.dim() == 3:
            blocks, k, n = matrix.shape
            by_block = operand.unflatten(1, (blocks, k)).permute(1, 2, 0)
            return multiply(by_block, rows.unflatten(1, (blocks, n)).transpose(0, 1), self.pieces)
        if matrix.stride(0) == 1:  # in the matrix's own layout: the gradient needs no copy
            return multiply(rows.T, operand, self.pieces).T
        return multiply(operand.T, rows, self.pieces)


def _flat(sequence: Tensor) -> Tensor:
    """Give (time, batch, width) as (time * batch, width); `flatten` would fix sizes in a graph."""
    time, batch, width = sequence.shape
    return sequence.reshape(time * batch, width)

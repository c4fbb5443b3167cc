"""Gradients made from what the loops gave for every step: products and sums over all steps."""

from collections.abc import Mapping

import torch
from torch import Tensor

from unrolled.backends.tracing import is_traced
from unrolled.compiler import Gradient

WORTH_ROUNDING = 1 << 24
"""Multiplications of a product from which on it takes longer than to round its factors."""


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
        to_input = gradient.how in ("operand", "operand of turned")
        matrix = self.given[gradient.left if to_input else gradient.of]
        rows = self._rows(gradient.right, matrix)
        if to_input:
            matrix = matrix.to(rows.dtype)
            made = _by_blocks(rows, matrix if gradient.how == "operand of turned" else matrix.mT)
            time, batch, _ = self.known[gradient.right].shape
            return made[: time * batch].reshape(time, batch, made.shape[1])
        left = self._rows(gradient.left, matrix)
        if matrix.dim() == 2:  # in the matrix's own layout: the parameter's gradient needs no copy
            return (rows.T @ left).T if matrix.stride(0) == 1 else left.T @ rows
        blocks, k, n = matrix.shape
        by_block = left.unflatten(1, (blocks, k)).permute(1, 2, 0)
        return by_block @ rows.unflatten(1, (blocks, n)).transpose(0, 1)

    def _rows(self, name: str, matrix: Tensor) -> Tensor:
        """Give the rows of all steps as a factor of a product of a matrix's size."""
        rows = _flat(self.known[name])
        if not self.rounded or _is_small(rows, matrix):
            return rows
        if name not in self.factors:
            self.factors[name] = _rounded(rows)
        return self.factors[name]


def _is_small(rows: Tensor, matrix: Tensor) -> bool:
    return not is_traced(rows) and rows.shape[0] * matrix.numel() < WORTH_ROUNDING


def _rounded(rows: Tensor) -> Tensor:
    """Round rows to bfloat16, and put rows of zeros behind them: an eighth as many at most.

    PyTorch prepares its products of bfloat16 for each number of rows, which takes longer than most
    of them; so there are few such numbers.
    """
    if is_traced(rows):
        return rows.to(torch.bfloat16)
    count = rows.shape[0]
    unit = 1 << max(0, count.bit_length() - 4)
    result = rows.new_empty(-(-count // unit) * unit, rows.shape[1], dtype=torch.bfloat16)
    result[:count] = rows
    result[count:] = 0
    return result


def _by_blocks(rows: Tensor, matrix: Tensor) -> Tensor:
    """Multiply rows with a matrix, or each of their blocks with its own."""
    if matrix.dim() == 2:
        return rows @ matrix
    blocks, k, _ = matrix.shape
    return torch.einsum("rik,ikn->rin", rows.unflatten(1, (blocks, k)), matrix).flatten(1)


def _flat(sequence: Tensor) -> Tensor:
    """Give (time, batch, width) as (time * batch, width); `flatten` would fix sizes in a graph."""
    time, batch, width = sequence.shape
    return sequence.reshape(time * batch, width)

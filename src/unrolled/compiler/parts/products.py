"""Products, in parts."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.compiler.parts.table import Parts

aten = torch.ops.aten

MOST_WEIGHTS = 1 << 17
"""Numbers of a matrix that a convolution becomes, at most: larger ones take PyTorch less time."""


def _times(number: Any, x: Tensor) -> Tensor:
    return x if number == 1 else number * x


def _addmm(x: Tensor, left: Tensor, right: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    return _times(beta, x) + _times(alpha, left @ right)


def convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, *options: Any, rows: int = 1
) -> Tensor:
    """A product with a matrix: what each number of x becomes if it is 1 and all others are 0.

    Args:
        x: (..., channels, *places).
        weight: as PyTorch has it.
        bias: (channels,) of the result.
        options: of the convolution.
        rows: how many dimensions of x are none of what is convolved.
    """
    shape = [int(size) for size in x.shape[rows:]]
    inputs = math.prod(shape)
    ones = torch.eye(inputs, dtype=weight.dtype).view(inputs, *shape)
    made = aten.convolution.default(ones, weight, None, *options)
    out = [int(size) for size in made.shape[1:]]
    if inputs * math.prod(out) > MOST_WEIGHTS:
        return NotImplemented
    found = (x.flatten(rows) @ made.flatten(1)).unflatten(rows, out)
    return found if bias is None else found + bias.view(-1, *(1 for _ in out[1:]))


def _einsum(equation: str, operands: Sequence[Tensor], **_: Any) -> Tensor:
    """Two at a time."""
    given, arrow, result = equation.replace(" ", "").partition("->")
    names = given.split(",")
    if len(operands) < 3 or not arrow or "." in equation:
        return NotImplemented
    (one, two, *rest), (first, second, *others) = names, operands
    later = {*result, *"".join(rest)}
    both = "".join(dict.fromkeys(letter for letter in one + two if letter in later))
    joined = torch.einsum(f"{one},{two}->{both}", first, second)
    return torch.einsum(f"{','.join([both, *rest])}->{result}", joined, *others)


def _distances(x: Tensor, y: Tensor, order: float, *_: Any) -> Tensor:
    between = x.unsqueeze(-2) - y.unsqueeze(-3)
    if order != 2:
        return torch.linalg.vector_norm(between, order, -1)
    total = between.square().sum(-1)
    apart = total > 0  # the gradient of no distance is 0
    return torch.where(apart, torch.where(apart, total, 1.0).sqrt(), 0.0)


PRODUCTS: dict[object, Parts] = {
    aten._cdist_forward.default: _distances,
    aten.addmm.default: _addmm,
    aten.convolution.default: convolution,
    aten.einsum.default: _einsum,
}

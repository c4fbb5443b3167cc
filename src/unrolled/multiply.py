"""Products around the loop: in tiles where that pays, by PyTorch elsewhere."""

from typing import Any

import torch
from torch import Tensor

from unrolled.backends import multiply_in_tiles
from unrolled.backends.tracing import applied, is_traced, is_transformed
from unrolled.errors import BackendError

WORTH_TILES = {True: 1 << 23, False: 1 << 26}
"""Multiplications of a product from which on it is faster in tiles; by whether it is rounded."""


def multiply(left: Tensor, right: Tensor, rounded: bool | None) -> Tensor:
    """Multiply two matrices, or as many pairs of them.

    Args:
        left: (rows, terms), or (pairs, rows, terms).
        right: (terms, columns), or (pairs, terms, columns).
        rounded: whether products in tiles round their factors to bfloat16; None: there are none.

    Example:
        >>> multiply(torch.ones(2, 3), torch.ones(3, 1), None).tolist()
        [[3.0], [3.0]]
    """
    if rounded is None:
        return left @ right
    followed = torch.is_grad_enabled() and (left.requires_grad or right.requires_grad)
    if is_traced(left) or followed or is_transformed():
        return (left.bfloat16() @ right.bfloat16()).to(left.dtype) if rounded else left @ right
    if not _pays(left, right.shape[-1], rounded):
        return left @ right
    if left.dim() == 2:
        return multiply_in_tiles(left, right, rounded=rounded)
    pairs = zip(left, right, strict=True)
    return torch.stack([multiply_in_tiles(*pair, rounded=rounded) for pair in pairs])


def _pays(left: Tensor, columns: int, rounded: bool) -> bool:
    terms = left.shape[-1]
    return left.shape[-2] * terms * columns >= max(1, WORTH_TILES[rounded])


def linear_rounded(xs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Do what `torch.nn.functional.linear` does, with factors rounded to bfloat16 in tiles."""
    return _linear(xs, weight, bias, rounded=True)


def linear_whole(xs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Do what `torch.nn.functional.linear` does, with factors cut into pieces in tiles."""
    return _linear(xs, weight, bias, rounded=False)


LINEAR = {True: linear_rounded, False: linear_whole}
"""By whether factors are rounded."""


def _linear(xs: Tensor, weight: Tensor, bias: Tensor | None, *, rounded: bool) -> Tensor:
    """Multiply in tiles, forward and backward, where that pays; xs (rows, inputs)."""
    plain = xs.dim() != 2 or is_traced(xs) or is_traced(weight) or is_transformed()
    plain = plain or any(x.dtype != torch.float32 or x.device.type != "cpu" for x in (xs, weight))
    if plain or not _pays(xs, weight.shape[0], rounded):
        return torch.nn.functional.linear(xs, weight, bias)
    made = applied(_Linear, xs, weight, rounded)
    return made if bias is None else made + bias


class _Linear(torch.autograd.Function):
    """xs W^T; its derivatives are products too, and can be differentiated in their turn."""

    @staticmethod
    def forward(xs: Tensor, weight: Tensor, rounded: bool) -> Tensor:
        return multiply(xs, weight.T, rounded)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        xs, weight, ctx.rounded = inputs
        ctx.save_for_backward(xs, weight)

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        raise BackendError(
            "a product in tiles has no derivative in forward mode, as in torch.func.jvp: choose "
            'backend="auto" or backend="eager"'
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        xs, weight = ctx.saved_tensors
        (made,), (to_input, to_weight, _) = gradients, ctx.needs_input_grad
        return (
            multiply(made, weight, ctx.rounded) if to_input else None,
            multiply(made.T, xs, ctx.rounded) if to_weight else None,
            None,
        )

"""Products around the loop: of the project's own where that pays, by PyTorch elsewhere."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unrolled.backends import multiply_here
from unrolled.backends.precision import HIGH, ROUNDED, WHOLE
from unrolled.backends.tracing import applied, is_traced, is_transformed
from unrolled.errors import BackendError

WORTH = {0: 1 << 25, ROUNDED: 1 << 23, HIGH: 1 << 24, WHOLE: 1 << 26}
"""Multiplications of a product from which on it is faster than PyTorch's; by the pieces of a factor
in tiles, 0 in registers."""

BLOCK = 1 << 12
"""Numbers of a result of which each thread has to have as many: threads share out no terms."""


def multiply(left: Tensor, right: Tensor, pieces: int | None) -> Tensor:
    """Multiply two matrices, or as many pairs of them.

    Args:
        left: (rows, terms), or (pairs, rows, terms).
        right: (terms, columns), or (pairs, terms, columns).
        pieces: of a factor, see `backends.precision`; 0: it is multiplied as it is; None: PyTorch
            multiplies.

    Example:
        >>> multiply(torch.ones(2, 3), torch.ones(3, 1), None).tolist()
        [[3.0], [3.0]]
    """
    if pieces is None:
        return left @ right
    followed = torch.is_grad_enabled() and (left.requires_grad or right.requires_grad)
    if is_traced(left) or followed or is_transformed():
        if pieces == ROUNDED:
            return (left.bfloat16() @ right.bfloat16()).to(left.dtype)
        return left @ right
    if not _pays(left, right.shape[-1], pieces):
        return left @ right
    if left.dim() == 2:
        return multiply_here(left, right, pieces)
    pairs = zip(left, right, strict=True)
    return torch.stack([multiply_here(*pair, pieces) for pair in pairs])


def _pays(left: Tensor, columns: int, pieces: int) -> bool:
    rows, terms = left.shape[-2:]
    shared = rows * columns >= BLOCK * torch.get_num_threads()
    return shared and rows * terms * columns >= max(1, WORTH[pieces])


def _linear(pieces: int) -> Callable[..., Tensor]:
    def linear(xs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        plain = xs.dim() != 2 or is_traced(xs) or is_traced(weight) or is_transformed()
        odd = any(x.dtype != torch.float32 or x.device.type != "cpu" for x in (xs, weight))
        if plain or odd or not _pays(xs, weight.shape[0], pieces):
            return torch.nn.functional.linear(xs, weight, bias)
        made = applied(_Linear, xs, weight, pieces)
        return made if bias is None else made + bias

    return linear


LINEAR = {pieces: _linear(pieces) for pieces in WORTH}
"""What does what `torch.nn.functional.linear` does, forward and backward where that pays; by the
pieces of a factor."""


class _Linear(torch.autograd.Function):
    """xs W^T; its derivatives are products too, and can be differentiated in their turn."""

    @staticmethod
    def forward(xs: Tensor, weight: Tensor, pieces: int) -> Tensor:
        return multiply(xs, weight.T, pieces)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        xs, weight, ctx.pieces = inputs
        ctx.save_for_backward(xs, weight)

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        raise BackendError(
            "a kernel's product has no derivative in forward mode, as in torch.func.jvp: choose "
            'backend="auto" or backend="eager"'
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        xs, weight = ctx.saved_tensors
        (made,), (to_input, to_weight, _) = gradients, ctx.needs_input_grad
        return (
            multiply(made, weight, ctx.pieces) if to_input else None,
            multiply(made.T, xs, ctx.pieces) if to_weight else None,
            None,
        )

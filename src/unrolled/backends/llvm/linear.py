"""Linear maps of all steps at once, whose weights' gradients are sums over rows."""

from typing import Any

import torch
from torch import Tensor

from unrolled.backends.llvm import outer
from unrolled.backends.tracing import is_traced, is_transformed

plain = torch.ops.aten.linear.default


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Do what `torch.nn.functional.linear` does, with gradients of our own where that pays.

    Args:
        x: (rows, k).
        weight: (n, k).
        bias: (n,).

    Example:
        >>> linear(torch.ones(1, 2), torch.ones(3, 2))
        tensor([[2., 2., 2.]])
    """
    own = x.dim() == 2 and x.shape[0] * weight.numel() >= outer.WORTH
    if own and torch.is_grad_enabled() and not is_traced(x) and not is_transformed():
        return _Linear.apply(x, weight, bias)  # pyright: ignore[reportReturnType]
    return plain(x, weight, bias)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return plain(x, weight, bias)

    @staticmethod
    def backward(
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (gradient,), (x, weight) = gradients, ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        product = total = None
        if of_weight and not torch.is_grad_enabled() and outer.is_worth_it(gradient, x):
            product, total = outer.over_rows(gradient, x)
        elif of_weight:
            product = gradient.T @ x
        if of_bias and total is None:
            total = gradient.sum(0)
        return gradient @ weight if of_x else None, product, total if of_bias else None

"""`surrogate`: a value with a gradient of somebody's own, such as that of a spike."""

from typing import Any

import torch
from torch import Tensor


def surrogate(value: Tensor, at: Tensor, slope: Tensor) -> Tensor:
    """Give a value that moves with another as somebody says it does, and not as it was computed.

    It is what a `torch.autograd.Function` gives whose backward hands its gradient on times a slope:
    the derivative of a step function, in spiking networks, is taken for that of something smooth
    (Neftci, Mostafa and Zenke 2019, arXiv:1901.09948).

    Args:
        value: what comes out; its own gradient is that of the result.
        at: what has that gradient times the slope.
        slope: a number for each of `at`; of one shape, all three.

    Example:
        >>> at = torch.tensor([-1.0, 2.0], requires_grad=True)
        >>> spikes = surrogate((at > 0).float(), at, 1 / (1 + at.abs()) ** 2)
        >>> spikes.tolist()
        [0.0, 1.0]
        >>> torch.autograd.grad(spikes.sum(), at)[0].tolist()
        [0.25, 0.1111111119389534]
    """
    return _Surrogate.apply(value, at, slope)


class _Surrogate(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, at: Tensor, slope: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[2])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (slope,) = gradients, ctx.saved_tensors
        return gradient, gradient * slope, None

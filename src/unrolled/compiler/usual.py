"""Shapes of usual results, told by a look: PyTorch takes a while to find them out."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from unrolled.compiler.aliases import sizes

aten = torch.ops.aten

POINTWISE = frozenset(
    {
        *(aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor, aten.neg.default),
        *(aten.sigmoid.default, aten.tanh.default, aten.relu.default, aten.exp.default),
        *(aten.softplus.default, aten.softmax.int),
    }
)
TENSOR_OR_NUMBER = (Tensor, int, float)


def usual_shape(func: OpOverload, args: Any, kwargs: Any) -> Sequence[Any] | None:
    """Give the shape of a usual result, which PyTorch takes a while to find out; None of others."""
    if func is aten.linear.default:
        return (*args[0].shape[:-1], args[1].shape[0])
    if func is aten.layer_norm.default:
        return args[0].shape
    if func not in POINTWISE or kwargs or not all(isinstance(a, TENSOR_OR_NUMBER) for a in args):
        return None
    tensors = [a for a in args if isinstance(a, Tensor)]
    alike = len({a.dtype for a in tensors}) == 1 and tensors[0].is_floating_point()
    usual = alike and all(a.dim() and a.is_contiguous() for a in tensors)
    return _broadcast(tensors) if usual else None


def _broadcast(tensors: Sequence[Tensor]) -> Sequence[Any] | None:
    """Spread shapes over each other; None where it takes more than a look."""
    rank = max(a.dim() for a in tensors)
    shape: list[Any] = [1] * rank
    for tensor in tensors:
        for place, size in enumerate(tensor.shape, rank - tensor.dim()):
            one, two = sizes((size, shape[place]))
            if 1 not in (one, two) and one != two:
                return None
            shape[place] = shape[place] if one == 1 else size
    return shape

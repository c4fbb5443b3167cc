"""What is in parts around the loop too: PyTorch looks at the batch to do it, or fails."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from unrolled.compiler.parts.table import Parts

aten = torch.ops.aten


def _pad(x: Tensor, sizes: Sequence[int], edge: Callable[..., Tensor]) -> Tensor:
    """Put edges around the last dimensions, or cut them where they are negative."""
    for place in range(0, len(sizes), 2):
        dim, (before, after) = x.dim() - 1 - place // 2, sizes[place : place + 2]
        cut = x.narrow(dim, max(0, -before), x.shape[dim] - max(0, -before) - max(0, -after))
        parts = [cut]
        if before > 0:
            parts.insert(0, edge(cut, dim, before, first=True))
        if after > 0:
            parts.append(edge(cut, dim, after, first=False))
        x = torch.cat(parts, dim) if len(parts) > 1 else cut
    return x


def _constant_pad(x: Tensor, sizes: Sequence[int], value: float = 0) -> Tensor:
    def edge(x: Tensor, dim: int, size: int, *, first: bool) -> Tensor:
        return x.new_full((*x.shape[:dim], size, *x.shape[dim + 1 :]), value)

    return _pad(x, sizes, edge)


def _around(x: Tensor, dim: int, size: int, *, first: bool) -> Tensor:
    return x.narrow(dim, x.shape[dim] - size if first else 0, size)


def _mirrored(x: Tensor, dim: int, size: int, *, first: bool) -> Tensor:
    return x.narrow(dim, 1 if first else x.shape[dim] - 1 - size, size).flip(dim)


def _same(x: Tensor, dim: int, size: int, *, first: bool) -> Tensor:
    return x.narrow(dim, 0 if first else x.shape[dim] - 1, 1).repeat_interleave(size, dim)


def _bilinear(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    outputs, own, other = weight.shape
    matrix = weight.permute(1, 0, 2).reshape(own, outputs * other)
    found = ((x @ matrix).unflatten(-1, (outputs, other)) * y.unsqueeze(-2)).sum(-1)
    return found if bias is None else found + bias


def _stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    return torch.cat([tensor.unsqueeze(dim) for tensor in tensors], dim)


def _instance_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    var: Tensor | None,
    of_input: bool,
    momentum: float,
    eps: float,
    cudnn: bool,
) -> Tensor:
    """Norm every channel by itself; kept statistics change as they do in a batch norm."""
    if mean is not None or var is not None or not of_input:
        return NotImplemented
    dims = tuple(range(2, x.dim()))
    var, mean = torch.var_mean(x, dims, correction=0, keepdim=True)
    found = (x - mean) * torch.rsqrt(var + eps)
    shape = (-1, *(1 for _ in dims))
    found = found if weight is None else found * weight.view(shape)
    return found if bias is None else found + bias.view(shape)


EVERYWHERE: dict[object, Parts] = {
    aten.stack.default: _stack,
    aten.instance_norm.default: _instance_norm,
    aten.constant_pad_nd.default: _constant_pad,
    aten._pad_circular.default: partial(_pad, edge=_around),
    aten.reflection_pad1d.default: partial(_pad, edge=_mirrored),
    aten.reflection_pad2d.default: partial(_pad, edge=_mirrored),
    aten.replication_pad1d.default: partial(_pad, edge=_same),
    aten.replication_pad2d.default: partial(_pad, edge=_same),
    aten.bilinear.default: _bilinear,
}

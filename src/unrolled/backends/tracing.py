"""Which tensors hold numbers, and which only stand for them in a graph that is being made."""

import torch
from torch import Tensor, nn
from torch._C._functorch import TransformType
from torch._functorch.pyfunctorch import retrieve_all_functorch_interpreters


def is_traced(tensor: Tensor) -> bool:
    """Tell whether `torch.compile`, `torch.export` or a dispatch mode watches what is computed.

    Its numbers are then unknown: no program may ask for them, and each of its operations has to
    be one that PyTorch knows.

    Example:
        >>> is_traced(torch.zeros(2))
        False
    """
    return (
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack() > 0
        or type(tensor) not in (Tensor, nn.Parameter)
    )


def is_transformed() -> bool:
    """Tell whether a transform of `torch.func` is at work."""
    return torch._C._are_functorch_transforms_active()


def is_differentiated_only() -> bool:
    """Tell whether no transform of `torch.func` is at work, or none but `grad` and `vjp`."""
    if not is_transformed():
        return True
    transforms = retrieve_all_functorch_interpreters()
    return all(transform.key() == TransformType.Grad for transform in transforms)

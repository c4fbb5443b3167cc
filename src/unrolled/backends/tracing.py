"""Who watches what is computed: `torch.compile`, `torch.export`, `torch.func`, or nobody.

What belongs to PyTorch's compiler is imported where it is at work: that takes more than a second.
"""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

P = ParamSpec("P")
T = TypeVar("T")


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


def applied(function: type[torch.autograd.Function], *arguments: object) -> Any:
    """Apply a function; where nothing transforms it, without a look at its signature."""
    apply = function.apply
    if not is_transformed():
        apply = super(torch.autograd.Function, function).apply  # pyright: ignore
    return apply(*arguments)


def is_differentiated_only() -> bool:
    """Tell whether no transform of `torch.func` is at work, or none but `grad` and `vjp`."""
    if not is_transformed():
        return True
    from torch._C._functorch import TransformType
    from torch._functorch.pyfunctorch import retrieve_all_functorch_interpreters

    transforms = retrieve_all_functorch_interpreters()
    return all(transform.key() == TransformType.Grad for transform in transforms)


def opaque(function: Callable[P, T]) -> Callable[P, T]:
    """Give a function that `torch.compile` calls as it traces, instead of reading its code.

    The graph then has the operations that it ran. None may not be among its arguments.
    """
    if torch.compiler.is_dynamo_compiling():
        return torch._dynamo.nonstrict_trace(function)
    return function


def own(module: nn.Module) -> nn.Module:
    """Give a module itself: `torch.export` puts others in its place, to follow attributes."""
    if torch.compiler.is_compiling():
        from torch.fx.experimental.proxy_tensor import _AttrProxy

        if isinstance(module, _AttrProxy):
            return module.get_base()  # pyright: ignore[reportCallIssue]
    return module

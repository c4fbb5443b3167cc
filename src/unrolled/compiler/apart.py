"""Capturing apart from whatever is going on: under a tracer, a transform, autocast or a mode."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock, local
from typing import TypeVar

from torch._C import _TorchDispatchModeKey as Mode
from torch.utils._python_dispatch import _disable_infra_mode

T = TypeVar("T")

_without = contextmanager(_disable_infra_mode)
_HERE = local()
_ONE = Lock()  # tracing is for one thread at a time


def run_apart(function: Callable[[], T]) -> T:
    """Call a function in a thread of its own: modes, transforms and autocast belong to a thread.

    Two modes of `torch.export` belong to the process: they are set aside.

    Example:
        >>> import torch
        >>> with torch.inference_mode():
        ...     run_apart(torch.is_inference_mode_enabled)
        False
    """

    def marked() -> T:
        _HERE.apart = True
        with _without(Mode.PROXY), _without(Mode.FUNCTIONAL):
            return function()

    with _ONE, ThreadPoolExecutor(1) as pool:
        return pool.submit(marked).result()


def is_apart() -> bool:
    """Tell whether `run_apart` called what calls this: then nothing may be captured."""
    return getattr(_HERE, "apart", False)

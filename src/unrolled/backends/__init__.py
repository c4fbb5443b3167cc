"""Backends: who runs a step over a sequence. One row each, and what "auto" takes."""

import warnings
from functools import partial

import torch

from unrolled.backends.call import Backend, Call, Result, Step
from unrolled.backends.eager import run_eager
from unrolled.backends.interpreter import interpret
from unrolled.backends.kernel import Compile, Kernel, Results
from unrolled.backends.precision import (
    IN_TILES,
    in_tiles,
    multiply_here,
    pieces_around,
    pieces_asked,
    pieces_of,
)
from unrolled.backends.torch_kernels import LEAST, run_torch
from unrolled.backends.tracing import is_differentiated_only, is_traced
from unrolled.backends.turned import simplified
from unrolled.errors import BackendError, CaptureError
from unrolled.ir import Program


def _llvm(program: Program, *, pieces: int = 0) -> Kernel:
    """Compile with LLVM, which is loaded when it is first needed."""
    try:
        from unrolled.backends.llvm.kernel import compile_program
    except (ImportError, OSError) as error:
        raise BackendError(f"the backend llvm needs the package llvmlite: {error}") from None
    return compile_program(program, pieces=pieces)


COMPILERS: dict[str, Compile] = {
    "llvm": _llvm,
    **{name: partial(_llvm, pieces=pieces) for (_, pieces), name in IN_TILES.items()},
    "interpreter": interpret,
}
"""The backends for programs."""

BACKENDS: dict[str, Backend] = {
    "llvm": lambda step, call: call.join(step, call, "llvm"),
    "torch": simplified(run_torch),
    "eager": simplified(run_eager),
    "interpreter": lambda step, call: call.join(step, call, "interpreter"),
}


class Automatic:
    """Takes the compiled kernel wherever there is one and it pays, and PyTorch's own otherwise.

    Of the transforms of `torch.func`, kernels can follow those that differentiate backwards; for
    the others a loop over the steps runs.

    A cell that should run as a kernel and cannot is named in a warning, once for each reason.
    """

    def __init__(self) -> None:
        self.said: set[str] = set()

    def __call__(self, step: Step, call: Call) -> Result:
        """Run a step over every time of a call."""
        if not is_differentiated_only():
            return BACKENDS["eager"](step, call)
        if not _pays(call):
            return BACKENDS["torch"](step, call)
        try:
            return BACKENDS["llvm"](step, call)
        except (CaptureError, BackendError) as error:
            obstacle = error
        result = BACKENDS["torch"](step, call)  # a mistake in the step itself comes up here
        self._say(f'{obstacle}\nUnder "auto" it runs step by step in PyTorch, which is slower.')
        return result

    def _say(self, text: str) -> None:
        if text not in self.said:
            self.said.add(text)
            warnings.warn(text, RuntimeWarning, stacklevel=4)


def _pays(call: Call) -> bool:
    """Tell whether a compiled kernel could take a call, and would be worth its start.

    Kernels are for processors, and `torch.jit.trace` cannot follow them.
    """
    time, batch = call.xs.shape[:2]
    jit = torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    if call.xs.device.type != "cpu" or jit:
        return False
    return is_traced(call.xs) or (time >= LEAST and batch > 0)


AUTO = Automatic()


def choose(name: str) -> Backend:
    """Give the backend of that name; "auto" is `Automatic`.

    Raises:
        BackendError: there is none of that name.

    Example:
        >>> choose("eager") is BACKENDS["eager"]
        True
    """
    if name == "auto":
        return AUTO
    if name not in BACKENDS:
        raise BackendError(
            f"there is no backend {name!r}: choose one of auto, {', '.join(BACKENDS)}"
        )
    return BACKENDS[name]


__all__ = [
    "BACKENDS",
    "COMPILERS",
    "Automatic",
    "Backend",
    "Call",
    "Compile",
    "Kernel",
    "Result",
    "Results",
    "choose",
    "in_tiles",
    "interpret",
    "multiply_here",
    "pieces_around",
    "pieces_asked",
    "pieces_of",
]

"""Backends: who runs a step over a sequence. One row each, and what "auto" takes."""

import warnings

import torch
from torch import Tensor, nn

from unrolled.backends.call import Backend, Call, Result, Step
from unrolled.backends.eager import run_eager
from unrolled.backends.interpreter import interpret
from unrolled.backends.kernel import Compile, Kernel, Results
from unrolled.backends.torch_kernels import LEAST, run_torch
from unrolled.errors import BackendError, CaptureError
from unrolled.ir import Program


def _programs(compile: Compile) -> Backend:
    """Make a backend for steps of one for programs."""
    return lambda step, call: call.join(step, call, compile)


def _llvm(program: Program) -> Kernel:
    """Compile with LLVM, which is loaded when it is first needed."""
    try:
        from unrolled.backends.llvm.kernel import compile_program
    except (ImportError, OSError) as error:
        raise BackendError(f"the backend llvm needs the package llvmlite: {error}") from None
    return compile_program(program)


BACKENDS: dict[str, Backend] = {
    "llvm": _programs(_llvm),
    "torch": run_torch,
    "eager": run_eager,
    "interpreter": _programs(interpret),
}


class Automatic:
    """Takes the compiled kernel wherever there is one and it pays, and PyTorch's own otherwise.

    A cell that should run as a kernel and cannot is named in a warning, once for each reason.
    """

    def __init__(self) -> None:
        self.said: set[str] = set()

    def __call__(self, step: Step, call: Call) -> Result:
        """Run a step over every time of a call."""
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

    Kernels are for processors, and for tensors that hold numbers: not for those that a tracer
    (`torch.compile`, `torch.export`, `torch.func`) passes through in their place.
    """
    time, batch = call.xs.shape[:2]
    traced = (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
        or torch._C._are_functorch_transforms_active()
        or type(call.xs) not in (Tensor, nn.Parameter)
    )
    return call.xs.device.type == "cpu" and time >= LEAST and batch > 0 and not traced


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
    "Automatic",
    "Backend",
    "Call",
    "Compile",
    "Kernel",
    "Result",
    "Results",
    "choose",
    "interpret",
]

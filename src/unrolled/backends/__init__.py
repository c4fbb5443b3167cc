"""Backends: who runs a step over a sequence. One row each, and what "auto" takes."""

import warnings
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from unrolled.backends.call import Backend, Call, Result, Step
from unrolled.backends.eager import run_eager
from unrolled.backends.interpreter import interpret
from unrolled.backends.kernel import Compile, Kernel, Results
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


ROUNDED, WHOLE = 1, 3
"""Pieces, as in `llvm.target`, which cannot be imported where llvmlite is not."""

COMPILERS: dict[str, Compile] = {
    "llvm": _llvm,
    "llvm bfloat16": partial(_llvm, pieces=ROUNDED),
    "llvm pieces": partial(_llvm, pieces=WHOLE),
    "interpreter": interpret,
}
"""The backends for programs."""

IN_TILES = {("llvm", True): "llvm bfloat16", ("llvm", False): "llvm pieces"}
"""What multiplies bfloat16 in tiles in the place of a compiler, by whether factors are rounded to
it; otherwise they are cut into pieces of bfloat16 that are float32 together."""


@cache
def in_tiles(compiler: str, *, rounded: bool) -> str:
    """Give what multiplies in tiles, if this machine has instructions for that.

    Args:
        compiler: a name from `COMPILERS`.
        rounded: whether factors are rounded to bfloat16.

    Example:
        >>> in_tiles("interpreter", rounded=True)
        'interpreter'
    """
    found = IN_TILES.get((compiler, rounded))
    if found is None:
        return compiler
    try:
        from unrolled.backends.llvm.target import choose_target, with_tiles
    except (ImportError, OSError):
        return compiler
    return found if with_tiles(choose_target(), ROUNDED) else compiler


def rounds(compiler: str) -> bool | None:
    """Tell whether a compiler's products in tiles round their factors; None: it makes none here.

    Example:
        >>> rounds("llvm") is None
        True
    """
    for (name, rounded), own in IN_TILES.items():
        if compiler == own == in_tiles(name, rounded=rounded):
            return rounded
    return None


def rounds_around(compiler: str) -> bool | None:
    """Tell the same of products around its loops: they may be in tiles where the loops are not.

    Example:
        >>> rounds_around("interpreter") is None
        True
    """
    whole = in_tiles(compiler, rounded=False) != compiler
    return False if whole else rounds(compiler)


def multiply_in_tiles(left: Tensor, right: Tensor, *, rounded: bool) -> Tensor:
    """Multiply two matrices of float32 on a processor for which `in_tiles` has an answer.

    Args:
        left: (rows, terms).
        right: (terms, columns).
        rounded: as for `in_tiles`.

    Returns:
        (rows, columns), float32 as the sums are; nothing of it is for autograd to follow.

    Raises:
        BackendError: this machine has no such instructions.
    """
    factors = (x if 1 in x.stride() else x.contiguous() for x in (left, right))
    return _gemm(rounded)(*factors)


@cache
def _gemm(rounded: bool) -> Callable[[Tensor, Tensor], Tensor]:
    from unrolled.backends.llvm.gemm import gemm

    return gemm(rounded)


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
    "multiply_in_tiles",
    "rounds",
    "rounds_around",
]

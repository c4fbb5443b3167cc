"""Backends: who runs a step over a sequence. One row each, and the order of preference."""

import warnings

from unrolled.backends.call import Backend, Call, Result, Step
from unrolled.backends.eager import run_eager
from unrolled.backends.interpreter import interpret
from unrolled.backends.kernel import Compile, Kernel, Results
from unrolled.backends.torch_kernels import run_torch
from unrolled.errors import BackendError, CaptureError


def _programs(compile: Compile) -> Backend:
    """Make a backend for steps of one for programs."""
    return lambda step, call: call.join(step, call, compile)


BACKENDS: dict[str, Backend] = {
    "torch": run_torch,
    "eager": run_eager,
    "interpreter": _programs(interpret),
}

PREFERENCE: list[str] = ["torch"]
"""What "auto" tries, best first; the last runs every cell."""


class Automatic:
    """Takes the first backend of an order that can run a step, and says once which it passed by."""

    def __init__(self, order: list[str]) -> None:
        self.order = order
        self.said: set[str] = set()

    def __call__(self, step: Step, call: Call) -> Result:
        """Run a step over every time of a call."""
        *tried, last = self.order
        for name in tried:
            try:
                return BACKENDS[name](step, call)
            except (CaptureError, BackendError) as error:
                self._say(f"{error}\nIt runs on the backend {last!r} instead, which is slower.")
        return BACKENDS[last](step, call)

    def _say(self, text: str) -> None:
        if text not in self.said:
            self.said.add(text)
            warnings.warn(text, RuntimeWarning, stacklevel=4)


AUTO = Automatic(PREFERENCE)


def choose(name: str) -> Backend:
    """Give the backend of that name; "auto" gives the first of `PREFERENCE` that can run the cell.

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
    "PREFERENCE",
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

"""Backends: who runs a step over a sequence. One row each; `choose` picks the best that is here."""

from unrolled.backends.call import Backend, Call, Result
from unrolled.backends.eager import run_eager
from unrolled.backends.torch_kernels import run_torch
from unrolled.errors import BackendError

BACKENDS: dict[str, Backend] = {  # best first: "auto" takes the first
    "torch": run_torch,
    "eager": run_eager,
}


def choose(name: str) -> Backend:
    """Give the backend of that name; "auto" gives the best one.

    Raises:
        BackendError: there is none of that name.

    Example:
        >>> choose("auto") is BACKENDS["torch"]
        True
    """
    if name == "auto":
        return next(iter(BACKENDS.values()))
    if name not in BACKENDS:
        raise BackendError(
            f"there is no backend {name!r}: choose one of auto, {', '.join(BACKENDS)}"
        )
    return BACKENDS[name]


__all__ = ["BACKENDS", "Backend", "Call", "Result", "choose"]

"""Where a model computes, and in which precision."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from unrolled.backends import in_tiles
from unrolled.backends.precision import ROUNDED
from unrolled.errors import ConfigError

KINDS = ("cpu", "cuda")


def pick_device(name: str) -> torch.device:
    """Find the device of that name.

    Args:
        name: cpu, cuda or cuda:1 ...; "auto" takes a GPU where there is one.

    Raises:
        ConfigError: there is none of that name here.

    Example:
        >>> pick_device("cpu")
        device(type='cpu')
        >>> pick_device("tpu")
        Traceback (most recent call last):
        unrolled.errors.ConfigError: there is no device 'tpu'; choose cpu, cuda, cuda:1 ... or auto
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in KINDS:
        raise ConfigError(f"there is no device {name!r}; choose cpu, cuda, cuda:1 ... or auto")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # no driver, no such card, torch without CUDA
        reason = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(
            f"the device {name} cannot be used here: {reason}; take cpu or auto"
        ) from None
    return device


@contextmanager
def no_denormals() -> Iterator[None]:
    """Take numbers below the smallest normal float for zero, inside.

    Sharp attention has such weights, and a processor takes a hundred times as long over each of
    them. Threads inherit this when they start, so it must come before the first large operation.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Tell whether to compute in bfloat16, where that is safe, and in float32 elsewhere.

    Args:
        precision: "float32", "high" (see `products`), "bfloat16", or "auto": bfloat16 on a GPU
            that has it, and on a processor that multiplies it.
        device: where.

    Example:
        >>> uses_bfloat16("float32", torch.device("cpu"))
        False
    """
    if precision == "auto" and device.type == "cpu":
        return in_tiles("llvm", ROUNDED) != "llvm"
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return precision == "bfloat16"


@contextmanager
def products(precision: str) -> Iterator[None]:
    """Let factors of products be read with fewer bits, inside, if the precision is "high".

    Those are 16 of a float32's 24 where the processor multiplies bfloat16, as sums of two of these,
    and TF32's 11 on a GPU; see `torch.set_float32_matmul_precision`.
    """
    if precision != "high":
        yield
        return
    processor = torch.backends.mkldnn.matmul  # pyright: ignore[reportAttributeAccessIssue]
    before, own = torch.get_float32_matmul_precision(), processor.fp32_precision
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
        processor.fp32_precision = own

"""Of how many pieces of bfloat16 a factor of a product is, and who multiplies these.

    autocast to bfloat16             1   the number rounded to bfloat16
    float32_matmul_precision medium  1
                             high    2   16 of its 24 bits
                             highest 3   all of them

`torch.set_float32_matmul_precision` speaks of the very sums of bfloat16 that tiles are made for.
Sums are in float32, and what is no product is as it always is. Pieces lie in tiles of 16 rows,
which AMX multiplies at once; a processor without it may have vectors that multiply one piece.
"""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

ROUNDED, HIGH, WHOLE = 1, 2, 3
"""Pieces."""

ASKED = {"bf16": ROUNDED, "tf32": HIGH}
"""By the precision of PyTorch's products on a processor: what else there is means float32."""

IN_TILES = {
    ("llvm", ROUNDED): "llvm bfloat16",
    ("llvm", HIGH): "llvm bfloat16x2",
    ("llvm", WHOLE): "llvm bfloat16x3",
}
"""What multiplies in tiles in the place of a compiler, factors of so many pieces."""

REGISTERS_PAY = frozenset({"znver4", "znver5"})
"""Processors, as LLVM names them, on which products of the project's own are faster than PyTorch's:
PyTorch calls a library for them that was written for those of another maker. Measured on the first
of these alone, 1.05 to 1.3 times."""


def pieces_asked() -> int:
    """Give the pieces that PyTorch's setting for products of float32 on a processor allows.

    Example:
        >>> pieces_asked()
        3
    """
    asked = torch.backends.mkldnn.matmul.fp32_precision  # pyright: ignore[reportAttributeAccessIssue]
    return ASKED.get(asked, WHOLE)


@cache
def in_tiles(compiler: str, pieces: int) -> str:
    """Give what multiplies in tiles, if that pays on this machine.

    Args:
        compiler: a name from `COMPILERS`.
        pieces: of a factor: `ROUNDED`, `HIGH` or `WHOLE`.

    Example:
        >>> in_tiles("interpreter", ROUNDED)
        'interpreter'
    """
    found = IN_TILES.get((compiler, pieces))
    if found is None:
        return compiler
    try:
        from unrolled.backends.llvm.target import choose_target, with_tiles
    except (ImportError, OSError):
        return compiler
    return found if with_tiles(choose_target(), pieces) else compiler


def pieces_of(compiler: str) -> int:
    """Give the pieces of a factor in a compiler's products in tiles; 0: it makes none here.

    Example:
        >>> pieces_of("llvm")
        0
    """
    for (name, pieces), own in IN_TILES.items():
        if compiler == own == in_tiles(name, pieces):
            return pieces
    return 0


def pieces_around(compiler: str) -> int | None:
    """Give the same of products around its loops, None where PyTorch makes them.

    They may be in tiles where the loops are not: then they are as PyTorch's setting asks when they
    are made. Without tiles they are in registers on processors for which PyTorch's are slower, in
    all 24 bits for "high" too.

    Example:
        >>> pieces_around("interpreter") is None
        True
    """
    if in_tiles(compiler, WHOLE) != compiler:
        return pieces_asked()
    if compiler == "llvm" and pieces_asked() != ROUNDED and _registers_pay():
        return 0
    return pieces_of(compiler) or None


@cache
def _registers_pay() -> bool:
    try:
        from unrolled.backends.llvm.target import choose_target
    except (ImportError, OSError):
        return False
    return choose_target().cpu in REGISTERS_PAY


def multiply_here(left: Tensor, right: Tensor, pieces: int) -> Tensor:
    """Multiply two matrices of float32 on a processor.

    Args:
        left: (rows, terms).
        right: (terms, columns).
        pieces: of a factor in tiles, if `in_tiles` has an answer here; 0: in registers, whole.

    Returns:
        (rows, columns), float32 as the sums are; nothing of it is for autograd to follow.

    Raises:
        BackendError: this machine has no such instructions.
    """
    whole = (x.resolve_neg() for x in (left, right))
    return _gemm(pieces)(*(x if 1 in x.stride() else x.contiguous() for x in whole))


@cache
def _gemm(pieces: int) -> Callable[[Tensor, Tensor], Tensor]:
    from unrolled.backends.llvm.gemm import gemm

    return gemm(pieces)

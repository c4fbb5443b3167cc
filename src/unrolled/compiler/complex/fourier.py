"""Fourier transforms, as products with the matrix of waves."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.compiler.blame import Unrecordable
from unrolled.compiler.complex.pair import Pair, Real, bilinear

MOST_WAVES = 256
"""Numbers of a Fourier transform, at most: it is a product with a matrix of so many rows."""


def _waves(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Give the cosine and the sine of 2 pi j k / size."""
    angles = np.outer(np.arange(size), np.arange(size)) % size * (2 * np.pi / size)
    return np.cos(angles), np.sin(angles)


SCALES = {  # by norm: of the transform, and of its inverse
    None: (lambda n: 1.0, lambda n: 1 / n),
    "backward": (lambda n: 1.0, lambda n: 1 / n),
    "ortho": (lambda n: n**-0.5, lambda n: n**-0.5),
    "forward": (lambda n: 1 / n, lambda n: 1.0),
}


def fourier(*, inverse: bool, real: bool = False) -> Callable[..., Any]:
    """Make a row of the table, for transforms along one dimension.

    Args:
        inverse: whether waves become numbers.
        real: whether those numbers are real, and half of the waves are left out.
    """

    def rule(x: Any, n: int | None = None, dim: int = -1, norm: str | None = None) -> Any:
        given = Pair.of(x)
        z = Pair(given.real.movedim(dim, -1), _moved(given.imag, dim, -1))
        width = z.real.shape[-1]
        half_given = real and inverse
        size = n or (2 * (width - 1) if half_given else width)
        if width != (size // 2 + 1 if half_given else size) or size > MOST_WAVES:
            raise Unrecordable(f"it has a Fourier transform of {width} numbers to {size}")
        cosine, sine = (wave * SCALES[norm][inverse](size) for wave in _waves(size))
        if half_given:  # of a wave that is not its own mirror image there are two
            twice = np.where(np.arange(width) * 2 % size == 0, 1.0, 2.0)[:, None]
            cosine, sine = cosine[:width] * twice, sine[:width] * twice
        elif real:
            cosine, sine = (wave[:, : size // 2 + 1] for wave in (cosine, sine))
        parts = (cosine, sine if inverse else -sine)
        waves = Pair(*(_known(wave, z.real.dtype) for wave in parts))
        made = bilinear(torch.matmul)(z, waves)
        if half_given:
            return made.real.movedim(-1, dim)
        return Pair(made.real.movedim(-1, dim), _moved(made.imag, -1, dim))

    return rule


def _moved(x: Real, source: int, target: int) -> Real:
    return x if x is None else x.movedim(source, target)


def _known(numbers: np.ndarray, dtype: torch.dtype) -> Tensor:
    """Give numbers of the code as a tensor, past whoever records."""
    kind = np.float32 if dtype == torch.float32 else np.float64
    return torch.from_numpy(np.ascontiguousarray(numbers, dtype=kind))

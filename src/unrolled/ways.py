"""Ways to run a compiled cell: where products are made, in how many pieces, on which kernels.

What is best depends on how many rows there are, on the threads that share them, and on the caches;
the tables say from where on what is faster, as measured. Each kind of call has its way chosen once.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch

from unrolled.backends import Call, in_tiles, pieces_around, pieces_asked, pieces_of
from unrolled.backends.precision import HIGH, ROUNDED, WHOLE
from unrolled.backends.tracing import is_traced
from unrolled.compiler import Compiled, Lowered, Piece
from unrolled.kernels import Kernels
from unrolled.multiply import LINEAR
from unrolled.operation import known

INSIDE = {
    0: ((16, 64),),
    ROUNDED: ((2, 1024),),
    HIGH: ((4, 256), (16, 1024)),
    WHOLE: ((8, 256), (16, 1024)),
}
"""From how many rows for each thread on products of inputs with parameters are in the loop, and up
to how many numbers of an input; by the pieces of a factor in tiles. For fewer rows it costs more to
read a matrix than what is done with it. Products in tiles cost less than to write and to read what
they give: the more so where other work has taken the caches since."""

STAYS = 7 << 18
"""Bytes of weights in tiles that stay in a core's second cache, 2 MiB, from step to step."""

MANY_TO_READ = 32
"""Rows for each thread from which on it pays to read weights at every step that do not stay."""

SHARED = 96
"""Rows of all threads up to which they share out such weights, see `kernel.ROWS_TOGETHER`."""

MANY = {ROUNDED: (0, 0), HIGH: (4, 0), WHOLE: (5, 9)}
"""From how many rows for each thread on, and from how many of all, factors of float32 are cut into
so many pieces for tiles. For fewer it takes longer to read all pieces of a matrix than what is done
with them; and eight rows go through a matrix at once without tiles, too."""


@dataclass(frozen=True)
class Way:
    """One way to run a compiled cell."""

    lowered: Lowered
    hoisted: Piece  # what comes before the loop, with products in tiles where they pay
    kernels: Kernels  # of the loop


def way_of(compiled: Compiled, call: Call, backend: str) -> Way:
    """Choose how a call runs.

    A tracer may have hidden how many rows there are: then it is the way of few.

    Args:
        compiled: what was compiled for the call's cell.
        call: the call.
        backend: a backend for programs.
    """
    kind = _Kind(backend, call.resets is not None, call.keep_states)
    if not is_traced(call.xs):
        kind = _Kind(*kind[:3], call.xs.shape[1], torch.get_num_threads(), pieces_asked())
    return compiled.made_once(kind, lambda: _choose(compiled, kind))


class _Kind(NamedTuple):
    """What the choice depends on."""

    backend: str
    resets: bool
    states: bool  # whether all are kept
    batch: int = 0  # 0: unknown
    threads: int = 1
    pieces: int = 0


def _choose(compiled: Compiled, kind: _Kind) -> Way:
    backend, batch, threads = kind.backend, kind.batch, kind.threads
    each, least = MANY.get(kind.pieces, (0, 0))
    if kind.pieces and batch >= max(each * threads, least):
        backend = in_tiles(backend, kind.pieces)
    if batch:
        compiled = _for_rows(compiled, pieces_of(backend), batch, threads)
    around = pieces_around(backend) if compiled.captured.dtype == torch.float32 else 0

    def hoisted() -> Piece:
        piece = compiled.lowered.hoisted
        return (
            piece.with_calls({torch.ops.aten.linear.default: LINEAR[around]}) if around else piece
        )

    def kernels() -> Kernels:
        program, training = compiled.program(resets=kind.resets, states=kind.states)
        return known(Kernels(program, training, backend))

    return Way(
        compiled.lowered,
        compiled.made_once(("hoisted", around), hoisted),
        compiled.made_once((backend, kind.resets, kind.states), kernels),
    )


def _for_rows(compiled: Compiled, pieces: int, batch: int, threads: int) -> Compiled:
    """Give what is compiled for batches of so many rows."""
    inside = compiled.for_many_rows(_inside(pieces, batch, threads))
    size = 2 * pieces * inside.weights // (threads if batch <= SHARED else 1)
    return inside if size <= STAYS or batch >= MANY_TO_READ * threads else compiled


def _inside(pieces: int, batch: int, threads: int) -> int:
    """Give up to how many numbers of an input products with it are in the loop."""
    return max((n for rows, n in INSIDE[pieces] if batch >= rows * threads), default=0)

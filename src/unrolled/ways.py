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
    None: ((16, 64),),
    0: ((4, 256), (8, 1024)),
    ROUNDED: ((2, 1024),),
    HIGH: ((4, 256), (16, 1024)),
    WHOLE: ((8, 256), (16, 1024)),
}
"""From how many rows for each thread on products of inputs with parameters, and those that make
outputs, are in the loop, and up to how many numbers of what is multiplied; by the pieces of a
factor in tiles, where 0 means that products around the loop are in registers, and None that PyTorch
makes them. For fewer rows it costs more to read a matrix than what is done with it. Products in
tiles cost less than to write and to read what they give: the more so where other work has taken the
caches since. Nor do those in registers cost more in the loop than around it, in one thread either,
which then reads all matrices."""

STAYS = 7 << 18
"""Bytes of weights in tiles that stay in a core's second cache, 2 MiB, from step to step. With 1
MiB, where vectors multiply what lies in tiles, half of it was no faster."""

WIDE = 1 << 14
"""Numbers in a row of states so many of which no cache keeps for the rows of a tile. Without
products in the loop, a core takes one row through time after the other."""

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
    hoisted: Piece  # what comes before the loop, with products of the project's own where they pay
    kernels: Kernels  # of the loop


def way_of(compiled: Compiled, call: Call, backend: str) -> Way:
    """Choose how a call runs.

    A tracer may have hidden how many rows there are: then it is the way of few.

    Args:
        compiled: what was compiled for the call's cell.
        call: the call.
        backend: a backend for programs.
    """
    asked, products, sharing = pieces_asked(), 0, 1
    if not is_traced(call.xs):
        batch, threads = call.xs.shape[1], torch.get_num_threads()
        each, least = MANY[asked]
        if batch >= max(each * threads, least):
            backend = in_tiles(backend, asked)
        registers = _around(backend, compiled) == 0
        products = _inside(pieces_of(backend) or (0 if registers else None), batch, threads)
        sharing = _sharing(batch, threads)
    kind = _Kind(backend, call.resets is not None, call.keep_states, asked, products, sharing)
    return compiled.made_once(kind, lambda: _choose(compiled, kind))


class _Kind(NamedTuple):
    """What the choice depends on: not on each number of rows, of which there may be many."""

    backend: str
    resets: bool
    states: bool  # whether all are kept
    asked: int  # pieces of a factor, by PyTorch's setting
    products: int  # see `_inside`
    sharing: int  # see `_sharing`


def _choose(compiled: Compiled, kind: _Kind) -> Way:
    backend = kind.backend
    compiled = _for_rows(compiled, pieces_of(backend), kind.products, kind.sharing)
    around = _around(backend, compiled)

    def hoisted() -> Piece:
        piece = compiled.lowered.hoisted
        if around is None:
            return piece
        return piece.with_calls({torch.ops.aten.linear.default: LINEAR[around]})

    def kernels() -> Kernels:
        program, training = compiled.program(resets=kind.resets, states=kind.states)
        return known(Kernels(program, training, backend))

    return Way(
        compiled.lowered,
        compiled.made_once(("hoisted", around), hoisted),
        compiled.made_once((backend, kind.resets, kind.states), kernels),
    )


def _around(backend: str, compiled: Compiled) -> int | None:
    """Give the pieces of a factor of products around the loop; None: PyTorch makes them."""
    return pieces_around(backend) if compiled.captured.dtype == torch.float32 else None


def _for_rows(compiled: Compiled, pieces: int, products: int, sharing: int) -> Compiled:
    """Give what is compiled for batches of so many rows."""
    states = sum(value.type.width for value in compiled.lowered.program.states)
    if states >= WIDE and not compiled.weights:
        return compiled
    for outputs in (products, 0):  # a wide output alone does not drive the inputs' products out
        inside = compiled.for_many_rows(products, outputs)
        if not sharing or 2 * pieces * inside.weights // sharing <= STAYS:
            return inside
    return compiled


def _sharing(batch: int, threads: int) -> int:
    """Count the threads that share out large weights; 0: so many rows read them anyway."""
    if batch >= MANY_TO_READ * threads:
        return 0
    return threads if batch <= SHARED else 1


def _inside(pieces: int | None, batch: int, threads: int) -> int:
    """Give up to how many numbers of an input, or for an output, products are in the loop."""
    return max((n for rows, n in INSIDE[pieces] if batch >= rows * threads), default=0)

"""What kernels are generated for: an instruction set, the width of its vectors, its registers."""

import ctypes
import platform
from dataclasses import dataclass, replace
from functools import cache

import llvmlite.binding as llvm

from unrolled.errors import BackendError


@dataclass(frozen=True)
class Float:
    """A floating point type, as the code that computes with its bits has to know it."""

    name: str
    bytes: int
    mantissa: int  # bits behind the point
    bias: int  # of the exponent
    letter: str  # in the names of LLVM's intrinsics


FLOATS = {
    "float32": Float("float32", 4, 23, 127, "f32"),
    "float64": Float("float64", 8, 52, 1023, "f64"),
}


@dataclass(frozen=True)
class Target:
    """An instruction set."""

    name: str
    cpu: str  # as LLVM names it; it decides the instructions and their order
    features: str
    vector_bytes: int
    registers: int  # that hold vectors
    pieces: int = 0  # of a factor of a product in tiles, see `backends.precision`; 0: no tiles
    amx: bool = False  # whether the processor multiplies a tile at once, or its vectors do

    @property
    def scalef(self) -> bool:
        """Whether one instruction multiplies by a power of two."""
        return self.name == "avx512"

    def lanes(self, kind: Float) -> int:
        """Give the number of values in one vector.

        >>> PORTABLE.lanes(FLOATS["float32"])
        4
        """
        return self.vector_bytes // kind.bytes


@dataclass(frozen=True)
class Tile:
    """How a matmul is cut: what is computed in one pass over k stays in registers."""

    rows: int
    columns: int  # vectors of weights, most in one pass
    vectors: int  # of units, for each gate, in one panel of weights


PORTABLE = Target("portable", "", "", vector_bytes=16, registers=16)

INSTRUCTION_SETS = (  # widest first: name, the features it stands on, bytes, registers
    ("avx512", ("avx512f", "avx512bw", "avx512dq", "avx512vl", "fma"), 64, 32),
    ("avx2", ("avx2", "fma"), 32, 16),
    ("neon", ("neon",), 16, 32),
)


def targets() -> dict[str, Target]:
    """Give every instruction set that this machine runs, the best one first.

    >>> list(targets())[-1]
    'portable'
    """
    host = llvm.get_host_cpu_features()
    found = {
        name: Target(name, *_machine(name, host), vector_bytes, registers)
        for name, needs, vector_bytes, registers in INSTRUCTION_SETS
        if all(host.get(feature) for feature in needs)
    }
    return found | {PORTABLE.name: PORTABLE}


def choose_target(name: str | None = None) -> Target:
    """Give the instruction set of that name, or the best that this machine runs.

    Raises:
        BackendError: this machine does not run it.
    """
    found = targets()
    if name is None:
        return next(iter(found.values()))
    if name not in found:
        raise BackendError(
            f"this machine does not run {name!r} instructions: choose one of {', '.join(found)}"
        )
    return found[name]


BFLOAT16, AMX = "avx512bf16", ("amx-tile", "amx-bf16")
"""The features that products of bfloat16 stand on, beside those of avx512: one that rounds numbers
and multiplies them in vectors, and those that multiply tiles."""

VECTORS_PAY = frozenset({"znver4", "znver5"})
"""Processors, as LLVM names them, whose vectors multiply bfloat16 twice as fast as float32. On
Sapphire Rapids, which has tiles for it, they take longer than float32."""


def bfloat16_targets(target: Target, pieces: int = 1) -> dict[str, Target]:
    """Give the target with what multiplies numbers of so many pieces here: tiles, vectors.

    >>> bfloat16_targets(PORTABLE)
    {}
    """
    host = llvm.get_host_cpu_features()
    found: dict[str, Target] = {}
    if target.name == "avx512" and host.get(BFLOAT16):
        if all(host.get(feature) for feature in AMX) and _tiles_allowed():
            found["tiles"] = replace(target, pieces=pieces, amx=True)
        if pieces == 1:  # more are as slow in vectors as float32 itself, or slower
            found["vectors"] = replace(target, pieces=pieces)
    return found


def with_tiles(target: Target, pieces: int) -> Target | None:
    """Give the target with products of so many pieces of bfloat16; None where they do not pay.

    >>> with_tiles(PORTABLE, 1) is None
    True
    """
    found = bfloat16_targets(target, pieces)
    return found.get("tiles") or (found.get("vectors") if target.cpu in VECTORS_PAY else None)


@cache
def _tiles_allowed() -> bool:
    """Ask the system for the room in which it keeps a thread's tiles while another thread runs."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return False
    arch_prctl, request_permission, tile_data = 158, 0x1023, 18
    return ctypes.CDLL(None).syscall(arch_prctl, request_permission, tile_data) == 0


WORTH = {1: 0.70, 2: 0.95, 3: 1.0}
"""How fast a pass of so many columns is against one of three (measured with 8 rows on AVX-512)."""


TILES_WORTH = {1: 0.70, 2: 1.0}
"""The same of tiles: two by two of sums leave room for two of each factor, used twice each."""


MOST_COLUMNS = 16
"""Columns of a block in tiles, whose passes share what they read of the operands."""

LEAST_BLOCKS = 8
"""Blocks that units in tiles are cut into if that is more than what `TILES_WORTH` asks for, so that
there is one for each of so many threads."""


def choose_tile(target: Target, gates: int, blocks: int) -> Tile:
    """Choose the tile of a matmul for `gates` matrices of `blocks` vectors of units each.

    Eight rows by up to three columns: every accumulator stays in a register, a vector of weights
    for each column and one broadcast operand beside them; half the rows where registers are few.
    A number of rows that is a power of two leaves nothing over in most batches. One gate takes two
    or three vectors of units, so that a broadcast serves as many multiplications; the number is
    weighed against the vectors of nothing that the last panel is then filled up with. In tiles of
    bfloat16 a panel is up to `MOST_COLUMNS` wide, as long as there are `LEAST_BLOCKS` of them.

    >>> avx512 = Target("avx512", "", "", 64, 32)
    >>> choose_tile(avx512, gates=3, blocks=16), choose_tile(avx512, gates=4, blocks=16)
    (Tile(rows=8, columns=3, vectors=1), Tile(rows=8, columns=2, vectors=1))
    """
    rows = 8 if target.registers >= 32 else 4
    worth = TILES_WORTH if target.pieces else WORTH
    most = max(worth)
    vectors = 1
    if gates == 1:
        vectors = max(worth, key=lambda v: worth[v] * blocks / (-(-blocks // v) * v))
    if target.pieces:
        vectors = max(vectors, min(MOST_COLUMNS // gates, blocks // LEAST_BLOCKS))
    columns = gates * vectors
    return Tile(rows, -(-columns // -(-columns // most)), vectors)


def _machine(name: str, host: dict[str, bool]) -> tuple[str, str]:
    """Give LLVM's names of the processor and of its features."""
    if name == "avx2" and host.get("avx512f"):  # forced, on a machine that could do more
        return "x86-64-v3", ""
    return llvm.get_host_cpu_name(), host.flatten()  # pyright: ignore[reportAttributeAccessIssue]

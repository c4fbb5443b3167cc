"""Products of two matrices of float32, before a loop and for gradients behind it.

Threads take blocks of the result, one after the other, and each copies what it needs of the
factors: nothing is packed for others, nobody waits, and a thread that something else holds up takes
fewer. How a block is made is for a `factors.Unit` to say: `tiled` or `registers`.
"""

from functools import partial
from math import ceil

import torch
from llvmlite import ir
from torch import Tensor

from unrolled.backends.llvm import cache as disk
from unrolled.backends.llvm.code import Code, Value
from unrolled.backends.llvm.factors import Block, Lines, Unit, times_in
from unrolled.backends.llvm.frame import Rows
from unrolled.backends.llvm.memory import POOL
from unrolled.backends.llvm.registers import InRegisters
from unrolled.backends.llvm.table import Table
from unrolled.backends.llvm.target import Target, choose_target, with_tiles
from unrolled.backends.llvm.threads import run_parallel
from unrolled.backends.llvm.tiled import Tiled
from unrolled.errors import BackendError

LEAST = 64
"""Rows, and columns, of a block, of which no more are made then."""

MOST_BLOCKS = 4
"""For each thread, made only so that all have as many."""

SLOTS = (
    *("left", "left row", "left term"),  # a pointer and two strides, as are those that follow
    *("right", "right column", "right term"),
    *("result", "result row"),  # columns lie side by side
    *("rows", "columns", "terms"),
    *("block rows", "block columns", "at once"),
    "room",  # pointer: where threads copy factors
    "member",  # the next thread
    "ticket",  # the next block that no thread has taken
)


class Gemm:
    """The machine code of products of two matrices, of any sizes.

    Args:
        target: with tiles or without.
    """

    def __init__(self, target: Target) -> None:
        self.unit: Unit = Tiled(target) if target.pieces else InRegisters(target)
        name = disk.key("gemm", target)
        self.library = disk.library(name, partial(_emit, self.unit, target), ("gemm",), target)

    def __call__(self, left: Tensor, right: Tensor) -> Tensor:
        """Multiply two matrices of float32 on the processor, in each of which one stride is 1.

        left (rows, terms); right (terms, columns). The result is (rows, columns).
        """
        (rows, terms), columns = left.shape, right.shape[1]
        result = POOL.take((rows, columns), torch.float32)
        if not (rows and columns and terms):
            return result.zero_()
        threads = torch.get_num_threads()
        high, wide = _block(self.unit, rows, columns, threads)
        table = Table({slot: place for place, slot in enumerate(SLOTS)})
        table.matrix("left", left)
        table.matrix("right", right.T)
        table.rows("result", result)
        sizes = (rows, columns, terms, high, wide, self.unit.at_once(terms))
        for slot, number in zip(SLOTS[8:14], sizes, strict=True):
            table.set(slot, number)
        table.rooms({"room": 4 * self.unit.room * threads})
        run_parallel(self.library.addresses["gemm"], table.address, threads)
        return result


def _block(unit: Unit, rows: int, columns: int, threads: int) -> tuple[int, int]:
    """Give the rows and columns of a block, so that all threads have as many blocks if they can."""
    down, across = -(-rows // unit.most[0]), -(-columns // unit.most[1])
    while down * across % threads and down * across < MOST_BLOCKS * threads:
        high, wide = rows / down, columns / across
        if max(high, wide) <= LEAST:
            break
        down, across = (down + 1, across) if high >= wide else (down, across + 1)
    high, wide = unit.unit
    return ceil(rows / down / high) * high, ceil(columns / across / wide) * wide


def gemm(pieces: int) -> Gemm:
    """Give what multiplies factors of so many pieces in tiles; compiled or found compiled.

    Args:
        pieces: of a factor, see `backends.precision`; 0: in registers, as it is.

    Raises:
        BackendError: this machine does not multiply such pieces, or it does not pay.
    """
    target = with_tiles(choose_target(), pieces) if pieces else choose_target()
    if target is None:
        raise BackendError(
            f"on this machine it does not pay to multiply {pieces} pieces of bfloat16"
        )
    return Gemm(target)


def _emit(unit: Unit, target: Target) -> str:
    """Write the module, as LLVM IR in text."""
    module = ir.Module(name="gemm")
    code, table = Code.function(module, "gemm", target, "float32")
    given = {
        slot: code.load_index(code.at(table, place, size=8)) for place, slot in enumerate(SLOTS)
    }

    def take(slot: str) -> Value:
        place = code.at(table, SLOTS.index(slot), size=8)
        return code.builder.atomic_rmw("add", place, code.index(1), "monotonic")

    unit.begin(code)
    room = code.at(code.pointer(given["room"]), code.times(take("member"), unit.room))
    across = times_in(code, given["columns"], given["block columns"])
    blocks = code.times(across, times_in(code, given["rows"], given["block rows"]))

    def body(values: list[Value]) -> list[Value]:
        row = code.times(code.builder.udiv(values[0], across), given["block rows"])
        column = code.times(code.builder.urem(values[0], across), given["block columns"])
        unit.write(code, _block_at(code, given, room, row, column))
        return [take("ticket")]

    code.repeat(lambda values: code.less(values[0], blocks), body, [take("ticket")])
    unit.end(code)
    code.finish()
    return str(module)


def _block_at(code: Code, given: dict[str, Value], room: Value, row: Value, column: Value) -> Block:
    """Give the block that begins at a row and a column."""
    left, right = (
        Lines(code.pointer(given[name]), given[f"{name} {along}"], given[f"{name} term"])
        for name, along in (("left", "row"), ("right", "column"))
    )
    begin = code.add(code.times(row, given["result row"]), column)
    return Block(
        left.after(code, row),
        right.after(code, column),
        Rows(code.at(code.pointer(given["result"]), begin), given["result row"]),
        code.least(code.builder.sub(given["rows"], row), given["block rows"]),
        code.least(code.builder.sub(given["columns"], column), given["block columns"]),
        given["terms"],
        given["at once"],
        room,
    )

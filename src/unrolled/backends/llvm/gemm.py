"""Products of two matrices in the tiles of AMX, before a loop and for gradients behind it.

PyTorch has products of bfloat16 too, but of factors that were rounded before; they round what they
give; and they take 3 to 5 ms to get ready for every new number of rows. Here all is float32 in
memory, and becomes pieces on its way to the tiles.

A thread takes blocks of the result. For so many terms at a time it writes its rows of the left
matrix as tiles into its second cache, and panel by panel the right one into its first; and
multiplies them as a kernel does in the loop. Nothing is packed for others, and nobody waits.
"""

from functools import partial
from math import ceil

import torch
from llvmlite import ir
from torch import Tensor

from unrolled.backends.llvm import cache as disk
from unrolled.backends.llvm.code import Code, Value
from unrolled.backends.llvm.frame import Rows
from unrolled.backends.llvm.memory import POOL
from unrolled.backends.llvm.products import TILE_ROWS
from unrolled.backends.llvm.table import Table
from unrolled.backends.llvm.target import Target, choose_target, with_tiles
from unrolled.backends.llvm.threads import run_parallel
from unrolled.backends.llvm.tiles import TILE, configure_tiles, release_tiles, write_tiles
from unrolled.backends.llvm.tiling import Lines, cut_lines
from unrolled.errors import BackendError

TERMS, MORE_TERMS = 128, 256
"""Terms that are multiplied before more of the factors are cut. With fewer, a panel and two tiles
of rows stay in the first cache; with more, the result, to which every time something is added, is
read and written half as often, which counts where the terms are few."""

PANEL = 2
"""Vectors side by side in a panel of the right matrix."""

MOST, LEAST = 512, 64
"""Rows, and columns, of a block of the result."""

MOST_BLOCKS = 4
"""For each thread, made only so that all have as many."""

SLOTS = (
    *("left", "left row", "left term"),  # a pointer and two strides, as are those that follow
    *("right", "right column", "right term"),
    *("result", "result row"),  # columns lie side by side
    *("rows", "columns", "terms"),
    *("block rows", "block columns", "block terms"),
    "room",  # pointer: where threads cut factors
    "member",  # the next thread
    "ticket",  # the next block that no thread has taken
)


class Gemm:
    """The machine code of products of two matrices, of any sizes.

    Args:
        target: with tiles.
    """

    def __init__(self, target: Target) -> None:
        self.pieces = target.pieces
        name = disk.key("gemm", target)
        self.library = disk.library(name, partial(_emit, target), ("gemm",), target)

    def __call__(self, left: Tensor, right: Tensor) -> Tensor:
        """Multiply two matrices of float32 on the processor, in each of which one stride is 1.

        left (rows, terms); right (terms, columns). The result is (rows, columns).
        """
        (rows, terms), columns = left.shape, right.shape[1]
        result = POOL.take((rows, columns), torch.float32)
        if not (rows and columns and terms):
            return result.zero_()
        threads = torch.get_num_threads()
        high, wide = _block(rows, columns, threads)
        table = Table({slot: place for place, slot in enumerate(SLOTS)})
        table.matrix("left", left)
        table.matrix("right", right.T)
        table.rows("result", result)
        deep = MORE_TERMS if terms <= 2 * MORE_TERMS else TERMS
        sizes = (rows, columns, terms, high, wide, deep)
        for slot, number in zip(SLOTS[8:14], sizes, strict=True):
            table.set(slot, number)
        table.rooms({"room": 4 * room_size(self.pieces) * threads})
        run_parallel(self.library.addresses["gemm"], table.address, threads)
        return result


def _block(rows: int, columns: int, threads: int) -> tuple[int, int]:
    """Give the rows and columns of a block, so that all threads have as many blocks if they can."""
    down, across = -(-rows // MOST), -(-columns // MOST)
    while down * across % threads and down * across < MOST_BLOCKS * threads:
        high, wide = rows / down, columns / across
        if max(high, wide) <= LEAST:
            break
        down, across = (down + 1, across) if high >= wide else (down, across + 1)
    return _whole_panels(rows / down), _whole_panels(columns / across)


def _whole_panels(size: float) -> int:
    unit = PANEL * TILE_ROWS
    return ceil(size / unit) * unit


def room_size(pieces: int) -> int:
    """Give the numbers that a thread cuts its factors into."""
    return (MOST + PANEL * TILE_ROWS) * MORE_TERMS // 2 * pieces


def gemm(pieces: int) -> Gemm:
    """Give what multiplies in tiles, factors of so many pieces; compiled or found compiled.

    Raises:
        BackendError: this machine has no tiles.
    """
    target = with_tiles(choose_target(), pieces)
    if target is None:
        raise BackendError("this machine does not multiply in tiles of bfloat16")
    return Gemm(target)


def _emit(target: Target) -> str:
    """Write the module, as LLVM IR in text."""
    module = ir.Module(name="gemm")
    code, table = Code.function(module, "gemm", target, "float32")
    given = {
        slot: code.load_index(code.at(table, place, size=8)) for place, slot in enumerate(SLOTS)
    }

    def take(slot: str) -> Value:
        place = code.at(table, SLOTS.index(slot), size=8)
        return code.builder.atomic_rmw("add", place, code.index(1), "monotonic")

    configure_tiles(code)
    room = code.at(
        code.pointer(given["room"]), code.times(take("member"), room_size(target.pieces))
    )
    across = _times_in(code, given["columns"], given["block columns"])
    blocks = code.times(across, _times_in(code, given["rows"], given["block rows"]))

    def block(values: list[Value]) -> list[Value]:
        row = code.times(code.builder.udiv(values[0], across), given["block rows"])
        column = code.times(code.builder.urem(values[0], across), given["block columns"])
        _write_block(code, given, room, row, column)
        return [take("ticket")]

    code.repeat(lambda values: code.less(values[0], blocks), block, [take("ticket")])
    release_tiles(code)
    code.finish()
    return str(module)


def _times_in(code: Code, whole: Value, part: "Value | int") -> Value:
    """Give how often a part is in a whole, the last time perhaps not all of it."""
    part = code.index(part)
    return code.builder.udiv(code.add(whole, code.add(part, -1)), part)


def _write_block(code: Code, given: dict[str, Value], room: Value, row: Value, column: Value):
    """Write one block of the result: all terms of it, some at a time."""
    pieces = code.target.pieces
    line = MORE_TERMS // 2 * pieces
    panel = code.at(room, MOST * line)
    rows = code.least(code.builder.sub(given["rows"], row), given["block rows"])
    columns = code.least(code.builder.sub(given["columns"], column), given["block columns"])
    left, right = (
        Lines(
            code.at(code.pointer(given[name]), code.times(first, given[f"{name} {along}"])),
            given[f"{name} {along}"],
            given[f"{name} term"],
        )
        for name, along, first in (("left", "row", row), ("right", "column", column))
    )
    sums = Rows(code.room(2 * TILE_ROWS * PANEL), code.index(PANEL * code.lanes))
    begin = code.add(code.times(row, given["result row"]), column)
    result = Rows(code.at(code.pointer(given["result"]), begin), given["result row"])
    step = PANEL * code.lanes
    in_room = TILE_ROWS, TILE, TILE_ROWS * line  # from row to row, piece to piece, tile to tile
    in_panel = step, TILE_ROWS * step, code.lanes

    def some_terms(first: Value, _: list[Value]) -> list[Value]:
        count = code.least(code.builder.sub(given["terms"], first), given["block terms"])
        deep = _times_in(code, count, 2 * TILE_ROWS)
        cut_lines(code, left, rows, first, count, room, *in_room, in_rows=True)

        def columns_of_panel(place: Value, _: list[Value]) -> list[Value]:
            there = Lines(
                code.at(right.base, code.times(place, right.line)), right.line, right.term
            )
            wide = code.least(code.builder.sub(columns, place), PANEL * code.lanes)
            cut_lines(code, there, wide, first, count, panel, *in_panel, in_rows=False)

            def some_rows(position: Value, _: list[Value]) -> list[Value]:
                operands = Rows(code.at(room, code.times(position, line)), code.index(line))
                high = code.least(code.builder.sub(rows, position), 2 * TILE_ROWS)
                pairs = code.times(deep, pieces * TILE_ROWS)
                start = code.add(code.times(position, result.stride), place)
                target = Rows(code.at(result.base, start), result.stride)
                more = code.less(0, first)
                tiles = code.equal(wide, PANEL * code.lanes)
                tiles = code.builder.and_(tiles, code.equal(high, 2 * TILE_ROWS))
                with code.builder.if_else(tiles) as (whole, part):
                    with whole:
                        write_tiles(code, pieces, pairs, operands, high, panel, PANEL, target, more)
                    with part:
                        write_tiles(code, pieces, pairs, operands, high, panel, PANEL, sums)
                        _add(code, sums, target, high, wide, more)
                return []

            code.loop(0, rows, some_rows, step=2 * TILE_ROWS)
            return []

        code.loop(0, columns, columns_of_panel, step=PANEL * code.lanes)
        return []

    code.loop(0, given["terms"], some_terms, step=given["block terms"])


def _add(code: Code, sums: Rows, target: Rows, high: Value, wide: Value, more: Value) -> None:
    """Write how sums go to the end of the result, perhaps on top of what is there."""
    nothing = ir.Constant(code.mask_type, [0] * code.lanes)
    masks = [code.first_lanes(code.add(wide, -vector * code.lanes)) for vector in range(PANEL)]
    before = [code.builder.select(more, mask, nothing) for mask in masks]

    def row(number: Value, _: list[Value]) -> list[Value]:
        source = code.at(sums.base, code.times(number, sums.stride))
        there = code.at(target.base, code.times(number, target.stride))
        for vector in range(PANEL):
            place = code.at(there, vector * code.lanes)
            value = code.load(code.at(source, vector * code.lanes))
            value = code.builder.fadd(value, code.load(place, before[vector]))
            code.store(value, place, masks[vector])
        return []

    code.loop(0, high, row)

"""Blocks of a product of tiles: float32 in memory, pieces of bfloat16 on the way to the tiles.

PyTorch has products of bfloat16 too, but of factors that were rounded before; they round what they
give; and they take 3 to 5 ms to get ready for every new number of rows.

For so many terms at a time a thread writes its rows of the left matrix as tiles into its second
cache, and panel by panel the right one into its first; and multiplies them as a kernel does in the
loop.
"""

from llvmlite import ir

from unrolled.backends.llvm.code import Code, Value
from unrolled.backends.llvm.factors import Block, Unit, times_in
from unrolled.backends.llvm.frame import Rows
from unrolled.backends.llvm.products import TILE_ROWS
from unrolled.backends.llvm.target import Target
from unrolled.backends.llvm.tiles import TILE, configure_tiles, release_tiles, write_tiles
from unrolled.backends.llvm.tiling import cut_lines

TERMS, MORE_TERMS = 128, 256
"""Terms that are multiplied before more of the factors are cut. With fewer, a panel and two tiles
of rows stay in the first cache; with more, the result, to which every time something is added, is
read and written half as often, which counts where the terms are few."""

PANEL = 2
"""Vectors side by side in a panel of the right matrix."""

MOST = 512
"""Rows, and columns, of a block of the result."""


class Tiled(Unit):
    """How blocks are made in tiles."""

    most = MOST, MOST
    unit = PANEL * TILE_ROWS, PANEL * TILE_ROWS

    def __init__(self, target: Target) -> None:
        self.pieces = target.pieces
        self.room = (MOST + PANEL * TILE_ROWS) * MORE_TERMS // 2 * target.pieces

    def at_once(self, terms: int) -> int:
        """Give the terms that are multiplied before more of the factors are cut."""
        return MORE_TERMS if terms <= 2 * MORE_TERMS else TERMS

    def begin(self, code: Code) -> None:
        """Write what a thread does first."""
        configure_tiles(code)

    def end(self, code: Code) -> None:
        """Write what a thread does last."""
        release_tiles(code)

    def write(self, code: Code, block: Block) -> None:
        """Write one block of the result: all terms of it, some at a time."""
        pieces = self.pieces
        line = MORE_TERMS // 2 * pieces
        panel = code.at(block.room, MOST * line)
        sums = Rows(code.room(2 * TILE_ROWS * PANEL), code.index(PANEL * code.lanes))
        step = PANEL * code.lanes
        in_room = TILE_ROWS, TILE, TILE_ROWS * line  # from row to row, piece to piece, tile to tile
        in_panel = step, TILE_ROWS * step, code.lanes

        def some_terms(first: Value, _: list[Value]) -> list[Value]:
            count = code.least(code.builder.sub(block.terms, first), block.at_once)
            deep = times_in(code, count, 2 * TILE_ROWS)
            given = first, count, block.room
            cut_lines(code, block.left, block.rows, *given, *in_room, in_rows=True)

            def columns_of_panel(place: Value, _: list[Value]) -> list[Value]:
                wide = code.least(code.builder.sub(block.columns, place), PANEL * code.lanes)
                there = block.right.after(code, place)
                cut_lines(code, there, wide, first, count, panel, *in_panel, in_rows=False)

                def some_rows(position: Value, _: list[Value]) -> list[Value]:
                    operands = Rows(
                        code.at(block.room, code.times(position, line)), code.index(line)
                    )
                    high = code.least(code.builder.sub(block.rows, position), 2 * TILE_ROWS)
                    pairs = code.times(deep, pieces * TILE_ROWS)
                    start = code.add(code.times(position, block.result.stride), place)
                    target = Rows(code.at(block.result.base, start), block.result.stride)
                    more = code.less(0, first)
                    tiles = code.equal(wide, PANEL * code.lanes)
                    tiles = code.builder.and_(tiles, code.equal(high, 2 * TILE_ROWS))
                    given = code, pieces, pairs, operands, high, panel, PANEL
                    with code.builder.if_else(tiles) as (whole, part):
                        with whole:
                            write_tiles(*given, target, more)
                        with part:
                            write_tiles(*given, sums)
                            _add(code, sums, target, high, wide, more)
                    return []

                code.loop(0, block.rows, some_rows, step=2 * TILE_ROWS)
                return []

            code.loop(0, block.columns, columns_of_panel, step=PANEL * code.lanes)
            return []

        code.loop(0, block.terms, some_terms, step=block.at_once)


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

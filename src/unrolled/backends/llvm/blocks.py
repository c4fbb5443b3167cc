"""Blocks: a nest with matmuls, some units at a time, those of one panel of weights.

Units are outside and rows inside, so that the weights of a block of units are read from the cache
for all rows but the first. What the matmuls of a block of units and a few rows give lies in a small
room, in the nearest cache; the pointwise operations behind them take it from there, for several
vectors at once, so that the processor has other work while it waits for the end of a division.
"""

from dataclasses import dataclass

from unrolled.backends.llvm.code import INDEX, POINTER, Code, Value
from unrolled.backends.llvm.frame import Rows, address
from unrolled.backends.llvm.matmul import write_rows
from unrolled.backends.llvm.products import TILE_ROWS, Product
from unrolled.backends.llvm.spots import (
    TOGETHER,
    Scene,
    Spot,
    ask_to_write,
    row_at,
    write_spots,
)
from unrolled.backends.llvm.tiles import write_tiles

ROOM_ROWS = 16
"""Rows of a block of units between whose matmuls and pointwise operations the sums lie in memory"""


@dataclass(frozen=True)
class Block:
    """Some units of a nest with matmuls: those of one panel of weights."""

    number: Value  # among the panels of all segments
    segment: Value
    inside: Value  # the first unit, counted from the segment's first
    vectors: Value  # of units that there are


def write_block(scene: Scene, number: Value, first: Value, end: Value) -> None:
    """Write a block of units, and in it the loop over as many rows as the room holds."""
    code, one = scene.code, scene.products[0]  # they agree in units, segments and tile
    columns = sum(product.columns for product in scene.products)
    size = 2 * TILE_ROWS if one.pieces else ROOM_ROWS
    room = code.room(size * columns)
    segment = code.builder.udiv(number, code.index(one.panels))
    before = code.times(code.builder.urem(number, code.index(one.panels)), one.tile.vectors)
    left = code.builder.sub(code.index(-(-one.width // code.lanes)), before)
    vectors = code.least(left, one.tile.vectors)
    block = Block(number, segment, code.times(before, code.lanes), vectors)

    def rows(position: Value, _: list[Value]) -> list[Value]:
        until = code.least(code.add(position, size), end)
        column = 0
        _ask_for_block(scene, block, position, until)
        for product in scene.products:
            _write_passes(scene, product, block, position, until, room, column)
            column += product.columns
        _write_behind(scene, block, position, until, room)
        return []

    code.loop(first, end, rows, step=size)


def _write_passes(
    scene: Scene,
    product: Product,
    block: Block,
    position: Value,
    until: Value,
    room: Value,
    column: int,
) -> None:
    """Write one product of some rows: in each pass over k as many columns as the registers hold."""
    code = scene.code
    start = code.add(product.start, code.times(block.number, product.panel_size))
    panel = code.at(scene.arguments.pointers["packed"], start)
    width = sum(p.columns for p in scene.products)

    def passes(first: Value) -> None:
        there, place = panel, column
        for times, columns in product.passes:
            size = product.depth * columns * code.lanes

            def body(
                number: Value, _: list[Value], columns=columns, size=size, there=there, place=place
            ):
                here = code.at(there, code.times(number, size))
                target = code.add(place, code.times(number, columns))
                target = code.at(room, code.times(target, code.lanes))
                sums = Rows(target, code.index(width * code.lanes))
                given = scene, product, block, position, until, here, columns, sums
                if product.pieces:
                    _write_tiles_of(*given, first)
                else:
                    _write_rows_of(*given)
                return []

            code.loop(0, times, body)
            there, place = code.at(there, times * size), place + times * columns

    def some_terms(first: Value, _: list[Value]) -> list[Value]:
        passes(first)
        return []

    if product.pieces:
        code.loop(0, product.pairs, some_terms, step=product.stretch)
    else:
        passes(code.index(0))


def _write_tiles_of(
    scene: Scene,
    product: Product,
    block: Block,
    position: Value,
    until: Value,
    panel: Value,
    columns: int,
    sums: Rows,
    first: Value,
) -> None:
    """Write a pass over some rows in tiles, over the stretch of terms from a pair of them on."""
    code = scene.code
    rows = scene.in_tiles.of_product(product, position, block.segment)
    rows = Rows(code.at(rows.base, code.times(first, TILE_ROWS)), rows.stride)
    pairs = code.least(code.builder.sub(code.index(product.pairs), first), product.stretch)
    panel = code.at(panel, code.times(first, columns * code.lanes))
    more = code.less(0, first) if product.stretch < product.pairs else None
    count = code.builder.sub(until, position)
    write_tiles(code, product.pieces, pairs, rows, count, panel, columns, sums, more)


def _write_rows_of(
    scene: Scene,
    product: Product,
    block: Block,
    position: Value,
    until: Value,
    panel: Value,
    columns: int,
    sums: Rows,
) -> None:
    """Write a pass over some rows, by a function that all products of its size share."""
    code, terms, high = scene.code, product.terms, product.tile.rows
    operand = scene.homes[product.operand.home]
    begin = code.add(product.operand.offset, code.times(block.segment, terms))
    order = code.at(scene.arguments.pointers["order"], position, size=8)
    count = code.builder.sub(until, position)

    def write(inner: Code, given: list[Value]) -> None:
        order, count, base, stride, panel, place, line = given
        size = terms, columns, high
        write_rows(inner, order, count, Rows(base, stride), panel, *size, Rows(place, line))

    types = [POINTER, INDEX, POINTER, INDEX, POINTER, POINTER, INDEX]
    rows = code.at(operand.base, begin), operand.stride
    given = [order, count, *rows, panel, sums.base, sums.stride]
    code.call(f"rows of {terms} terms by {columns} columns", types, write, given)


def _ask_for_block(scene: Scene, block: Block, position: Value, until: Value) -> None:
    """Ask for what is read and written behind the matmuls, which take a while."""
    code, one = scene.code, scene.products[0]
    unit = code.add(code.times(block.segment, one.width), block.inside)
    wanted = [(p, False) for p in scene.nest.loads.values() if p.home.kind == "input"]
    wanted += [(s.place, True) for s in scene.nest.stores if s.place.home.kind == "output"]

    def body(here: Value, _: list[Value]) -> list[Value]:
        row = row_at(scene, here)
        if one.pieces:
            ask_to_write(scene, row, unit, one.tile.vectors)
            return []
        for place, write in wanted:
            code.prefetch(code.at(address(code, scene.homes, place, row), unit), write=write)
        return []

    code.loop(position, until, body)


def _write_behind(scene: Scene, block: Block, position: Value, until: Value, room: Value) -> None:
    """Write what follows the matmuls of some rows."""
    code, one = scene.code, scene.products[0]
    width = sum(p.columns for p in scene.products)

    def vectors(vector: Value, _: list[Value]) -> list[Value]:
        inside = code.add(block.inside, code.times(vector, code.lanes))
        unit = code.add(code.times(block.segment, one.width), inside)
        mask = code.mask(inside, one.width)

        def rows(first: Value, _: list[Value]) -> list[Value]:
            spots = []
            for number in range(TOGETHER):
                here = code.least(code.add(first, number), code.add(until, -1))
                start = code.times(code.builder.sub(here, position), width * code.lanes)
                start = code.at(code.at(room, start), code.times(vector, code.lanes))
                sums, column = {}, 0
                for product in scene.products:
                    for factor in product.factors:
                        sums[factor.window] = code.load(code.at(start, column * code.lanes))
                        column += one.tile.vectors
                spots.append(Spot(row_at(scene, here), unit, mask, sums))
            write_spots(scene, spots)
            return []

        code.loop(position, until, rows, step=TOGETHER)
        return []

    code.loop(0, block.vectors, vectors)

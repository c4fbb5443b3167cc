"""Writing a nest: loops over blocks of units and rows, and what is done for each vector of them.

Units are outside and rows inside, so that the weights of a block of units are read from the cache
for all rows but the first. What the matmuls of a block of units and a few rows give lies in a small
room, in the nearest cache; the pointwise operations behind them take it from there, for several
vectors at once, so that the processor has other work while it waits for the end of a division.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from unrolled.backends.llvm.code import Code, Value
from unrolled.backends.llvm.frame import Arguments, Rows, address
from unrolled.backends.llvm.matmul import write_tile
from unrolled.backends.llvm.plan import Home, Nest, Place, Window, operand_windows, place_of_rows
from unrolled.backends.llvm.pointwise import POINTWISE
from unrolled.backends.llvm.products import TILE_ROWS, Product
from unrolled.backends.llvm.reductions import Running
from unrolled.backends.llvm.tiles import PieceRows, cut_rows, write_tiles
from unrolled.backends.llvm.views import write_view
from unrolled.ir import OPS, Op, Operation

ROOM_ROWS = 16
"""Rows of a block of units between whose matmuls and pointwise operations the sums lie in memory"""

TOGETHER = 2
"""Vectors that go through the pointwise operations side by side."""


@dataclass(frozen=True)
class Scene:
    """Where a nest is written: all that its parts have in common."""

    code: Code
    arguments: Arguments
    nest: Nest
    products: tuple[Product, ...]
    homes: dict[Home, Rows]
    in_tiles: PieceRows

    def operation(self, name: str) -> Operation:
        """Give the operation that computes a value."""
        return next(o for o in self.arguments.plan.program.body if o.name == name)


@dataclass(frozen=True)
class Spot:
    """One vector of one row."""

    row: Value
    unit: Value  # the first of its units
    mask: Value | None  # lanes within the nest's width
    sums: dict[Window, Value]  # the results of matmuls


def blocks(products: Sequence[Product]) -> int:
    """Count the blocks of units that a nest with matmuls is cut into; 0: it has none."""
    return products[0].segments * products[0].panels if products else 0


def write_before(scene: Scene, first: Value, end: Value) -> None:
    """Write what each thread does before it takes pieces of a nest: operands are cut."""
    code = scene.code
    for product in scene.products:
        if not product.pieces:
            continue

        def body(position: Value, _: list[Value], product=product) -> list[Value]:
            source = address(code, scene.homes, product.operand, _row(scene, position))
            cut_rows(code, product, source, scene.in_tiles.of_row(product, position))
            return []

        code.loop(first, end, body)


def write_piece(scene: Scene, piece: Value, rows: Value, first: Value, end: Value) -> None:
    """Write one piece of a nest over the rows order[first] to order[end - 1].

    It is a block of units where there are matmuls, and so many of the rows elsewhere.
    """
    if scene.products:
        _write_block(scene, piece, first, end)
    else:
        code = scene.code
        begin = code.add(first, code.times(piece, rows))
        _write_rows(scene, begin, code.least(code.add(begin, rows), end))


def _row(scene: Scene, position: Value) -> Value:
    order = scene.arguments.pointers["order"]
    return scene.code.load_index(scene.code.at(order, position, size=8))


def _write_rows(scene: Scene, first: Value, end: Value) -> None:
    """Write a nest without matmuls: rows outside, so that memory is read in a straight line."""
    code, nest = scene.code, scene.nest
    vectors = -(-nest.line // code.lanes)
    together = TOGETHER if vectors > 1 and not (nest.reductions and vectors % TOGETHER) else 1

    def rows(position: Value, _: list[Value]) -> list[Value]:
        row = _row(scene, position)
        running = _running(scene, row, together)
        for reduction in running:
            reduction.prepare()

        def line(number: Value, carried: list[Value]) -> list[Value]:
            start = code.times(number, nest.line)

            def units(vector: Value, registers: list[Value]) -> list[Value]:
                spots = []
                for one in range(together):
                    inside = code.least(code.add(vector, one), vectors - 1)
                    inside = code.times(inside, code.lanes)
                    mask = code.mask(inside, nest.line)
                    spots.append(Spot(row, code.add(start, inside), mask, {}))
                values = write_spots(scene, spots)
                return _taken(scene, running, registers, spots, values)

            registers = code.loop(0, vectors, units, step=together, carry=carried)
            return [
                register
                for reduction, own in zip(running, _shared(running, registers), strict=True)
                for register in reduction.end_line(number, own)
            ]

        begin = [register for reduction in running for register in reduction.begin]
        code.loop(0, nest.width // nest.line, line, carry=begin)
        return []

    code.loop(first, end, rows)


def _running(scene: Scene, row: Value, together: int) -> list[Running]:
    """Give the reductions of one row."""
    code, nest = scene.code, scene.nest
    return [
        Running(
            code,
            reduction.operation,
            [address(code, scene.homes, place, row) for place in reduction.places],
            nest.line,
            together,
        )
        for reduction in nest.reductions
    ]


def _shared(running: Sequence[Running], registers: Sequence[Value]) -> Iterator[list[Value]]:
    """Give each reduction its own of all registers."""
    left = iter(registers)
    for reduction in running:
        yield list(islice(left, len(reduction.begin)))


def _taken(
    scene: Scene,
    running: Sequence[Running],
    registers: Sequence[Value],
    spots: Sequence[Spot],
    values: Sequence[dict[Window, Value]],
) -> list[Value]:
    """Write how reductions take in some vectors; give what all registers then hold."""
    units, masks = [spot.unit for spot in spots], [spot.mask for spot in spots]
    windows = [reduction.window for reduction in scene.nest.reductions]
    return [
        register
        for one, own, window in zip(running, _shared(running, registers), windows, strict=True)
        for register in one.take(own, [value[window] for value in values], units, masks)
    ]


@dataclass(frozen=True)
class Block:
    """Some units of a nest with matmuls: those of one panel of weights."""

    number: Value  # among the panels of all segments
    segment: Value
    inside: Value  # the first unit, counted from the segment's first
    vectors: Value  # of units that there are


def _write_block(scene: Scene, number: Value, first: Value, end: Value) -> None:
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
    """Write a pass over some rows, tile by tile; rows behind the last are the last once more.

    A tile that is filled up costs less than a smaller one as long as it is more than half full.
    """
    code, done, rows = scene.code, position, product.tile.rows

    def tile(values: list[Value], rows: int) -> list[Value]:
        last = code.add(until, -1)
        indices = [_row(scene, code.least(code.add(values[0], r), last)) for r in range(rows)]
        unit = code.add(code.times(block.segment, product.width), block.inside)
        _prefetch(scene, indices, unit)
        begin = code.times(block.segment, product.terms)
        operands = [
            code.at(address(code, scene.homes, product.operand, row), begin) for row in indices
        ]
        found = write_tile(code, operands, panel, product.terms, columns)
        for row in range(rows):
            line = code.add(code.builder.sub(values[0], position), row)
            start = code.at(sums.base, code.times(line, sums.stride))
            for column in range(columns):
                code.store(found[row][column], code.at(start, column * code.lanes))
        return [code.add(values[0], rows)]

    while rows:
        smaller = {1: 0}.get(rows, rows // 2 if rows == product.tile.rows else 1)
        (done,) = code.repeat(
            lambda values, smaller=smaller: code.less(code.add(values[0], smaller), until),
            lambda values, rows=rows: tile(values, rows),
            [done],
        )
        rows = smaller


def _prefetch(scene: Scene, rows: list[Value], unit: Value) -> None:
    """Ask for what is read and written behind the matmuls, which take a while."""
    nest = scene.nest
    wanted = [(p, False) for p in nest.loads.values() if p.home.kind == "input"]
    wanted += [(s.place, True) for s in nest.stores if s.place.home.kind == "output"]
    for place, write in wanted:
        for row in rows:
            start = address(scene.code, scene.homes, place, row)
            scene.code.prefetch(scene.code.at(start, unit), write=write)


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
                spots.append(Spot(_row(scene, here), unit, mask, sums))
            write_spots(scene, spots)
            return []

        code.loop(position, until, rows, step=TOGETHER)
        return []

    code.loop(0, block.vectors, vectors)


def write_spots(scene: Scene, spots: Sequence[Spot]) -> list[dict[Window, Value]]:
    """Write all that a nest computes for some vectors, and store what is to be stored.

    Returns:
        What was computed for each of them.
    """
    code = scene.code
    values = [dict(spot.sums) for spot in spots]
    for window in scene.nest.windows:
        for spot, own in zip(spots, values, strict=True):
            if window not in own:
                own[window] = _window(scene, spot, window, own)
    past, near = [], []
    for store in scene.nest.stores:
        for spot, own in zip(spots, values, strict=True):
            value = own[store.window]
            if value.type == code.mask_type:
                value = code.builder.select(value, code.constant(1.0), code.constant(0.0))
            start = address(code, scene.homes, store.place, spot.row)
            there = past if spot.mask is None and is_left_alone(scene, store.place) else near
            there.append((value, code.at(start, spot.unit), spot.mask))
    for stored in near:
        code.store(*stored)
    if not past:
        return values
    many = code.less(0, scene.arguments.numbers["past caches"])
    with code.builder.if_else(many) as (large, small):
        with large:
            for value, there, _ in past:
                code.store_past_caches(value, there)
        with small:
            for value, there, _ in past:
                code.store(value, there)
    return values


def is_left_alone(scene: Scene, place: Place) -> bool:
    """Tell whether a place of an output is in no vector with another and not read in the loop."""
    layout, lanes = scene.arguments.layout, scene.code.lanes
    if place.home.kind != "output" or place.home in scene.arguments.read:
        return False
    return layout.outputs[place.home.name] % lanes == 0 == place.offset % lanes


def _window(scene: Scene, spot: Spot, window: Window, values: dict[Window, Value]) -> Value:
    """Write one window: loaded, moved or computed."""
    if window in scene.nest.loads:
        return _load(scene, spot, window)
    operation = scene.operation(window.value)
    if operation.op in (Op.EXPAND, Op.SWAP):
        source = place_of_rows(scene.arguments.plan, str(operation.operands[0]))
        start = address(scene.code, scene.homes, source, spot.row)
        return write_view(scene.code, operation, start, window.base, scene.nest.width, spot)
    if operation.op == Op.SLICE:
        return values[operand_windows(operation, window)[0]]
    if operation.op == Op.FILL:
        return scene.code.constant(float(operation.attributes[0]))
    assert OPS[operation.op].kind == "pointwise"
    operands = [
        values[Window(o, window.base)] if isinstance(o, str) else scene.code.constant(o)
        for o in operation.operands
    ]
    return POINTWISE[operation.op](scene.code, *operands, *operation.attributes)


def _load(scene: Scene, spot: Spot, window: Window) -> Value:
    code, type = scene.code, scene.arguments.plan.program.types[window.value]
    place = scene.nest.loads[window]
    if type.shape == ():  # one number for all windows
        return code.load_spread(address(code, scene.homes, Place(place.home, 0), spot.row))
    start = address(code, scene.homes, place, spot.row)
    value = code.load(code.at(start, spot.unit), spot.mask)
    return code.compare("!=", value, code.constant(0.0)) if type.kind == "mask" else value

"""Writing a nest: its pieces, which threads take, blocks of units or some of the rows.

Without matmuls, rows are outside and units inside; reductions are made along the way.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

from unrolled.backends.llvm.blocks import write_block
from unrolled.backends.llvm.code import Value
from unrolled.backends.llvm.frame import address
from unrolled.backends.llvm.plan import Window
from unrolled.backends.llvm.products import Product
from unrolled.backends.llvm.reductions import Running
from unrolled.backends.llvm.spots import TOGETHER, Scene, Spot, ask_to_write, row_at, write_spots
from unrolled.backends.llvm.tiles import cut_rows


def count_blocks(products: Sequence[Product]) -> int:
    """Count the blocks of units that a nest with matmuls is cut into; 0: it has none."""
    return products[0].segments * products[0].panels if products else 0


def write_before(scene: Scene, first: Value, end: Value) -> None:
    """Write what each thread does before it takes pieces of a nest: operands are cut."""
    code = scene.code
    for product in scene.products:
        if not product.pieces:
            continue

        def body(position: Value, _: list[Value], product=product) -> list[Value]:
            source = address(code, scene.homes, product.operand, row_at(scene, position))
            cut_rows(code, product, source, scene.in_tiles.of_row(product, position))
            return []

        code.loop(first, end, body)


def write_piece(scene: Scene, piece: Value, rows: Value, first: Value, end: Value) -> None:
    """Write one piece of a nest over the rows order[first] to order[end - 1].

    It is a block of units where there are matmuls, and so many of the rows elsewhere.
    """
    if scene.products:
        write_block(scene, piece, first, end)
    else:
        code = scene.code
        begin = code.add(first, code.times(piece, rows))
        _write_rows(scene, begin, code.least(code.add(begin, rows), end))


def _write_rows(scene: Scene, first: Value, end: Value) -> None:
    """Write a nest without matmuls: rows outside, so that memory is read in a straight line."""
    code, nest = scene.code, scene.nest
    vectors = -(-nest.line // code.lanes)
    together = TOGETHER if vectors > 1 and not (nest.reductions and vectors % TOGETHER) else 1

    def rows(position: Value, _: list[Value]) -> list[Value]:
        row = row_at(scene, position)
        if scene.arguments.layout.pieces_width:  # products have let the memory forget what follows
            following = row_at(scene, code.least(code.add(position, 1), code.add(end, -1)))
            ask_to_write(scene, following, code.index(0), -(-nest.width // code.lanes))
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

"""The code that packs weights: every panel as one straight line, in the order of its reading.

    panel[block][pass][k][column][lane]

Threads take panels one after the other. A column is copied where its units lie side by side in the
matrix, turned in square blocks of a vector's width where its terms do, and gathered number by
number from matrices in any other order.
"""

from dataclasses import dataclass

from unrolled.backends.llvm.code import INDEX, POINTER, Code, Value
from unrolled.backends.llvm.pieces import cut
from unrolled.backends.llvm.products import TILE_ROWS, Factor, Product
from unrolled.backends.llvm.transposing import transposed


@dataclass(frozen=True)
class Matrix:
    """A matrix in memory: its address and its strides by axis, in numbers."""

    base: Value
    strides: tuple[Value, ...]


@dataclass(frozen=True)
class Column:
    """One vector of weights for each term: where it comes from and where it goes."""

    source: Value
    target: Value
    along: Value  # from unit to unit in the source
    down: Value  # from term to term in the source
    left: Value  # units that there are, from the column's first on
    terms: Value
    step: Value  # from term to term in the target


def write_panel(
    code: Code, product: Product, matrices: dict[str, Matrix], number: Value, packed: Value
) -> None:
    """Write the code that fills one panel of a product; lanes behind the last unit become 0."""
    segment = code.builder.udiv(number, code.index(product.panels))
    block = code.builder.urem(number, code.index(product.panels))
    panel = code.at(packed, code.add(product.start, code.times(number, product.panel_size)))
    columns = [(f, vector) for f in product.factors for vector in range(product.tile.vectors)]
    sizes = [columns for times, columns in product.passes for _ in range(times)]
    for size in sizes:
        for place in range(size):
            factor, vector = columns.pop(0)
            unit = code.times(code.add(code.times(block, product.tile.vectors), vector), code.lanes)
            target = code.at(panel, (product.lead * size + place) * code.lanes)
            column = _column(
                code, product, factor, matrices[factor.matrix], segment, unit, target, size
            )
            _call(code, column)
        if product.pieces:
            _call_cut(code, panel, product, size * code.lanes)
        panel = code.at(panel, product.depth * size * code.lanes)


def _column(
    code: Code,
    product: Product,
    factor: Factor,
    matrix: Matrix,
    segment: Value,
    unit: Value,
    target: Value,
    size: int,
) -> Column:
    along, down = matrix.strides[factor.unit_axis], matrix.strides[factor.term_axis]
    source = code.at(matrix.base, code.times(code.add(unit, factor.window.base), along))
    if product.segments > 1:
        source = code.at(source, code.times(segment, matrix.strides[0]))
    left = code.builder.sub(code.index(product.width), unit)
    terms, step = code.index(product.terms), code.index(size * code.lanes)
    return Column(source, target, along, down, left, terms, step)


def _call(code: Code, column: Column) -> None:
    """Call the function that packs a column; it is written at its first call."""
    arguments = list(vars(column).values())
    types = [POINTER, POINTER, *[INDEX] * 5]
    code.call("pack_column", types, lambda inner, given: _pack(inner, Column(*given)), arguments)


def _pack(code: Code, column: Column) -> None:
    build = code.builder
    side_by_side = build.icmp_signed("==", column.along, code.index(1))
    square = build.and_(
        build.icmp_signed("==", column.down, code.index(1)),
        build.not_(code.less(column.terms, code.lanes)),
    )
    some = code.less(0, column.left)
    with build.if_else(build.and_(some, side_by_side)) as (simple, other):
        with simple:
            _copy(code, column)
        with other, build.if_else(build.and_(some, square)) as (turned, general):
            with turned:
                _turn(code, column)
            with general:
                _gather(code, column)


def _copy(code: Code, column: Column) -> None:
    mask = code.first_lanes(column.left)

    def body(k: Value, _: list[Value]) -> list[Value]:
        vector = code.load(code.at(column.source, code.times(k, column.down)), mask)
        code.store(vector, code.at(column.target, code.times(k, column.step)))
        return []

    code.loop(0, column.terms, body)


def _turn(code: Code, column: Column) -> None:
    """Write how square blocks are turned; the last one overlaps the one before it."""
    build, lanes = code.builder, code.lanes
    last = code.add(column.terms, -lanes)

    def body(k: Value, _: list[Value]) -> list[Value]:
        k = code.least(k, last)
        rows = []
        for lane in range(lanes):
            there = code.less(lane, column.left)
            unit = build.select(there, code.index(lane), code.index(0))
            row = code.load(code.at(column.source, code.add(code.times(unit, column.along), k)))
            rows.append(build.select(there, row, code.constant(0.0)))
        for term, vector in enumerate(transposed(code, rows)):
            code.store(vector, code.at(column.target, code.times(code.add(k, term), column.step)))
        return []

    code.loop(0, column.terms, body, step=lanes)


def _gather(code: Code, column: Column) -> None:
    count = code.least(column.left, code.index(code.lanes))

    def body(k: Value, _: list[Value]) -> list[Value]:
        here = code.at(column.source, code.times(k, column.down))
        there = code.at(column.target, code.times(k, column.step))
        code.store(code.constant(0.0), there)

        def move(lane: Value, _: list[Value]) -> list[Value]:
            number = code.load_number(code.at(here, code.times(column.along, lane)))
            code.store_number(number, code.at(there, lane))
            return []

        code.loop(0, count, move)
        return []

    code.loop(0, column.terms, body)


def _call_cut(code: Code, panel: Value, product: Product, row: int) -> None:
    """Call the function that cuts a panel, `row` numbers wide, into pieces where it lies."""
    source = code.at(panel, product.lead * row)
    numbers = [product.terms // 2, product.terms % 2, product.deep * TILE_ROWS, row]
    types = [POINTER, POINTER, *[INDEX] * len(numbers)]

    def write(inner: Code, given: list[Value]) -> None:
        _cut(inner, product.pieces, *given)

    code.call("cut_panel", types, write, [source, panel, *numbers])


def _cut(
    code: Code,
    pieces: int,
    source: Value,
    target: Value,
    whole: Value,
    odd: Value,
    pairs: Value,
    row: Value,
) -> None:
    """Write how terms are put side by side by pairs, and zeros behind them up to whole tiles."""
    zero = code.constant(0.0)

    def write(begin: Value, end: Value, terms: int) -> None:
        def pair(number: Value, _: list[Value]) -> list[Value]:
            first = code.at(source, code.times(code.times(number, 2), row))
            inside = code.builder.urem(number, code.index(TILE_ROWS))
            tile = code.times(code.builder.sub(number, inside), pieces)
            there = code.at(target, code.times(code.add(tile, inside), row))

            def vector(place: Value, _: list[Value]) -> list[Value]:
                parts = [zero, zero]
                for term in range(terms):
                    start = code.at(first, code.times(row, term))
                    parts[term] = code.load(code.at(start, place))
                for piece, both in enumerate(cut(code, parts, pieces, in_turn=True)):
                    end = code.at(there, code.times(row, piece * TILE_ROWS))
                    code.store(both, code.at(end, place))
                return []

            code.loop(0, row, vector, step=code.lanes)
            return []

        code.loop(begin, end, pair)

    last = code.add(whole, odd)
    write(code.index(0), whole, 2)
    write(whole, last, 1)
    write(last, pairs, 0)

"""Products of what lies in tiles, by vectors: for a processor that multiplies bfloat16 without AMX.

One instruction (`vdpbf16ps`) adds to each of 16 sums the products of two terms: a pair of a row,
the same in every lane, with the pairs of 16 units, which are a row of a tile of weights. That is
twice what a multiplication of float32 does in the same time, from half of the memory.
"""

from unrolled.backends.llvm.code import INDEX, POINTER, Code, Value
from unrolled.backends.llvm.frame import Rows
from unrolled.backends.llvm.matmul import CHAINS, PREFETCH_TERMS, UNROLLED
from unrolled.backends.llvm.products import TILE_ROWS

MOST_ROWS = 8
"""Rows whose sums are in registers; there is room for so many behind any."""


def write_dots(
    code: Code,
    pairs: "int | Value",
    operands: Rows,
    count: Value,
    panel: Value,
    columns: int,
    sums: Rows,
    more: Value | None,
) -> None:
    """Write the product of some rows with one panel of weights, see `tiles.write_tiles`."""

    def write(inner: Code, given: list[Value]) -> None:
        pairs, base, stride, count, panel, place, line, more = given
        on_top = inner.less(0, more)
        _write(inner, pairs, Rows(base, stride), count, panel, columns, Rows(place, line), on_top)

    types = [INDEX, POINTER, INDEX, INDEX, POINTER, POINTER, INDEX, INDEX]
    on_top = code.index(0) if more is None else code.builder.zext(more, INDEX)
    rows, lines = (operands.base, operands.stride), (sums.base, sums.stride)
    given = pairs, *rows, count, panel, *lines, on_top
    code.call(f"dots of {columns}", types, write, given)


def _write(
    code: Code,
    pairs: Value,
    operands: Rows,
    count: Value,
    panel: Value,
    columns: int,
    sums: Rows,
    more: Value,
) -> None:
    """Write it row by row, as many as the registers hold; fewer at the end."""

    def rows(values: list[Value], high: int) -> list[Value]:
        (row,) = values
        inside = code.builder.urem(row, code.index(TILE_ROWS))
        tile = code.times(operands.stride, code.builder.sub(row, inside))
        base = code.at(operands.base, code.add(tile, code.times(inside, TILE_ROWS)))
        place = code.at(sums.base, code.times(sums.stride, row))
        _write_rows(code, pairs, base, high, panel, columns, Rows(place, sums.stride), more)
        return [code.add(row, high)]

    done, high = code.index(0), MOST_ROWS
    while high:
        smaller = high // 2
        (done,) = code.repeat(
            lambda values, smaller=smaller: code.less(code.add(values[0], smaller), count),
            lambda values, high=high: rows(values, high),
            [done],
        )
        high = smaller


def _write_rows(
    code: Code,
    pairs: Value,
    operands: Value,
    high: int,
    panel: Value,
    columns: int,
    sums: Rows,
    more: Value,
) -> None:
    """Write the same of so many rows of one tile, whose sums stay in registers."""
    size = high * columns
    split = -(-CHAINS // size)  # sets of sums, for terms in turn
    steps = min(TILE_ROWS, max(1, UNROLLED // (size * split)) * split)
    places = [
        code.at(sums.base, code.add(code.times(sums.stride, row), column * code.lanes))
        for row in range(high)
        for column in range(columns)
    ]
    for place in places:
        code.prefetch(place, write=True)

    def step(first: Value, found: list[Value]) -> list[Value]:
        inside = code.builder.urem(first, code.index(TILE_ROWS))
        tile = code.times(code.builder.sub(first, inside), TILE_ROWS)
        start = code.at(operands, code.add(tile, inside))
        line = code.at(panel, code.times(first, columns * code.lanes))
        for number in range(steps):
            starts = [code.at(line, (number * columns + c) * code.lanes) for c in range(columns)]
            for address in starts:
                code.prefetch(code.at(address, PREFETCH_TERMS * columns * code.lanes))
            weights = [code.load(address) for address in starts]
            for row in range(high):
                pair = code.load_spread(code.at(start, row * TILE_ROWS + number))
                for column in range(columns):
                    place = number % split * size + row * columns + column
                    found[place] = code.dot(found[place], pair, weights[column])
        return found

    found = code.loop(0, pairs, step, step=steps, carry=[code.constant(0.0)] * (size * split))
    while len(found) > size:
        half = len(found) // 2
        found = [code.builder.fadd(a, b) for a, b in zip(found, found[half:], strict=False)]
    on_top = code.spread(more)
    for vector, place in zip(found, places, strict=True):
        code.store(code.builder.fadd(vector, code.load(place, on_top)), place)

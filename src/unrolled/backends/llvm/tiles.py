"""Products of tiles: their factors are pieces of bfloat16, their sums float32.

A tile is 16 rows of 64 bytes. AMX has registers for them, and one instruction for a product of two;
without it vectors multiply what lies so, see `dots`. Two tiles of factors give one of sums, 16 x
16: the rows of one hold 32 terms of a row of the batch, those of the other a pair of terms for each
of 16 units::

    operands[16 rows][tile][piece][row][pair of terms][2]
    panel[tile][piece][pair of terms][column][lane][2]

So panels lie as in `matmul`, with a pair in the place of a number. They are packed as float32 and
then cut where they lie. Operands are cut before each nest, each thread in rows of its own. All of
a tile lies together: were it cut out of long rows, many of its lines would share a place in the
cache.
"""

from dataclasses import dataclass

from llvmlite import ir

from unrolled.backends.llvm.code import BYTE, Code, Value
from unrolled.backends.llvm.dots import write_dots
from unrolled.backends.llvm.frame import Arguments, Rows
from unrolled.backends.llvm.pieces import cut
from unrolled.backends.llvm.products import TILE_ROWS, Product

LINE = 64
"""Bytes in a row of a tile."""

SUMS, OPERANDS, WEIGHTS = 0, 4, 6
"""The first of the tiles of each kind: two by two of sums, two of each factor."""

TILE = TILE_ROWS * TILE_ROWS
"""Numbers of float32 whose room a tile takes."""

MORE_ROWS = 2 * TILE_ROWS
"""Rows that are in tiles, at most, behind a part's last."""


@dataclass(frozen=True)
class PieceRows:
    """Rows of operands in pieces: those of a part of the batch, this thread's own."""

    code: Code
    base: Value
    first: Value  # position of the part's first row
    width: int  # in float32 numbers, two of bfloat16 each

    @classmethod
    def of(
        cls, code: Code, arguments: Arguments, member: Value, part: Value, first: Value
    ) -> "PieceRows":
        """Give the rows of a part; in a team, which runs the only part, those of a member."""
        width = arguments.layout.pieces_width
        rows = code.times(member, code.add(arguments.numbers["batch"], MORE_ROWS))
        rows = code.add(rows, code.add(first, code.times(part, MORE_ROWS)))
        start = code.at(arguments.pointers["pieces"], code.times(rows, width))
        return cls(code, start, first, width)

    def of_product(self, product: Product, position: Value, segment: "Value | int" = 0) -> Rows:
        """Give a product's operand, or one block of it, from a position on: where a tile begins."""
        return Rows(
            self._of_tile(product, self._before(position), segment), self.code.index(self.width)
        )

    def of_row(self, product: Product, position: Value) -> Value:
        """Give the address of a row in the first tile of a product's operand."""
        before = self._before(position)
        inside = self.code.builder.urem(before, self.code.index(TILE_ROWS))
        tile = self._of_tile(product, self.code.builder.sub(before, inside), 0)
        return self.code.at(tile, self.code.times(inside, TILE_ROWS))

    def _before(self, position: Value) -> Value:
        return self.code.builder.sub(position, self.first)

    def _of_tile(self, product: Product, before: Value, segment: "Value | int") -> Value:
        inside = self.code.add(product.begin, self.code.times(segment, product.pairs))
        start = self.code.times(before, self.width)
        return self.code.at(self.base, self.code.add(start, self.code.times(inside, TILE_ROWS)))


def configure_tiles(code: Code) -> None:
    """Make all tiles of AMX 16 rows of 64 bytes, for this thread."""
    if not code.target.amx:
        return
    palette = [1] + [0] * 15 + [LINE, 0] * 8 + [0] * 16 + [TILE_ROWS] * 8 + [0] * 8
    type = ir.ArrayType(BYTE, len(palette))
    layout = ir.GlobalVariable(code.builder.module, type, "tiles")
    layout.global_constant, layout.linkage = True, "internal"
    layout.initializer = ir.Constant(type, palette)  # pyright: ignore[reportAttributeAccessIssue]
    code.intrinsic("llvm.x86.ldtilecfg", ir.VoidType(), [layout])


def release_tiles(code: Code) -> None:
    """Leave the tiles to whoever comes next."""
    if code.target.amx:
        code.intrinsic("llvm.x86.tilerelease", ir.VoidType(), [])


def cut_rows(code: Code, product: Product, source: Value, target: Value) -> None:
    """Cut one row of an operand, all blocks of it; zeros behind each, up to whole tiles.

    Args:
        code: where to write it.
        product: whose operand it is.
        source: the row.
        target: its place in the operand's first tile.
    """
    both = 2 * code.lanes
    whole = product.terms - product.terms % both

    def segment(number: Value, _: list[Value]) -> list[Value]:
        start = code.at(source, code.times(number, product.terms))
        end = code.at(target, code.times(number, product.pairs * TILE_ROWS))

        def write(term: Value, masks: list[Value | None]) -> None:
            halves = [
                code.load(code.at(start, code.add(term, half * code.lanes)), mask)
                for half, mask in enumerate(masks)
            ]
            tile = code.builder.udiv(term, code.index(both))
            there = code.at(end, code.times(tile, product.pieces * TILE))
            for piece, numbers in enumerate(cut(code, halves, product.pieces, in_turn=False)):
                code.store(numbers, code.at(there, piece * TILE))

        def body(term: Value, _: list[Value]) -> list[Value]:
            write(term, [None, None])
            return []

        code.loop(0, whole, body, step=both)
        if whole < product.terms:
            left = product.terms - whole
            masks = [code.first_lanes(code.index(left - half)) for half in (0, code.lanes)]
            write(code.index(whole), masks)
        return []

    code.loop(0, product.segments, segment)


def write_tiles(
    code: Code,
    pieces: int,
    pairs: "int | Value",
    operands: Rows,
    count: Value,
    panel: Value,
    columns: int,
    sums: Rows,
    more: Value | None = None,
) -> None:
    """Write the product of up to 32 rows with one panel of weights.

    Args:
        code: where to write it.
        pieces: that stand for each number.
        pairs: of terms up to whole tiles, in all pieces.
        operands: in pieces; a tile of them has 16 times what a row has, its stride.
        count: how many rows there are; sums behind them mean nothing.
        panel: the address of the panel.
        columns: vectors side by side in it, one or two.
        sums: where they go.
        more: whether they are added to what is there.
    """
    if not code.target.amx:
        assert pieces == 1, "vectors multiply one piece"
        write_dots(code, pairs, operands, count, panel, columns, sums, more)
        return
    with code.builder.if_else(code.less(TILE_ROWS, count)) as (many, few):
        with many:
            _write_tiles(code, pieces, pairs, operands, panel, columns, sums, more, 2)
        with few:
            _write_tiles(code, pieces, pairs, operands, panel, columns, sums, more, 1)


def _write_tiles(
    code: Code,
    pieces: int,
    pairs: "int | Value",
    operands: Rows,
    panel: Value,
    columns: int,
    sums: Rows,
    more: Value | None,
    high: int,
) -> None:
    """Write the product of one or two tiles of rows with the one or two columns of a panel."""
    line = columns * code.lanes
    tall, wide = range(high), range(columns)

    def call(name: str, *arguments: Value | int) -> None:
        given = [ir.Constant(BYTE, a) if isinstance(a, int) else a for a in arguments]
        code.intrinsic(f"llvm.x86.{name}", ir.VoidType(), given)

    def move(name: str, tile: int, address: Value, stride: Value) -> None:
        call(name, tile, address, code.times(stride, code.float.bytes))

    def move_sums(name: str) -> None:
        for r in tall:
            for c in wide:
                begin = code.add(code.times(sums.stride, r * TILE_ROWS), c * code.lanes)
                move(name, SUMS + 2 * r + c, code.at(sums.base, begin), sums.stride)

    def begin() -> None:
        for r in tall:
            for c in wide:
                call("tilezero", SUMS + 2 * r + c)

    if more is None:
        begin()
    else:
        with code.builder.if_else(more) as (on_top, anew):
            with on_top:
                move_sums("tileloadd64")
            with anew:
                begin()

    def multiply(pair: Value, _: list[Value]) -> list[Value]:
        loaded = (-1, -1)
        for own, other in _meetings(pieces):
            if other != loaded[1]:
                weights = code.at(panel, code.times(code.add(pair, other * TILE_ROWS), line))
                for c in wide:
                    there = code.at(weights, c * code.lanes)
                    move("tileloadd64", WEIGHTS + c, there, code.index(line))
            if own != loaded[0]:
                inside = code.times(code.add(pair, own * TILE_ROWS), TILE_ROWS)
                for r in tall:
                    start = code.add(code.times(operands.stride, r * TILE_ROWS), inside)
                    there = code.at(operands.base, start)
                    move("tileloadd64", OPERANDS + r, there, code.index(TILE_ROWS))
            loaded = own, other
            for r in tall:
                for c in wide:
                    call("tdpbf16ps", SUMS + 2 * r + c, OPERANDS + r, WEIGHTS + c)
        return []

    code.loop(0, pairs, multiply, step=pieces * TILE_ROWS)
    move_sums("tilestored64")


def _meetings(pieces: int) -> list[tuple[int, int]]:
    """Give the pieces of an operand and of a weight that are multiplied, in an order of few loads.

    >>> _meetings(3)
    [(2, 0), (1, 0), (0, 0), (0, 2), (0, 1), (1, 1)]
    """
    with_first = [(own, 0) for own in reversed(range(pieces))]
    others = [(own, other) for other in reversed(range(1, pieces)) for own in range(pieces - other)]
    return with_first + others

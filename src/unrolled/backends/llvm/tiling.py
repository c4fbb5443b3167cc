"""Matrices in memory, cut into tiles: rows of a left factor, columns of a right one.

Where a factor's terms lie side by side, a row of a tile of the left one is what is read, and a tile
of the right one is turned over; where they do not, it is the other way round.
"""

from llvmlite import ir

from unrolled.backends.llvm.code import INDEX, POINTER, Code, Value
from unrolled.backends.llvm.factors import Lines
from unrolled.backends.llvm.pieces import cut
from unrolled.backends.llvm.products import TILE_ROWS
from unrolled.backends.llvm.transposing import transposed


def cut_lines(
    code: Code,
    matrix: Lines,
    lines: Value,
    first: Value,
    count: Value,
    target: Value,
    step: int,
    piece: int,
    along: int,
    *,
    in_rows: bool,
) -> None:
    """Write how some lines of a matrix are cut, for some terms, into tiles of 16 lines.

    Args:
        code: where to write it.
        matrix: its lines are rows of the left matrix, or columns of the right one.
        lines: how many there are.
        first: the first term.
        count: terms.
        target: where the tiles go.
        step: numbers from row to row of a tile there.
        piece: numbers from piece to piece of a tile.
        along: numbers from a tile to that of the next 16 lines.
        in_rows: whether a tile's rows are lines, or else pairs of terms.
    """
    start = code.at(matrix.base, code.times(first, matrix.term))
    to_term = code.target.pieces * piece  # from a tile to that of the next 32 terms
    name = f"cut {'rows' if in_rows else 'columns'}"
    terms_lie_together = code.equal(matrix.term, 1)

    def tile(line: Value, term: Value, *, terms: bool) -> None:
        source = code.add(code.times(line, matrix.line), code.times(term, matrix.term))
        number = code.builder.udiv(line, code.index(TILE_ROWS))
        deep = code.builder.udiv(term, code.index(2 * TILE_ROWS))
        there = code.add(code.times(number, along), code.times(deep, to_term))
        addresses = [code.at(start, source), code.at(target, there)]
        ends = [code.builder.sub(lines, line), code.builder.sub(count, term)]
        arguments = [*addresses, matrix.line, *ends]
        if not terms:
            arguments = [*addresses, matrix.term, *reversed(ends)]
        kind = f"{name} of {'terms' if terms else 'lines'}"
        _call(code, kind, arguments, step, piece, terms, in_rows)

    def along_terms(line: Value, _: list[Value]) -> list[Value]:
        def inner(term: Value, _: list[Value]) -> list[Value]:
            tile(line, term, terms=True)
            return []

        code.loop(0, count, inner, step=2 * TILE_ROWS)
        return []

    def along_lines(term: Value, _: list[Value]) -> list[Value]:
        def inner(line: Value, _: list[Value]) -> list[Value]:
            tile(line, term, terms=False)
            return []

        code.loop(0, lines, inner, step=TILE_ROWS)
        return []

    with code.builder.if_else(terms_lie_together) as (terms, others):  # read memory as it lies
        with terms:
            code.loop(0, lines, along_terms, step=TILE_ROWS)
        with others:
            code.loop(0, count, along_lines, step=2 * TILE_ROWS)


def _call(
    code: Code, name: str, arguments: list[Value], step: int, piece: int, terms: bool, in_rows: bool
) -> None:
    """Call the function that cuts one tile; it is written at its first call."""
    types = [POINTER, POINTER, INDEX, INDEX, INDEX]

    def write(inner: Code, given: list[Value]) -> None:
        _cut_tile(inner, *given, step=step, piece=piece, terms=terms, turned=terms != in_rows)

    code.call(name, types, write, arguments)


def _cut_tile(
    code: Code,
    source: Value,
    target: Value,
    stride: Value,
    high: Value,
    wide: Value,
    *,
    step: int,
    piece: int,
    terms: bool,
    turned: bool,
) -> None:
    """Write how a tile is cut: zeros where the matrix ends, turned over if it has to be.

    Args:
        code: where to write it.
        source: the address of the first number.
        target: where the tile goes.
        stride: numbers from row to row of the source.
        high: rows that there are, if terms lie side by side, 16 of them are read, and 32 if not.
        wide: numbers in a row that there are.
        step: numbers from row to row of the tile.
        piece: numbers from piece to piece of it.
        terms: whether terms lie side by side, or else lines.
        turned: whether the tile has a row for each pair of terms and the source for each line, or
            the other way round.
    """
    pieces = code.target.pieces
    room = code.room(pieces * TILE_ROWS) if turned else target
    to_row, to_piece = (code.lanes, TILE_ROWS * code.lanes) if turned else (step, piece)
    masks = [code.first_lanes(code.add(wide, -half * code.lanes)) for half in range(1 + terms)]
    nothing = ir.Constant(code.mask_type, [0] * code.lanes)

    def load(row: Value, half: int) -> Value:
        mask = code.builder.select(code.less(row, high), masks[half], nothing)
        return code.load(
            code.at(source, code.add(code.times(row, stride), half * code.lanes)), mask
        )

    def write(row: Value, _: list[Value]) -> list[Value]:
        if terms:
            both = [load(row, 0), load(row, 1)]
        else:
            both = [load(code.add(code.times(row, 2), half), 0) for half in range(2)]
        for number, halves in enumerate(cut(code, both, pieces, in_turn=not terms)):
            there = code.at(room, code.add(code.times(row, to_row), number * to_piece))
            code.store(halves, there)
        return []

    code.loop(0, TILE_ROWS, write)
    if turned:
        for number in range(pieces):
            start = code.at(room, number * to_piece)
            rows = [code.load(code.at(start, row * to_row)) for row in range(TILE_ROWS)]
            for row, vector in enumerate(transposed(code, rows)):
                code.store(vector, code.at(target, number * piece + row * step))

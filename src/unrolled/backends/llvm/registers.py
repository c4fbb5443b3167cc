"""Blocks of a product in registers: of float32 as it is, for a machine without AMX.

For so many terms at a time a thread copies its columns of the right matrix into its second cache,
panel by panel, and goes through its rows of the left one: some of them, copied into its first, are
multiplied with one panel after the other. The sums of a few rows and all columns of a panel stay in
registers over those terms. Meanwhile it asks for what comes next.
"""

from collections.abc import Sequence

from llvmlite import ir

from unrolled.backends.llvm.code import INDEX, POINTER, Code, Value
from unrolled.backends.llvm.factors import Block, Lines, Unit, times_in
from unrolled.backends.llvm.frame import Rows
from unrolled.backends.llvm.matmul import add_products
from unrolled.backends.llvm.target import Target
from unrolled.backends.llvm.transposing import transposed

TERMS = 128
"""Terms that are multiplied before more of the factors are copied: so many of a panel and of the
rows stay in the first cache, 32 KiB, together."""

PANEL = 2
"""Vectors side by side in a panel of the right matrix."""

MOST_ROWS, MOST_COLUMNS = 512, 1024
"""Of a block of the result. Rows may be many; of the columns, 512 KiB are copied."""

UNROLLED = 8
"""Terms in one pass of the loop, or all that a vector has."""

PANELS_AHEAD = 8
"""Panels during whose products a thread asks for the rows that come next."""

APART = 16
"""Numbers between copied rows, so that rows begin in different places of the first cache."""


class InRegisters(Unit):
    """How blocks are made in registers."""

    most = MOST_ROWS, MOST_COLUMNS

    def __init__(self, target: Target) -> None:
        self.high = 8 if target.registers >= 32 else 4  # rows whose sums are in registers
        self.group = 2 * self.high  # rows that are copied together
        self.wide = PANEL * target.vector_bytes // 4
        self.unit = self.group, self.wide
        panels = -(-MOST_COLUMNS // self.wide)
        self.room = panels * self.wide * TERMS + self.group * (TERMS + APART)

    def at_once(self, terms: int) -> int:
        """Give the terms that are multiplied before more of the factors are copied."""
        return TERMS

    def write(self, code: Code, block: Block) -> None:
        """Write one block of the result: all terms of it, some at a time."""
        panels, size = times_in(code, block.columns, self.wide), self.wide * TERMS
        own = code.at(block.room, -(-MOST_COLUMNS // self.wide) * size)

        def some_terms(first: Value, _: list[Value]) -> list[Value]:
            count = code.least(code.builder.sub(block.terms, first), TERMS)

            def copy_panel(number: Value, _: list[Value]) -> list[Value]:
                place = code.times(number, self.wide)
                wide = code.least(code.builder.sub(block.columns, place), self.wide)
                there = code.at(block.room, code.times(number, size))
                columns = block.right.after(code, place)
                _copy(code, columns, wide, first, count, there, self.wide, in_rows=False)
                return []

            def some_rows(position: Value, _: list[Value]) -> list[Value]:
                high = code.least(code.builder.sub(block.rows, position), self.group)
                lines, step = block.left.after(code, position), TERMS + APART
                _copy(code, lines, high, first, count, own, step, in_rows=True)

                def products_of_panel(number: Value, _: list[Value]) -> list[Value]:
                    self._ask_ahead(code, block, position, first, number)
                    self._write_panel(code, block, own, position, high, first, count, number)
                    return []

                code.loop(0, panels, products_of_panel)
                return []

            code.loop(0, panels, copy_panel)
            code.loop(0, block.rows, some_rows, step=self.group)
            return []

        code.loop(0, block.terms, some_terms, step=TERMS)

    def _ask_ahead(
        self, code: Code, block: Block, position: Value, first: Value, number: Value
    ) -> None:
        """Ask for some terms of the next rows if those of a row do not lie side by side.

        The processor sees where memory that is read as it lies goes on, and asks for that itself.
        """
        left, many = block.left, TERMS // PANELS_AHEAD
        begin = code.times(number, many)
        apart = code.builder.not_(code.equal(left.term, 1))
        with code.builder.if_then(code.builder.and_(apart, code.less(begin, TERMS))):
            last = code.add(block.rows, -1)
            following = left.after(code, code.least(code.add(position, self.group), last))
            for term in range(many):
                place = code.add(first, code.add(begin, term))  # nobody minds one behind the last
                code.prefetch(code.at(following.base, code.times(place, left.term)))

    def _write_panel(
        self,
        code: Code,
        block: Block,
        copied: Value,
        position: Value,
        high: Value,
        first: Value,
        count: Value,
        number: Value,
    ) -> None:
        """Write the products of the copied rows with one panel."""
        place = code.times(number, self.wide)
        wide = code.builder.sub(block.columns, place)
        panel = code.at(block.room, code.times(number, self.wide * TERMS))
        for above in range(0, self.group, self.high):
            rows = code.at(copied, above * (TERMS + APART))
            start = code.times(code.add(position, above), block.result.stride)
            target = Rows(code.at(block.result.base, code.add(start, place)), block.result.stride)
            ends = code.add(high, -above), wide
            _write_sums(code, self.high, rows, panel, count, target, *ends, code.less(0, first))


def _write_sums(
    code: Code,
    rows: int,
    copied: Value,
    panel: Value,
    count: Value,
    target: Rows,
    high: Value,
    wide: Value,
    more: Value,
) -> None:
    """Write the product of some copied rows with a panel, and how it goes to the result.

    Args:
        code: where to write it.
        rows: how many are multiplied, though there may be fewer.
        copied: the first row.
        panel: of the right factor.
        count: terms.
        target: rows of the result.
        high: rows that there are.
        wide: columns that there are.
        more: whether the sums are added to what is there.
    """
    unrolled = min(UNROLLED, code.lanes)
    terms = code.times(times_in(code, count, unrolled), unrolled)  # what is behind the last is 0
    addresses = [code.at(copied, row * (TERMS + APART)) for row in range(rows)]
    there = [code.at(target.base, code.times(target.stride, row)) for row in range(rows)]
    for address in there:
        for vector in range(PANEL):
            code.prefetch(code.at(address, vector * code.lanes), write=True)

    def some_terms(first: Value, sums: Sequence[Value]) -> list[Value]:
        for number in range(unrolled):
            term = code.add(first, number)
            sums = add_products(code, addresses, panel, term, PANEL, sums)
        return list(sums)

    begin = [code.constant(0.0)] * (rows * PANEL)
    sums = code.loop(0, terms, some_terms, step=unrolled, carry=begin)
    nothing = ir.Constant(code.mask_type, [0] * code.lanes)
    masks = [code.first_lanes(code.add(wide, -vector * code.lanes)) for vector in range(PANEL)]
    before = [code.builder.select(more, mask, nothing) for mask in masks]
    for row, address in enumerate(there):
        with code.builder.if_then(code.less(row, high)):
            for vector in range(PANEL):
                place = code.at(address, vector * code.lanes)
                value = code.load(place, before[vector])
                value = code.builder.fadd(value, sums[row * PANEL + vector])
                code.store(value, place, masks[vector])


def _copy(
    code: Code,
    matrix: Lines,
    lines: Value,
    first: Value,
    count: Value,
    target: Value,
    step: int,
    *,
    in_rows: bool,
) -> None:
    """Write how some terms of some lines of a matrix are copied, square by square.

    Args:
        code: where to write it.
        matrix: its lines are rows of the left matrix, or columns of the right one.
        lines: how many there are.
        first: the first term.
        count: terms.
        target: where they go, with zeros behind the last up to the end of a square.
        step: numbers from row to row there.
        in_rows: whether a row there is a line, or else a term.
    """
    start = code.at(matrix.base, code.times(first, matrix.term))

    def square(line: Value, term: Value, *, terms: bool) -> None:
        """Copy a square in which terms lie side by side, or lines."""
        row, column = (line, term) if in_rows else (term, line)
        source = code.add(code.times(line, matrix.line), code.times(term, matrix.term))
        place = code.add(code.times(row, step), column)
        ends = code.builder.sub(lines, line), code.builder.sub(count, term)
        stride, ends = (matrix.line, ends) if terms else (matrix.term, ends[::-1])
        arguments = [code.at(start, source), code.at(target, place), stride, *ends]

        def write(inner: Code, given: list[Value]) -> None:
            _copy_square(inner, *given, step=step, turned=terms != in_rows)

        name = f"copy {'lines' if in_rows else 'terms'} from {'terms' if terms else 'lines'}"
        code.call(name, [POINTER, POINTER, INDEX, INDEX, INDEX], write, arguments)

    def squares(outer: Value, inner: Value, *, terms: bool) -> None:
        def along(one: Value, _: list[Value]) -> list[Value]:
            def across(other: Value, _: list[Value]) -> list[Value]:
                square(*((one, other) if terms else (other, one)), terms=terms)
                return []

            code.loop(0, inner, across, step=code.lanes)
            return []

        code.loop(0, outer, along, step=code.lanes)

    with code.builder.if_else(code.equal(matrix.term, 1)) as (terms, others):
        with terms:  # read memory as it lies
            squares(lines, count, terms=True)
        with others:
            squares(count, lines, terms=False)


def _copy_square(
    code: Code,
    source: Value,
    target: Value,
    stride: Value,
    high: Value,
    wide: Value,
    *,
    step: int,
    turned: bool,
) -> None:
    """Write how a square is copied, of which so many rows and numbers in a row are there."""
    mask, nothing = code.first_lanes(wide), ir.Constant(code.mask_type, [0] * code.lanes)
    rows = [
        code.load(
            code.at(source, code.times(stride, row)),
            code.builder.select(code.less(row, high), mask, nothing),
        )
        for row in range(code.lanes)
    ]
    for row, vector in enumerate(transposed(code, rows) if turned else rows):
        code.store(vector, code.at(target, row * step))

"""Squares of numbers in vectors, turned over."""

from unrolled.backends.llvm.code import Code, Value


def transposed(code: Code, rows: list[Value]) -> list[Value]:
    """Turn a square: blocks of 1, 2, 4, ... numbers change places across the diagonal."""
    lanes, size = code.lanes, 1
    while size < lanes:
        for row in range(lanes):
            if row & size == 0:
                upper, lower = rows[row], rows[row + size]
                first = [n + lanes - size if n & size else n for n in range(lanes)]
                second = [n + lanes if n & size else n + size for n in range(lanes)]
                rows[row] = code.shuffled(upper, lower, first)
                rows[row + size] = code.shuffled(upper, lower, second)
        size *= 2
    return rows

"""Numbers of float32 as sums of numbers of bfloat16, whose products are added up in float32.

A float32 has 24 bits and a bfloat16 eight, at the same range. So three pieces, the first eight
bits, the next eight and the last, are the number itself; and of the nine products of two numbers'
pieces the six greatest are their product, but for 2^-21 of it at most::

    a b = a1 b1 + (a1 b2 + a2 b1) + (a1 b3 + a2 b2 + a3 b1)

(Henry, Tang and Heinecke 2019, arXiv:1904.06376). One piece is the number rounded to bfloat16.
Two are that and what is left, rounded in its turn: what then is left is 2^-17 of the number at
most, 2^-16 from 2^127 on, and of the four products of pieces all but the smallest, 2^-16 at most,
are added up.

Infinity and NaN, which have no bits to cut, are a last piece, behind a first one of 1 or -1: a last
piece meets no other than the first, which is zero of no number but of zero. Tiles take what is
below 2^-126 for zero, pieces too: the last bits of numbers below 2^-103 are lost.
"""

from collections.abc import Sequence

from unrolled.backends.llvm.code import Code, Value
from unrolled.backends.precision import HIGH, WHOLE

FIRST_BITS = 0xFFFF0000
"""Those of a float32 that a bfloat16 has."""


def cut(code: Code, pair: Sequence[Value], pieces: int, *, in_turn: bool) -> list[Value]:
    """Cut two vectors of float32 into pieces.

    Args:
        code: where to write it.
        pair: the vectors.
        pieces: of each number, see `backends.precision`.
        in_turn: whether numbers of the two vectors take turns, or else those of the first come
            before those of the second.

    Returns:
        A vector for each piece.
    """
    *cuts, last = zip(*(_cut_one(code, vector, pieces) for vector in pair), strict=True)
    join = _in_turn if in_turn else _one_after_the_other
    found = [join(code, *both) for both in cuts]
    if pieces == WHOLE:  # the last eight bits are left
        return [*found, join(code, *last)]
    both = code.rounded(*last)
    order = [half * code.lanes + lane for lane in range(code.lanes) for half in range(2)]
    return [*found, code.halves_shuffled(both, both, order) if in_turn else both]


def _cut_one(code: Code, vector: Value, pieces: int) -> list[Value]:
    """Cut a vector into pieces, each in the first bits of a float32."""
    finite = code.compare("<", code.unary("fabs", vector), code.constant(float("inf")))
    rest, found = vector, []
    for _ in range(pieces - 1):
        bits = code.builder.bitcast(rest, code.integers)
        if pieces == HIGH:
            bits = code.builder.add(bits, _half(code, vector))
        bits = code.builder.and_(bits, code.whole(FIRST_BITS))
        first = code.builder.bitcast(bits, code.vector)
        instead = code.constant(0.0) if found else _sign(code, vector)
        found.append(code.builder.select(finite, first, instead))
        rest = code.builder.fsub(rest, found[-1])
    return [*found, rest]


def _half(code: Code, vector: Value) -> Value:
    """Give what is added to bits before the last are left out, so that they are rounded.

    It is nothing for the greatest numbers, which would become infinite.
    """
    below = code.compare("<", code.unary("fabs", vector), code.constant(2.0**127))
    return code.builder.select(below, code.whole(0x8000), code.whole(0))


def _sign(code: Code, vector: Value) -> Value:
    """Give 1 with the sign of each number."""
    name = f"llvm.copysign.v{code.lanes}{code.float.letter}"
    return code.intrinsic(name, code.vector, [code.constant(1.0), vector])


def _in_turn(code: Code, first: Value, second: Value) -> Value:
    low, high = (code.builder.bitcast(vector, code.integers) for vector in (first, second))
    both = code.builder.or_(code.builder.lshr(low, code.whole(16)), high)
    return code.builder.bitcast(both, code.vector)


def _one_after_the_other(code: Code, first: Value, second: Value) -> Value:
    return code.halves_shuffled(first, second, range(1, 4 * code.lanes, 2))

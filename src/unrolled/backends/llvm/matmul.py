"""The register tile of a matrix product: rows x columns of accumulators and one loop over k.

Weights are packed so that the loop reads them in a straight line: for each pass, for each k, the
vectors of all columns lie side by side::

    panel[k][column][lane]

For each k every column is loaded once and multiplied with one number of every row.
"""

from collections.abc import Sequence

from unrolled.backends.llvm.code import Code, Value
from unrolled.backends.llvm.frame import Rows

PREFETCH_TERMS = 16
"""How many terms ahead of its use a panel is asked for: it comes from the L2 cache, and what the
processor fetches on its own comes too late (at 2.5 GHz, 70 % of the peak without, 80 % with 4, at
k = 256; at 3.7 GHz, kernels of 1 to 8 rows take up to a tenth less time with 16 than with 4)."""

CHAINS = 16
"""Sums in progress that keep the multipliers busy: two units, four to five cycles, and some slack.
With fewer results than that, each is summed up in parts."""

UNROLLED = 32
"""Multiplications in one pass of the loop, so that counting costs little beside them. (48 are 2 %
faster and take a third longer to compile.)"""

Accumulators = list[list[Value]]
"""A vector for each row and column."""


def write_rows(
    code: Code,
    order: Value,
    count: Value,
    operands: Rows,
    panel: Value,
    terms: int,
    columns: int,
    high: int,
    sums: Rows,
) -> None:
    """Write the product of rows with one panel of weights, tile by tile.

    A tile that is filled up, by its last row once more, costs less than a smaller one as long as it
    is more than half full.

    Args:
        code: where to write it.
        order: the address of the rows' numbers.
        count: rows.
        operands: where they lie.
        panel: the address of the panel (terms, columns, lanes).
        terms: the number of products in a sum, k.
        columns: vectors side by side in the panel.
        high: rows of a tile.
        sums: where they go, one row after the other; there is room for a tile behind any.
    """

    def tile(values: list[Value], rows: int) -> list[Value]:
        last = code.add(count, -1)
        places = [code.least(code.add(values[0], r), last) for r in range(rows)]
        numbers = [code.load_index(code.at(order, place, size=8)) for place in places]
        starts = [code.at(operands.base, code.times(n, operands.stride)) for n in numbers]
        for row, vectors in enumerate(write_tile(code, starts, panel, terms, columns)):
            line = code.at(sums.base, code.times(code.add(values[0], row), sums.stride))
            for column, vector in enumerate(vectors):
                code.store(vector, code.at(line, column * code.lanes))
        return [code.add(values[0], rows)]

    done, rows = code.index(0), high
    while rows:
        smaller = {1: 0}.get(rows, rows // 2 if rows == high else 1)
        (done,) = code.repeat(
            lambda values, smaller=smaller: code.less(code.add(values[0], smaller), count),
            lambda values, rows=rows: tile(values, rows),
            [done],
        )
        rows = smaller


def write_tile(
    code: Code, rows: Sequence[Value], panel: Value, terms: int, columns: int
) -> Accumulators:
    """Write the product of some rows with one panel of weights.

    Args:
        code: where to write it.
        rows: the address of each row's first number.
        panel: the address of the panel (terms, columns, lanes).
        terms: the number of products in a sum, k.
        columns: vectors side by side in the panel.

    Returns:
        The accumulators [row][column].
    """
    count = len(rows) * columns
    split = -(-CHAINS // count)
    steps = max(1, UNROLLED // (count * split)) * split  # terms in one pass of the loop
    whole = terms - terms % steps

    def add(k: Value, part: int, sums: list[Value]) -> list[Value]:
        """Add the products of one term to one of the sets of sums."""
        own = slice(part * count, (part + 1) * count)
        return [
            *sums[: own.start],
            *add_products(code, rows, panel, k, columns, sums[own]),
            *sums[own.stop :],
        ]

    def step(k: Value, sums: list[Value]) -> list[Value]:
        for number in range(steps):
            sums = add(code.add(k, number), number % split, sums)
        return sums

    sums = [code.constant(0.0)] * (count * split)
    if whole:
        sums = code.loop(0, whole, step, step=steps, carry=sums)
    for k in range(whole, terms):
        sums = add(code.index(k), k % split, sums)
    while len(sums) > count:  # in pairs, so that the order of addition is the same for all
        half = (len(sums) // count + 1) // 2 * count
        added = [code.builder.fadd(a, b) for a, b in zip(sums, sums[half:], strict=False)]
        sums = added + sums[len(added) : half]
    return [sums[row * columns : (row + 1) * columns] for row in range(len(rows))]


def add_products(
    code: Code,
    rows: Sequence[Value],
    panel: Value,
    k: Value,
    columns: int,
    sums: Sequence[Value],
) -> list[Value]:
    """Add the products of one term to the sums of every row and column."""
    start = code.times(k, columns * code.lanes)
    starts = [code.at(panel, code.add(start, column * code.lanes)) for column in range(columns)]
    for address in starts:
        code.prefetch(code.at(address, PREFETCH_TERMS * columns * code.lanes))
    weights = [code.load(address) for address in starts]
    results = []
    for row, address in enumerate(rows):
        number = code.load_spread(code.at(address, k))
        results += [
            code.fma(number, weights[column], sums[row * columns + column])
            for column in range(columns)
        ]
    return results

"""The register tile of a matrix product: rows x columns of accumulators and one loop over k.

Weights are packed so that the loop reads them in a straight line: for each block of units, for each
k, the vectors of all columns (gates, and several vectors of units of a gate) lie side by side::

    panel[block][k][column][lane]

In each pass of the loop every column is loaded once and multiplied with one number of every row.
"""

from collections.abc import Sequence

from unrolled.backends.llvm.code import Code, Value

PREFETCH_TERMS = 4
"""How many terms ahead of its use a panel is asked for: it comes from the L2 cache, and what the
processor fetches on its own comes too late (70 % of the peak without, 80 % with, at k = 256)."""

Accumulators = list[list[Value]]
"""A vector for each row and column."""


def write_tile(
    code: Code, rows: Sequence[Value], panel: Value, terms: int, columns: int, split: int
) -> Accumulators:
    """Write the product of some rows with one panel of weights.

    Args:
        code: where to write it.
        rows: the address of each row's first number.
        panel: the address of the panel (terms, columns, lanes).
        terms: the number of products in a sum, k.
        columns: vectors side by side in the panel.
        split: sums kept apart for each result, one for every so many terms: with few rows there are
            too few accumulators otherwise to keep the multipliers busy.

    Returns:
        The accumulators [row][column].
    """
    zero = code.constant(0.0)
    count = len(rows) * columns
    whole = terms - terms % split

    def step(k: Value, sums: list[Value]) -> list[Value]:
        """Add the products of `split` terms, each to a set of sums of its own."""
        results: list[Value] = []
        for part in range(split):
            own = sums[part * count : (part + 1) * count]
            results += _add_products(code, rows, panel, code.add(k, part), columns, own)
        return results

    sums = code.loop(0, whole, step, step=split, carry=[zero] * (count * split))
    for k in range(whole, terms):
        part = k - whole
        own = sums[part * count : (part + 1) * count]
        sums[part * count : (part + 1) * count] = _add_products(
            code, rows, panel, code.index(k), columns, own
        )
    while len(sums) > count:  # in pairs, so that the order of addition is the same for all
        half = (len(sums) // count + 1) // 2 * count
        added = [code.builder.fadd(a, b) for a, b in zip(sums, sums[half:], strict=False)]
        sums = added + sums[len(added) : half]
    return [sums[row * columns : (row + 1) * columns] for row in range(len(rows))]


def _add_products(
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

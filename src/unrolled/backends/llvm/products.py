"""Which matmuls of a nest share a loop, and how their weights lie when they are packed."""

from dataclasses import dataclass

from unrolled.backends.llvm.plan import Nest, Place, Plan, Window, place_of_rows
from unrolled.backends.llvm.target import FLOATS, Target, Tile, choose_tile
from unrolled.ir import OPS, Op, Operation

TILE_ROWS = 16
"""Rows of a tile: of sums, or pairs of terms."""

NEAR_TILES = 2
"""Tiles along the terms of the operands that all passes of a block read before they go on: the
nearest cache keeps them, beside those of the weights and the sums."""


@dataclass(frozen=True)
class Factor:
    """One matrix of a product: the columns that a window of its result needs."""

    window: Window
    matrix: str
    unit_axis: int  # of the matrix, along which the results lie
    term_axis: int  # along which it is summed


@dataclass(frozen=True)
class Product:
    """Matmuls of one nest that read the same rows: they share one loop over k."""

    operand: Place
    terms: int  # k
    width: int  # units of each factor
    segments: int  # blocks of a block-diagonal matrix
    factors: tuple[Factor, ...]
    tile: Tile
    lanes: int
    start: int  # of its panels in the packed weights
    pieces: int = 0  # of bfloat16 that stand for a number in tiles; 0: it is not in tiles
    begin: int = 0  # where the operand's pieces are in a row of those of all operands

    @property
    def columns(self) -> int:
        """Vectors side by side in a panel."""
        return len(self.factors) * self.tile.vectors

    @property
    def passes(self) -> tuple[tuple[int, int], ...]:
        """How the columns are taken: so many passes over k, of so many columns each."""
        number = -(-self.columns // self.tile.columns)
        columns, wider = divmod(self.columns, number)
        parts = (wider, columns + 1), (number - wider, columns)
        return tuple(part for part in parts if part[0])

    @property
    def deep(self) -> int:
        """Tiles that the terms fill, two in each place."""
        return -(-self.terms // (2 * TILE_ROWS))

    @property
    def pairs(self) -> int:
        """Pairs of terms up to whole tiles, in all pieces."""
        return self.deep * self.pieces * TILE_ROWS

    @property
    def stretch(self) -> int:
        """Pairs of terms over which a pass goes before the next one takes its turn."""
        several = sum(times for times, _ in self.passes) > 1
        return min(self.pairs, NEAR_TILES * self.pieces * TILE_ROWS) if several else self.pairs

    @property
    def lead(self) -> int:
        """Rows of a panel before its terms, which are written over by their pieces."""
        return max(0, TILE_ROWS * ((self.pieces - 2) * self.deep + 1)) if self.pieces else 0

    @property
    def depth(self) -> int:
        """Rows of a panel: its terms; in tiles, room for these and then for their pieces."""
        return max(self.lead + self.terms, self.pairs)

    @property
    def panel_size(self) -> int:
        """Numbers in the panel of one block of units."""
        return self.depth * self.columns * self.lanes

    @property
    def bytes_in_tiles(self) -> int:
        """Bytes that the weights take in tiles: fewer than their room, where they are rounded."""
        return 4 * self.segments * self.panels * self.pairs * self.columns * self.lanes

    @property
    def panels(self) -> int:
        """Blocks of units in a segment."""
        return -(-self.width // (self.tile.vectors * self.lanes))

    @property
    def size(self) -> int:
        """Numbers in all panels."""
        return self.segments * self.panels * self.panel_size


def products(plan: Plan, target: Target) -> tuple[dict[int, tuple[Product, ...]], int, int]:
    """Find the products of every nest.

    Returns:
        The products; how many numbers their packed weights are; and how many pairs of pieces a
        row of operands in tiles is, each of which has the place of a number.
    """
    lanes = target.lanes(FLOATS[plan.program.dtype])
    operations = {operation.name: operation for operation in plan.program.body}
    found, start, widest = {}, 0, 0
    for number, nest in enumerate(plan.nests):
        shared: dict[tuple[Place, int], list[tuple[Window, Operation]]] = {}
        for window in nest.windows:
            operation = operations.get(window.value)
            if operation and OPS[operation.op].kind == "matmul" and window not in nest.loads:
                key = place_of_rows(plan, str(operation.operands[0])), _terms(plan, operation)
                shared.setdefault(key, []).append((window, operation))
        gates = sum(map(len, shared.values()))
        own: list[Product] = []
        begin = 0
        for (operand, terms), pairs in shared.items():
            segments = _segments(plan, nest)
            width = nest.width // segments
            tile = choose_tile(target, gates, -(-width // lanes))
            factors = tuple(_factor(window, operation) for window, operation in pairs)
            product = Product(
                operand, terms, width, segments, factors, tile, lanes, start, target.pieces, begin
            )
            own.append(product)
            start += product.size
            begin += segments * product.pairs
        found[number] = tuple(own)
        widest = max(widest, begin)
    return found, start, widest


def _terms(plan: Plan, operation: Operation) -> int:
    return plan.program.types[str(operation.operands[1])].shape[
        -2 if operation.op == Op.MATMUL else -1
    ]


def _segments(plan: Plan, nest: Nest) -> int:
    """Give the number of blocks, if the nest is that of a block-diagonal matmul."""
    if nest.alone is None:
        return 1
    return plan.program.types[str(nest.alone.operands[1])].shape[0]


def _factor(window: Window, operation: Operation) -> Factor:
    unit, term = (-1, -2) if operation.op == Op.MATMUL else (-2, -1)
    return Factor(window, str(operation.operands[1]), unit, term)

"""Which matmuls of a nest share a loop, how their weights are packed, and the code that packs."""

from dataclasses import dataclass

from unrolled.backends.llvm.code import Code, Value
from unrolled.backends.llvm.plan import Nest, Place, Plan, Window, place_of_rows
from unrolled.backends.llvm.target import FLOATS, Target, Tile, choose_tile
from unrolled.ir import OPS, Op, Operation


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

    @property
    def columns(self) -> int:
        """Vectors side by side in a panel."""
        return len(self.factors) * self.tile.vectors

    @property
    def panel_size(self) -> int:
        """Numbers in the panel of one block of units."""
        return self.terms * self.columns * self.lanes

    @property
    def panels(self) -> int:
        """Blocks of units in a segment."""
        return -(-self.width // (self.tile.vectors * self.lanes))

    @property
    def size(self) -> int:
        """Numbers in all panels."""
        return self.segments * self.panels * self.panel_size


def products(plan: Plan, target: Target) -> tuple[dict[int, tuple[Product, ...]], int]:
    """Find the products of every nest, and how many numbers their packed weights are."""
    lanes = target.lanes(FLOATS[plan.program.dtype])
    operations = {operation.name: operation for operation in plan.program.body}
    found, start = {}, 0
    for number, nest in enumerate(plan.nests):
        shared: dict[tuple[Place, int], list[tuple[Window, Operation]]] = {}
        for window in nest.windows:
            operation = operations.get(window.value)
            if operation and OPS[operation.op].kind == "matmul" and window not in nest.loads:
                key = place_of_rows(plan, str(operation.operands[0])), _terms(plan, operation)
                shared.setdefault(key, []).append((window, operation))
        gates = sum(map(len, shared.values()))
        own = []
        for (operand, terms), pairs in shared.items():
            segments = _segments(plan, nest)
            width = nest.width // segments
            tile = choose_tile(target, gates, -(-width // lanes))
            factors = tuple(_factor(window, operation) for window, operation in pairs)
            own.append(Product(operand, terms, width, segments, factors, tile, lanes, start))
            start += own[-1].size
        found[number] = tuple(own)
    return found, start


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


@dataclass(frozen=True)
class Matrix:
    """A matrix in memory: its address and its strides by axis, in numbers."""

    base: Value
    strides: tuple[Value, ...]


def write_packing(code: Code, product: Product, matrices: dict[str, Matrix], packed: Value) -> None:
    """Write the code that fills the panels of a product; lanes behind the last unit become 0."""
    span = product.tile.vectors * product.lanes

    def pack_segment(segment: Value, _: list[Value]) -> list[Value]:
        code.loop(0, product.panels, lambda block, _: pack_panel(segment, block))
        return []

    def pack_panel(segment: Value, block: Value) -> list[Value]:
        number = code.add(code.times(segment, product.panels), block)
        panel = code.at(packed, code.add(product.start, code.times(number, product.panel_size)))
        column = 0
        for factor in product.factors:
            for vector in range(product.tile.vectors):
                unit = code.add(code.times(block, span), vector * product.lanes)
                start = code.at(panel, column * product.lanes)
                _pack_column(code, product, factor, matrices[factor.matrix], segment, unit, start)
                column += 1
        return []

    code.loop(0, product.segments, pack_segment)


def _pack_column(
    code: Code,
    product: Product,
    factor: Factor,
    matrix: Matrix,
    segment: Value,
    unit: Value,
    target: Value,
) -> None:
    """Write one vector of weights for each term."""
    build, lanes, step = code.builder, product.lanes, product.columns * product.lanes
    along, down = matrix.strides[factor.unit_axis], matrix.strides[factor.term_axis]
    source = code.at(matrix.base, code.times(code.add(unit, factor.window.base), along))
    if product.segments > 1:
        source = code.at(source, code.times(segment, matrix.strides[0]))
    left = build.sub(code.index(product.width), unit)
    all_there = build.icmp_signed(">=", left, code.index(lanes))
    contiguous = build.icmp_signed("==", along, code.index(1))

    def copy(k: Value, _: list[Value]) -> list[Value]:
        vector = code.load(code.at(source, code.times(k, down)))
        code.store(vector, code.at(target, code.times(k, step)))
        return []

    def gather(k: Value, _: list[Value]) -> list[Value]:
        here, there = code.at(source, code.times(k, down)), code.at(target, code.times(k, step))
        code.store(code.constant(0.0), there)
        for lane in range(lanes):
            with build.if_then(code.less(lane, left)):
                number = code.load_number(code.at(here, code.times(along, lane)))
                code.store_number(number, code.at(there, lane))
        return []

    with build.if_else(build.and_(all_there, contiguous)) as (simple, general):
        with simple:
            code.loop(0, product.terms, copy)
        with general:
            code.loop(0, product.terms, gather)

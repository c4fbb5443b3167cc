"""Writing a nest: loops over blocks of units and tiles of rows, and what is done in each tile.

Units are outside and rows inside, so that the weights of a block of units are read from the cache
for all rows but the first. What a tile's matmuls sum up never leaves the registers until the
pointwise operations behind them are done.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from unrolled.backends.llvm.code import Code, Value
from unrolled.backends.llvm.frame import Arguments, Rows, address
from unrolled.backends.llvm.matmul import write_tile
from unrolled.backends.llvm.plan import Home, Nest, Plan, Window, operand_windows, place_of_rows
from unrolled.backends.llvm.pointwise import POINTWISE
from unrolled.backends.llvm.products import Product
from unrolled.backends.llvm.reductions import write_reduction
from unrolled.backends.llvm.views import write_view
from unrolled.ir import OPS, Op, Operation


@dataclass(frozen=True)
class Scene:
    """Where a nest is written: all that its tiles have in common."""

    code: Code
    plan: Plan
    nest: Nest
    products: tuple[Product, ...]
    arguments: Arguments
    homes: dict[Home, Rows]
    operations: dict[str, Operation]


@dataclass(frozen=True)
class Spot:
    """One vector of one row: what is evaluated at once."""

    row: Value
    unit: Value  # the first of its units
    mask: Value | None  # lanes within the nest's width
    sums: dict[Window, Value]  # the results of matmuls


def write_nest(scene: Scene, first: Value, end: Value) -> None:
    """Write a nest over the rows order[first] to order[end - 1]."""
    alone = scene.nest.alone
    if scene.products:
        _write_tiles(scene, first, end)
    elif alone is not None:
        _for_each_row(scene, first, end, lambda row: _reduce(scene, alone, row))
    else:
        _for_each_row(scene, first, end, lambda row: _write_row(scene, row))


def _row(scene: Scene, position: Value) -> Value:
    order = scene.arguments.pointers["order"]
    return scene.code.load_index(scene.code.at(order, position, size=8))


def _for_each_row(scene: Scene, first: Value, end: Value, write: Callable[[Value], None]) -> None:
    def body(position: Value, _: list[Value]) -> list[Value]:
        write(_row(scene, position))
        return []

    scene.code.loop(first, end, body)


def _write_row(scene: Scene, row: Value) -> None:
    """Write a nest without matmuls: rows outside, so that memory is read in a straight line."""
    code, width = scene.code, scene.nest.width

    def body(unit: Value, _: list[Value]) -> list[Value]:
        write_spot(scene, Spot(row, unit, code.mask(unit, width), {}))
        return []

    code.loop(0, width, body, step=code.lanes)


def _reduce(scene: Scene, operation: Operation, row: Value) -> None:
    source = place_of_rows(scene.plan, str(operation.operands[0]))
    start = address(scene.code, scene.homes, source, row)
    targets = [address(scene.code, scene.homes, store.place, row) for store in scene.nest.stores]
    write_reduction(scene.code, operation, start, targets)


def _write_tiles(scene: Scene, first: Value, end: Value) -> None:
    """Write the loops over segments, blocks of units and tiles of rows."""
    code = scene.code
    one = scene.products[0]  # they agree in units, segments and tile

    def segments(segment: Value, _: list[Value]) -> list[Value]:
        code.loop(0, one.panels, lambda block, _: blocks(segment, block))
        return []

    def blocks(segment: Value, block: Value) -> list[Value]:
        position, rows = first, one.tile.rows
        while rows:
            (position,) = tiles(segment, block, position, rows)
            rows //= 2
        return []

    def tiles(segment: Value, block: Value, position: Value, rows: int) -> list[Value]:
        def body(values: list[Value]) -> Sequence[Value]:
            _write_tile(scene, segment, block, values[0], rows)
            return [code.add(values[0], rows)]

        return code.repeat(
            lambda values: code.builder.not_(code.less(end, code.add(values[0], rows))),
            body,
            [position],
        )

    code.loop(0, one.segments, segments)


def _write_tile(scene: Scene, segment: Value, block: Value, position: Value, rows: int) -> None:
    """Write the matmuls of some rows and a block of units, and all that follows from them."""
    code, one = scene.code, scene.products[0]
    indices = [_row(scene, code.add(position, row)) for row in range(rows)]
    inside = code.times(block, one.tile.vectors * code.lanes)
    unit = code.add(code.times(segment, one.width), inside) if one.segments > 1 else inside
    _prefetch_inputs(scene, indices, unit)
    sums: list[dict[Window, Value]] = [{} for _ in range(rows * one.tile.vectors)]
    for product in scene.products:
        number = code.add(code.times(segment, product.panels), block)
        start = code.add(product.start, code.times(number, product.panel_size))
        panel = code.at(scene.arguments.pointers["packed"], start)
        begin = code.times(segment, product.terms)
        operands = [
            code.at(address(code, scene.homes, product.operand, row), begin) for row in indices
        ]
        split = max(1, one.tile.rows // rows)
        tile = write_tile(code, operands, panel, product.terms, product.columns, split)
        for row in range(rows):
            columns = iter(tile[row])
            for factor in product.factors:
                for vector in range(product.tile.vectors):
                    sums[row * one.tile.vectors + vector][factor.window] = next(columns)
    for row in range(rows):
        for vector in range(one.tile.vectors):
            step = vector * code.lanes
            mask = code.mask(code.add(inside, step), one.width)
            own = sums[row * one.tile.vectors + vector]
            write_spot(scene, Spot(indices[row], code.add(unit, step), mask, own))


def _prefetch_inputs(scene: Scene, rows: list[Value], unit: Value) -> None:
    """Ask for what the tile reads of this step's inputs before its matmuls, which take a while."""
    for place in scene.nest.loads.values():
        if place.home.kind == "input":
            for row in rows:
                start = address(scene.code, scene.homes, place, row)
                scene.code.prefetch(scene.code.at(start, unit))


def write_spot(scene: Scene, spot: Spot) -> None:
    """Write all that a nest computes for one vector of one row, and store what is to be stored."""
    code, values = scene.code, dict(spot.sums)
    for window in scene.nest.windows:
        if window not in values:
            values[window] = _window(scene, spot, window, values)
    for store in scene.nest.stores:
        value = values[store.window]
        if value.type == code.mask_type:
            value = code.builder.select(value, code.constant(1.0), code.constant(0.0))
        start = address(code, scene.homes, store.place, spot.row)
        code.store(value, code.at(start, spot.unit), spot.mask)


def _window(scene: Scene, spot: Spot, window: Window, values: dict[Window, Value]) -> Value:
    """Write one window: loaded, moved or computed."""
    if window in scene.nest.loads:
        return _load(scene, spot, window)
    operation = scene.operations[window.value]
    if operation.op in (Op.EXPAND, Op.SWAP):
        source = place_of_rows(scene.plan, str(operation.operands[0]))
        start = address(scene.code, scene.homes, source, spot.row)
        return write_view(scene.code, operation, start, window.base, scene.nest.width, spot)
    if operation.op == Op.SLICE:
        return values[operand_windows(operation, window)[0]]
    if operation.op == Op.FILL:
        return scene.code.constant(float(operation.attributes[0]))
    assert OPS[operation.op].kind == "pointwise"
    operands = [
        values[Window(o, window.base)] if isinstance(o, str) else scene.code.constant(o)
        for o in operation.operands
    ]
    return POINTWISE[operation.op](scene.code, *operands, *operation.attributes)


def _load(scene: Scene, spot: Spot, window: Window) -> Value:
    code, type = scene.code, scene.plan.program.types[window.value]
    place = scene.nest.loads[window]
    start = address(code, scene.homes, place, spot.row)
    if type.shape == ():
        return code.load_spread(start)
    value = code.load(code.at(start, spot.unit), spot.mask)
    return code.compare("!=", value, code.constant(0.0)) if type.kind == "mask" else value

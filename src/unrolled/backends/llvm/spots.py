"""Spots: what a nest does for one vector of one row, and all that spots have in common."""

from collections.abc import Sequence
from dataclasses import dataclass

from unrolled.backends.llvm.code import Code, Value
from unrolled.backends.llvm.frame import Arguments, Rows, address
from unrolled.backends.llvm.plan import Home, Nest, Place, Window, operand_windows, place_of_rows
from unrolled.backends.llvm.pointwise import POINTWISE
from unrolled.backends.llvm.products import Product
from unrolled.backends.llvm.tiles import PieceRows
from unrolled.backends.llvm.views import write_view
from unrolled.ir import OPS, Op, Operation

TOGETHER = 2
"""Vectors that go through the pointwise operations side by side."""


@dataclass(frozen=True)
class Scene:
    """Where a nest is written: all that its parts have in common."""

    code: Code
    arguments: Arguments
    nest: Nest
    products: tuple[Product, ...]
    homes: dict[Home, Rows]
    in_tiles: PieceRows

    def operation(self, name: str) -> Operation:
        """Give the operation that computes a value."""
        return next(o for o in self.arguments.plan.program.body if o.name == name)


@dataclass(frozen=True)
class Spot:
    """One vector of one row."""

    row: Value
    unit: Value  # the first of its units
    mask: Value | None  # lanes within the nest's width
    sums: dict[Window, Value]  # the results of matmuls


def row_at(scene: Scene, position: Value) -> Value:
    """Give the row that stands at a position of the order in which they begin."""
    order = scene.arguments.pointers["order"]
    return scene.code.load_index(scene.code.at(order, position, size=8))


def write_spots(scene: Scene, spots: Sequence[Spot]) -> list[dict[Window, Value]]:
    """Write all that a nest computes for some vectors, and store what is to be stored.

    Returns:
        What was computed for each of them.
    """
    code = scene.code
    values = [dict(spot.sums) for spot in spots]
    for window in scene.nest.windows:
        for spot, own in zip(spots, values, strict=True):
            if window not in own:
                own[window] = _window(scene, spot, window, own)
    past, near = [], []
    for store in scene.nest.stores:
        for spot, own in zip(spots, values, strict=True):
            value = own[store.window]
            if value.type == code.mask_type:
                value = code.builder.select(value, code.constant(1.0), code.constant(0.0))
            start = address(code, scene.homes, store.place, spot.row)
            there = past if spot.mask is None and is_left_alone(scene, store.place) else near
            there.append((value, code.at(start, spot.unit), spot.mask))
    for stored in near:
        code.store(*stored)
    if not past:
        return values
    many = code.less(0, scene.arguments.numbers["past caches"])
    with code.builder.if_else(many) as (large, small):
        with large:
            for value, there, _ in past:
                code.store_past_caches(value, there)
        with small:
            for value, there, _ in past:
                code.store(value, there)
    return values


def is_left_alone(scene: Scene, place: Place) -> bool:
    """Tell whether a place of an output is in no vector with another and not read in the loop."""
    layout, lanes = scene.arguments.layout, scene.code.lanes
    if place.home.kind != "output" or place.home in scene.arguments.read:
        return False
    return layout.outputs[place.home.name] % lanes == 0 == place.offset % lanes


def _window(scene: Scene, spot: Spot, window: Window, values: dict[Window, Value]) -> Value:
    """Write one window: loaded, moved or computed."""
    if window in scene.nest.loads:
        return _load(scene, spot, window)
    operation = scene.operation(window.value)
    if operation.op in (Op.EXPAND, Op.SWAP):
        source = place_of_rows(scene.arguments.plan, str(operation.operands[0]))
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
    code, type = scene.code, scene.arguments.plan.program.types[window.value]
    place = scene.nest.loads[window]
    if type.shape == ():  # one number for all windows
        return code.load_spread(address(code, scene.homes, Place(place.home, 0), spot.row))
    start = address(code, scene.homes, place, spot.row)
    value = code.load(code.at(start, spot.unit), spot.mask)
    return code.compare("!=", value, code.constant(0.0)) if type.kind == "mask" else value


def ask_to_write(scene: Scene, row: Value, unit: Value, vectors: int) -> None:
    """Ask for the lines of outputs that do not go past the caches, so that they are there by then.

    A processor fetches a line of memory before it writes a part of it.
    """
    code = scene.code
    places = {s.place: None for s in scene.nest.stores if s.place.home.kind == "output"}
    for place in places:
        if not is_left_alone(scene, place):
            start = code.at(address(code, scene.homes, place, row), unit)

            def body(number: Value, _: list[Value], start=start) -> list[Value]:
                code.prefetch(code.at(start, code.times(number, code.lanes)), write=True)
                return []

            code.loop(0, vectors, body)

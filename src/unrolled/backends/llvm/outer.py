"""Products over rows: the sum of the outer products of two rows, over all rows of all steps.

Gradients of weights are such products. Both operands lie with the numbers of a row side by side, so
neither has to be turned over: what a tile multiplies are numbers next to each other, of one and of
the other. Rows are taken a few at a time, *chunks*, whose panels stay in the nearest caches::

    panel[row of the chunk][lane]

Threads take *strips* of the left operand's numbers and nobody waits for anybody. Each number of the
result is summed up by one thread in one order, which the number of threads does not change.
"""

import ctypes
from dataclasses import dataclass
from functools import cache

import torch
from llvmlite import ir
from torch import Tensor

from unrolled.backends.llvm import cache as disk
from unrolled.backends.llvm.code import INDEX, Code, Value
from unrolled.backends.llvm.jit import Library, compile_module
from unrolled.backends.llvm.kernel import POOL
from unrolled.backends.llvm.matmul import write_tile
from unrolled.backends.llvm.table import ALIGNMENT
from unrolled.backends.llvm.target import FLOATS, Target, choose_target, choose_tile
from unrolled.backends.llvm.threads import run_parallel

CHUNK = 64
"""Rows whose panels lie in the nearest caches; the last chunk is filled up with zeros."""

WIDEST = 512
"""Numbers of a strip at most, so that its panels and the operand's rows fit into the L2 cache."""

WORTH = 1 << 25
"""Multiplications above which we are faster than a general product, which takes less to start."""

FILLED = 1.15
"""How many times as much may be multiplied, with what panels are filled up with, than is asked."""

SLOTS = (
    "ticket",  # the next strip that no thread has taken
    "left",  # pointer to the rows of the left operand
    "left row",  # from row to row, in numbers
    "left width",
    "right",
    "right row",
    "right width",
    "result",  # pointer: (left width, right width)
    "sums",  # pointer: (left width,), the left operand's rows added up
    "rows",
    "strip",  # numbers of a strip
    "strips",
    "room",  # pointer: the panels of one strip after the other
    "room size",  # numbers for each
)


@dataclass(frozen=True)
class Shape:
    """How the result is cut into tiles."""

    rows: int  # of the result in a tile
    columns: int  # vectors in a tile
    vectors: int  # of the left operand's numbers in a panel
    lanes: int

    @property
    def left_panel(self) -> int:
        """Numbers of the left operand in a panel."""
        return self.vectors * self.lanes

    @property
    def right_panel(self) -> int:
        """Numbers of the right operand in a panel."""
        return self.columns * self.lanes


def shape_of(target: Target, kind: str) -> Shape:
    """Give the tiles for an instruction set.

    >>> shape_of(Target("avx512", "", "", 64, 32), "float32")
    Shape(rows=8, columns=2, vectors=1, lanes=16)
    """
    lanes = target.lanes(FLOATS[kind])
    tile = choose_tile(target, gates=2, blocks=1)
    return Shape(tile.rows, tile.columns, max(1, tile.rows // lanes), lanes)


def emit(target: Target, kind: str) -> str:
    """Write the module for one instruction set and float type."""
    module, shape = ir.Module(name="outer"), shape_of(target, kind)
    code, table = Code.function(module, "run", target, kind)
    given = {name: code.load_index(code.at(table, n, size=8)) for n, name in enumerate(SLOTS)}
    pointers = {n: code.pointer(given[n]) for n in ("left", "right", "result", "sums", "room")}

    def take() -> Value:
        return code.builder.atomic_rmw("add", table, code.index(1), "monotonic")

    def strip(values: list[Value]) -> list[Value]:
        (number,) = values
        begin = code.times(number, given["strip"])
        end = code.least(code.add(begin, given["strip"]), given["left width"])
        room = code.at(pointers["room"], code.times(number, given["room size"]))
        _write_strip(Strip(code, shape, given, pointers, begin, end, room))
        return [take()]

    code.repeat(lambda values: code.less(values[0], given["strips"]), strip, [take()])
    code.finish()
    return str(module)


@dataclass(frozen=True)
class Strip:
    """Where a strip is written: what all its chunks have in common."""

    code: Code
    shape: Shape
    given: dict[str, Value]
    pointers: dict[str, Value]
    begin: Value  # the first of the left operand's numbers
    end: Value
    room: Value  # a panel of the right operand, and behind it all of the left's


def _write_strip(strip: Strip) -> None:
    """Write the loop over chunks of rows: panels of the left, then of the right one by one."""
    code, shape, given = strip.code, strip.shape, strip.given
    lefts = code.at(strip.room, CHUNK * shape.right_panel)
    width = code.builder.sub(strip.end, strip.begin)

    def chunk(row: Value, _: list[Value]) -> list[Value]:
        count = code.least(code.builder.sub(given["rows"], row), CHUNK)
        more = code.less(0, row)

        def left(number: Value, _: list[Value]) -> list[Value]:
            place = code.add(strip.begin, number)
            source = code.at(strip.pointers["left"], code.times(row, given["left row"]))
            source, target = code.at(source, place), code.at(lefts, code.times(number, CHUNK))
            there = code.builder.sub(strip.end, place)
            panel = [source, given["left row"], target, count, there]
            sums = [code.at(strip.pointers["sums"], place), code.builder.zext(more, INDEX)]
            _pack(code, "left", shape.vectors, [*panel, *sums])
            return []

        def right(number: Value, _: list[Value]) -> list[Value]:
            source = code.at(strip.pointers["right"], code.times(row, given["right row"]))
            there = code.builder.sub(given["right width"], number)
            panel = [code.at(source, number), given["right row"], strip.room, count, there]
            _pack(code, "right", shape.columns, panel)
            _write_tiles(strip, lefts, width, number, there, more, code.add(row, CHUNK))
            return []

        code.loop(0, width, left, step=shape.left_panel)
        code.loop(0, given["right width"], right, step=shape.right_panel)
        return []

    code.loop(0, given["rows"], chunk, step=CHUNK)


def _write_tiles(
    strip: Strip,
    lefts: Value,
    width: Value,
    column: Value,
    left: Value,
    more: Value,
    following: Value,
) -> None:
    """Write the loop over the tiles that one panel of the right operand has part in.

    Each tile asks for its share of the rows that the following chunk consists of.
    """
    code, shape, given = strip.code, strip.shape, strip.given
    share = _share(code, given["right width"], shape.right_panel)
    own_share = _share(code, width, shape.left_panel)
    left_panel, right_panel = code.index(shape.left_panel), code.index(shape.right_panel)
    masks = [
        code.first_lanes(code.builder.sub(left, code.index(vector * code.lanes)))
        for vector in range(shape.columns)
    ]
    nothing = _no_lanes(code)

    def tile(first: Value, _: list[Value]) -> list[Value]:
        inside = code.builder.urem(first, code.index(shape.left_panel))
        panel = code.times(code.builder.sub(first, inside), CHUNK)
        start = code.at(lefts, code.add(panel, inside))
        rows = [code.at(start, row) for row in range(shape.rows)]
        target = code.times(code.add(strip.begin, first), given["right width"])
        target = code.at(strip.pointers["result"], code.add(target, column))
        places = [
            code.at(target, code.times(given["right width"], row)) for row in range(shape.rows)
        ]
        for place in places:
            for vector in range(shape.columns):
                code.prefetch(code.at(place, vector * code.lanes), write=True)
        here = code.add(following, code.times(code.builder.udiv(column, right_panel), share))
        there = code.add(strip.begin, first)
        _ask_for(code, strip.pointers["left"], given["left row"], here, share, there, 1)
        here = code.builder.udiv(first, left_panel)
        here = code.add(following, code.times(here, own_share))
        right = strip.pointers["right"], given["right row"]
        _ask_for(code, *right, here, own_share, column, shape.columns)
        sums = write_tile(code, rows, strip.room, CHUNK, shape.columns, along=shape.left_panel)
        for row, own in enumerate(sums):
            there = code.less(code.add(first, row), width)
            for vector, total in enumerate(own):
                mask = code.builder.select(there, masks[vector], nothing)
                before = code.builder.select(more, mask, nothing)
                place = code.at(places[row], vector * code.lanes)
                code.store(code.builder.fadd(code.load(place, before), total), place, mask)
        return []

    code.loop(0, width, tile, step=shape.rows)


def _share(code: Code, width: Value, panel: int) -> Value:
    """Give a panel's share of the rows of a chunk."""
    panels = code.builder.udiv(code.add(width, panel - 1), code.index(panel))
    return code.builder.udiv(code.add(panels, CHUNK - 1), panels)


def _ask_for(
    code: Code, source: Value, along: Value, row: Value, count: Value, column: Value, lines: int
) -> None:
    """Ask for some lines of some rows that will be read later on."""

    def body(number: Value, _: list[Value]) -> list[Value]:
        start = code.at(source, code.add(code.times(code.add(row, number), along), column))
        for line in range(lines):
            code.prefetch(code.at(start, line * code.lanes), near=False)
        return []

    code.loop(0, count, body)


def _pack(code: Code, side: str, vectors: int, arguments: list[Value]) -> None:
    """Call the function that lays out a panel of one side; it is written at its first call."""
    types = [argument.type for argument in arguments]

    def write(inner: Code, given: list[Value]) -> None:
        _write_pack(inner, vectors, *given)

    code.call(f"pack_{side}", types, write, arguments)


def _write_pack(
    code: Code,
    vectors: int,
    source: Value,
    along: Value,
    target: Value,
    count: Value,
    left: Value,
    sums: Value | None = None,
    more: Value | None = None,
) -> None:
    """Write how rows become a panel: zeros behind the last number, and behind the last row.

    Where sums are asked for, the rows are added to them; if there are no `more`, to nothing.
    """
    build, size = code.builder, vectors * code.lanes
    places = [vector * code.lanes for vector in range(vectors)]
    masks = [code.first_lanes(build.sub(left, code.index(place))) for place in places]

    def row(number: Value, totals: list[Value]) -> list[Value]:
        here = code.at(source, code.times(number, along))
        there = code.at(target, code.times(number, size))
        values = [code.load(code.at(here, p), mask) for p, mask in zip(places, masks, strict=True)]
        for place, value in zip(places, values, strict=True):
            code.store(value, code.at(there, place))
        return [build.fadd(total, value) for total, value in zip(totals, values, strict=True)]

    def nothing(number: Value, _: list[Value]) -> list[Value]:
        for place in places:
            code.store(
                code.constant(0.0), code.at(target, code.add(code.times(number, size), place))
            )
        return []

    totals = code.loop(0, count, row, carry=[code.constant(0.0)] * vectors)
    code.loop(count, CHUNK, nothing)
    if sums is not None and more is not None:
        for place, mask, total in zip(places, masks, totals, strict=True):
            known = build.select(code.less(0, more), mask, _no_lanes(code))
            before = code.load(code.at(sums, place), known)
            code.store(build.fadd(before, total), code.at(sums, place), mask)


def _no_lanes(code: Code) -> Value:
    return ir.Constant(code.mask_type, [0] * code.lanes)


@cache
def _here() -> Target:
    return choose_target()


@cache
def _library(target: Target, kind: str) -> Library:
    name = disk.key(f"outer {kind}", target)
    image = disk.load(name)
    if image is None:
        image = compile_module(emit(target, kind), target)
        disk.save(name, image)
    return Library(image, ("run",), target)


def is_worth_it(left: Tensor, right: Tensor) -> bool:
    """Tell whether `over_rows` takes these operands, and is faster than a general product."""
    kinds = {torch.float32: "float32", torch.float64: "float64"}
    if left.dtype not in kinds or right.dtype != left.dtype or left.device.type != "cpu":
        return False
    if right.device.type != "cpu" or left.stride(1) != 1 or right.stride(1) != 1:
        return False
    shape = shape_of(_here(), kinds[left.dtype])
    wanted = left.shape[0] * left.shape[1] * right.shape[1]
    filled = -(-left.shape[0] // CHUNK) * CHUNK
    filled *= -(-left.shape[1] // shape.rows) * shape.rows
    filled *= -(-right.shape[1] // shape.right_panel) * shape.right_panel
    return wanted >= WORTH and filled <= FILLED * wanted


def over_rows(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Multiply each row of one with the same row of the other, and add all of that up.

    Args:
        left: (rows, m), numbers of a row side by side, float32 or float64, on the cpu.
        right: (rows, n), of the same type.

    Returns:
        The product (m, n), and the sum of the left operand's rows (m,).

    Example:
        >>> left, right = torch.ones(5, 3), torch.arange(10.0).view(5, 2)
        >>> over_rows(left, right)
        (tensor([[20., 25.],
                [20., 25.],
                [20., 25.]]), tensor([5., 5., 5.]))
    """
    target, kind = _here(), "float32" if left.dtype == torch.float32 else "float64"
    shape = shape_of(target, kind)
    (rows, m), n = left.shape, right.shape[1]
    result, sums = left.new_empty(m, n), left.new_empty(m)
    if not rows or not m or not n:
        return result.zero_(), left.sum(0)
    threads = min(torch.get_num_threads(), -(-m // shape.left_panel))
    wanted = threads * -(-m // (threads * WIDEST))
    panels = -(-m // (wanted * shape.left_panel))
    strip = panels * shape.left_panel
    strips = -(-m // strip)
    size = CHUNK * (shape.right_panel + strip)
    room = POOL.take((strips * size + ALIGNMENT // left.itemsize,), left.dtype)
    base = -(-room.data_ptr() // ALIGNMENT) * ALIGNMENT
    table = (ctypes.c_int64 * len(SLOTS))(
        0, left.data_ptr(), left.stride(0), m, right.data_ptr(), right.stride(0), n,
        result.data_ptr(), sums.data_ptr(), rows, strip, strips, base, size,
    )  # fmt: skip
    address = _library(target, kind).addresses["run"]
    run_parallel(address, ctypes.addressof(table), threads)
    return result, sums

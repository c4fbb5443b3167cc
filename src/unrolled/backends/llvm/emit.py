"""`emit`: a plan becomes a module with two functions, each of which takes the table of arguments.

`pack` lays the weights out for the matmuls: threads take panels as long as there are any. `run`
takes parts of the rows in the same way, and runs each through all of time.
"""

from llvmlite import ir

from unrolled.backends.llvm.arguments import Layout
from unrolled.backends.llvm.code import Code, Value
from unrolled.backends.llvm.frame import Arguments, Rows
from unrolled.backends.llvm.nests import Scene, write_nest
from unrolled.backends.llvm.packing import write_panel
from unrolled.backends.llvm.plan import Home, Plan
from unrolled.backends.llvm.target import Target

FUNCTIONS = ("pack", "run")


def emit(plan: Plan, layout: Layout, target: Target) -> str:
    """Write the module of a plan, as LLVM IR in text."""
    module = ir.Module(name="unrolled")
    code, table = Code.function(module, "pack", target, plan.program.dtype)
    _write_pack(code, Arguments(code, plan, layout, table))
    code, table = Code.function(module, "run", target, plan.program.dtype)
    _write_run(code, Arguments(code, plan, layout, table))
    return str(module)


def _take(code: Code, arguments: Arguments, slot: str) -> Value:
    """Give the next number that no thread has had."""
    place = code.at(arguments.table, arguments.layout.slots[slot], size=8)
    return code.builder.atomic_rmw("add", place, code.index(1), "monotonic")


def _write_pack(code: Code, arguments: Arguments) -> None:
    """Write the loops in which a thread takes panels: one loop for each product."""
    number, before = _take(code, arguments, "panel"), 0
    packed = arguments.pointers["packed"]
    for product in (p for own in arguments.layout.products.values() for p in own):
        matrices = {f.matrix: arguments.matrix(f.matrix) for f in product.factors}
        until = before + product.segments * product.panels

        def body(values: list[Value], product=product, matrices=matrices, before=before):
            write_panel(code, product, matrices, code.add(values[0], -before), packed)
            return [_take(code, arguments, "panel")]

        def some_left(values: list[Value], until=until) -> Value:
            return code.less(values[0], until)

        (number,) = code.repeat(some_left, body, [number])
        before = until
    code.finish()


def _write_run(code: Code, arguments: Arguments) -> None:
    """Write the loop in which a thread takes parts of the rows."""
    bounds, parts = arguments.pointers["bounds"], arguments.numbers["parts"]

    def body(values: list[Value]) -> list[Value]:
        first = code.load_index(code.at(bounds, values[0], size=8))
        end = code.load_index(code.at(bounds, code.add(values[0], 1), size=8))
        _write_part(code, arguments, first, end)
        return [_take(code, arguments, "ticket")]

    def some_left(values: list[Value]) -> Value:
        return code.less(values[0], parts)

    code.repeat(some_left, body, [_take(code, arguments, "ticket")])
    code.finish()


def _write_part(code: Code, arguments: Arguments, first: Value, end: Value) -> None:
    """Write the loop over time for the rows order[first] to order[end - 1].

    They lie in the order in which they begin, and in the opposite order of their ends if they end
    at different times: those that run are always the first few.
    """

    def enter(homes: dict[Home, Rows], t: Value, running: Value) -> Value:
        return _write_entering(code, arguments, homes, t, running, end)

    def leave(homes: dict[Home, Rows], t: Value, running: Value) -> Value:
        return _write_leaving(code, arguments, homes, t, first, running)

    def step(t: Value, running: list[Value]) -> list[Value]:
        homes = arguments.at_step(t)
        until = leave(homes, t, enter(homes, t, running[0]))
        for number, nest in enumerate(arguments.plan.nests):
            products = arguments.layout.products[number]
            write_nest(Scene(code, arguments, nest, products, homes), first, until)
        return [until]

    (running,) = code.loop(0, arguments.numbers["time"], step, carry=[first])
    t = arguments.numbers["time"]
    homes = arguments.at_step(t)
    leave(homes, t, enter(homes, t, running))  # rows without any step are in no step
    code.loop(first, end, lambda position, _: _write_nothing(code, arguments, position))


def _write_nothing(code: Code, arguments: Arguments, position: Value) -> list[Value]:
    """Write zeros where a row does not run, for outputs that are not states too."""
    order, time = arguments.pointers["order"], arguments.numbers["time"]
    row = code.load_index(code.at(order, position, size=8))
    begin, end = (
        code.load_index(code.at(arguments.pointers[slot], row, size=8)) for slot in ("begin", "end")
    )
    carried = {home.name for home in arguments.plan.carried.values() if home.kind == "output"}

    def clear(t: Value, _: list[Value]) -> list[Value]:
        for name, width in arguments.layout.outputs.items():
            if name not in carried:
                rows = arguments.output(name, t)
                start = code.at(rows.base, code.times(row, rows.stride))
                code.fill(start, width)
        return []

    code.loop(0, begin, clear)
    code.loop(end, time, clear)
    return []


def _write_entering(
    code: Code,
    arguments: Arguments,
    homes: dict[Home, Rows],
    t: Value,
    until: Value,
    end: Value,
) -> Value:
    """Write how rows that begin get their first states; give the end of those that run."""
    order, begins = arguments.pointers["order"], arguments.pointers["begin"]

    def begins_now(values: list[Value]) -> Value:
        # Behind the last row there is nothing to look at: the row before stands in for it.
        last = code.add(end, -1)
        inside = code.less(values[0], end)
        position = code.builder.select(inside, values[0], last)
        row = code.load_index(code.at(order, position, size=8))
        begin = code.load_index(code.at(begins, row, size=8))
        return code.builder.and_(inside, code.builder.icmp_signed("==", t, begin))

    def enter(values: list[Value]) -> list[Value]:
        row = code.load_index(code.at(order, values[0], size=8))
        for state in arguments.plan.program.states:
            source = arguments.ends("first", state.name)
            target = homes[Home("state", state.name)]
            _copy_row(code, row, state.type.width, source, target)
        return [code.add(values[0], 1)]

    return code.repeat(begins_now, enter, [until])[0]


def _write_leaving(
    code: Code,
    arguments: Arguments,
    homes: dict[Home, Rows],
    t: Value,
    first: Value,
    until: Value,
) -> Value:
    """Write how the states of rows that have ended are kept; give the end of those that run."""
    order, ends = arguments.pointers["order"], arguments.pointers["end"]

    def has_ended(values: list[Value]) -> Value:
        some = code.less(first, values[0])
        position = code.builder.select(some, code.add(values[0], -1), first)
        row = code.load_index(code.at(order, position, size=8))
        end = code.load_index(code.at(ends, row, size=8))
        return code.builder.and_(some, code.builder.not_(code.less(t, end)))

    def leave(values: list[Value]) -> list[Value]:
        position = code.add(values[0], -1)
        row = code.load_index(code.at(order, position, size=8))
        for state in arguments.plan.program.states:
            source = homes[Home("state", state.name)]
            target = arguments.ends("last", state.name)
            _copy_row(code, row, state.type.width, source, target)
        return [position]

    return code.repeat(has_ended, leave, [until])[0]


def _copy_row(code: Code, row: Value, width: int, source: Rows, target: Rows) -> None:
    start = code.at(source.base, code.times(row, source.stride))
    end = code.at(target.base, code.times(row, target.stride))

    def body(unit: Value, _: list[Value]) -> list[Value]:
        mask = code.mask(unit, width)
        code.store(code.load(code.at(start, unit), mask), code.at(end, unit), mask)
        return []

    code.loop(0, width, body, step=code.lanes)

"""`emit`: a plan becomes a module with two functions, each of which takes the table of arguments.

`pack` lays the weights out for the matmuls. `run` takes parts of the rows, one after the other, as
long as there are any that no other thread has taken, and runs each through all of time.
"""

from llvmlite import ir

from unrolled.backends.llvm.arguments import Layout
from unrolled.backends.llvm.code import Code, Value
from unrolled.backends.llvm.frame import Arguments, Rows, address
from unrolled.backends.llvm.nests import Scene, write_nest
from unrolled.backends.llvm.plan import Home, Place, Plan
from unrolled.backends.llvm.products import write_packing
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


def _write_pack(code: Code, arguments: Arguments) -> None:
    for products in arguments.layout.products.values():
        for product in products:
            matrices = {f.matrix: arguments.matrix(f.matrix) for f in product.factors}
            write_packing(code, product, matrices, arguments.pointers["packed"])
    code.finish()


def _write_run(code: Code, arguments: Arguments) -> None:
    """Write the loop in which a thread takes parts."""
    bounds, parts = arguments.pointers["bounds"], arguments.numbers["parts"]
    ticket = code.at(arguments.table, arguments.layout.slots["ticket"], size=8)

    def take() -> Value:
        return code.builder.atomic_rmw("add", ticket, code.index(1), "monotonic")

    def body(values: list[Value]) -> list[Value]:
        first = code.load_index(code.at(bounds, values[0], size=8))
        end = code.load_index(code.at(bounds, code.add(values[0], 1), size=8))
        _write_part(code, arguments, first, end)
        return [take()]

    code.repeat(lambda values: code.less(values[0], parts), body, [take()])
    code.finish()


def _write_part(code: Code, arguments: Arguments, first: Value, end: Value) -> None:
    """Write the loop over time for the rows order[first] to order[end - 1].

    They lie in the order in which they begin, and in the opposite order of their ends if they end
    at different times: those that run are always the first few.
    """

    def step(t: Value, running: list[Value]) -> list[Value]:
        homes = arguments.at_step(t)
        until = _write_entering(code, arguments, homes, t, running[0], end)
        until = _write_leaving(code, arguments, homes, t, first, until)
        _write_step(code, arguments, homes, first, until)
        return [until]

    (running,) = code.loop(0, arguments.numbers["time"], step, carry=[first])
    t = arguments.numbers["time"]
    homes = arguments.at_step(t)
    running = _write_entering(code, arguments, homes, t, running, end)  # rows without any step
    _write_leaving(code, arguments, homes, t, first, running)


def _write_step(
    code: Code, arguments: Arguments, homes: dict[Home, Rows], first: Value, end: Value
) -> None:
    plan = arguments.plan
    operations = {operation.name: operation for operation in plan.program.body}
    for number, nest in enumerate(plan.nests):
        products = arguments.layout.products[number]
        scene = Scene(code, plan, nest, products, arguments, homes, operations)
        write_nest(scene, first, end)


def _write_entering(
    code: Code, arguments: Arguments, homes: dict[Home, Rows], t: Value, until: Value, end: Value
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
    code: Code, arguments: Arguments, homes: dict[Home, Rows], t: Value, first: Value, until: Value
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
    here, there = Home("state", ""), Home("next", "")
    homes = {here: source, there: target}
    start = address(code, homes, Place(here, 0), row)
    end = address(code, homes, Place(there, 0), row)

    def body(unit: Value, _: list[Value]) -> list[Value]:
        mask = code.mask(unit, width)
        code.store(code.load(code.at(start, unit), mask), code.at(end, unit), mask)
        return []

    code.loop(0, width, body, step=code.lanes)

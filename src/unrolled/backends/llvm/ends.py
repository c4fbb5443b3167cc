"""Where rows begin and end: which of them run at a step, and how their states come and go."""

from unrolled.backends.llvm.code import Code, Value
from unrolled.backends.llvm.frame import Arguments, Rows
from unrolled.backends.llvm.plan import Home


def edges(
    code: Code, arguments: Arguments, t: Value, first: Value, running: Value, end: Value
) -> tuple[Value, Value]:
    """Find the rows that run at a step: order[first] to the one before `until`.

    Args:
        code: where it is written.
        arguments: the table.
        t: the step.
        first: of the part.
        running: behind the last that ran at the step before.
        end: of the part.

    Returns:
        Where the rows end that ran or begin now, and `until`, where those end that have not ended.
    """
    order, begins, ends = (arguments.pointers[slot] for slot in ("order", "begin", "end"))
    build = code.builder

    def at(times: Value, position: Value) -> Value:
        row = code.load_index(code.at(order, position, size=8))
        return code.load_index(code.at(times, row, size=8))

    def begins_now(values: list[Value]) -> Value:
        # Behind the last row there is nothing to look at: the row before stands in for it.
        inside = code.less(values[0], end)
        position = build.select(inside, values[0], code.add(end, -1))
        return build.and_(inside, code.equal(t, at(begins, position)))

    def has_ended(values: list[Value]) -> Value:
        some = code.less(first, values[0])
        position = build.select(some, code.add(values[0], -1), first)
        return build.and_(some, build.not_(code.less(t, at(ends, position))))

    (entered,) = code.repeat(begins_now, lambda values: [code.add(values[0], 1)], [running])
    (until,) = code.repeat(has_ended, lambda values: [code.add(values[0], -1)], [entered])
    return entered, until


def write_moves(
    code: Code, arguments: Arguments, t: Value, running: Value, entered: Value, until: Value
) -> None:
    """Write how rows that begin get their first states, and how those of ended ones are kept."""
    order, homes = arguments.pointers["order"], arguments.at_step(t)

    def moved(position: Value, begins: bool) -> list[Value]:
        row = code.load_index(code.at(order, position, size=8))
        for state in arguments.plan.program.states:
            here = homes[Home("state", state.name)]
            if begins:
                _copy_row(code, row, state.type.width, arguments.ends("first", state.name), here)
            else:
                _copy_row(code, row, state.type.width, here, arguments.ends("last", state.name))
        return []

    code.loop(running, entered, lambda position, _: moved(position, begins=True))
    code.loop(until, entered, lambda position, _: moved(position, begins=False))


def write_nothing(code: Code, arguments: Arguments, position: Value) -> list[Value]:
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


def _copy_row(code: Code, row: Value, width: int, source: Rows, target: Rows) -> None:
    start = code.at(source.base, code.times(row, source.stride))
    end = code.at(target.base, code.times(row, target.stride))

    def body(unit: Value, _: list[Value]) -> list[Value]:
        mask = code.mask(unit, width)
        code.store(code.load(code.at(start, unit), mask), code.at(end, unit), mask)
        return []

    code.loop(0, width, body, step=code.lanes)

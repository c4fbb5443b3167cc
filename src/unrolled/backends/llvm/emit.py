"""`emit`: a plan becomes a module with two functions, each of which takes the table of arguments.

`pack` lays the weights out for the matmuls: threads take panels as long as there are any. `run`
takes parts of the rows in the same way, and runs each through all of time; or all threads run all
rows together, each some of the units.
"""

from itertools import accumulate

from llvmlite import ir

from unrolled.backends.llvm.arguments import Layout
from unrolled.backends.llvm.code import INDEX, Code, Value
from unrolled.backends.llvm.ends import edges, write_moves, write_nothing
from unrolled.backends.llvm.frame import Arguments
from unrolled.backends.llvm.nests import count_blocks, write_before, write_piece
from unrolled.backends.llvm.packing import write_panel
from unrolled.backends.llvm.plan import Plan
from unrolled.backends.llvm.spots import Scene
from unrolled.backends.llvm.target import Target
from unrolled.backends.llvm.team import Round, Team
from unrolled.backends.llvm.tiles import PieceRows, configure_tiles, release_tiles

FUNCTIONS = ("pack", "run")

ROWS_OF_PIECE = 4
"""Rows of a nest without matmuls that a thread of a team takes at once; the last piece has what is
left over."""


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
    """Write the loop in which a thread takes parts of the rows; a team runs the only one."""
    if arguments.layout.pieces_width:
        configure_tiles(code)
    bounds, parts = arguments.pointers["bounds"], arguments.numbers["parts"]
    ticket = _take(code, arguments, "ticket")
    team = Team.here(code, arguments, ticket)
    ticket = code.builder.select(team.several, code.index(0), ticket)

    def body(values: list[Value]) -> list[Value]:
        first = code.load_index(code.at(bounds, values[0], size=8))
        end = code.load_index(code.at(bounds, code.add(values[0], 1), size=8))
        _write_part(code, arguments, team, values[0], first, end)
        build, before = code.builder, code.builder.block
        with build.if_then(build.not_(team.several)):  # in a team, a ticket is a thread's number
            another, inside = _take(code, arguments, "ticket"), build.block
        following = build.phi(INDEX)
        following.add_incoming(parts, before)
        following.add_incoming(another, inside)
        return [following]

    def some_left(values: list[Value]) -> Value:
        return code.less(values[0], parts)

    code.repeat(some_left, body, [ticket])
    if arguments.layout.pieces_width:
        release_tiles(code)
    code.fence()
    code.finish()


def _pieces_of_rows(code: Code, team: Team, rows: Value) -> tuple[Value, Value]:
    """Say how many rows are a piece of a nest without matmuls, and how many pieces that makes."""
    pieces = code.builder.udiv(code.add(rows, ROWS_OF_PIECE - 1), code.index(ROWS_OF_PIECE))
    select = code.builder.select
    return (
        select(team.several, code.index(ROWS_OF_PIECE), rows),
        select(team.several, pieces, code.index(1)),
    )


def _write_part(
    code: Code, arguments: Arguments, team: Team, part: Value, first: Value, end: Value
) -> None:
    """Write the loop over time for the rows order[first] to order[end - 1].

    They lie in the order in which they begin, and in the opposite order of their ends if they end
    at different times: those that run are always the first few.
    """
    nests = arguments.plan.nests
    member = code.builder.select(team.several, team.member, code.index(0))
    in_tiles = PieceRows.of(code, arguments, member, part, first)
    own = [count_blocks(arguments.layout.products[number]) for number in range(len(nests))]
    rows, of_rows = _pieces_of_rows(code, team, code.builder.sub(end, first))
    counts = [code.index(number) if number else of_rows for number in own]
    passed = list(accumulate(counts, code.add, initial=code.index(0)))

    def move(t: Value, running: Value, moves: Value) -> tuple[Value, Value]:
        """Let rows begin and end; give the end of those that run, and rounds of this kind."""
        entered, until = edges(code, arguments, t, first, running, end)
        turn = Round(code.add(code.times(t, len(nests) + 1), 1), before(t, 0, moves), code.index(1))
        build = code.builder
        some = build.not_(code.equal(running, entered))
        some = build.or_(some, build.not_(code.equal(entered, until)))
        with build.if_then(some):
            team.run(turn, lambda _: write_moves(code, arguments, t, running, entered, until))
        return until, code.add(moves, build.zext(some, INDEX))

    def before(t: Value, nest: int, moves: Value) -> Value:
        """Count the pieces of all rounds before a nest's at a step."""
        return code.add(code.times(t, passed[-1]), code.add(moves, passed[nest]))

    def step(t: Value, carried: list[Value]) -> list[Value]:
        until, moves = move(t, *carried)
        homes = arguments.at_step(t)
        for number, nest in enumerate(nests):
            place = code.add(code.times(t, len(nests) + 1), number + 2)
            turn = Round(place, before(t, number, moves), counts[number])
            scene = Scene(code, arguments, nest, arguments.layout.products[number], homes, in_tiles)
            write_before(scene, first, until)
            team.run(turn, lambda piece, scene=scene: write_piece(scene, piece, rows, first, until))
        return [until, moves]

    time = arguments.numbers["time"]
    running, moves = code.loop(0, time, step, carry=[first, code.index(0)])
    move(time, running, moves)  # rows without any step are in no step
    code.loop(first, end, lambda position, _: write_nothing(code, arguments, position))

"""Threads that run the same rows together: they share out the weights instead of the rows.

A few rows cannot be shared out among many threads, and each thread would read all weights for its
few. So the nests of every step are cut into *pieces*: blocks of units where there are matmuls, a
few rows where there are none. Each thread takes those of its own range, the same at every step,
whose weights then stay in its cache; and none goes on before all pieces of a nest are done.

On a busy machine a thread may not run for a while. Then the others take the pieces that it has not
begun, and it finds them done when it comes back: nobody waits for a thread, only for a piece.
"""

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from unrolled.backends.llvm.code import INDEX, POINTER, Code, Value
from unrolled.backends.llvm.frame import Arguments

LINE = 8
"""Numbers in a cache line: `done` has one, and so has each thread's range."""

PLACES = 1 << 20
"""More than a nest has pieces; above them, a range's number says which nest of which step it is."""

PATIENCE = 1 << 4
"""Looks at what is missing before a thread takes a piece of another's range."""

MORE_PATIENCE = 1 << 10
"""Looks before it lets somebody else have the processor."""


@dataclass(frozen=True)
class Round:
    """One nest at one step: all threads come to all rounds in the same order."""

    number: Value  # from 1
    before: Value  # pieces of all rounds before
    pieces: Value


@dataclass(frozen=True)
class Team:
    """One thread's place among those that run the same rows."""

    code: Code
    arguments: Arguments
    member: Value  # its number, from 0
    size: Value  # how many there are
    own: Value  # room for what it alone knows: an answer, pieces done and not told, a range

    @classmethod
    def here(cls, code: Code, arguments: Arguments, ticket: Value) -> "Team":
        """Give the place of the thread that took a ticket."""
        count = arguments.numbers["count threads"]  # a function; 0: each thread has rows of its own
        build, before = code.builder, code.builder.block
        with build.if_then(build.not_(code.equal(count, 0))):
            found, inside = _ask(code, count), build.block
        size = build.phi(INDEX)
        size.add_incoming(code.index(1), before)
        size.add_incoming(found, inside)
        own = code.room(-(-3 * 8 // code.target.vector_bytes))
        for place in range(3):
            build.store(code.index(0), code.at(own, place, size=8))
        return cls(code, arguments, ticket, size, own)

    @property
    def several(self) -> Value:
        """Whether there is anybody else."""
        return self.code.less(1, self.size)

    def run(self, turn: Round, piece: Callable[[Value], None]) -> None:
        """Write a loop over the pieces of a round that this thread takes.

        Args:
            turn: the round.
            piece: writes one piece, given its number.
        """

        def body(values: list[Value]) -> list[Value]:
            piece(values[0])
            return [self._another(turn, values[0])]

        first = self._another(turn, self.code.index(-1))
        self.code.repeat(lambda values: self.code.less(values[0], turn.pieces), body, [first])

    def _another(self, turn: Round, last: Value) -> Value:
        """Give the number of a piece to do after the last; `turn.pieces` when all are done."""
        code, build = self.code, self.code.builder
        following, before = code.add(last, 1), build.block
        with build.if_then(self.several):
            shared = self.arguments.pointers["rounds"]
            given = self.arguments.numbers["yield"]
            numbers = [self.member, self.size, turn.number, turn.before, turn.pieces, last, given]
            arguments = [shared, self.own, *map(code.index, numbers)]
            types = [POINTER, POINTER, *[INDEX] * len(numbers)]
            code.call("take_piece", types, lambda inner, given: _take(inner, *given), arguments)
            found, inside = code.load_index(self.own), build.block
        result = build.phi(INDEX)
        result.add_incoming(following, before)
        result.add_incoming(found, inside)
        return result


def _ask(code: Code, address: Value) -> Value:
    """Call a function of the C library that takes nothing and gives an int."""
    signature = ir.FunctionType(ir.IntType(32), [])
    function = code.builder.inttoptr(address, signature.as_pointer())
    return code.builder.zext(code.builder.call(function, []), INDEX)


def _take(
    code: Code,
    shared: Value,
    own: Value,
    member: Value,
    size: Value,
    number: Value,
    before: Value,
    pieces: Value,
    last: Value,
    give_way: Value,
) -> None:
    """Write how a thread finds its next piece: in its own range, or waiting, in another's."""
    build = code.builder
    untold, home = code.at(own, 1, size=8), code.at(own, 2, size=8)
    begins = code.less(last, 0)
    done = build.select(begins, code.index(0), code.index(1))
    build.store(code.add(code.load_index(untold), done), untold)
    start = build.select(begins, member, code.load_index(home))

    def nothing_yet(values: list[Value]) -> Value:
        return code.less(values[0], 0)

    def look(values: list[Value]) -> list[Value]:
        _, place, looks = values
        begin = build.udiv(code.times(place, pieces), size)
        length = build.sub(build.udiv(code.times(code.add(place, 1), pieces), size), begin)
        line = code.at(shared, code.times(code.add(place, 1), LINE), size=8)
        seen = build.load_atomic(line, "acquire", 8, typ=INDEX)
        at_round = build.udiv(seen, code.index(PLACES))
        same = code.equal(at_round, number)
        taken = build.select(same, build.urem(seen, code.index(PLACES)), code.index(0))
        is_open = build.and_(build.not_(code.less(number, at_round)), code.less(taken, length))
        more = code.add(looks, 1)
        with build.if_else(is_open) as (some, none):
            with some:
                wanted = code.add(code.times(number, PLACES), code.add(taken, 1))
                swapped = build.cmpxchg(line, seen, wanted, "acq_rel", "acquire")
                mine = code.add(begin, taken)
                found = build.select(build.extract_value(swapped, 1), mine, code.index(-1))
                after_some = build.block
            with none:
                ready, elsewhere = _wait(code, shared, untold, place, more, size, give_way)
                missing = code.less(ready, code.add(before, pieces))
                waited = build.select(missing, code.index(-1), pieces)
                after_none = build.block
        answer, here = build.phi(INDEX), build.phi(INDEX)
        for result, one, other in ((answer, found, waited), (here, place, elsewhere)):
            result.add_incoming(one, after_some)
            result.add_incoming(other, after_none)
        return [answer, here, more]

    answer, place, _ = code.repeat(nothing_yet, look, [code.index(-1), start, code.index(0)])
    build.store(answer, own)
    build.store(place, home)


def _wait(
    code: Code,
    shared: Value,
    untold: Value,
    place: Value,
    looks: Value,
    size: Value,
    give_way: Value,
) -> tuple[Value, Value]:
    """Tell what is done, and wait a moment; give all that is done, and where to look next."""
    build = code.builder
    count = code.load_index(untold)
    with build.if_then(code.less(0, count)):
        build.atomic_rmw("add", shared, count, "release")
        build.store(code.index(0), untold)
    code.pause()
    with build.if_then(code.less(MORE_PATIENCE, looks)):
        _ask(code, give_way)
    turned = build.urem(code.add(place, 1), size)
    now = code.equal(build.urem(looks, code.index(PATIENCE)), 0)
    following = build.select(now, turned, place)
    return build.load_atomic(shared, "acquire", 8, typ=INDEX), following

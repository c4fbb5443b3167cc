"""Random programs over the whole table: passes and backward keep what the interpreter says."""

import math

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unrolled.backends import interpret
from unrolled.compiler.adjoint import adjoint
from unrolled.compiler.memory import memory
from unrolled.compiler.simplify import simplify
from unrolled.ir import OPS, Op, Operation, Program, Value, fixed, parse, rows, verify
from unrolled.kernels import Kernels
from unrolled.loop import Loop

SMOOTH = (
    Op.SIGMOID,
    Op.TANH,
    Op.SIN,
    Op.COS,
    Op.ERF,
    Op.ATAN,
    Op.SOFTPLUS,
    Op.NEG,
    Op.RELU,
    Op.ABS,
)
JUMPS = (Op.SIGN, Op.FLOOR, Op.ROUND, Op.DETACH)
GUARDED = (Op.LOG, Op.LOG1P, Op.SQRT, Op.RSQRT, Op.RECIPROCAL)  # of a positive number only
BOUNDED = (Op.EXP, Op.EXPM1)  # of a bounded number only
BINARY = (Op.ADD, Op.SUB, Op.MUL, Op.MINIMUM, Op.MAXIMUM)
COMPARISONS = (Op.LT, Op.LE, Op.GT, Op.GE, Op.EQ, Op.NE)
LOGIC = (Op.AND, Op.OR)


class Writer:
    """Writes a program whose numbers stay near 1, so that no rounding hides a fault."""

    def __init__(self, draw: st.DrawFn, width: int) -> None:
        self.draw, self.width = draw, width
        self.body: list[Operation] = []
        self.rows = {"a": 2 * width, "h": width, "c": width}
        self.fixed = {"U": fixed(width, 2 * width), "v": fixed(width), "s": fixed()}
        self.fixed["R"] = fixed(2, width, width)

    def emit(self, op: Op, *operands: str | float, attributes: tuple[int | float, ...] = ()) -> str:
        types = {o.name: o.type for o in self.body}
        types |= {name: rows(width) for name, width in self.rows.items()} | self.fixed
        known = tuple(types[o] if isinstance(o, str) else None for o in operands)
        type = OPS[op].rule(known, attributes)
        name = f"t{len(self.body)}"
        self.body.append(Operation(name, op, operands, attributes, type))
        if type.kind == "rows":
            self.rows[name] = type.width
        return name

    def any(self, width: int | None = None) -> str:
        return self.draw(
            st.sampled_from([n for n, w in self.rows.items() if width is None or w == width])
        )

    def other(self, width: int) -> str | float:
        names: list[str | float] = [n for n, w in self.rows.items() if w == width]
        names += ["s", 0.5] + (["v"] if width == self.width else [])
        return self.draw(st.sampled_from(names))

    def tame(self, name: str) -> str:
        return self.emit(Op.TANH, name)

    def positive(self, name: str) -> str:
        return self.emit(Op.ADD, self.emit(Op.SIGMOID, name), 0.5)

    def step(self) -> None:
        a = self.any()
        width = self.rows[a]
        self.draw(st.sampled_from(KINDS))(self, a, width)


def _unary(write: Writer, a: str, width: int) -> None:
    write.emit(write.draw(st.sampled_from(SMOOTH + JUMPS)), a)


def _guarded(write: Writer, a: str, width: int) -> None:
    write.emit(write.draw(st.sampled_from(GUARDED)), write.positive(a))
    write.emit(
        Op.POW, write.positive(a), attributes=(write.draw(st.sampled_from([2.0, 0.5, 1.7])),)
    )


def _bounded(write: Writer, a: str, width: int) -> None:
    write.emit(write.draw(st.sampled_from(BOUNDED)), write.tame(a))


def _clamp(write: Writer, a: str, width: int) -> None:
    write.emit(Op.CLAMP, a, attributes=(-0.3, write.draw(st.sampled_from([0.4, math.inf]))))


def _binary(write: Writer, a: str, width: int) -> None:
    pair = [write.tame(a), write.other(width)]
    if write.draw(st.booleans()):
        pair.reverse()
    write.emit(write.draw(st.sampled_from(BINARY)), *pair)


def _divide(write: Writer, a: str, width: int) -> None:
    write.emit(Op.DIV, write.other(width), write.positive(a))


def _choose(write: Writer, a: str, width: int) -> None:
    one = write.emit(write.draw(st.sampled_from(COMPARISONS)), a, write.other(width))
    two = write.emit(write.draw(st.sampled_from(COMPARISONS)), write.other(width), a)
    both = write.emit(write.draw(st.sampled_from(LOGIC)), one, write.emit(Op.NOT, two))
    write.emit(Op.WHERE, both, a, write.other(width))


def _surrogate(write: Writer, a: str, width: int) -> None:
    jump = write.emit(write.draw(st.sampled_from(JUMPS)), a)
    write.emit(Op.SURROGATE, jump, a, write.tame(write.any(width)))


def _product(write: Writer, a: str, width: int) -> None:
    if width == write.width:
        write.emit(Op.MATMUL, write.tame(a), "U")
    elif width == 2 * write.width:
        write.emit(Op.MATMUL_T, write.tame(a), "U")
        write.emit(write.draw(st.sampled_from([Op.MATMUL, Op.MATMUL_T])), write.tame(a), "R")


def _reduce(write: Writer, a: str, width: int) -> None:
    view = write.draw(st.sampled_from([(1, width, 1), (width, 1, 1), (1, 1, width)]))
    if width % 2 == 0:
        view = write.draw(st.sampled_from([view, (2, width // 2, 1), (1, 2, width // 2)]))
    op = write.draw(st.sampled_from([Op.SUM, Op.MAX]))
    narrow = write.tame(write.emit(op, write.tame(a), attributes=view))
    write.emit(Op.EXPAND, narrow, attributes=view)


def _cut(write: Writer, a: str, width: int) -> None:
    cut = write.draw(st.integers(0, width - 1))
    one = write.emit(Op.SLICE, a, attributes=(cut, width))
    parts = [one, write.emit(Op.FILL, attributes=(0.25, cut))] if cut else [one]
    write.emit(Op.CONCAT, *parts)
    if width % 2 == 0:
        write.emit(Op.SWAP, a, attributes=(1, 2, width // 2, 1))


KINDS = (
    _unary,
    _guarded,
    _bounded,
    _clamp,
    _binary,
    _divide,
    _choose,
    _surrogate,
    _product,
    _reduce,
    _cut,
)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Draw a program with an input, a constant, a state and fixed values of every shape."""
    write = Writer(draw, draw(st.sampled_from([1, 2, 3])))
    for _ in range(draw(st.integers(1, 8))):
        write.step()
    width = write.width
    after = write.tame(write.emit(Op.ADD, write.any(width), write.any(width)))
    return verify(
        Program(
            dtype="float64",
            inputs=(Value("a", rows(2 * width)),),
            constants=(Value("c", rows(width)),),
            states=(Value("h", rows(width)),),
            fixed=tuple(Value(name, type) for name, type in write.fixed.items()),
            body=tuple(write.body),
            outputs=(("y", write.any()), ("z", write.any(width))),
            next=(("h", after),),
        )
    )


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(programs(), st.sampled_from([None, [2, 0, 3]]))
def test_a_random_program_is_kept_by_all_passes(
    program: Program, lengths: list[int] | None
) -> None:
    assert parse(str(program)) == program
    random = torch.Generator().manual_seed(0)

    def numbers(*shape: int) -> torch.Tensor:
        found = torch.randn(shape, generator=random, dtype=torch.float64)
        return found.requires_grad_()

    time, batch = 3, 3
    tensors = (
        {v.name: numbers(time, batch, v.type.width) for v in program.inputs},
        {v.name: numbers(batch, v.type.width) for v in program.constants},
        {v.name: numbers(batch, v.type.width) for v in program.states},
        {v.name: numbers(*v.type.shape) for v in program.fixed},
    )
    steps = None if lengths is None else torch.tensor(lengths)
    exact = interpret(program)(*tensors, time=time, lengths=steps)
    simple = verify(simplify(program))
    kernels = Kernels(simple, memory(simple, adjoint(simple)), "interpreter")
    left = tuple(
        {v.name: group[v.name] for v in values}
        for group, values in zip(
            tensors, (simple.inputs, simple.constants, simple.states, simple.fixed), strict=True
        )
    )
    outputs, states = Loop(kernels, time, steps).run(*left)
    leaves = [tensor for group in tensors for tensor in group.values()]
    compared = []
    for results in ((exact.outputs, exact.states), (outputs, states)):
        values = [results[0]["y"], results[0]["z"], results[1]["h"]]
        flat = torch.cat([value.flatten() for value in values])
        total = (flat * torch.cos(torch.arange(len(flat)).double())).sum()
        slopes = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
        compared.append([*values, *slopes])
    torch.testing.assert_close(compared[1], compared[0])

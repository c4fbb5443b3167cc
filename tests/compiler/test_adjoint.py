"""The table of derivatives, row by row, against autograd of the interpreter."""

import pytest
import torch
from torch import Tensor

from unrolled.backends import interpret
from unrolled.backends.interpreter import INTERPRET
from unrolled.compiler import kept_as, train
from unrolled.compiler.derivatives import ADJOINT
from unrolled.ir import OPS, Op, parse, verify
from unrolled.kernels import Kernels
from unrolled.loop import Loop

HEAD = """program float64
input  a: rows 6
input  b: rows 6
input  e: rows 4
state  h: rows 6
fixed  U: 6x4
fixed  R: 2x3x2
fixed  V: 4x6
fixed  v: 6
fixed  s: ()
"""
UNARY = "y = {op} a : rows 6"
POSITIVE = "p = exp a : rows 6\ny = {op} p : rows 6"
BINARY = "c = {op} a, b : rows 6\nd = {op} c, v : rows 6\nd_3 = {op} s, d : rows 6\n"
BINARY += "y = {op} d_3, 0.5 : rows 6"
COMPARE = "m = {op} a, b : mask 6\ny = where m, a, b : rows 6"
LOGIC = "m = gt a, 0.0 : mask 6\nn = lt b, 0.0 : mask 6\no = {op} m, n : mask 6\n"
LOGIC += "y = where o, a, b : rows 6"
PRODUCT = "c = matmul a, U : rows 4\nd = matmul b, R : rows 4\nf = tanh a : rows 6\n"  # of inputs
PRODUCT += "g = matmul f, U : rows 4\nk = matmul f, R : rows 4\n"  # of what is computed
PRODUCT += "l = mul c, d : rows 4\nm = mul g, k : rows 4\ny = add l, m : rows 4"
TURNED = "c = matmul_t a, V : rows 4\nd = matmul_t e, R : rows 6\nf = matmul_t c, R : rows 6\n"
TURNED += "g = tanh a : rows 6\nk = matmul_t g, V : rows 4\nl = matmul_t k, R : rows 6\n"
TURNED += "m = mul d, f : rows 6\ny = mul m, l : rows 6"

BODIES: dict[Op, str] = {
    **{op: UNARY for op in (Op.NEG, Op.ABS, Op.SIGN, Op.FLOOR, Op.ROUND, Op.EXP, Op.EXPM1)},
    **{op: UNARY for op in (Op.SIN, Op.COS, Op.ERF, Op.SIGMOID, Op.TANH, Op.RELU)},
    **{op: UNARY for op in (Op.SOFTPLUS, Op.DETACH, Op.RECIPROCAL, Op.ATAN)},
    **{op: POSITIVE for op in (Op.LOG, Op.LOG1P, Op.SQRT, Op.RSQRT)},
    Op.CLAMP: "y = clamp[-0.5, 0.75] a : rows 6",
    Op.POW: "p = exp a : rows 6\ny = pow[2.5] p : rows 6",
    **{op: BINARY for op in (Op.ADD, Op.SUB, Op.MUL, Op.DIV)},
    **{op: BINARY for op in (Op.MINIMUM, Op.MAXIMUM)},
    **{op: COMPARE for op in (Op.LT, Op.LE, Op.GT, Op.GE, Op.EQ, Op.NE)},
    **{op: LOGIC for op in (Op.AND, Op.OR)},
    Op.NOT: "m = gt a, 0.0 : mask 6\nn = not m : mask 6\ny = where n, a, b : rows 6",
    Op.WHERE: "m = gt a, 0.0 : mask 6\nc = where m, b, v : rows 6\ny = where m, c, 2.0 : rows 6",
    Op.SURROGATE: "k = sign a : rows 6\nt = tanh b : rows 6\nc = surrogate k, a, t : rows 6\n"
    "d = surrogate v, c, s : rows 6\ny = surrogate d, b, 0.5 : rows 6",
    Op.MATMUL: PRODUCT,
    Op.MATMUL_T: TURNED,
    Op.SUM: "c = sum[2, 3, 1] a : rows 2\ny = mul c, c : rows 2",
    Op.MAX: "c = max[1, 3, 2] a : rows 2\ny = mul c, c : rows 2",
    Op.EXPAND: "c = expand[2, 2, 3] a : rows 12\ny = mul c, c : rows 12",
    Op.SLICE: "c = slice[1, 3] a : rows 2\nd = slice[2, 4] a : rows 2\ny = mul c, d : rows 2",
    Op.CONCAT: "c = concat a, b, a : rows 18\ny = mul c, c : rows 18",
    Op.SWAP: "c = swap[1, 2, 3, 1] a : rows 6\ny = mul c, b : rows 6",
    Op.FILL: "c = fill[2.0, 6] : rows 6\ny = mul c, a : rows 6",
}


def program_of(op: Op) -> str:
    """Give a program that has the operation, and a state behind it."""
    body = BODIES[op].format(op=op.value)
    width = int(body.rpartition("rows ")[2])
    back = {6: "z = mul y, 1.5 : rows 6", 12: "z = slice[3, 9] y : rows 6"}
    back |= {18: "z = slice[5, 11] y : rows 6", 2: "z = expand[1, 3, 2] y : rows 6"}
    back |= {4: "z = matmul y, V : rows 6"}
    tail = "h_1 = tanh z : rows 6\nh_2 = add h_1, h : rows 6\noutput y = y\nnext   h = h_2"
    return f"{HEAD}{body}\n{back[width]}\n{tail}"


def given(program: str, time: int = 3, batch: int = 2) -> tuple[dict[str, Tensor], ...]:
    """Give random tensors for all that a program is given."""
    parsed = verify(parse(program))
    shapes = [
        {v.name: (time, batch, v.type.width) for v in parsed.inputs},
        {v.name: (batch, v.type.width) for v in parsed.constants},
        {v.name: (batch, v.type.width) for v in parsed.states},
        {v.name: v.type.shape for v in parsed.fixed},
    ]
    return tuple(
        {n: torch.randn(s, dtype=torch.float64, requires_grad=True) for n, s in group.items()}
        for group in shapes
    )


def gradients_of(outputs: dict[str, Tensor], states: dict[str, Tensor], leaves: list[Tensor]):
    numbers = torch.cat([value.flatten() for value in (*outputs.values(), *states.values())])
    total = (numbers * torch.cos(torch.arange(len(numbers)).double())).sum()
    return torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)


def check(program: str, lengths: list[int] | None = None) -> None:
    """Hold the backward program to autograd through the interpreter."""
    parsed = verify(parse(program))
    tensors = given(program)
    leaves = [tensor for group in tensors for tensor in group.values()]
    training = train(parsed)
    steps = None if lengths is None else torch.tensor(lengths)
    found = Loop(Kernels(parsed, training, "interpreter"), 3, steps).run(*tensors)
    exact = interpret(parsed)(*tensors, time=3, lengths=steps)
    for name, value in exact.outputs.items():
        torch.testing.assert_close(found[0][name], value)
    by_program = gradients_of(dict(found[0]), dict(found[1]), leaves)
    by_autograd = gradients_of(exact.outputs, exact.states, leaves)
    torch.testing.assert_close(by_program, by_autograd)


@pytest.mark.parametrize("op", OPS)
def test_a_row_is_the_derivative(op: Op) -> None:
    check(program_of(op))


@pytest.mark.parametrize("op", [Op.MATMUL, Op.WHERE, Op.SUM])
def test_steps_behind_the_end_have_no_gradient(op: Op) -> None:
    check(program_of(op), lengths=[1, 3])


READS = """program float64
    input    x: rows 3
    constant m: rows 6
    state    h: rows 3
    s = add h, x : rows 3
    {expand}
    p = mul {factors} : rows 6
    w = sum[2, 3, 1] p : rows 2
    v = slice[0, 1] w : rows 1
    f = expand[1, 3, 1] v : rows 3
    n = mul f, x : rows 3
    output y = n
    next   h = n"""


@pytest.mark.parametrize("factors", ["e, m", "m, e"])
@pytest.mark.parametrize("lengths", [None, [1, 3]], ids=["full", "ragged"])
def test_of_outer_products_that_add_up_the_loop_gives_the_factors(
    factors: str, lengths: list[int] | None
) -> None:
    program = READS.format(expand="e = expand[1, 2, 3] s : rows 6", factors=factors)
    check(program, lengths)
    training = train(parse(program))
    (of_memory,) = (g for g in training.gradients if g.of == "m")
    widths = training.backward.types
    assert (of_memory.how, of_memory.right) == ("outer", "s")
    assert all(widths[str(value)].width < 6 for _, value in training.backward.outputs)


def test_what_is_no_outer_product_is_summed_as_it_is() -> None:
    program = READS.format(expand="e = concat s, x : rows 6", factors="e, m")
    check(program)
    training = train(parse(program))
    assert [g.how for g in training.gradients if g.of == "m"] == ["constant"]


SUMS = """program float64
    input    x: rows 3
    constant m: rows 3
    state    h: rows 3
    state    d_mul_total: rows 3
    fixed    v: 3
    fixed    s: ()
    fixed    U: 3x3
    fixed    b: 3
    a = mul h, v : rows 3
    e = mul a, s : rows 3
    k = mul e, m : rows 3
    u = matmul k, U : rows 3
    w = add u, b : rows 3
    z = add w, v : rows 3
    n = tanh z : rows 3
    p = mul n, d_mul_total : rows 3
    output y = p
    next   h = n
    next   d_mul_total = p"""


@pytest.mark.parametrize("lengths", [None, [1, 3], [0, 2]], ids=["full", "ragged", "empty"])
def test_the_loop_adds_up_what_only_its_sum_is_wanted_of(lengths: list[int] | None) -> None:
    check(SUMS, lengths)
    training = train(parse(SUMS))
    given, carried = (program.states for program in (training.forward, training.backward))
    totals = {value.name for value in carried[len(given) :]}
    rights = {g.of: g.right for g in training.gradients if g.how in ("constant", "scalar")}
    assert rights.keys() == {"m", "s"} and set(rights.values()) <= totals
    of_b, of_u = ([g for g in training.gradients if g.of == name] for name in "bU")
    assert of_b[0].right == of_u[0].right  # a product reads it at every step: it is there
    assert of_b[0].right in dict(training.backward.outputs)


def test_all_tables_have_the_same_rows() -> None:
    assert set(OPS) == set(ADJOINT) == set(INTERPRET) == set(BODIES)


def test_what_is_stored_is_given_by_the_forward_and_read_by_the_backward() -> None:
    parsed = parse(program_of(Op.MATMUL))
    training = train(parsed)
    given_names = [name for name, _ in training.forward.outputs]
    assert given_names == ["y", *map(kept_as, training.stored)]
    read = {value.name for value in training.backward.inputs}
    asked = {name for g in training.gradients for name in (g.left, g.right)}
    assert set(training.stored) <= read | asked

"""Reductions are made along the way, whatever their lines are."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from unrolled.backends.llvm.kernel import Kernel
from unrolled.backends.llvm.plan import plan
from unrolled.backends.llvm.target import targets
from unrolled.ir import Program, parse, verify

TARGETS = targets()

HEADS = """program {dtype}
input  k: rows {OM}
input  v: rows {OI}
state  S: rows {W}
fixed  d: ()
m = mul d, S : rows {W}
e = expand[{OM}, {I}, 1] k : rows {W}
f = expand[{O}, {M}, {I}] v : rows {W}
p = mul e, f : rows {W}
a = add m, p : rows {W}
across = sum[{O}, {M}, {I}] a : rows {OI}
highest = max[{O}, {M}, {I}] p : rows {OI}
along = sum[{OM}, {I}, 1] a : rows {OM}
largest = max[{OM}, {I}, 1] a : rows {OM}
head = sum[{O}, {MI}, 1] p : rows {O}
whole = sum[1, {W}, 1] a : rows 1
of_given = max[1, {W}, 1] S : rows 1
output across = across
output again = across
output highest = highest
output along = along
output largest = largest
output head = head
output whole = whole
output of_given = of_given
output a = a
next   S = a"""


def heads(o: int, m: int, i: int, dtype: str) -> Program:
    sizes = {"O": o, "M": m, "I": i, "OM": o * m, "OI": o * i, "MI": m * i, "W": o * m * i}
    return verify(parse(HEADS.format(dtype=dtype, **sizes)))


SHAPES = [(1, 16, 32), (2, 8, 48), (3, 5, 16), (2, 3, 7), (1, 1, 5), (4, 6, 1), (1, 40, 40)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
def test_reductions_in_every_direction_equal_their_reference(
    shape: tuple[int, int, int],
    target: str,
    dtype: str,
    reference: Callable[..., Any],
    arguments: Callable[..., dict[str, Any]],
) -> None:
    step = heads(*shape, dtype)
    given = arguments(step, 3, 4)
    found = Kernel(step, TARGETS[target])(**given, time=3)
    outputs, states = reference(step, **given, time=3)
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    for name, wanted in [*outputs.items(), *states.items()]:
        ours = found.outputs.get(name, found.states.get(name))
        assert ours is not None
        torch.testing.assert_close(ours.double(), wanted, rtol=tolerance, atol=tolerance)


def test_a_matrix_is_gone_through_once_for_all_its_sums() -> None:
    (nest,) = plan(heads(1, 16, 32, "float32")).nests
    assert nest.line == 32
    assert len(nest.reductions) == 7


def test_short_lines_do_not_break_up_what_else_is_computed() -> None:
    nests = plan(heads(2, 3, 7, "float32")).nests
    lines = {nest.line for nest in nests if nest.reductions}
    assert lines == {7, 21, 42}
    assert [nest.width for nest in nests if any(s.window.value == "a" for s in nest.stores)] == [42]
    (own,) = (nest for nest in nests if any(s.window.value == "a" for s in nest.stores))
    assert own.line == 42


def test_what_is_reduced_behind_a_matmul_is_stored_first() -> None:
    text = """program float32
    state  h: rows 32
    fixed  U: 32x32
    u = matmul h, U : rows 32
    t = tanh u : rows 32
    s = sum[1, 32, 1] t : rows 1
    w = expand[1, 32, 1] s : rows 32
    y = div t, w : rows 32
    next   h = y"""
    first, second, third = plan(verify(parse(text))).nests
    assert [store.window.value for store in first.stores] == ["t"]
    assert [r.operation.name for r in second.reductions] == ["s"]
    assert (second.level, third.level) == (1, 2)


BESIDE = """program {dtype}
input  x: rows 32
state  h: rows 32
fixed  U: 32x32
fixed  d: ()
u = matmul h, U : rows 32
t = tanh u : rows 32
p = mul x, h : rows 32
m = mul p, d : rows 32
s = sum[1, 32, 1] m : rows 1
w = expand[1, 32, 1] s : rows 32
y = mul t, w : rows 32
first = slice[3, 20] y : rows 17
scaled = mul first, d : rows 17
both = concat y, y : rows 64
second = slice[20, 35] both : rows 15
output y = y
output scaled = scaled
output second = second
next   h = y"""


def test_reductions_beside_matmuls_and_numbers_in_pieces_equal_their_reference(
    reference: Callable[..., Any], arguments: Callable[..., dict[str, Any]]
) -> None:
    step = verify(parse(BESIDE.format(dtype="float64")))
    given = arguments(step, 3, 5)
    outputs, _ = reference(step, **given, time=3)
    for target in TARGETS.values():
        found = Kernel(step, target)(**given, time=3)
        for name, wanted in outputs.items():
            torch.testing.assert_close(found.outputs[name], wanted)


PIECES = """program float64
state  h: rows 8
fixed  d: ()
s = sum[1, 8, 1] h : rows 1
w = expand[1, 8, 1] s : rows 8
p = mul h, d : rows 8
y = mul p, w : rows 8
a = slice[6, 8] y : rows 2
b = slice[0, 5] y : rows 5
c = slice[5, 6] y : rows 1
z = concat a, b, c : rows 8
output z = z
next   h = z"""


def test_a_number_for_all_rows_is_the_same_in_every_piece_of_a_value(
    reference: Callable[..., Any], arguments: Callable[..., dict[str, Any]]
) -> None:
    step = verify(parse(PIECES))
    given = arguments(step, 2, 3)
    outputs, _ = reference(step, **given, time=2)
    for target in TARGETS.values():
        found = Kernel(step, target)(**given, time=2)
        torch.testing.assert_close(found.outputs["z"], outputs["z"])


@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
def test_a_number_that_is_none_comes_out_where_it_went_in(
    number: float, reference: Callable[..., Any], arguments: Callable[..., dict[str, Any]]
) -> None:
    step = heads(2, 4, 16, "float64")
    given = arguments(step, 1, 3)
    given["inputs"]["v"][0, 1, 17] = number
    found = Kernel(step, next(iter(TARGETS.values())))(**given, time=1)
    outputs, _ = reference(step, **given, time=1)
    for name, wanted in outputs.items():
        torch.testing.assert_close(found.outputs[name], wanted, equal_nan=True)

"""How a program is cut into nests."""

import pytest
import torch

from unrolled.backends import interpret
from unrolled.backends.llvm.arguments import lay_out
from unrolled.backends.llvm.in_place import in_place
from unrolled.backends.llvm.kernel import compile_program
from unrolled.backends.llvm.plan import Home, Place, place_of_rows, plan
from unrolled.backends.llvm.target import PORTABLE, Target, Tile, choose_target, choose_tile
from unrolled.errors import BackendError
from unrolled.ir import parse, verify

GATED = """program float32
input  a: rows 32
state  h: rows 16
fixed  U: 16x32
u = matmul h, U : rows 32
s = add u, a : rows 32
s_1 = slice[0, 16] s : rows 16
f = sigmoid s_1 : rows 16
s_2 = slice[16, 32] s : rows 16
n = tanh s_2 : rows 16
m = mul f, n : rows 16
output y = m
output gates = s
next   h = m"""


def test_gates_of_one_matmul_share_a_nest_and_a_loop() -> None:
    found = plan(verify(parse(GATED)))
    (nest,) = found.nests
    (product,) = lay_out(found, PORTABLE).products[0]
    assert nest.width == 16
    assert [(f.window.value, f.window.base) for f in product.factors] == [("u", 0), ("u", 16)]
    assert found.buffers == {}
    assert found.carried["h"].kind == "output"


def test_a_matmul_of_what_is_computed_starts_another_nest() -> None:
    text = GATED.replace("output y = m", "k = matmul m, V : rows 16\noutput y = k").replace(
        "fixed  U: 16x32", "fixed  U: 16x32\nfixed  V: 16x16"
    )
    found = plan(verify(parse(text)))
    assert [nest.level for nest in found.nests] == [0, 1]


def test_a_product_reads_a_slice_of_a_state_where_the_state_lies() -> None:
    found = plan(
        verify(
            parse("""program float32
state  h: rows 32
fixed  U: 16x32
s = slice[16, 32] h : rows 16
u = matmul s, U : rows 32
output copy = s
next   h = u""")
        )
    )
    assert place_of_rows(found, "s") == Place(Home("state", "h"), 16)


@pytest.mark.parametrize(
    ("registers", "gates", "blocks", "tile"),
    [
        (32, 3, 16, Tile(8, 3, 1)),
        (32, 4, 16, Tile(8, 2, 1)),
        (32, 1, 16, Tile(8, 2, 2)),
        (32, 1, 3, Tile(8, 3, 3)),
        (32, 1, 1, Tile(8, 1, 1)),
        (32, 1, 7, Tile(8, 2, 2)),
        (16, 3, 32, Tile(4, 3, 1)),
        (16, 14, 32, Tile(4, 3, 1)),
    ],
)
def test_a_tile_fills_the_registers(registers: int, gates: int, blocks: int, tile: Tile) -> None:
    assert choose_tile(Target("", "", "", 64, registers), gates, blocks) == tile


def test_instructions_that_a_machine_has_not_are_refused() -> None:
    with pytest.raises(BackendError, match="does not run 'abacus' instructions"):
        choose_target("abacus")


STATES = """program float32
input  a: rows 16
state  g: rows {width}
state  h: rows 16
fixed  U: 16x16
{body}
next   g = {g}
next   h = {h}"""
ADDED = "b = add g, a : rows 16"
TAIL = "t = slice[{0}, {1}] g : rows 16\nn = slice[16, 32] g : rows 16\nb = mul t, n : rows 16"
BEHIND = """m = matmul h, U : rows 16
p = sum[1, 16, 1] m : rows 1
t = mul g, p : rows 1
q = tanh t : rows 1
x = expand[1, 16, 1] q : rows 16
c = add x, a : rows 16"""
IN_PLACE = {
    "each by itself": (16, ADDED, "c = mul h, b : rows 16", "b", "c", "gh"),
    "changing places": (16, ADDED, "", "h", "g", "gh"),
    "in halves": (32, TAIL.format(0, 16), "c = concat b, t : rows 32", "c", "b", "gh"),
    "out of line": (32, TAIL.format(1, 17), "c = concat b, t : rows 32", "c", "b", "h"),
    "read by a product": (16, ADDED, "c = matmul g, U : rows 16", "b", "c", "h"),
    "read again": (16, f"{ADDED}\nu = matmul b, U : rows 16", "c = mul u, g : rows 16", *"bch"),
    "behind a product": (16, "b = matmul h, U : rows 16", "c = mul b, g : rows 16", "c", "b", "g"),
    "turned": (16, "b = swap[1, 4, 4, 1] g : rows 16", "", "b", "h", "h"),
    "reduced": (16, "s = sum[1, 16, 1] g : rows 1", "b = expand[1, 16, 1] s : rows 16", *"bhh"),
    "reduced to": (1, "s = sum[1, 16, 1] h : rows 1", BEHIND, "s", "c", ""),
}


@pytest.mark.parametrize("case", IN_PLACE)
def test_a_state_is_written_in_place_if_no_other_nest_reads_it(case: str) -> None:
    width, *body, g, h, found = IN_PLACE[case]
    body = "\n".join(filter(None, body))
    program = verify(parse(STATES.format(width=width, body=body, g=g, h=h)))
    assert in_place(plan(program)) == frozenset(found)
    states = {name: torch.randn(5, n) for name, n in (("g", width), ("h", 16))}
    given = {"a": torch.randn(4, 5, 16)}, {}, states, {"U": torch.randn(16, 16) / 4}
    ours, exact = (run(program)(*given, time=4) for run in (compile_program, interpret))
    torch.testing.assert_close(ours.states, exact.states)

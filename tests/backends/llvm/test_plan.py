"""How a program is cut into nests."""

import pytest

from unrolled.backends.llvm.arguments import lay_out
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

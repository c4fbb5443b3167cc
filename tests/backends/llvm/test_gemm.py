"""Products of two matrices here, before whatever does not fill a tile, a panel or a block."""

import pytest
import torch
from torch import Tensor

from unrolled.backends import multiply_here
from unrolled.backends.llvm import registers, tiled
from unrolled.backends.llvm.gemm import Gemm
from unrolled.backends.llvm.target import choose_target, targets, with_tiles
from unrolled.backends.precision import HIGH, ROUNDED, WHOLE


def in_tiles(pieces: int) -> pytest.MarkDecorator:
    there = with_tiles(choose_target(), pieces) is not None
    return pytest.mark.skipif(not there, reason="this machine does not multiply such pieces")


EXACT = [
    pytest.param(0, id="registers"),
    pytest.param(HIGH, id="high", marks=in_tiles(HIGH)),
    pytest.param(WHOLE, id="whole", marks=in_tiles(WHOLE)),
]
ALL = [*EXACT, pytest.param(ROUNDED, id="rounded", marks=in_tiles(ROUNDED))]
ERRORS = {0: 2**-21, HIGH: 2**-15, WHOLE: 2**-21}  # of the sum of all sizes

SHAPES = [
    (1, 1, 1),
    (5, 7, 3),
    (16, 32, 32),
    (33, 65, 31),
    (40, 2 * tiled.TERMS + 3, 70),
    (40, 2 * tiled.MORE_TERMS + 3, 70),  # fewer terms at once
    (tiled.MOST + 33, 40, tiled.MOST + 1),
    (registers.MOST_ROWS + 5, 20, registers.MOST_COLUMNS + 1),
    (3, 0, 4),
    (0, 3, 4),
    (3, 4, 0),
]


def draw(rows: int, columns: int, turned: bool) -> Tensor:
    """Give a matrix, perhaps turned over in memory, between numbers nobody may read."""
    shape = (columns, rows) if turned else (rows, columns)
    room = torch.full((shape[0] + 2, shape[1] + 3), torch.nan)
    matrix = room[1:-1, 2:-1]
    matrix.copy_(torch.randn(shape))
    return matrix.T if turned else matrix


TURNED = [(False, False), (True, False), (False, True), (True, True)]


@pytest.mark.parametrize("pieces", EXACT)
@pytest.mark.parametrize("turned", TURNED)
@pytest.mark.parametrize("shape", SHAPES)
def test_products_are_those_of_float64(
    shape: tuple[int, int, int], turned: tuple[bool, bool], pieces: int
) -> None:
    rows, terms, columns = shape
    left, right = draw(rows, terms, turned[0]), draw(terms, columns, turned[1])
    sizes = left.double().abs() @ right.double().abs()
    ours = multiply_here(left, right, pieces)
    assert ((ours - left.double() @ right.double()).abs() <= ERRORS[pieces] * sizes).all()


@in_tiles(ROUNDED)
@pytest.mark.parametrize("turned", TURNED)
@pytest.mark.parametrize("shape", SHAPES)
def test_rounded_products_are_those_of_rounded_factors(
    shape: tuple[int, int, int], turned: tuple[bool, bool]
) -> None:
    rows, terms, columns = shape
    left, right = draw(rows, terms, turned[0]), draw(terms, columns, turned[1])
    sizes = left.double().abs() @ right.double().abs()
    ours = multiply_here(left, right, ROUNDED)
    exact = left.bfloat16().double() @ right.bfloat16().double()
    assert ((ours - exact).abs() <= 2**-20 * sizes).all()


@pytest.mark.parametrize("turned", TURNED)
@pytest.mark.parametrize("name", targets())
def test_registers_of_all_widths_multiply(name: str, turned: tuple[bool, bool]) -> None:
    multiply = Gemm(choose_target(name))
    for rows, terms, columns in ((3, 5, 7), (21, 2 * registers.TERMS + 3, 35)):
        left, right = draw(rows, terms, turned[0]), draw(terms, columns, turned[1])
        sizes = left.double().abs() @ right.double().abs()
        exact = left.double() @ right.double()
        assert ((multiply(left, right) - exact).abs() <= 2**-21 * sizes).all()


@pytest.mark.parametrize("pieces", ALL)
def test_bits_do_not_depend_on_threads(pieces: int) -> None:
    left, right = torch.randn(700, 300), torch.randn(300, 90)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(multiply_here(left, right, pieces))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


@pytest.mark.parametrize("pieces", EXACT)
@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf, 3.4e38])
def test_what_is_no_number_stays_in_its_row_and_column(number: float, pieces: int) -> None:
    left, right = torch.ones(40, 20), torch.full((20, 35), 0.25)
    left[3, 4] = number
    ours = multiply_here(left, right, pieces)
    torch.testing.assert_close(ours, left @ right, equal_nan=True, rtol=2**-15, atol=0)
    ours = multiply_here(right.T, left.T, pieces)
    torch.testing.assert_close(ours, right.T @ left.T, equal_nan=True, rtol=2**-15, atol=0)


@pytest.mark.parametrize("pieces", EXACT)
def test_a_view_with_the_other_sign_is_read_as_what_it_is(pieces: int) -> None:
    left, right = torch.randn(10, 12), torch.randn(12, 5)
    other = torch._neg_view(left)  # pyright: ignore[reportPrivateImportUsage]
    ours = multiply_here(other, right, pieces)
    torch.testing.assert_close(ours, -left @ right, rtol=2**-14, atol=1e-4)


@pytest.mark.parametrize("pieces", EXACT)
def test_matrices_without_numbers_side_by_side_are_copied(pieces: int) -> None:
    left, right = torch.randn(10, 12)[::2, ::2], torch.randn(12, 5)[::2]
    assert 1 not in left.stride()
    ours, theirs = multiply_here(left, right, pieces), left @ right
    torch.testing.assert_close(ours, theirs, rtol=2**-14, atol=1e-4)

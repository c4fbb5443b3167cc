"""Products of two matrices in tiles, before whatever does not fill a tile, a panel or a block."""

import pytest
import torch
from torch import Tensor

from unrolled.backends import multiply_in_tiles
from unrolled.backends.llvm.gemm import MORE_TERMS, MOST, TERMS
from unrolled.backends.llvm.target import choose_target, with_tiles
from unrolled.backends.precision import HIGH, ROUNDED, WHOLE

pytestmark = pytest.mark.skipif(
    with_tiles(choose_target(), WHOLE) is None, reason="this machine does not multiply in tiles"
)

SHAPES = [
    (1, 1, 1),
    (5, 7, 3),
    (16, 32, 32),
    (33, 65, 31),
    (40, 2 * TERMS + 3, 70),
    (40, 2 * MORE_TERMS + 3, 70),  # fewer terms at once
    (MOST + 33, 40, MOST + 1),
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


@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("shape", SHAPES)
def test_products_are_those_of_float64(
    shape: tuple[int, int, int], turned: tuple[bool, bool]
) -> None:
    rows, terms, columns = shape
    left, right = draw(rows, terms, turned[0]), draw(terms, columns, turned[1])
    sizes = left.double().abs() @ right.double().abs()
    exact = left.double() @ right.double()
    for pieces, error in ((WHOLE, 2**-21), (HIGH, 2**-15)):
        ours = multiply_in_tiles(left, right, pieces)
        assert ((ours - exact).abs() <= error * sizes).all()
    ours = multiply_in_tiles(left, right, ROUNDED)
    exact = left.bfloat16().double() @ right.bfloat16().double()
    assert ((ours - exact).abs() <= 2**-20 * sizes).all()


def test_bits_do_not_depend_on_threads() -> None:
    left, right = torch.randn(700, 300), torch.randn(300, 90)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(multiply_in_tiles(left, right, WHOLE))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


@pytest.mark.parametrize("pieces", [HIGH, WHOLE], ids=["high", "whole"])
@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf, 3.4e38])
def test_what_is_no_number_stays_in_its_row_and_column(number: float, pieces: int) -> None:
    left, right = torch.ones(40, 20), torch.full((20, 35), 0.25)
    left[3, 4] = number
    ours = multiply_in_tiles(left, right, pieces)
    torch.testing.assert_close(ours, left @ right, equal_nan=True, rtol=2**-15, atol=0)
    ours = multiply_in_tiles(right.T, left.T, pieces)
    torch.testing.assert_close(ours, right.T @ left.T, equal_nan=True, rtol=2**-15, atol=0)


def test_matrices_without_numbers_side_by_side_are_copied() -> None:
    left, right = torch.randn(10, 12)[::2, ::2], torch.randn(12, 5)[::2]
    assert 1 not in left.stride()
    torch.testing.assert_close(multiply_in_tiles(left, right, WHOLE), left @ right)

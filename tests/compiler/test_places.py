"""Places that a step computes: orders with NaN, and choices that are fed back."""

import math

import pytest
import torch
from torch import Tensor, nn

from unrolled.cell import Cell
from unrolled.recurrence import unroll

HIDDEN = 8


def test_nan_is_the_largest() -> None:
    class Orders(Cell):
        def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            v = h * 0 + x
            found = [v.sort(-1).values, v.sort(-1, descending=True).values, v.topk(2).values]
            found += [v.topk(2, largest=False).values, v.median(-1, keepdim=True).values]
            return torch.cat(found, -1), v.nan_to_num()

    xs = torch.tensor([[[1.0, math.nan, 3.0, 2.0], [4.0, math.inf, -math.inf, 0.0]]])
    found = [unroll(Orders(h=4), xs, backend=b)[0] for b in ("llvm", "eager")]
    torch.testing.assert_close(*found, equal_nan=True)


class Choice(Cell):
    """A decoder that reads what it chose: its output is a whole number, and so is its memory."""

    def __init__(self, padding: int | None) -> None:
        super().__init__(h=HIDDEN, scores=5)
        self.cell, self.out = nn.GRUCell(4 + 3, HIDDEN), nn.Linear(HIDDEN, 5)
        self.words = nn.Embedding(5, 3, padding_idx=padding)

    def forward(self, x: Tensor, h: Tensor, scores: Tensor) -> tuple[Tensor, ...]:
        word = scores.argmax(-1)
        h = self.cell(torch.cat([x, self.words(word)], -1), h)
        return word[:, None], h, self.out(h)


@pytest.mark.parametrize("padding", [None, 0, 3])
def test_a_place_comes_out_as_a_whole_number(padding: int | None) -> None:
    drawn = torch.randn(4, 3, 4, dtype=torch.float64, requires_grad=True)
    cell = Choice(padding).double()
    found = [unroll(cell, drawn, backend=b) for b in ("llvm", "interpreter", "eager")]
    assert found[0][0].dtype == torch.int64
    assert found[0][0].unique().numel() > 1
    for other in found[1:]:
        torch.testing.assert_close(found[0], other)
    slopes = []
    for _, last in found:
        wanted = (cell.words.weight, drawn)
        slopes.append(torch.autograd.grad(last["scores"].square().sum(), wanted))
    torch.testing.assert_close(slopes[0], slopes[1])
    torch.testing.assert_close(slopes[0], slopes[2])

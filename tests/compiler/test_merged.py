"""Steps that count slots, heads or nodes together with the batch, for modules of two dimensions."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.cell import Cell
from unrolled.compiler import compile_cell
from unrolled.errors import CaptureError
from unrolled.recurrence import unroll

SLOTS, WIDTH = 3, 4
Step = Callable[["Slots", Tensor, Tensor], Tensor]


class Slots(Cell):
    """A state of slots, and modules that some steps have."""

    def __init__(self, step: Step) -> None:
        super().__init__(h=(SLOTS, WIDTH))
        self.step = step
        self.gru, self.lstm = nn.GRUCell(WIDTH, WIDTH), nn.LSTMCell(WIDTH, WIDTH)
        self.norm, self.map = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * WIDTH)
        self.matrix = nn.Parameter(torch.randn(WIDTH, WIDTH))

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(self.step(self, x.unflatten(-1, (SLOTS, WIDTH)), h))
        return h.flatten(1), h


def gru(cell: Slots, x: Tensor, h: Tensor) -> Tensor:
    return cell.gru(x.reshape(-1, WIDTH), h.reshape(-1, WIDTH)).view(-1, SLOTS, WIDTH)


def lstm_from_nothing(cell: Slots, x: Tensor, h: Tensor) -> Tensor:
    zeros = torch.zeros(x.shape[0] * SLOTS, WIDTH, dtype=x.dtype)
    h, c = cell.lstm(x.flatten(0, 1), (h.flatten(0, 1), zeros))
    return (h * c).unflatten(0, (-1, SLOTS))


def heads(cell: Slots, x: Tensor, h: Tensor) -> Tensor:
    batch = x.shape[0]

    def split(values: Tensor) -> Tensor:  # (batch * heads, slots, width of a head)
        parts = values.view(batch, SLOTS, 2, WIDTH // 2).transpose(1, 2)
        return parts.reshape(batch * 2, SLOTS, WIDTH // 2)

    scores = torch.bmm(split(h), split(x).transpose(1, 2))
    mixed = torch.bmm(scores.softmax(-1), split(x + h))
    return mixed.view(batch, 2, SLOTS, -1).transpose(1, 2).reshape(batch, SLOTS, WIDTH)


def along_features(cell: Slots, x: Tensor, h: Tensor) -> Tensor:
    rows, others = h.view(-1, WIDTH), x.reshape(-1, WIDTH)
    a, b = cell.map(cell.norm(rows)).chunk(2, 1)
    both = torch.stack([a * others.mean(1, keepdim=True), b], 1).sum(-2)
    found = torch.cat([both[:, :1], F.softmax(rows, dim=1)[:, 1:]], dim=1).unsqueeze(2)
    return found.permute(0, 2, 1).squeeze(1).view(h.shape)


def products(cell: Slots, x: Tensor, h: Tensor) -> Tensor:
    rows = torch.einsum("nd,de->ne", h.view(-1, WIDTH), cell.matrix)
    return (rows @ cell.matrix + torch.addmm(cell.norm.bias, rows, cell.matrix)).view_as(h)


def repeated(cell: Slots, x: Tensor, h: Tensor) -> Tensor:
    same = x.mean(1).repeat_interleave(SLOTS, dim=0)
    return cell.gru(same, h.reshape(-1, WIDTH)).view(-1, SLOTS, WIDTH)


def numbered(cell: Slots, x: Tensor, h: Tensor) -> Tensor:
    batch = x.shape[0]
    own = cell.matrix[:SLOTS].repeat(batch, 1)
    return cell.gru(own * x.reshape(batch * SLOTS, -1), h.view(batch * SLOTS, -1)).view(h.shape)


def convolved(cell: Slots, x: Tensor, h: Tensor) -> Tensor:
    planes = (x + h).reshape(-1, 1, 2, 2)
    kernel = torch.stack([cell.matrix[:2, :2], cell.matrix[2:, 2:]])[:, None]
    return (
        F.conv2d(planes, kernel, cell.norm.bias[:2], padding=1)[:, :, 1:]
        .amax(1)[..., :2]
        .reshape(h.shape)
    )


STEPS = [gru, lstm_from_nothing, heads, along_features, products, repeated, numbered, convolved]


@pytest.mark.parametrize("backend", ["interpreter", "llvm"])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__.replace("_", " "))
def test_what_is_computed_of_slots_as_rows_is_compiled(step: Step, backend: str) -> None:
    torch.manual_seed(0)
    cell = Slots(step).double()
    xs = torch.randn(5, 4, SLOTS * WIDTH, dtype=torch.float64, requires_grad=True)
    state = {"h": torch.randn(4, SLOTS, WIDTH, dtype=torch.float64)}
    found = []
    for name in (backend, "eager"):
        ys, last = unroll(cell, xs, state, lengths=[5, 0, 2, 3], backend=name)
        total = ys.sin().sum() + last["h"].cos().sum()
        used = [xs, *cell.parameters()]
        found.append((ys, *torch.autograd.grad(total, used, allow_unused=True)))
    torch.testing.assert_close(*found)


def over_rows(cell: Slots, x: Tensor, h: Tensor) -> Tensor:
    return h.view(-1, WIDTH).softmax(0).view_as(h)


def over_rows_from_behind(cell: Slots, x: Tensor, h: Tensor) -> Tensor:
    return h.view(-1, WIDTH).softmax(-2).view_as(h)


def batch_last(cell: Slots, x: Tensor, h: Tensor) -> Tensor:
    return h.view(-1, WIDTH).view(SLOTS, -1, WIDTH).transpose(0, 1)


@pytest.mark.parametrize("step", [over_rows, over_rows_from_behind, batch_last])
def test_what_mixes_the_rows_of_a_batch_is_refused(step: Step) -> None:
    with pytest.raises(CaptureError, match="mixes the rows"):
        compile_cell(Slots(step), torch.zeros(2, SLOTS * WIDTH))

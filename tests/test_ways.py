"""Ways: what a call chooses for its rows and threads, and that its results do not depend on it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unrolled import compiled, ways
from unrolled.backends.precision import WHOLE
from unrolled.cell import Cell
from unrolled.compiler import Cache, compile_cell
from unrolled.recurrence import unroll
from unrolled.ways import Way, way_of
from unrolled.zoo import GLA, LSTM, QRNN, SRU, IntersectionRNN, LayerNormLSTM


class Shared(Cell):
    """The map of its input is read by the loop and after it, and so is the input itself."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W, self.U = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden)
        self.V = nn.Linear(inputs, hidden)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        read = self.W(x)
        h = torch.tanh(read + self.U(h) * x.mean(-1, keepdim=True))
        return h * read + self.V(x), h


@pytest.mark.parametrize("backend", ["interpreter", "llvm"])
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("kind", [LSTM, SRU, LayerNormLSTM, IntersectionRNN, QRNN, Shared])
def test_many_rows_are_run_as_few_are(
    kind: Callable[[int, int], Cell], ragged: bool, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, batch = kind(6, 10).double(), 32
    xs = torch.randn(5, batch, 6, dtype=torch.float64, requires_grad=True)
    lengths, resets = torch.arange(batch) % 6 if ragged else None, torch.rand(5, batch) < 0.2
    results = []
    for backend_of_one, many in ((backend, batch), (backend, batch + 1), ("eager", 1)):
        rows = many / torch.get_num_threads()
        monkeypatch.setattr(ways, "INSIDE", dict.fromkeys(ways.INSIDE, ((rows, 64),)))
        monkeypatch.setattr(compiled, "CACHE", Cache())
        ys, last, states = unroll(
            cell, xs, lengths=lengths, resets=resets, backend=backend_of_one, return_states=True
        )
        values = (ys, *last.values(), *states.values())
        total = torch.cat([value.sin().flatten() for value in values]).sum()
        results.append((ys, *torch.autograd.grad(total, [xs, *cell.parameters()])))
    for found in results[:2]:
        torch.testing.assert_close(found, results[2])


@pytest.mark.parametrize(("rows", "numbers"), [(0, 0), (1, 0), (2, 8), (3, 8), (4, 64), (9, 64)])
def test_more_rows_take_wider_inputs_into_the_loop(
    rows: int, numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "INSIDE", {0: ((4, 64), (2, 8))})
    assert [ways._inside(0, rows * threads, threads) for threads in (1, 3)] == [numbers] * 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_only_numbers_that_registers_multiply_go_by_their_row(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "CACHE", Cache())
    monkeypatch.setattr(ways, "pieces_around", lambda _: 0)
    monkeypatch.setattr(ways, "INSIDE", {None: (), 0: ((0, 64),)})
    found: list[Way] = []

    def watched(*given: Any) -> Way:
        found.append(way_of(*given))
        return found[-1]

    monkeypatch.setattr(compiled, "way_of", watched)
    unroll(LSTM(6, 10).to(dtype), torch.randn(2, 1, 6, dtype=dtype), backend="interpreter")
    fixed = [value.type.shape for value in found[0].kernels.programs["alone"].fixed]
    assert [shape for shape in fixed if len(shape) == 2] == (
        [(6, 40), (10, 40)] if dtype == torch.float32 else [(10, 40)]
    )


def test_tiles_around_a_loop_do_not_take_products_into_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "CACHE", Cache())
    monkeypatch.setattr(ways, "pieces_around", lambda _: WHOLE)
    monkeypatch.setattr(ways, "in_tiles", lambda name, _: name)
    monkeypatch.setattr(ways, "INSIDE", {None: (), WHOLE: ((0, 64),)})
    asked: list[int] = []
    monkeypatch.setattr(ways, "_for_rows", lambda found, *kind: asked.append(kind[1]) or found)
    unroll(LSTM(6, 10), torch.randn(2, 1, 6), backend="interpreter")
    assert asked == [0]


@pytest.mark.parametrize("threads", [1, 2, 16])
@pytest.mark.parametrize("rows", [8, 40])
@pytest.mark.parametrize("fits", [True, False], ids=["that stay", "too large to stay"])
def test_few_rows_read_only_weights_in_the_loop_that_stay_in_a_cache(
    fits: bool, rows: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = compile_cell(LSTM(6, 10), torch.zeros(2, 6))
    inside = alone.for_many_rows(64, 64)
    assert (alone.weights, inside.weights) == (40 * 10, 40 * 10 + 40 * 6)
    sharing = ways._sharing(rows * threads, threads)
    assert sharing == (0 if rows == 40 else threads if rows * threads <= ways.SHARED else 1)
    monkeypatch.setattr(ways, "STAYS", 6 * inside.weights // max(1, sharing) - (not fits))
    found = ways._for_rows(alone, WHOLE, 64, sharing)
    assert found is (inside if fits or rows == 40 else alone)


class Headed(Cell):
    """A small state that is read by a wide gated map."""

    def __init__(self) -> None:
        super().__init__(h=10)
        self.W, self.U, self.V = nn.Linear(6, 10), nn.Linear(10, 10), nn.Linear(10, 60)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(self.W(x) + self.U(h))
        return torch.sigmoid(self.V(h)), h


@pytest.mark.parametrize("fits", ["all", "inputs", "nothing"])
def test_a_wide_output_does_not_drive_the_products_of_inputs_out(
    fits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = compile_cell(Headed(), torch.zeros(2, 6))
    weights = {"nothing": 100, "inputs": 100 + 60, "all": 100 + 60 + 600}
    monkeypatch.setattr(ways, "STAYS", 2 * 3 * weights[fits])
    assert ways._for_rows(alone, WHOLE, 64, 1).weights == weights[fits]


@pytest.mark.parametrize(("kind", "loop_alone"), [(GLA, True), (LSTM, False)])
def test_wide_states_without_products_keep_those_of_inputs_before_the_loop(
    kind: Callable[[int, int], Cell], loop_alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = compile_cell(kind(6, 10), torch.zeros(2, 6))
    assert ways._for_rows(few, WHOLE, 64, 0) is not few
    monkeypatch.setattr(ways, "WIDE", 20)
    assert (ways._for_rows(few, WHOLE, 64, 0) is few) == loop_alone


def test_many_rows_can_be_differentiated_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "CACHE", Cache())
    monkeypatch.setattr(ways, "INSIDE", dict.fromkeys(ways.INSIDE, ((0, 64),)))
    cell = LSTM(2, 2).double()
    xs = torch.randn(2, 2, 2, dtype=torch.float64, requires_grad=True)

    def run(xs: Tensor) -> Tensor:
        return unroll(cell, xs, lengths=[2, 1], backend="interpreter")[0]

    assert torch.autograd.gradgradcheck(run, xs)

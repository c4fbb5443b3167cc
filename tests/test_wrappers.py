import os
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn, tanh
from torch.nn.functional import layer_norm

from unrolled import Recurrent, explain, unroll, zoo
from unrolled.cell import Cell, CellFactory, wrap
from unrolled.errors import ConfigError, ShapeError
from unrolled.layers.attending import Bahdanau
from unrolled.testing import LAWS, check_law, prepare
from unrolled.zoo import (
    GRU,
    LSTM,
    Elman,
    LayerNormed,
    MultiHead,
    RecurrentDropout,
    Residual,
    WeightDrop,
    Zoneout,
)


def all_of_them(make: CellFactory, inputs: int, hidden: int) -> Cell:
    heads = MultiHead(lambda i, h: Zoneout(make(i, h), h=0.3), inputs, hidden, heads=2)
    return Residual(RecurrentDropout(LayerNormed(WeightDrop(heads, 0.3)), 0.4))


WRAPPERS: dict[str, tuple[int, Callable[[CellFactory], Cell]]] = {  # inputs, and what makes it
    "Zoneout": (3, lambda make: Zoneout(make(3, 5), h=0.3)),
    "RecurrentDropout": (3, lambda make: RecurrentDropout(make(3, 5), 0.3)),
    "WeightDrop": (3, lambda make: WeightDrop(make(3, 5), 0.3)),
    "LayerNormed": (3, lambda make: LayerNormed(make(3, 5))),
    "Residual": (5, lambda make: Residual(make(5, 5))),
    "MultiHead": (3, lambda make: MultiHead(make, 3, 6, heads=2)),
    "all": (10, lambda make: all_of_them(make, 10, 10)),
}
CELLS = {"Elman": Elman, "LSTM": LSTM, "GRU": GRU}


SAMPLE = {
    ("Zoneout", "LSTM", "eager"),
    ("RecurrentDropout", "GRU", "eager"),
    ("WeightDrop", "LSTM", "eager"),
    ("LayerNormed", "GRU", "eager"),
    ("Residual", "Elman", "eager"),
    ("MultiHead", "Elman", "llvm"),
    ("all", "GRU", "eager"),
}
"""What is tried in every run of the tests; `make laws` tries all."""

GRID = [(w, c, b) for w in WRAPPERS for c in CELLS for b in ("eager", "llvm")]
GRID = [case for case in GRID if case in SAMPLE or "UNROLLED_ALL_LAWS" in os.environ]


@pytest.mark.parametrize(("wrapper", "cell", "backend"), GRID, ids=map("-".join, GRID))
def test_the_laws_hold(wrapper: str, cell: str, backend: str) -> None:
    inputs, around = WRAPPERS[wrapper]
    subject = prepare(around(CELLS[cell]), inputs, backend, torch.float64)
    for law in LAWS:
        assert check_law(law, subject).verdict in ("holds", "not stated")


def test_a_seed_gives_the_same_training_step_on_every_backend() -> None:
    cell = RecurrentDropout(WeightDrop(Zoneout(LSTM(3, 5), h=0.3), 0.3), 0.3).double()
    xs = torch.randn(7, 3, 3, dtype=torch.float64, requires_grad=True)
    wanted = [xs, *cell.parameters()]
    sides = []
    for backend in ("interpreter", "eager"):
        torch.manual_seed(1)
        ys, last = unroll(cell, xs, backend=backend, lengths=[7, 4, 2])
        loss = ys.square().sum() + last["c"].sum()
        sides.append((ys, *torch.autograd.grad(loss, wanted, materialize_grads=True)))
    torch.testing.assert_close(*sides)


CHANCE = [name for name in WRAPPERS if name not in ("LayerNormed", "Residual", "MultiHead")]


@pytest.mark.parametrize("wrapper", CHANCE)
def test_chance_is_for_training_only(wrapper: str) -> None:
    inputs, around = WRAPPERS[wrapper]
    cell, xs = around(GRU), torch.randn(7, 3, inputs)
    once, again = (unroll(cell, xs, backend="eager")[0] for _ in range(2))
    assert not torch.equal(once, again)
    cell.eval()
    once, again = (unroll(cell, xs, backend="eager")[0] for _ in range(2))
    assert torch.equal(once, again)


def test_a_unit_zones_out_or_takes_its_new_state() -> None:
    cell = Zoneout(LSTM(3, 200), c=0.25)
    xs = cell.draw(torch.randn(1, 4, 3))
    h, c = torch.randn(4, 200), torch.randn(4, 200)
    expected_h, _, expected_c = cell.cell(xs[0, :, 200:], h, c)
    y, h, after = cell(xs[0], h, c)
    stays = after == c
    assert 0.2 < stays.float().mean() < 0.3
    torch.testing.assert_close(after, torch.where(stays, c, expected_c))
    torch.testing.assert_close(h, expected_h)
    assert y is h


def test_in_evaluation_a_state_is_what_zoneout_gives_on_average() -> None:
    cell = Zoneout(GRU(3, 5), h=0.25).eval()
    x, h = torch.randn(2, 3), torch.randn(2, 5)
    _, new = cell.cell(x, h)
    y, after = cell(x, h)
    torch.testing.assert_close(after, 0.25 * h + 0.75 * new)
    assert y is after


def test_recurrent_dropout_is_a_mask_on_what_the_recurrent_matrix_reads() -> None:
    inner = Elman(3, 50)
    cell = RecurrentDropout(inner, 0.5)
    x, h = torch.randn(2, 3), torch.randn(2, 50)
    drawn = cell.draw(x.expand(4, 2, 3))
    mask = drawn[0, :, :50]
    assert set(mask.unique().tolist()) == {0.0, 2.0}
    assert (mask[0] != mask[1]).any()
    assert (drawn[1:] == drawn[0]).all()
    _, found = cell(drawn[0], h)
    torch.testing.assert_close(found, tanh(inner.W(x) + inner.U(h * mask)))


def test_recurrent_dropout_leaves_what_is_carried_over_alone() -> None:
    inner = GRU(3, 5)
    cell = RecurrentDropout(inner, 0.9)
    with torch.no_grad():
        inner.W_z.bias.fill_(100.0)  # carry everything
    h = torch.randn(2, 5)
    _, last = unroll(cell, torch.randn(7, 2, 3), {"h": h}, backend="eager")
    torch.testing.assert_close(last["h"], h)


def test_weights_are_dropped_once_for_all_steps_and_rows() -> None:
    inner = Elman(3, 50)
    cell, xs = WeightDrop(inner, 0.5), torch.randn(7, 2, 3)
    ys, _ = unroll(cell, xs, backend="eager")
    mask = cell.masks()["U.weight"]
    assert set(mask.unique().tolist()) == {0.0, 2.0}
    with torch.no_grad():
        inner.U.weight *= mask
    torch.testing.assert_close(ys, unroll(inner, xs, backend="eager")[0])


def test_a_mask_that_a_backward_needs_is_not_overwritten() -> None:
    inner = Elman(3, 5)
    cell, xs = WeightDrop(inner, 0.5), torch.randn(7, 2, 3)
    first, second = (unroll(cell, xs, backend="eager")[0] for _ in range(2))
    (first.sum() + second.sum()).backward()
    assert inner.U.weight.grad is not None


def test_a_wrapped_cell_keeps_the_names_of_its_weights() -> None:
    names = {f"cell.{name}" for name in LSTM(3, 5).state_dict()}
    assert set(WeightDrop(LSTM(3, 5), 0.5).state_dict()) == names
    assert set(RecurrentDropout(LSTM(3, 5), 0.5).state_dict()) == names


def test_layer_norm_of_a_gate_is_of_its_products() -> None:
    inner = GRU(3, 5)
    cell = LayerNormed(inner, "z")
    with torch.no_grad():
        cell.gains["W_z"].fill_(2.0)
        cell.gains["U_z"].fill_(3.0)
        inner.U_z.bias.fill_(0.7)
    x, h = torch.randn(2, 3), torch.randn(2, 5)

    def normal(value: Tensor) -> Tensor:
        return layer_norm(value, (5,))

    z = torch.sigmoid(
        2 * normal(x @ inner.W_z.weight.T)
        + inner.W_z.bias
        + 3 * normal(h @ inner.U_z.weight.T)
        + 0.7
    )
    r = torch.sigmoid(inner.W_r(x) + inner.U_r(h))
    n = tanh(inner.W_n(x) + r * inner.U_n(h))
    torch.testing.assert_close(cell(x, h)[1], (1 - z) * n + z * h)


def test_heads_are_a_cell_whose_recurrent_matrices_are_blocks() -> None:
    whole, heads = LSTM(3, 6), MultiHead(LSTM, 3, 6, heads=2)
    with torch.no_grad():
        for name, parameter in whole.named_parameters():
            parts = [head.get_parameter(name).detach() for head in heads.heads]
            square = name.startswith("U") and parameter.dim() > 1
            parameter.copy_(torch.block_diag(*parts) if square else torch.cat(parts))
    xs = torch.randn(7, 2, 3)
    torch.testing.assert_close(
        unroll(heads, xs, backend="eager"), unroll(whole, xs, backend="eager")
    )


def test_a_residual_adds_its_own_input_and_no_noise() -> None:
    inner = Zoneout(GRU(5, 5), h=0.5)
    cell, xs = Residual(inner), torch.randn(7, 2, 5)
    runs = []
    for each in (cell, inner):
        torch.manual_seed(1)
        runs.append(unroll(each, xs, backend="eager")[0])
    torch.testing.assert_close(runs[0], xs + runs[1])


def test_wrapped_cells_are_layers() -> None:
    def cell(inputs: int, hidden: int) -> Cell:
        return Zoneout(LSTM(inputs, hidden), c=0.5)

    layers = Recurrent(cell, 3, 5, layers=2, bidirectional=True, backend="eager")
    assert layers(torch.randn(7, 2, 3))[0].shape == (7, 2, 10)


def test_a_wrapped_cell_reads_a_memory() -> None:
    model = Bahdanau(lambda i, h: RecurrentDropout(GRU(i, h), 0.5), 3, 5, values=4)
    memory = model.attention.memory(torch.randn(6, 2, 4))
    ys, *_ = model(torch.randn(7, 2, 3), {"h": torch.zeros(1, 2, 5)}, memory)
    assert ys.shape == (7, 2, 5)


def test_a_wrapped_cell_is_explained_as_it_trains() -> None:
    assert explain(Zoneout(GRU(3, 5), h=0.5), inputs=3).obstacle is None


def test_a_cell_of_torch_can_be_wrapped() -> None:
    cell = WeightDrop(Zoneout(nn.LSTMCell(3, 5), c=0.5), 0.5)
    assert list(cell.masks()) == ["cell.module.weight_hh"]
    assert unroll(cell, torch.randn(7, 2, 3), backend="eager")[0].shape == (7, 2, 5)


WRONG: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "state": (lambda: Zoneout(GRU(3, 5), c=0.5), ConfigError, "given c: give rates for .* h,"),
    "no-state": (lambda: Zoneout(GRU(3, 5)), ConfigError, "given no rate"),
    "rate": (lambda: Zoneout(GRU(3, 5), h=1.0), ConfigError, "Zoneout of h has the rate 1.0"),
    "share": (lambda: WeightDrop(GRU(3, 5), -1), ConfigError, "WeightDrop has the rate -1"),
    "map": (
        lambda: RecurrentDropout(GRU(3, 5), 0.5, only=("U_q",)),
        ConfigError,
        "no matrix U_q in GRU: it has W_r, U_r",
    ),
    "no-map": (lambda: WeightDrop(zoo.MinGRU(3, 5), 0.5), ConfigError, "no matrix U_... in MinGRU"),
    "gate": (
        lambda: LayerNormed(LSTM(3, 5), "i", "q"),
        ConfigError,
        "no gate q in LSTM: it has i, f, g, o",
    ),
    "heads": (lambda: MultiHead(GRU, 3, 5, heads=2), ConfigError, "MultiHead has 2 heads for 5"),
    "width": (
        lambda: unroll(Residual(GRU(3, 5)), torch.zeros(7, 2, 3), backend="eager"),
        ShapeError,
        "Residual of GRU is given 3 features and has 5 outputs",
    ),
    "dimensions": (
        lambda: Zoneout(GRU(3, 5), h=0.5).draw(torch.zeros(7, 2)),
        ShapeError,
        "xs has shape",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_wrapped_is_named(case: str) -> None:
    make, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        make()


def test_a_wrapper_is_a_cell() -> None:
    cell = Residual(GRU(5, 5))
    assert wrap(cell) is cell

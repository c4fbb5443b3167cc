from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unrolled import zoo
from unrolled.cell import Cell
from unrolled.errors import ConfigError, ShapeError
from unrolled.layers.recurrent import Recurrent
from unrolled.layers.torch_nn import LSTM
from unrolled.recurrence import unroll as unroll_by

TIME, BATCH, INPUTS, HIDDEN = 7, 3, 4, 5
CELLS: dict[str, Any] = {
    "Elman-relu": partial(zoo.Elman, activation="relu"),
    "LSTM": zoo.LSTM,
    "LSTMP": zoo.LSTMP,
    "GRU": zoo.GRU,
    "torch-GRUCell": nn.GRUCell,
}
RUNS = [*((cell, "eager") for cell in CELLS.values()), (zoo.LSTM, "llvm")]
cells = pytest.mark.parametrize(("cell", "backend"), RUNS, ids=[*CELLS, "LSTM-llvm"])
unroll = partial(unroll_by, backend="eager")
directions = pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "both-ways"])


def build(cell: Any = zoo.GRU, **settings: Any) -> Recurrent:
    torch.manual_seed(0)
    settings = {"layers": 2, "backend": "eager", **settings}
    return Recurrent(cell, INPUTS, HIDDEN, **settings).double()


def sequences(batch: int = BATCH) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(TIME, batch, INPUTS, dtype=torch.float64)


def some_state(layers: Recurrent, batch: int = BATCH) -> dict[str, Tensor]:
    torch.manual_seed(2)
    states = layers(sequences(batch))[1]
    return {name: torch.randn_like(s) for name, s in states.items()}


def assert_same(got: Any, expected: Any) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


@cells
def test_it_is_a_stack_of_unrolled_cells(cell, backend):
    layers, xs = build(cell, backend=backend, bidirectional=True), sequences()
    ys, state = layers(xs)
    a, b, c, d = layers.cells
    up, up_last = unroll(a, xs)
    down, down_last = unroll(b, xs.flip(0))
    middle = torch.cat([up, down.flip(0)], -1)
    forth, forth_last = unroll(c, middle)
    back, back_last = unroll(d, middle.flip(0))
    assert_same(ys, torch.cat([forth, back.flip(0)], -1))
    assert layers.outputs == ys.shape[-1]
    for name, tensor in state.items():
        lasts = (up_last, down_last, forth_last, back_last)
        assert_same(tensor, torch.stack([last[name] for last in lasts]))
        assert layers.states[name] == (4, *tensor.shape[2:])


@cells
def test_3_and_4_steps_with_the_state_carried_are_7_steps(cell, backend):
    layers, xs = build(cell, backend=backend, residual=True, layer_norm=True), sequences()
    first, state = layers(xs[:3])
    second, last = layers(xs[3:], state)
    ys, expected = layers(xs)
    assert_same(torch.cat([first, second]), ys)
    assert_same(last, expected)


@directions
def test_a_given_state_is_where_every_cell_starts(bidirectional):
    layers, xs = build(zoo.LSTM, layers=1, bidirectional=bidirectional), sequences()
    state = some_state(layers)
    ys, _ = layers(xs, state)
    for number, cell in enumerate(layers.cells):
        turn = (lambda s: s.flip(0)) if number else (lambda s: s)
        expected, _ = unroll(cell, turn(xs), {name: s[number] for name, s in state.items()})
        assert_same(ys[..., number * HIDDEN : (number + 1) * HIDDEN], turn(expected))


@cells
@directions
def test_a_padded_batch_is_its_sequences_one_by_one(cell, backend, bidirectional):
    layers = build(
        cell, backend=backend, bidirectional=bidirectional, layer_norm=True, residual=True
    )
    for norm in layers.norms:
        nn.init.ones_(norm.bias)  # pyright: ignore
    xs, lengths = sequences(), [4, 7, 0]
    for b, n in enumerate(lengths):
        xs[n:, b] = float("nan")
    xs.requires_grad_()
    ys, state, states = layers(xs, lengths=lengths, return_states=True)
    together = torch.autograd.grad(ys.sum(), [xs, *layers.parameters()])
    sums = [torch.zeros_like(p) for p in layers.parameters()]
    for b, n in enumerate(lengths):
        alone, last, all_alone = layers(xs[:n, b : b + 1], return_states=True)
        assert_same(ys[:n, b : b + 1], alone)
        assert torch.equal(ys[n:, b], torch.zeros_like(ys[n:, b]))
        for name in state:
            assert_same(state[name][:, b : b + 1], last[name])
            assert_same(states[name][:, :n, b : b + 1], all_alone[name])
        if n:
            own = torch.autograd.grad(alone.sum(), [xs, *layers.parameters()])
            assert_same(together[0][:, b], own[0][:, b])
            sums = [s + g for s, g in zip(sums, own[1:], strict=True)]
    assert_same(list(together[1:]), sums)


@cells
@directions
@pytest.mark.parametrize("length", [TIME, 6], ids="length{}".format)
def test_a_reset_is_where_a_sequence_ends_and_another_starts(cell, backend, bidirectional, length):
    layers, xs = build(cell, backend=backend, bidirectional=bidirectional), sequences()
    resets = torch.zeros(TIME, BATCH, dtype=torch.bool)
    resets[3, 0] = resets[5, 0] = resets[6, 0] = True  # the last lies behind a length of 6
    lengths = torch.tensor([length, TIME, TIME])
    ys, state = layers(xs, lengths=lengths, resets=resets)
    cuts = [0, 3, 5, 6, length] if length > 6 else [0, 3, 5, 6]
    parts = [layers(xs[a:b, :1]) for a, b in zip(cuts, cuts[1:], strict=False)]
    assert_same(ys[:length, :1], torch.cat([part for part, _ in parts]))
    plain, last = layers(xs)
    assert_same(ys[:, 1:], plain[:, 1:])
    for name, tensor in state.items():
        assert_same(tensor[:, 1:], last[name][:, 1:])
        if not bidirectional:
            assert_same(tensor[:, :1], parts[-1][1][name])
        else:  # a backward cell ends in the first part
            assert_same(tensor[1::2, :1], parts[0][1][name][1::2])


@directions
def test_rows_of_the_batch_may_change_places(bidirectional):
    layers, xs = build(bidirectional=bidirectional), sequences()
    order, lengths = torch.tensor([2, 0, 1]), torch.tensor([4, 7, 1])
    ys, state = layers(xs, lengths=lengths)
    moved, moved_state = layers(xs[:, order], lengths=lengths[order])
    assert_same(moved, ys[:, order])
    assert_same(moved_state["h"], state["h"][:, order])


def test_residual_and_norm_follow_their_formula():
    layers, xs = build(layers=3, residual=True, layer_norm=True), sequences()
    first = layers.norms[0](unroll(layers.cells[0], xs)[0])
    second = first + layers.norms[1](unroll(layers.cells[1], first)[0])
    third = second + layers.norms[2](unroll(layers.cells[2], second)[0])
    assert_same(layers(xs)[0], third)


def test_dropout_is_one_mask_on_what_upper_layers_read_in_training_only():
    layers, xs = build(layers=2, dropout=0.5, residual=True), sequences()
    read: list[Tensor] = []

    def keep(module: nn.Module, args: tuple[Tensor, ...], result: Tensor) -> None:
        read.append(result)

    layers.dropout.register_forward_hook(keep)
    ys, _ = layers(xs)
    (masked,) = read
    below, _ = unroll(layers.cells[0], xs)
    kept = masked != 0
    assert torch.equal(kept, kept[:1].expand_as(kept))
    assert 0 < kept.double().mean() < 1
    assert_same(masked[kept], 2 * below[kept])
    assert_same(ys, below + unroll(layers.cells[1], masked)[0])
    layers.eval()
    assert_same(layers(xs)[0], below + unroll(layers.cells[1], below)[0])


@directions
def test_every_state_stands_at_its_step(bidirectional):
    layers, xs = build(zoo.LSTM, bidirectional=bidirectional), sequences()
    ys, state, states = layers(xs, return_states=True)
    rows = 4 if bidirectional else 2
    assert states["c"].shape == (rows, TIME, BATCH, HIDDEN)
    top = states["h"][2:] if bidirectional else states["h"][1:]
    assert_same(torch.cat(list(top), -1), ys)
    ends = [0 if bidirectional and row % 2 else -1 for row in range(rows)]
    for name, tensor in state.items():
        assert_same(torch.stack([states[name][row, t] for row, t in enumerate(ends)]), tensor)


@directions
def test_it_equals_the_drop_in_when_the_weights_are_copied(bidirectional):
    layers = build(nn.LSTMCell, bidirectional=bidirectional)
    lstm = LSTM(INPUTS, HIDDEN, 2, bidirectional=bidirectional, dtype=torch.float64)
    for cell, stacked in zip(layers.cells, lstm.all_weights, strict=True):
        for target, source in zip(cell.parameters(), stacked, strict=True):
            target.data.copy_(source)
    ys, state = layers(sequences())
    expected, (h, c) = lstm(sequences())
    assert_same((ys, state["h"], state["c"]), (expected, h, c))


class Gated(Cell):
    """A cell with a constant, and an output wider than its state."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.outputs = hidden + inputs
        self.W = nn.Linear(inputs, hidden)

    def forward(self, x: Tensor, h: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
        h = h + gate * self.W(x)
        return torch.cat([h, x], -1), h


def test_constants_reach_every_cell_and_outputs_may_be_wider_than_states():
    layers, xs = build(Gated, bidirectional=True, residual=True, backend="eager"), sequences()
    gate = torch.rand(BATCH, 1, dtype=torch.float64)
    ys, state = layers(xs, constants={"gate": gate})
    assert layers.outputs == ys.shape[-1] == 2 * (HIDDEN + 2 * (HIDDEN + INPUTS))
    closed, still = layers(xs, constants={"gate": torch.zeros_like(gate)})
    assert_same(still["h"], torch.zeros_like(state["h"]))
    assert not torch.allclose(closed, ys)


def test_no_time_gives_no_outputs_and_the_state_unchanged():
    layers = build(zoo.LSTM, bidirectional=True)
    given = some_state(layers)
    ys, state = layers(sequences()[:0], given)
    assert ys.shape == (0, BATCH, layers.outputs)
    assert_same(state, given)


class Narrow(Gated):
    """A cell that is wrong about the width of its output."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.outputs = 3


class Last(Cell):
    """A cell with a state as wide as its input, which differs between layers."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden, last=inputs)


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: build(layers=0), ConfigError, "Recurrent has 0 layers: expected at least 1"),
        (lambda: build(dropout=1.0), ConfigError, "dropout has the rate 1.0"),
        (
            lambda: build(Last),
            ConfigError,
            r"layer 1 has the states .* and layer 0 \{'h': \(5,\), 'last': \(4,\)\}",
        ),
        (lambda: build(nn.Linear), ConfigError, "Linear is not a Cell"),
        (lambda: build()(torch.zeros(2, 3, 6)), ShapeError, r"\(2, 3, 6\): .* \(time, batch, 4\)"),
        (lambda: build()(torch.zeros(2, 4)), ShapeError, r"\(2, 4\): .* \(time, batch, 4\)"),
        (
            lambda: build()(sequences(), {"h": torch.zeros(3, BATCH, HIDDEN)}),
            ShapeError,
            r"state 'h' has shape \(3, 3, 5\): expected \(2, batch, size\)",
        ),
        (
            lambda: build()(sequences(), {"c": torch.zeros(2, BATCH, HIDDEN)}),
            ShapeError,
            "GRU has the states h: state holds c",
        ),
        (lambda: build()(sequences(), lengths=[1, 8, 2]), ShapeError, "holds 8: expected 0 to 7"),
        (
            lambda: build(bidirectional=True)(sequences(), resets=torch.zeros(7, 2).bool()),
            ShapeError,
            r"expected bool of shape \(7, 3\)",
        ),
        (
            lambda: build(Narrow, backend="eager")(
                sequences(), constants={"gate": torch.zeros(BATCH, 1, dtype=torch.float64)}
            ),
            ShapeError,
            r"cell 0 gave outputs of shape \(9,\) where its attribute outputs is 3",
        ),
    ],
    ids=(
        "layers rate states unknown-cell features rank state-rows state-names lengths resets width"
    ).split(),
)
def test_what_does_not_fit_is_refused_with_its_numbers(call, kind, message):
    with pytest.raises(kind, match=message):
        call()

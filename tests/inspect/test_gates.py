import math

import pytest
import torch
from torch import Tensor, nn

from unrolled import LSTM, zoo
from unrolled.backends.turned import reverse
from unrolled.cell import Cell
from unrolled.equations import equations, named_values
from unrolled.inspect.gates import LEAST_KEPT, Gate
from unrolled.inspect.recording import Recurrence, record
from unrolled.layers.attending import Bahdanau
from unrolled.recurrence import unroll

TIME, BATCH = 9, 3
NAMES = {
    "Elman": {"h'"},
    "LSTM": {"i", "f", "g", "o"},
    "LSTMP": {"i", "f", "g", "o"},
    "GRU": {"r", "z", "n"},
}


def recorded(cell: nn.Module, inputs: int = 4, lengths: list[int] | None = None) -> Recurrence:
    xs = torch.randn(TIME, BATCH, inputs)
    return record(lambda: unroll(cell, xs, lengths=lengths), gradients=False).recurrences[0]


@pytest.mark.parametrize("name", NAMES)
def test_gates_have_the_names_of_the_equations(name: str) -> None:
    found = recorded(zoo.CELLS[name](4, 6)).gates
    assert set(found) == NAMES[name]


@pytest.mark.parametrize("backend", ["eager", "llvm"])
def test_what_is_read_backwards_is_recorded_in_the_order_of_its_reading(backend: str) -> None:
    cell, xs, lengths = zoo.LSTM(4, 6), torch.randn(TIME, BATCH, 4), torch.tensor([9, 4, 6])
    turned = reverse(xs, lengths)
    backwards, forwards = (
        record(
            lambda xs=xs, way=way: unroll(cell, xs, lengths=lengths, reverse=way, backend=backend)
        )
        for xs, way in ((xs, True), (turned, False))
    )
    torch.testing.assert_close(backwards.result[0], reverse(forwards.result[0], lengths))
    found, wanted = backwards.recurrences[0], forwards.recurrences[0]
    torch.testing.assert_close(found.states, wanted.states)
    for name, gate in wanted.gates.items():
        torch.testing.assert_close(found.gates[name].left, gate.left)
        torch.testing.assert_close(found.gates[name].mean, gate.mean, equal_nan=True)
    (by_states,) = backwards.state_gradients(backwards.result[0].square().sum())
    (expected,) = forwards.state_gradients(forwards.result[0].square().sum())
    torch.testing.assert_close(by_states, expected)


def by_equations(cell: Cell, xs: Tensor) -> list[dict[str, Tensor]]:
    """Every named value at every step, in NumPy."""
    state = {n: s.double().numpy() for n, s in cell.initial_state(xs.shape[1]).items()}
    steps = []
    for x in xs.double().numpy():
        values = named_values(cell, x, state)
        state = {name: values[f"{name}'"] for name in cell.states}
        steps.append({name: torch.as_tensor(v) for name, v in values.items()})
    return steps


@pytest.mark.parametrize("name", zoo.CELLS)
def test_saturation_is_that_of_the_equations_in_numpy(name: str) -> None:
    cell = zoo.CELLS[name](4, 6)
    assert isinstance(cell, Cell)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.mul_(3)
    xs, lengths = torch.randn(TIME, BATCH, 4), [9, 4, 6]
    gates = record(lambda: unroll(cell, xs, lengths=lengths, backend="eager")).recurrences[0].gates
    steps, runs = by_equations(cell, xs), torch.arange(TIME)[:, None] < torch.tensor(lengths)
    lines = {equation.name for equation in equations(cell)}
    assert gates or name not in NAMES
    for gate in gates.values():
        assert gate.name in lines
        values = torch.stack([step[gate.name] for step in steps])
        if values.dim() < 3:  # a gate that reads parameters only
            values = values.reshape(TIME, 1, -1).expand(TIME, BATCH, -1)
        low, high = {"sigmoid": (0.1, 0.9), "tanh": (-0.9, 0.9), "relu": (0, math.inf)}[gate.kind]
        left, right = values <= low, values >= high
        torch.testing.assert_close(gate.left, left[runs].float().mean(0))
        torch.testing.assert_close(gate.right, right[runs].float().mean(0))
        torch.testing.assert_close(gate.mean[8], values[8, 0].mean().float())
        torch.testing.assert_close(gate.saturated[8], (left | right)[8, 0].float().mean())
        if gate.half_lives is not None:
            kept = values if gate.closed_by > 0 else 1 - values
            wanted = math.log(0.5) / kept[runs].clamp_min(LEAST_KEPT).log().mean(0)
            torch.testing.assert_close(gate.half_lives, wanted.float(), rtol=1e-3, atol=1e-3)


class MGU(Cell):
    """Minimal gated unit.

        f  = sigmoid(W_f x + b_f + U_f h)
        n  = tanh(W_n x + b_n + U_n (f * h))
        h' = (1 - f) * h + f * n

    Zhou et al. 2016.
    """

    def __init__(self) -> None:
        super().__init__(h=6)
        self.W_f, self.U_f = nn.Linear(4, 6), nn.Linear(6, 6, bias=False)
        self.W_n, self.U_n = nn.Linear(4, 6), nn.Linear(6, 6, bias=False)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        n_before = self.W_n(x)
        f = torch.sigmoid(self.W_f(x) + self.U_f(h))
        h = (1 - f) * h + f * torch.tanh(n_before + self.U_n(f * h))
        return h, h


def test_a_gate_that_keeps_what_it_leaves() -> None:
    cell = MGU()
    nn.init.constant_(cell.W_f.bias, -5)
    f = recorded(cell).gates["f"]
    assert (f.keeps, f.closed_by) == ("h", -1)
    assert f.half_lives is not None and f.half_lives.median() > 30
    assert f.bias is not None and f.bias.tolist() == [-5] * 6
    assert f.left.mean() > 0.9 and f.stuck > 0.5


def test_the_keeping_gate_of_every_cell() -> None:
    kept = {
        name: {g.name: g.keeps for g in recorded(zoo.CELLS[name](4, 6)).gates.values() if g.keeps}
        for name in NAMES
    }
    assert kept == {"Elman": {}, "LSTM": {"f": "c"}, "LSTMP": {"f": "c"}, "GRU": {"z": "h"}}


class Nameless(Cell):
    def __init__(self) -> None:
        super().__init__(h=4)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.sigmoid(x) * torch.relu(h) + torch.sigmoid(h)
        return h, h


def test_without_equations_gates_are_numbered() -> None:
    assert list(recorded(Nameless()).gates) == ["sigmoid 1", "relu 1", "sigmoid 2"]


def test_drop_ins_have_the_gates_and_biases_of_their_cells() -> None:
    layer = LSTM(4, 6)
    xs = torch.randn(TIME, BATCH, 4)
    gates = record(lambda: layer(xs)).recurrences[0].gates
    assert list(gates) == ["i", "f", "g", "o"]
    own = dict(layer.named_parameters())
    wanted = (own["bias_ih_l0"] + own["bias_hh_l0"])[6:12]
    f: Gate = gates["f"]
    assert f.bias is not None
    torch.testing.assert_close(f.bias, wanted.detach())


def test_the_cell_inside_an_attention_has_its_gates() -> None:
    bahdanau = Bahdanau(zoo.GRU, 4, 6, values=5, score="additive")
    memory = bahdanau.attention.memory(torch.randn(7, BATCH, 5))
    xs, state = torch.randn(TIME, BATCH, 4), {"h": torch.zeros(1, BATCH, 6)}
    gates = record(lambda: bahdanau(xs, state, memory)).recurrences[0].gates
    assert list(gates) == ["r", "z", "n"]
    assert gates["z"].keeps == "h"


def test_the_first_number_that_is_none() -> None:
    class Growing(Cell):
        def __init__(self) -> None:
            super().__init__(a=2, h=2)

        def forward(self, x: Tensor, a: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            h = torch.exp(h) + x
            return h, a + 1, h

    xs = torch.zeros(TIME, BATCH, 2)
    xs[:, 1] = 1.0
    trouble = record(lambda: unroll(Growing(), xs)).recurrences[0].trouble
    assert trouble is not None
    h, steps = 0.0, 0
    while h < 88.7:  # exp of more is infinite in float32
        h, steps = math.exp(h) + 1, steps + 1
    assert (trouble.step, trouble.row, trouble.state) == (steps, 1, "h")
    assert (trouble.operation, trouble.given) == ("exp", None)
    xs[2, 0, 0] = math.nan
    trouble = record(lambda: unroll(Growing(), xs)).recurrences[0].trouble
    assert trouble is not None
    assert (trouble.step, trouble.row, trouble.given) == (2, 0, "the input")

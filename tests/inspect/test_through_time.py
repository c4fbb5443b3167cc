import pytest
import torch
from torch import Tensor, nn

from unrolled import GRU, LSTM, Recurrent
from unrolled.backends import BACKENDS
from unrolled.cell import Cell, State, wrap
from unrolled.errors import ConfigError, ShapeError
from unrolled.inspect.recording import record
from unrolled.inspect.through_time import carried, gradients, gradients_through_time, reach
from unrolled.recurrence import unroll
from unrolled.zoo import CELLS, Elman

TIME, BATCH = 9, 3
LENGTHS = [9, 4, 0]


def weighted(ys: Tensor) -> Tensor:
    weights = torch.cos(torch.arange(ys.numel())).reshape(ys.shape)
    return (ys * weights.to(ys)).sum() + ys.pow(2).sum()


def eager_loop(cell: Cell, xs: Tensor, lengths: list[int]) -> tuple[Tensor, list[State]]:
    """A plain loop: the outputs, and the states after every step for autograd to follow."""
    state = {n: s.requires_grad_() for n, s in cell.initial_state(xs.shape[1]).items()}
    ys, history = [], []
    for t, x in enumerate(xs):
        y, *new = cell(x, *state.values())
        named = dict(zip(cell.states, new, strict=True))
        history.append(named)
        runs = t < torch.tensor(lengths)
        ys.append(torch.where(runs[:, None], y, 0))
        state = {
            n: torch.where(runs.reshape(-1, *(1,) * (s.dim() - 1)), s, state[n])
            for n, s in named.items()
        }
    return torch.stack(ys), history


def expected(cell: Cell, xs: Tensor, lengths: list[int]) -> State:
    ys, history = eager_loop(cell, xs, lengths)
    leaves = [s for states in history for s in states.values()]
    found = torch.autograd.grad(weighted(ys), leaves, allow_unused=True, materialize_grads=True)
    count = len(cell.states)
    return {n: torch.stack(found[i::count]) for i, n in enumerate(cell.states)}


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


COMPILED = ("LSTM", "RHN", "RWKV4", "DeltaNet")
RUNS = [*((name, "eager") for name in CELLS), *((name, "llvm") for name in COMPILED)]


@pytest.mark.parametrize(("name", "backend"), RUNS, ids=map("-".join, RUNS))
def test_gradients_by_states_are_autograds_on_an_eager_loop(name: str, backend: str) -> None:
    cell = wrap(CELLS[name](4, 6))
    xs = torch.randn(TIME, BATCH, 4)
    for lengths in ([TIME] * BATCH, LENGTHS):
        seen = record(lambda ls=lengths: unroll(cell, xs, lengths=ls, backend=backend))
        assert seen.recurrences[0].backend == backend
        loss = weighted(seen.result[0])
        (found,) = seen.state_gradients(loss)
        (measured,) = gradients(seen, loss)
        for state, wanted in expected(cell, xs, lengths).items():
            close(found[state], wanted)
            close(measured.norms[state], wanted.flatten(2).norm(dim=2))


def test_gradients_of_a_stack_go_through_all_layers() -> None:
    layers = Recurrent(CELLS["LSTM"], 4, 6, layers=2, layer_norm=True, residual=True)
    xs = torch.randn(TIME, BATCH, 4)
    found = gradients_through_time(layers, xs, weighted)
    assert [f.name for f in found] == ["layer 0", "layer 1"]
    first, history = eager_loop(wrap(layers.cells[0]), xs, [TIME] * BATCH)
    normed = layers.norms[0](first)
    second, above = eager_loop(wrap(layers.cells[1]), normed, [TIME] * BATCH)
    loss = weighted(normed + layers.norms[1](second))
    for measured, states in zip(found, (history, above), strict=True):
        for name in ("h", "c"):
            wanted = torch.autograd.grad(loss, [s[name] for s in states], retain_graph=True)
            close(measured.norms[name], torch.stack(wanted).norm(dim=2))


def test_ragged_rows_are_averaged_over_those_that_run() -> None:
    cell = Elman(4, 6)
    xs = torch.randn(TIME, BATCH, 4)
    (found,) = gradients_through_time(cell, xs, weighted, lengths=LENGTHS)
    close(found.mean("h")[:4], found.norms["h"][:4, :2].mean(1))
    close(found.mean("h")[4:], found.norms["h"][4:, 0])


def test_layers_of_drop_ins_have_their_places() -> None:
    parts = {"below": GRU(4, 6), "above": GRU(6, 6, 2, bidirectional=True)}
    model = torch.nn.ModuleDict(parts)
    for part in parts.values():
        part.backend = "eager"

    def run() -> torch.Tensor:
        below = model["below"](model["below"](torch.randn(TIME, BATCH, 4))[0][..., :4])[0]
        return model["above"](below)[0]

    found = record(run, model, gradients=False, measure_gates=False).recurrences
    above = ["layer 0", "layer 0 backwards", "layer 1", "layer 1 backwards"]
    names = ["below layer 0", "below layer 0, call 2", *(f"above {name}" for name in above)]
    assert [r.name for r in found] == names
    stacks = ["below", "below, call 2", "above", "above backwards", "above", "above backwards"]
    assert [r.stack for r in found] == stacks
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in parts.values())
    assert record(run).recurrences[2].name == "GRU, call 3"


def test_a_model_computes_the_same_while_it_is_recorded() -> None:
    layers = Recurrent(CELLS["GRU"], 4, 6, layers=2, bidirectional=True)
    xs = torch.randn(TIME, BATCH, 4)
    plain, state = layers(xs, lengths=LENGTHS)
    rows = dict(BACKENDS)
    seen = record(lambda: layers(xs, lengths=LENGTHS), layers)
    assert rows == BACKENDS
    ys, last = seen.result
    close(ys, plain)
    close(last["h"], state["h"])
    assert [r.name for r in seen.recurrences] == [
        "layer 0",
        "layer 0 backwards",
        "layer 1",
        "layer 1 backwards",
    ]
    parameters = list(layers.parameters())
    wanted = torch.autograd.grad(weighted(plain), parameters)
    for g, w in zip(torch.autograd.grad(weighted(ys), parameters), wanted, strict=True):
        close(g, w)


def test_an_error_in_a_recorded_run_leaves_the_backends_as_they_were() -> None:
    rows = dict(BACKENDS)
    with pytest.raises(ShapeError):
        record(lambda: unroll(Elman(4, 6), torch.zeros(3)))
    assert rows == BACKENDS


@pytest.mark.parametrize("layers", [GRU(4, 6, 2), LSTM(4, 6, 2)], ids=["GRU", "LSTM"])
def test_drop_ins_are_recorded(layers: nn.Module) -> None:
    xs = torch.randn(TIME, BATCH, 4)
    seen = record(lambda: layers(xs)[0], layers)
    assert len(seen.recurrences) == 2
    (_, top) = seen.state_gradients(seen.result[-1].sum())
    close(top["h"][-1], torch.ones(BATCH, 6))


class Untraceable(Cell):
    def __init__(self) -> None:
        super().__init__(h=6)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = 0.5 * h if float(h.detach().sum()) > 0 else 0.25 * h
        return h, h + x


def test_a_cell_without_a_program_is_followed_as_a_loop() -> None:
    xs = torch.randn(TIME, BATCH, 6)
    with pytest.warns(RuntimeWarning, match="Untraceable cannot be captured"):
        seen = record(lambda: unroll(Untraceable(), xs)[0])
    assert seen.recurrences[0].backend == "torch"
    (found,) = gradients(seen, weighted(seen.result))
    close(found.norms["h"], expected(Untraceable(), xs, [TIME] * BATCH)["h"].norm(dim=2))


class Scaled(Cell):
    def __init__(self) -> None:
        super().__init__(h=5)
        self.U = nn.Linear(5, 5)

    def forward(self, x: Tensor, h: Tensor, *, scale: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(x + scale * self.U(h))
        return h, h


def test_a_cell_that_reads_constants_is_opened_too() -> None:
    cell, xs, constants = Scaled(), torch.randn(4, 2, 5), {"scale": torch.randn(2, 5)}
    found = []
    for backend in ("llvm", "eager"):
        seen = record(lambda b=backend: unroll(cell, xs, constants=constants, backend=b)[0])
        found.append(seen.state_gradients(weighted(seen.result))[0]["h"])
    close(*found)


class Halving(Cell):
    """h' = h / 2 + x; its output is its state."""

    def __init__(self) -> None:
        super().__init__(h=2)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = 0.5 * h + x
        return h, h


@pytest.mark.parametrize("backend", ["llvm", "eager"])
def test_reach_of_an_output_back_to_a_step(backend: str) -> None:
    xs = torch.randn(TIME, BATCH, 2)
    seen = record(lambda: unroll(Halving(), xs, lengths=[9, 9, 4], backend=backend)[0])
    (found,) = reach(seen, seen.result.sum(2))
    matrix = found.matrix("h")
    for t in range(TIME):
        for s in range(TIME):
            wanted = 2**0.5 * 0.5 ** (t - s) if s <= t else 0.0
            assert float(matrix[t, s]) == pytest.approx(wanted, rel=1e-5)
    distances = found.distances("h", fraction=0.2)  # 1, 0.5, 0.25, 0.125
    assert distances[:, 0].tolist() == [0, 1, 2, 2, 2, 2, 2, 2, 2]
    assert distances[:4, 2].tolist() == [0, 1, 2, 2]
    assert distances[4:, 2].isnan().all()
    (row,) = reach(seen, seen.result.sum(2), steps=[5])
    close(row.matrix("h")[0], matrix[5])


def test_what_the_last_state_carries() -> None:
    xs = torch.randn(TIME, 2, 2)
    seen = record(lambda: unroll(Halving(), xs, lengths=[9, 4])[0])
    back = carried(seen.recurrences[0])
    close(back[1:, 0] / back[:-1, 0], torch.full((8,), 0.5))
    close(back[1:4, 1] / back[:3, 1], torch.full((3,), 0.5))
    assert back[4:, 1].tolist() == [0] * 5


def test_activation_norms_are_zero_behind_an_end() -> None:
    xs = torch.randn(TIME, 2, 2)
    seen = record(lambda: unroll(Halving(), xs, lengths=[9, 4], return_states=True))
    found = seen.recurrences[0].activation_norms()["h"]
    close(found[:4], seen.result[2]["h"][:4].norm(dim=2))
    assert found[4:, 1].tolist() == [0] * 5


def test_what_has_no_gradient_says_so() -> None:
    cell = Elman(4, 6)
    with torch.no_grad():
        seen = record(lambda: unroll(cell, torch.zeros(3, 2, 4))[0])
    with pytest.raises(ConfigError, match="recorded under no_grad"):
        seen.state_gradients(seen.result.sum())
    seen = record(lambda: unroll(cell, torch.zeros(3, 2, 4))[0])
    with pytest.raises(ConfigError, match="does not come from it"):
        seen.state_gradients(torch.zeros(()))
    with pytest.raises(ShapeError, match="expected 0 to 2"):
        reach(seen, seen.result, steps=[3])

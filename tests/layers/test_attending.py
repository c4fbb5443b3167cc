import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unrolled import zoo
from unrolled.cell import State, wrap
from unrolled.errors import ConfigError, ShapeError
from unrolled.layers.attending import (
    ATTENDING,
    GNMT,
    Attending,
    AttendingCell,
    Bahdanau,
    Luong,
)
from unrolled.layers.attention import SCORES, Attention, Memory
from unrolled.layers.recurrent import Recurrent

TIME, BATCH, SOURCE, INPUTS, HIDDEN, VALUES = 4, 3, 5, 2, 6, 3
LENGTHS = [5, 2, 3]
CELLS: dict[str, Any] = {
    "Elman": zoo.Elman,
    "LSTM": zoo.LSTM,
    "LSTMP": zoo.LSTMP,
    "GRU": zoo.GRU,
    "torch-GRUCell": nn.GRUCell,
}
cells = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
kinds = pytest.mark.parametrize("kind", ATTENDING)
depths = pytest.mark.parametrize("layers", [1, 2], ids="{}-layers".format)


def build(kind: str, cell: Any = zoo.GRU, **settings: Any) -> Luong | Bahdanau:
    """Make one; LSTMs run as kernels, the others in PyTorch."""
    model = ATTENDING[kind](cell, INPUTS, HIDDEN, VALUES, **{"layers": 2, **settings}).double()
    for module in model.modules():
        if isinstance(module, Recurrent) and cell is not zoo.LSTM:
            module.backend = "eager"
    return model


def some(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def some_state(model: Attending, batch: int = BATCH) -> State:
    return {name: some(layers, batch, *size) for name, (layers, *size) in model.states.items()}


def some_memory(model: Attending) -> tuple[Tensor, Memory]:
    """Give the values and the memory of them."""
    values = some(SOURCE, BATCH, VALUES).requires_grad_()
    return values, model.attention.memory(values, LENGTHS)


def scaled_general(
    query: Tensor, matrix: Tensor, values: Tensor, lengths: list[int]
) -> tuple[Tensor, Tensor]:
    """Read the values for queries (batch, features) by the formula, row by row."""
    read, weights = [], []
    for row, length in enumerate(lengths):
        seen = values[:length, row]
        weight = (seen @ matrix.T @ query[row] / query.shape[1] ** 0.5).softmax(0)
        read.append(weight @ seen)
        weights.append(torch.cat([weight, weight.new_zeros(len(values) - length)]))
    return torch.stack(read), torch.stack(weights)


STACKS: dict[str, Callable[[Any], list[Any]]] = {  # the cell of each layer
    "luong": lambda model: list(model.recurrent.cells),
    "gnmt": lambda model: [c for r in (model.recurrent, *model.above) for c in r.cells],
    "bahdanau": lambda model: [model.first.cell, *(c for r in model.above for c in r.cells)],
}


def by_hand(
    kind: str, model: Luong | Bahdanau, xs: Tensor, state: State, values: Tensor
) -> tuple[Tensor, Tensor, State, Tensor]:
    """Take every step of every layer in plain loops."""
    stack = STACKS[kind](model)
    score: Any = model.attention.score
    matrix = score.W.weight
    states = [[s[layer] for s in state.values()] for layer in range(len(stack))]
    steps: list[tuple[Tensor, ...]] = []
    for x in xs:
        looked: tuple[Tensor, Tensor] | None = None
        if kind == "bahdanau":
            looked = scaled_general(states[0][0], matrix, values, LENGTHS)
            x = torch.cat([x, looked[0]], -1)
        for layer, cell in enumerate(stack):
            if kind == "gnmt" and layer:
                looked = looked or scaled_general(x, matrix, values, LENGTHS)
                x = torch.cat([x, looked[0]], -1)
            x, *states[layer] = cell(x, *states[layer])
        steps.append((x, *(looked or scaled_general(x, matrix, values, LENGTHS))))
    ys, read, weights = (torch.stack(values) for values in zip(*steps, strict=True))
    last = {n: torch.stack([s[i] for s in states]) for i, n in enumerate(state)}
    return ys, read, last, weights


@kinds
@cells
@depths
def test_it_is_its_steps_by_hand(kind: str, cell: Any, layers: int) -> None:
    model, xs = build(kind, cell, layers=layers), some(TIME, BATCH, INPUTS).requires_grad_()
    state, (values, memory) = some_state(model), some_memory(model)
    found = model(xs, state, memory, weights=True)
    expected = by_hand(kind, model, xs, state, values)
    torch.testing.assert_close(found, expected)
    leaves = [xs, values, *model.parameters()]
    gradients = [
        torch.autograd.grad(total(ys, read, weights, *last.values()), leaves)
        for ys, read, last, weights in (found, expected)
    ]
    torch.testing.assert_close(*gradients)
    assert all(gradient.any() for gradient in gradients[0])


def total(*tensors: Tensor) -> Tensor:
    return torch.stack([tensor.square().sum() for tensor in tensors]).sum()


@kinds
@cells
@depths
def test_single_steps_with_the_state_carried_are_the_whole(
    kind: str, cell: Any, layers: int
) -> None:
    model, xs = build(kind, cell, layers=layers), some(TIME, BATCH, INPUTS)
    state, (_, memory) = some_state(model), some_memory(model)
    expected = model(xs, state, memory, weights=True)
    steps = []
    for x in xs:
        ys, read, state, looked = model(x[None], state, memory, weights=True)
        steps.append((ys, read, looked))
    ys, read, weights = (torch.cat(values) for values in zip(*steps, strict=True))
    torch.testing.assert_close((ys, read, state, weights), expected)


@kinds
@cells
@depths
def test_what_it_says_of_its_sizes_is_what_comes_out(kind: str, cell: Any, layers: int) -> None:
    model = build(kind, cell, layers=layers)
    ys, read, last, weights = model(
        some(TIME, BATCH, INPUTS), some_state(model), some_memory(model)[1], weights=True
    )
    assert ys.shape == (TIME, BATCH, model.outputs)
    assert read.shape == (TIME, BATCH, VALUES)
    assert weights.shape == (TIME, BATCH, SOURCE)
    sizes = wrap(cell(INPUTS, HIDDEN)).states
    assert model.states == {name: (layers, *size) for name, size in sizes.items()}
    assert {name: s.shape for name, s in last.items()} == {
        name: (layers, BATCH, *size) for name, size in sizes.items()
    }


@kinds
def test_features_are_dropped_between_layers_in_training_only(kind: str) -> None:
    model = build(kind, zoo.GRU, layers=2, dropout=0.5)
    given = some(TIME, BATCH, INPUTS), some_state(model), some_memory(model)[1]
    runs = []
    for seed in (0, 1, 0):
        torch.manual_seed(seed)
        runs.append(model(*given)[0])
    assert torch.equal(runs[0], runs[2]) and not torch.equal(runs[0], runs[1])
    model.eval()
    assert torch.equal(model(*given)[0], model(*given)[0])


@kinds
@depths
@pytest.mark.parametrize("score", SCORES)
def test_a_padded_memory_is_its_rows_one_by_one(kind: str, layers: int, score: str) -> None:
    model = ATTENDING[kind](zoo.LSTM, INPUTS, HIDDEN, HIDDEN, layers=layers, score=score).double()
    xs, state, values = some(TIME, BATCH, INPUTS), some_state(model), some(SOURCE, BATCH, HIDDEN)
    lengths = [5, 2, 0]
    for row, length in enumerate(lengths):
        values[length:, row] = torch.nan
    values.requires_grad_()
    leaves = [values, *model.parameters()]
    ys, read, last, _ = model(xs, state, model.attention.memory(values, lengths))
    alone = []
    for row, length in enumerate(lengths):
        one = slice(row, row + 1)
        start = {name: s[:, one] for name, s in state.items()}
        alone.append(model(xs[:, one], start, model.attention.memory(values[:length, one])))
    torch.testing.assert_close(ys, torch.cat([a[0] for a in alone], 1))
    torch.testing.assert_close(read, torch.cat([a[1] for a in alone], 1))
    for name in state:
        torch.testing.assert_close(last[name], torch.cat([a[2][name] for a in alone], 1))
    found = torch.autograd.grad(total(ys, read), leaves)
    expected = torch.autograd.grad(total(*(t for a in alone for t in a[:2])), leaves)
    torch.testing.assert_close(found, expected)


def test_attention_of_gnmt_is_that_of_luong_where_no_layer_is_above() -> None:
    model, twin = build("gnmt", layers=1), build("luong", layers=1)
    assert isinstance(model, GNMT)
    twin.load_state_dict(model.state_dict())
    xs, state, (_, memory) = some(TIME, BATCH, INPUTS), some_state(model), some_memory(model)
    torch.testing.assert_close(model(xs, state, memory), twin(xs, state, memory))


@kinds
def test_weights_are_given_only_when_asked_and_change_nothing(kind: str) -> None:
    model, xs = build(kind), some(TIME, BATCH, INPUTS)
    state, (_, memory) = some_state(model), some_memory(model)
    *plain, nothing = model(xs, state, memory)
    *found, weights = model(xs, state, memory, weights=True)
    assert nothing is None and weights is not None
    torch.testing.assert_close(plain, found, rtol=0, atol=0)


@kinds
@depths
def test_no_time_keeps_the_shapes_and_the_state(kind: str, layers: int) -> None:
    model = build(kind, layers=layers)
    state = some_state(model)
    ys, read, last, weights = model(
        some(0, BATCH, INPUTS), state, some_memory(model)[1], weights=True
    )
    assert (ys.shape, read.shape) == ((0, BATCH, model.outputs), (0, BATCH, VALUES))
    assert weights.shape == (0, BATCH, SOURCE)
    assert all(torch.equal(last[name], state[name]) for name in state)


def test_an_attending_cell_keeps_the_states_of_its_cell_and_gives_what_it_read() -> None:
    inner, attention = zoo.LSTM(INPUTS + VALUES, HIDDEN), Attention("general", HIDDEN, VALUES)
    cell = AttendingCell(inner, attention)
    memory = attention.memory(torch.randn(SOURCE, BATCH, VALUES), LENGTHS)
    x, (h, c) = torch.randn(BATCH, INPUTS), torch.randn(2, BATCH, HIDDEN)
    read, _ = attention(h, memory)
    y, *new = inner(torch.cat([x, read], -1), h, c)
    assert cell.states == inner.states
    torch.testing.assert_close(cell(x, h, c, **memory), (torch.cat([y, read], -1), *new))


NAMES: dict[str, set[str]] = {  # of the weights in a run's files: a change would orphan them
    "luong": {
        "recurrent.cells.0.module.weight_hh",
        "recurrent.cells.1.module.weight_hh",
        "attention.score.W.weight",
    },
    "gnmt": {
        "recurrent.cells.0.module.weight_hh",
        "above.0.cells.0.module.weight_hh",
        "attention.score.W.weight",
    },
    "bahdanau": {
        "first.cell.module.weight_hh",
        "above.0.cells.0.module.weight_hh",
        "attention.score.W.weight",
        "first.attention.score.W.weight",
    },
}


@kinds
def test_weights_keep_their_names(kind: str) -> None:
    names = build(kind, nn.GRUCell).state_dict()
    assert {name for name in names if name.endswith(("weight_hh", "W.weight"))} == NAMES[kind]


def call(
    kind: str, xs: tuple[int, ...] = (TIME, BATCH, INPUTS), **state: tuple[int, ...]
) -> Callable[[], object]:
    """Call a GRU of 2 layers with tensors of these shapes."""

    def run() -> object:
        model = build(kind)
        given = {name: some(*shape) for name, shape in state.items()}
        return model(some(*xs), given, some_memory(model)[1])

    return run


H = (2, BATCH, HIDDEN)
WRONG: dict[str, tuple[Callable[[str], Callable[[], object]], type[Exception], str]] = {
    "layers": (
        lambda kind: lambda: build(kind, layers=0),
        ConfigError,
        "has 0 layers: expected at least 1",
    ),
    "score": (
        lambda kind: lambda: build(kind, score="cosine"),
        ConfigError,
        "there is no score 'cosine': choose one of dot, scaled_dot, general, scaled_general, "
        "additive",
    ),
    "dot": (
        lambda kind: lambda: build(kind, score="dot"),
        ConfigError,
        "dot scores compare queries of 6 features with values of 3",
    ),
    "cell": (
        lambda kind: lambda: build(kind, nn.Linear),
        ConfigError,
        "Linear is not a Cell and its states are unknown",
    ),
    "xs-features": (
        lambda kind: call(kind, (TIME, BATCH, 7), h=H),
        ShapeError,
        "xs has shape (4, 3, 7): expected (time, batch, 2)",
    ),
    "xs-rank": (
        lambda kind: call(kind, (BATCH, INPUTS), h=H),
        ShapeError,
        "xs has shape (3, 2): expected (time, batch, 2)",
    ),
    "state-layers": (
        lambda kind: call(kind, h=(3, BATCH, HIDDEN)),
        ShapeError,
        "state 'h' has shape (3, 3, 6): expected (2, batch, size), a row for each layer",
    ),
    "state-names": (
        lambda kind: call(kind, h=H, c=H),
        ShapeError,
        "has the states h: state holds h, c",
    ),
    "state-missing": (call, ShapeError, "has the states h: state holds none"),
    "memory-batch": (
        lambda kind: call(kind, (TIME, 2, INPUTS), h=(2, 2, HIDDEN)),
        ShapeError,
        "2, 6): expected ([time,] 3, 6), a memory of 3 rows and queries of 6 features",
    ),
}


@kinds
@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_refused_with_its_numbers(kind: str, case: str) -> None:
    wrong, error, message = WRONG[case]
    with pytest.raises(error, match=re.escape(message)):
        wrong(kind)()

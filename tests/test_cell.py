import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn, tanh

from unrolled.cell import Cell, wrap
from unrolled.errors import ConfigError, ShapeError


class Decay(Cell):
    def __init__(self, features: int) -> None:
        super().__init__(fast=features, slow=(features, 2))
        self.rate = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor, fast: Tensor, slow: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return x, self.rate * fast, slow


class Plain(nn.Module):
    """A user's module that is not a Cell."""

    def __init__(self) -> None:
        super().__init__()
        self.W, self.U = nn.Linear(3, 5), nn.Linear(5, 5)

    def forward(self, x: Tensor, h: Tensor, *, gain: Tensor | None = None) -> tuple[Tensor, Tensor]:
        h = tanh(self.W(x) + self.U(h)) * (1.0 if gain is None else gain)
        return h, h


def test_states_keep_their_names_sizes_and_order() -> None:
    assert list(Decay(3).states.items()) == [("fast", (3,)), ("slow", (3, 2))]


def test_a_size_may_be_any_kind_of_whole_number() -> None:
    states = Cell(h=np.int64(4), S=torch.Size([2, 3]), T=[5, 6]).states  # pyright: ignore
    assert states == {"h": (4,), "S": (2, 3), "T": (5, 6)}
    assert all(type(n) is int for size in states.values() for n in size)


def test_the_initial_state_is_zero_in_every_state() -> None:
    state = Decay(3).initial_state(4)
    assert {name: tuple(value.shape) for name, value in state.items()} == {
        "fast": (4, 3),
        "slow": (4, 3, 2),
    }
    assert all((value == 0).all() for value in state.values())


def test_the_initial_state_follows_the_parameters() -> None:
    assert Decay(3).double().initial_state(1)["slow"].dtype == torch.float64
    assert Decay(3).to("meta").initial_state(1)["slow"].device.type == "meta"


def test_the_initial_state_follows_its_arguments_first() -> None:
    state = Decay(3).initial_state(1, device="meta", dtype=torch.float16)["fast"]
    assert (state.device.type, state.dtype) == ("meta", torch.float16)


def test_a_cell_without_parameters_starts_in_the_default_dtype() -> None:
    assert Cell(h=2).initial_state(1)["h"].dtype == torch.get_default_dtype()


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ({}, "Cell has no state: name at least one, as in super().__init__(h=hidden)"),
        ({"h": 0}, "Cell has a state 'h' of size (0,): sizes start at 1"),
        ({"S": (4, -1)}, "Cell has a state 'S' of size (4, -1): sizes start at 1"),
        (
            {"h": 2.5},
            "Cell has a state 'h' of size 2.5: expected whole numbers, as in h=256 or S=(16, 16)",
        ),
        (
            {"S": (4, None)},
            "Cell has a state 'S' of size (4, None): expected whole numbers, as in h=256 or "
            "S=(16, 16)",
        ),
        (
            {"h": "12"},
            "Cell has a state 'h' of size '12': expected whole numbers, as in h=256 or S=(16, 16)",
        ),
        ({"x": 3}, "Cell names a state 'x': that name is taken, choose another"),
        ({"h": 3, "y": 3}, "Cell names a state 'y': that name is taken, choose another"),
    ],
    ids=[
        "no-state",
        "size-0",
        "size-negative",
        "size-fraction",
        "size-none",
        "size-text",
        "name-x",
        "name-y",
    ],
)
def test_a_cell_says_what_is_wrong_with_its_states(states: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        Cell(**states)


@pytest.mark.parametrize(
    ("module", "names"),
    [(nn.RNNCell, "h"), (nn.GRUCell, "h"), (nn.LSTMCell, "hc")],
    ids=["RNNCell", "GRUCell", "LSTMCell"],
)
def test_a_cell_of_torch_is_wrapped_with_its_states_and_parameters(
    module: type[nn.RNNCell | nn.GRUCell | nn.LSTMCell], names: str
) -> None:
    inner = module(3, 5)
    cell = wrap(inner)
    x = torch.randn(2, 3)
    state = {name: torch.randn(2, 5) for name in names}
    y, *new = cell(x, *state.values())
    expected = inner(x, tuple(state.values()) if len(names) == 2 else state["h"])
    assert cell.states == {name: (5,) for name in names}
    assert {id(p) for p in cell.parameters()} == {id(p) for p in inner.parameters()}
    assert torch.equal(y, new[0])
    assert torch.equal(
        torch.stack(new), torch.stack(expected) if len(names) == 2 else expected[None]
    )


@pytest.mark.parametrize("module", [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_a_cell_of_torch_refuses_constants(
    module: type[nn.RNNCell | nn.GRUCell | nn.LSTMCell],
) -> None:
    cell = wrap(module(3, 5))
    message = (
        f"{module.__name__} of torch.nn was given keys, values by name: it takes its states in "
        "their order and no constants; write a Cell whose forward reads them, or leave them out"
    )
    memory = {"keys": torch.ones(2, 4), "values": torch.ones(2, 4)}
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        cell(torch.ones(2, 3), *cell.initial_state(2).values(), **memory)


def test_a_subclass_of_a_torch_cell_is_wrapped_like_it() -> None:
    class MyGRU(nn.GRUCell):
        pass

    assert wrap(MyGRU(3, 5)).states == {"h": (5,)}


def test_a_module_is_wrapped_with_the_states_it_is_given() -> None:
    module = Plain()
    cell = wrap(module, h=5)
    x, h, gain = torch.randn(2, 3), torch.randn(2, 5), torch.tensor(0.5)
    assert cell.states == {"h": (5,)}
    assert torch.equal(cell(x, h, gain=gain)[0], module(x, h, gain=gain)[0])


def test_a_module_of_unknown_states_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^Plain is not a Cell .* as in wrap\(module, h=64\)$"):
        wrap(Plain())


def test_a_cell_is_wrapped_as_it_is() -> None:
    cell = Decay(3)
    assert wrap(cell) is cell

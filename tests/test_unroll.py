import re
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from unrolled.cell import Cell, State
from unrolled.errors import BackendError, ShapeError
from unrolled.recurrence import padding, unroll
from unrolled.zoo import GRU, LSTM


class Count(Cell):
    """Counts its steps on top of what it starts from, and gives back what it read."""

    def __init__(self) -> None:
        super().__init__(n=1)

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        return {"n": torch.full((batch, 1), 100.0, device=device, dtype=dtype)}

    def forward(self, x: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
        return x, n + 1


class Reads(Cell):
    """Reads a memory that is the same at every step."""

    def __init__(self) -> None:
        super().__init__(h=2)

    def forward(self, x: Tensor, h: Tensor, *, memory: Tensor) -> tuple[Tensor, Tensor]:
        h = h + memory.sum(1)
        return h, h


def values(*rows: list[float]) -> Tensor:
    """Give the states of `Count`, (batch, 1)."""
    return torch.tensor(rows)


# Shapes of what comes back.


def test_outputs_and_states_lie_time_first() -> None:
    ys, last, states = unroll(LSTM(3, 5), torch.zeros(7, 2, 3), return_states=True)
    assert ys.shape == (7, 2, 5)
    assert {name: value.shape for name, value in last.items()} == {"h": (2, 5), "c": (2, 5)}
    assert {name: value.shape for name, value in states.items()} == {"h": (7, 2, 5), "c": (7, 2, 5)}


@pytest.mark.parametrize(("time", "batch"), [(0, 2), (7, 0), (0, 0)])
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
def test_no_step_or_no_row_keeps_the_shapes(time: int, batch: int, ragged: bool) -> None:
    lengths = torch.zeros(batch, dtype=torch.long) if ragged else None
    state = {"h": torch.randn(batch, 5), "c": torch.randn(batch, 5)}
    ys, last, states = unroll(
        LSTM(3, 5), torch.zeros(time, batch, 3), state, lengths=lengths, return_states=True
    )
    assert ys.shape == states["c"].shape == (time, batch, 5)
    assert torch.equal(last["c"], state["c"])


def test_an_empty_batch_takes_an_empty_list_of_lengths() -> None:
    assert unroll(GRU(3, 5), torch.zeros(7, 0, 3), lengths=[])[0].shape == (7, 0, 5)


def test_inputs_may_have_more_than_one_dimension() -> None:
    ys, last = unroll(Count(), torch.ones(3, 2, 4, 5), lengths=[3, 1])
    assert ys.shape == (3, 2, 4, 5)
    assert ys.sum((2, 3)).tolist() == [[20, 20], [20, 0], [20, 0]]
    assert last["n"].tolist() == [[103], [101]]


# State, lengths, resets, constants.


def test_without_a_state_the_cell_starts_from_its_own() -> None:
    assert unroll(Count(), torch.zeros(3, 1, 1))[1]["n"].item() == 103


def test_a_state_is_found_by_its_name_in_any_order() -> None:
    cell, xs = LSTM(3, 5), torch.randn(4, 2, 3)
    h, c = torch.randn(2, 2, 5)
    assert torch.equal(unroll(cell, xs, {"h": h, "c": c})[0], unroll(cell, xs, {"c": c, "h": h})[0])


LENGTHS: dict[str, Callable[[list[int]], list[int] | Tensor]] = {
    "list": list,
    "int64": torch.tensor,
    "int32": lambda lengths: torch.tensor(lengths, dtype=torch.int32),
    "uint8": lambda lengths: torch.tensor(lengths, dtype=torch.uint8),
}


@pytest.mark.parametrize("kind", LENGTHS)
@pytest.mark.parametrize(
    "lengths", [[4, 4, 4], [4, 2, 1], [1, 4, 2], [0, 3, 0], [0, 0, 0]], ids=str
)
def test_each_sequence_stops_at_its_own_length(lengths: list[int], kind: str) -> None:
    ys, last, states = unroll(
        Count(), torch.ones(4, 3, 1), lengths=LENGTHS[kind](lengths), return_states=True
    )
    steps = torch.arange(1, 5)[:, None]
    assert ys.sum(0).flatten().tolist() == lengths
    assert (last["n"] - 100).flatten().tolist() == lengths
    assert torch.equal(
        states["n"][..., 0] - 100, torch.minimum(steps, torch.tensor(lengths)).float()
    )


@given(st.lists(st.integers(0, 6), min_size=1, max_size=5))
def test_a_padded_batch_is_its_sequences_one_by_one(lengths: list[int]) -> None:
    cell = GRU(3, 5)
    xs = torch.randn(6, len(lengths), 3)
    xs[padding(torch.tensor(lengths), 6)] = torch.nan
    ys, last = unroll(cell, xs, lengths=lengths)
    for row, steps in enumerate(lengths):
        alone, end = unroll(cell, xs[:steps, row : row + 1])
        torch.testing.assert_close(ys[:steps, row : row + 1], alone)
        torch.testing.assert_close(last["h"][row : row + 1], end["h"])
        assert not ys[steps:, row].any()


def test_nan_in_the_padding_reaches_no_gradient() -> None:
    cell = GRU(3, 5)
    xs = torch.randn(4, 2, 3)
    xs[2:, 0] = torch.nan
    xs.requires_grad_()
    unroll(cell, xs, lengths=[2, 4])[0].sum().backward()
    assert xs.grad is not None
    assert not xs.grad[2:, 0].any()
    for parameter in cell.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all()


def test_a_reset_starts_from_the_initial_state_and_not_from_the_one_given() -> None:
    resets = torch.tensor([[0, 1, 0], [0, 0, 0], [1, 0, 0]], dtype=torch.bool)
    _, last, states = unroll(
        Count(),
        torch.zeros(3, 3, 1),
        {"n": values([0.0], [10.0], [20.0])},
        resets=resets,
        return_states=True,
    )
    assert states["n"][..., 0].tolist() == [[1, 101, 21], [2, 102, 22], [101, 103, 23]]
    assert last["n"].flatten().tolist() == [101, 103, 23]


def test_a_reset_behind_the_end_of_a_sequence_does_nothing() -> None:
    resets = torch.tensor([[0, 0], [0, 0], [1, 1]], dtype=torch.bool)
    state = {"n": values([0.0], [0.0])}
    _, last = unroll(Count(), torch.zeros(3, 2, 1), state, lengths=[2, 3], resets=resets)
    assert last["n"].flatten().tolist() == [2, 101]


def test_a_reset_forgets_a_state_that_is_not_a_number() -> None:
    cell = GRU(3, 5)
    state = {"h": torch.full((1, 5), torch.nan)}
    ys, _ = unroll(cell, torch.ones(2, 1, 3), state, resets=torch.tensor([[True], [False]]))
    ys.sum().backward()
    torch.testing.assert_close(ys, unroll(cell, torch.ones(2, 1, 3))[0])
    for parameter in cell.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all()


def test_constants_reach_every_step_and_have_a_gradient() -> None:
    memory = torch.ones(1, 4, 2, requires_grad=True)
    ys, _ = unroll(Reads(), torch.zeros(3, 1, 1), constants={"memory": memory}, backend="eager")
    assert ys[:, 0, 0].tolist() == [4, 8, 12]
    (gradient,) = torch.autograd.grad(ys[-1].sum(), memory)
    assert gradient.unique().tolist() == [3]


class Everything(Cell):
    """Its output depends on all that a step reads."""

    def __init__(self) -> None:
        super().__init__(h=3)
        self.W, self.unused = nn.Linear(3, 3), nn.Parameter(torch.tensor(torch.inf))

    def forward(self, x: Tensor, h: Tensor, *, memory: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.sqrt(self.W(x) * h * memory)  # no finite derivative at the 0 of x
        return h, h


@pytest.mark.parametrize("time", [0, 4])
def test_no_step_at_all_has_zero_gradients(time: int) -> None:
    cell = Everything()
    xs = torch.full((time, 2, 3), torch.nan, requires_grad=True)
    state, memory = (torch.rand(2, 3, requires_grad=True) for _ in range(2))
    ys, last, states = unroll(
        cell,
        xs,
        {"h": state},
        lengths=[0, 0],
        constants={"memory": memory},
        backend="eager",
        return_states=True,
    )
    assert not ys.any() and torch.equal(last["h"], state)
    leaves = [state, xs, memory, *cell.parameters()]
    for result, slope in ((ys, 0), (last["h"], 1), (states["h"], time)):
        found = torch.autograd.grad(result.sum(), leaves, retain_graph=True)
        assert (found[0] == slope).all()
        assert not any(gradient.any() for gradient in found[1:])


def test_outputs_without_a_gradient_stay_so_where_there_are_steps() -> None:
    state = {"n": torch.zeros(2, 1, requires_grad=True)}
    ys, last = unroll(Count(), torch.zeros(3, 2, 1), state, lengths=[3, 0])
    assert not ys.requires_grad and last["n"].requires_grad


def test_no_step_at_all_and_nothing_to_differentiate_gives_no_gradient() -> None:
    ys, last = unroll(Count(), torch.zeros(0, 2, 1))
    assert not ys.requires_grad and not last["n"].requires_grad
    with torch.no_grad():
        assert not unroll(GRU(3, 5), torch.zeros(0, 2, 3))[0].requires_grad


def test_a_step_can_be_differentiated_twice() -> None:
    cell = LSTM(2, 2).double()
    xs = torch.randn(2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: unroll(cell, x, lengths=[2, 1])[0], xs)


def test_padding_marks_what_lies_behind_the_end() -> None:
    assert padding(torch.tensor([0, 2, 3]), 3).T.int().tolist() == [[1, 1, 1], [0, 0, 1], [0, 0, 0]]


# Errors.


class Returns(Cell):
    """A step that gives back what it is told."""

    def __init__(self, *results: Tensor) -> None:
        super().__init__(h=5)
        self.results = results[0] if len(results) == 1 else results

    def forward(self, x: Tensor, h: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.results


XS, H, C = torch.zeros(7, 2, 3), torch.zeros(2, 5), torch.zeros(2, 5)
WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "xs-1-dimension": (
        lambda: unroll(GRU(3, 5), torch.zeros(3)),
        "xs has shape (3,): expected (time, batch, features)",
    ),
    "lengths-shape": (
        lambda: unroll(GRU(3, 5), XS, lengths=[7, 7, 7]),
        "lengths has shape (3,) and type torch.int64: expected integers of shape (2,), one for "
        "each sequence",
    ),
    "lengths-float": (
        lambda: unroll(GRU(3, 5), XS, lengths=torch.tensor([1.0, 2.0])),
        "lengths has shape (2,) and type torch.float32: expected integers of shape (2,), one for "
        "each sequence",
    ),
    "lengths-bool": (
        lambda: unroll(GRU(3, 5), XS, lengths=torch.tensor([True, False])),
        "lengths has shape (2,) and type torch.bool: expected integers of shape (2,), one for "
        "each sequence",
    ),
    "lengths-too-long": (
        lambda: unroll(GRU(3, 5), XS, lengths=[7, 8]),
        "lengths holds 8: expected 0 to 7, the steps of the batch",
    ),
    "lengths-negative": (
        lambda: unroll(GRU(3, 5), XS, lengths=[-1, 7]),
        "lengths holds -1: expected 0 to 7, the steps of the batch",
    ),
    "resets-shape": (
        lambda: unroll(GRU(3, 5), XS, resets=torch.zeros(2, 7, dtype=torch.bool)),
        "resets has shape (2, 7) and type torch.bool: expected bool of shape (7, 2), (time, batch)",
    ),
    "resets-type": (
        lambda: unroll(GRU(3, 5), XS, resets=torch.zeros(7, 2)),
        "resets has shape (7, 2) and type torch.float32: expected bool of shape (7, 2), "
        "(time, batch)",
    ),
    "state-missing": (
        lambda: unroll(LSTM(3, 5), XS, {"h": H}),
        "LSTM has the states h, c: state holds h",
    ),
    "state-empty": (
        lambda: unroll(LSTM(3, 5), XS, {}),
        "LSTM has the states h, c: state holds none",
    ),
    "state-shape": (
        lambda: unroll(LSTM(3, 5), XS, {"h": H, "c": C[:1]}),
        "state 'c' has shape (1, 5): expected (2, 5), (batch, size)",
    ),
    "constants-of-torch": (
        lambda: unroll(nn.LSTMCell(3, 5), XS, constants={"memory": H}),
        "LSTMCell of torch.nn was given memory by name: it takes its states in their order and no "
        "constants; write a Cell whose forward reads them, or leave them out",
    ),
    "constants-of-torch-at-time-0": (
        lambda: unroll(nn.GRUCell(3, 5), XS[:0], constants={"memory": H}),
        "GRUCell of torch.nn was given memory by name: it takes its states in their order and no "
        "constants; write a Cell whose forward reads them, or leave them out",
    ),
    "step-no-tuple": (
        lambda: unroll(Returns(H), XS),
        "the step returned Tensor: expected a tuple of 2, the output and then each state",
    ),
    "step-too-many": (
        lambda: unroll(Returns(H, H, H), XS),
        "the step returned 3 values: expected a tuple of 2, the output and then each state",
    ),
    "step-state-shape": (
        lambda: unroll(Returns(H, H[:, :4]), XS),
        "the step turned state 0 of shape (2, 5) into (2, 4): a state keeps its shape",
    ),
    "step-output-batch": (
        lambda: unroll(Returns(H[:1], H), XS),
        "the step's output has shape (1, 5): expected (batch, ...) with a batch of 2",
    ),
    "step-at-time-0": (
        lambda: unroll(Returns(H), XS[:0]),
        "the step returned Tensor: expected a tuple of 2, the output and then each state",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_named(case: str) -> None:
    call, message = WRONG[case]
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        call()


def test_an_unknown_backend_is_named() -> None:
    with pytest.raises(
        BackendError, match="^there is no backend 'fast': choose one of auto, .*eager"
    ):
        unroll(nn.GRUCell(3, 5), XS, backend="fast")


@pytest.mark.parametrize("module", [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_a_cell_of_torch_is_unrolled_as_it_is(module: type[nn.RNNCellBase]) -> None:
    cell = module(3, 5)  # pyright: ignore[reportCallIssue]
    ys, last = unroll(cell, XS)
    assert torch.equal(ys[-1], last["h"])


@pytest.mark.parametrize("backend", ["eager", "llvm"])
def test_an_input_that_is_a_view_with_the_other_sign_is_read_as_what_it_is(backend: str) -> None:
    xs = torch.randn(5, 6, 1, dtype=torch.complex64).conj().imag
    assert xs.is_neg()
    cell = GRU(1, 4)
    ys, _ = unroll(cell, xs, backend=backend)
    torch.testing.assert_close(ys, unroll(cell, xs.resolve_neg(), backend="eager")[0])

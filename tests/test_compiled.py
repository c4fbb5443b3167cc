"""A compiled cell in PyTorch's world; that it computes what it should is in tests/compiler."""

import copy

import pytest
import torch
from torch import Tensor, nn

from unrolled import compiler
from unrolled.cell import Cell
from unrolled.compiled import CACHE
from unrolled.compiler import trace
from unrolled.errors import CaptureError
from unrolled.recurrence import unroll
from unrolled.zoo import GRU, LSTM


def run(cell: nn.Module, xs: Tensor, **given: object) -> Tensor:
    return unroll(cell, xs, backend="interpreter", **given)[0]  # pyright: ignore


def test_batch_and_time_are_no_part_of_what_is_compiled() -> None:
    cell = GRU(3, 7)
    run(cell, torch.zeros(2, 2, 3))
    before = len(CACHE.known)
    for time, batch in ((1, 1), (5, 1), (9, 4)):
        run(cell, torch.zeros(time, batch, 3))
    run(GRU(3, 7), torch.zeros(4, 2, 3))
    assert len(CACHE.known) == before


def test_it_can_be_differentiated_twice() -> None:
    cell = LSTM(2, 2).double()
    xs = torch.randn(2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: run(cell, x, lengths=[2, 1]), xs)
    assert torch.autograd.gradgradcheck(lambda x: run(cell, x, lengths=[2, 1]), xs)


@pytest.mark.parametrize("backend", ["interpreter", "llvm"])
@pytest.mark.parametrize("wrt", ["xs", "W", "U"])
def test_the_third_derivative_is_that_of_the_loop(backend: str, wrt: str) -> None:
    cell, xs = GRU(2, 3).double(), torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    leaf = {"xs": xs, "W": cell.W_z.weight, "U": cell.U_z.weight}[wrt]
    found = []
    for name in (backend, "eager"):
        slopes = [unroll(cell, xs, lengths=[3, 2], backend=name)[0]]
        for order in range(3):
            (slope,) = torch.autograd.grad(slopes[-1].square().sum(), leaf, create_graph=order < 2)
            slopes.append(slope)
        found.append([slope.detach() for slope in slopes])
    torch.testing.assert_close(*found)


def test_what_only_a_second_derivative_reads_is_made_for_it_and_not_kept() -> None:
    cell, xs = LSTM(2, 5), torch.randn(4, 3, 2, requires_grad=True)
    kept: list[tuple[int, ...]] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run(cell, xs)
    assert (4, 3, 5) in kept  # a state
    assert (4, 3, 20) not in kept  # what the gates get from the inputs
    (slopes,) = torch.autograd.grad(run(cell, xs).sum(), xs, create_graph=True)
    with torch.no_grad():
        xs.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(slopes.sum(), xs)


def test_an_input_may_change_before_the_backward_where_nothing_of_it_is_wanted() -> None:
    cell, xs = GRU(3, 5), torch.randn(4, 2, 3)
    for name, parameter in cell.named_parameters():
        parameter.requires_grad_(name.startswith("U"))
    expected = torch.autograd.grad(run(cell, xs).sum(), cell.U_n.weight)
    ys = run(cell, xs)
    xs.zero_()
    torch.testing.assert_close(torch.autograd.grad(ys.sum(), cell.U_n.weight), expected)


def test_frozen_parameters_get_no_gradient() -> None:
    cell = GRU(3, 5)
    cell.U_z.weight.requires_grad_(False)
    run(cell, torch.randn(4, 2, 3)).sum().backward()
    assert cell.U_z.weight.grad is None
    assert cell.U_r.weight.grad is not None


def test_tied_parameters_get_the_sum_of_their_gradients() -> None:
    cell = GRU(3, 5).double()
    cell.U_r.weight = cell.U_z.weight
    xs = torch.randn(4, 2, 3, dtype=torch.float64)
    found = torch.autograd.grad(run(cell, xs).sum(), cell.U_z.weight)
    expected = torch.autograd.grad(unroll(cell, xs, backend="eager")[0].sum(), cell.U_z.weight)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("first", ["tied", "apart"])
def test_tied_parameters_are_a_structure_of_their_own(first: str) -> None:
    tied, apart = LSTM(3, 4), LSTM(3, 4)
    tied.U_f.weight = tied.U_i.weight
    xs = torch.randn(4, 2, 3)
    for cell in (tied, apart) if first == "tied" else (apart, tied):
        torch.testing.assert_close(run(cell, xs), unroll(cell, xs, backend="eager")[0])


def test_parameters_may_be_lent_for_a_call() -> None:
    cell, other, xs = GRU(3, 5), GRU(3, 5), torch.randn(4, 2, 3)

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = cell

        def forward(self, xs: Tensor) -> Tensor:
            return run(self.cell, xs)

    lent = {f"cell.{name}": value * 1.0 for name, value in other.named_parameters()}
    found = torch.func.functional_call(Layer(), lent, (xs,))
    torch.testing.assert_close(found, run(other, xs))


def test_a_copy_runs_by_its_own_parameters() -> None:
    cell, xs = GRU(3, 5), torch.randn(4, 2, 3)
    copied = copy.deepcopy(cell)
    with torch.no_grad():
        copied.U_n.weight.zero_()
    assert not torch.equal(run(cell, xs), run(copied, xs))


def test_a_state_that_is_not_a_number_is_forgotten_by_a_reset() -> None:
    cell = GRU(3, 5)
    resets = torch.tensor([[True], [False]])
    state = {"h": torch.full((1, 5), torch.nan)}
    ys = run(cell, torch.ones(2, 1, 3), state=state, resets=resets)
    ys.sum().backward()
    torch.testing.assert_close(ys, run(cell, torch.ones(2, 1, 3)))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in cell.parameters())


@pytest.mark.parametrize(("time", "batch"), [(0, 2), (3, 0), (0, 0)])
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
def test_no_step_or_no_row_keeps_the_shapes(time: int, batch: int, ragged: bool) -> None:
    lengths = torch.zeros(batch, dtype=torch.long) if ragged else None
    state = {"h": torch.randn(batch, 5), "c": torch.randn(batch, 5)}
    ys, last, states = unroll(
        LSTM(3, 5),
        torch.zeros(time, batch, 3),
        state,
        lengths=lengths,
        return_states=True,
        backend="interpreter",
    )
    assert ys.shape == states["c"].shape == (time, batch, 5)
    assert time or torch.equal(last["c"], state["c"])


class Reads(Cell):
    def __init__(self) -> None:
        super().__init__(h=2)

    def forward(self, x: Tensor, h: Tensor, *, memory: Tensor) -> tuple[Tensor, Tensor]:
        h = h + memory.sum(1)
        return h, h


UNFIT = {
    "of integers": torch.ones(2, 4, 1, dtype=torch.long),
    "of another precision": torch.ones(2, 4, 1, dtype=torch.float64),
    "of other rows": torch.ones(3, 4, 1),
    "of no features": torch.ones(2, 0, 1),
    "of a number": torch.ones(()),
}


@pytest.mark.parametrize("memory", UNFIT.values(), ids=UNFIT)
def test_constants_that_no_program_reads_are_refused_by_name(memory: Tensor) -> None:
    with pytest.raises(CaptureError, match="^Reads cannot be captured: it reads the constant mem"):
        run(Reads(), torch.zeros(3, 2, 1), constants={"memory": memory})


def test_constants_of_ever_more_sizes_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "MANY_SIZES", 3)

    class Sums(Reads):
        def forward(self, x: Tensor, h: Tensor, *, memory: Tensor) -> tuple[Tensor, Tensor]:
            return super().forward(x, h + 1, memory=memory)

    def read(source: int) -> None:
        run(Sums(), torch.zeros(3, 2, 1), constants={"memory": torch.ones(2, source, 2)})

    for source in (1, 2, 3, 3, 2, 1):
        read(source)
    with pytest.warns(
        RuntimeWarning, match="^a cell has been compiled for 3 sizes of .* memory, w"
    ):
        read(4)
    read(5)


class Looks(Cell):
    """Attends to a memory by an additive score, with the keys made anew at every step."""

    def __init__(self) -> None:
        super().__init__(h=4)
        self.W, self.U, self.V = nn.Linear(3, 4), nn.Linear(6, 4), nn.Linear(6, 4, bias=False)

    def forward(
        self, x: Tensor, h: Tensor, *, memory: Tensor, visible: Tensor
    ) -> tuple[Tensor, Tensor]:
        scores = torch.tanh(h[:, None] + self.U(memory)).sum(-1)
        weights = scores.masked_fill(~visible, -1e9).softmax(-1)
        read = torch.bmm(weights[:, None], memory)[:, 0]
        h = torch.tanh(self.W(x) + self.V(read))
        return torch.cat([h, weights.sum(-1, keepdim=True)], -1), h


class Heads(Cell):
    """Two heads that look at a memory under a mask of fewer features, and a mask in pieces."""

    def __init__(self) -> None:
        super().__init__(h=4)

    def forward(
        self, x: Tensor, h: Tensor, *, memory: Tensor, visible: Tensor, row: Tensor
    ) -> tuple[Tensor, Tensor]:
        memory = memory.masked_fill(~visible[:, :, None], 0)
        scores = (h.unflatten(-1, (2, 2))[:, :, None] * memory[:, None]).sum(-1)
        weights = scores.masked_fill(~visible[:, None], -1e9).softmax(-1)
        read = (weights[..., None] * memory[:, None]).sum(2).flatten(1)
        some = visible[:, :1] & visible[:, 2:3] & row[:, None] | visible.any(-1, keepdim=True)
        h = torch.where(torch.cat([some, visible[:, 1:4]], -1), torch.tanh(x + read), h - read)
        return h, h


@pytest.mark.parametrize("backend", ["interpreter", "llvm"])
def test_a_mask_may_be_spread_cut_and_put_together(backend: str) -> None:
    xs, memory = torch.randn(6, 3, 4), torch.randn(3, 5, 2, requires_grad=True)
    visible = torch.rand(3, 5) > 0.4
    constants = {"memory": memory, "visible": visible, "row": visible[:, 0]}
    found = []
    for name in (backend, "eager"):
        ys, _ = unroll(Heads(), xs, constants=constants, backend=name)
        found.append((ys, *torch.autograd.grad(ys.square().sum(), memory)))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("size", [1, 4], ids=["of the batch 1", "of the features"])
@pytest.mark.filterwarnings("ignore:Divides cannot be captured")
def test_a_constant_that_is_no_row_by_chance_falls_back(size: int) -> None:
    class Divides(Cell):
        def __init__(self) -> None:
            super().__init__(h=4)

        def forward(self, x: Tensor, h: Tensor, *, by: Tensor) -> tuple[Tensor, Tensor]:
            h = torch.tanh((x + h) / by)
            return h, h

    xs, constants = torch.randn(3, size, 4), {"by": torch.rand(size) + 1}
    ys, wanted = (
        unroll(Divides(), xs, constants=constants, backend=b)[0] for b in ("auto", "eager")
    )
    assert torch.equal(ys, wanted)
    with pytest.raises(CaptureError, match="^Divides cannot be captured: torch says"):
        run(Divides(), xs, constants=constants)


@pytest.mark.filterwarnings("ignore:Beside cannot be captured")  # numbers that no loop reads
@pytest.mark.parametrize("dtype", [torch.long, torch.float32, torch.bool], ids=str)
def test_inputs_of_another_type_beside_the_state_are_not_taken_apart(dtype: torch.dtype) -> None:
    class Beside(Cell):
        def __init__(self) -> None:
            super().__init__(h=3)
            self.W = nn.Linear(5, 3)

        def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            h = torch.tanh(self.W(torch.cat([x, h], -1)))
            return h, h

    cell, xs = Beside().double(), torch.ones(4, 2, 2, dtype=dtype)
    ys, wanted = (unroll(cell, xs, backend=backend)[0] for backend in ("auto", "eager"))
    torch.testing.assert_close(ys, wanted)


def looking(backend: str, *given: Tensor, lengths: list[int] | None) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    cell, (xs, memory) = Looks().double(), given
    visible = torch.tensor([[True] * 5, [True, False, True, False, False]])
    constants = {"memory": memory, "visible": visible}
    ys, last = unroll(cell, xs, constants=constants, lengths=lengths, backend=backend)
    return ys, last["h"]


@pytest.mark.parametrize("backend", ["interpreter", "llvm"])
@pytest.mark.parametrize("lengths", [None, [4, 2]], ids=["full", "ragged"])
def test_a_memory_is_read_at_every_step(backend: str, lengths: list[int] | None) -> None:
    given = [
        torch.randn(*shape, dtype=torch.float64, requires_grad=True)
        for shape in ((4, 2, 3), (2, 5, 6))
    ]
    found = []
    for name in (backend, "eager"):
        made = looking(name, *given, lengths=lengths)
        total = torch.stack([value.square().sum() for value in made]).sum()
        first = torch.autograd.grad(total, given, create_graph=True)
        second = torch.autograd.grad(torch.stack([g.sin().sum() for g in first]).sum(), given)
        found.append([value.detach() for value in (*made, *first, *second)])
    torch.testing.assert_close(*found)


class Asks(Cell):
    """Reads a constant in the loop, before it, and after it."""

    def __init__(self) -> None:
        super().__init__(h=4)
        self.W, self.U, self.V = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(2, 4)

    def forward(self, x: Tensor, h: Tensor, *, scale: Tensor, topic: Tensor) -> tuple[Tensor, ...]:
        h = torch.tanh(self.W(x) + scale * self.U(h) + self.V(topic))
        return h * scale.sum(-1, keepdim=True), h


@pytest.mark.parametrize("backend", ["interpreter", "llvm"])
@pytest.mark.parametrize("lengths", [None, [4, 2]], ids=["full", "ragged"])
def test_constants_of_rows_are_part_of_the_program(backend: str, lengths: list[int] | None) -> None:
    cell, xs = Asks(), torch.randn(4, 2, 3)
    constants = {"scale": torch.randn(2, 4), "topic": torch.randn(2, 2)}
    leaves = [value.requires_grad_() for value in constants.values()] + list(cell.parameters())
    found = []
    for name in (backend, "eager"):
        ys, last = unroll(cell, xs, constants=constants, lengths=lengths, backend=name)
        found.append((ys, last, torch.autograd.grad(ys.sum() + last["h"].sum(), leaves)))
    torch.testing.assert_close(*found)


def test_a_changed_part_of_a_cell_is_seen() -> None:
    class Listed(Cell):
        def __init__(self) -> None:
            super().__init__(h=3)
            self.U, self.factors = nn.Linear(3, 3), [{"factor": 0.5}]

        def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            h = torch.tanh(x + self.factors[0]["factor"] * self.U(h))
            return h, h

    cell, xs = Listed(), torch.randn(4, 2, 3)
    changes = (
        lambda: None,
        lambda: cell.factors[0].update(factor=2.0),
        lambda: setattr(cell, "factors", [{"factor": 3.0}]),
        lambda: setattr(cell, "U", nn.Linear(3, 3, bias=False)),
        lambda: cell.U.weight.data.mul_(2),
        lambda: cell.double(),
        lambda: cell.U.register_forward_hook(lambda *given: given[-1] + 1),
    )
    for change in changes:
        run(cell, xs)
        change()
        xs = xs.to(cell.U.weight.dtype)
        torch.testing.assert_close(run(cell, xs), unroll(cell, xs, backend="eager")[0])


def test_a_layer_hidden_from_parameters_is_refused() -> None:
    cell = GRU(3, 5)
    cell.spare = [nn.Linear(3, 3)]  # pyright: ignore[reportArgumentType]
    with pytest.raises(CaptureError, match="an item of an nn.ModuleList"):
        run(cell, torch.zeros(3, 1, 3))


def test_what_is_kept_does_not_grow_with_the_sizes_of_batches() -> None:
    cell = LSTM(3, 4)
    compiled = CACHE.get(
        cell, trace(cell).structure, torch.zeros(2, 1, 3), [torch.zeros(1, 4)] * 2, {}
    )
    for batch in range(1, 60):
        run(cell, torch.zeros(2, batch, 3))
    assert len(compiled.made) < 20

"""A loop in segments gives what the whole loop gives, and keeps less."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from unrolled import Cell, segments, unroll
from unrolled.compiler import compile_cell
from unrolled.kernels import Kernels
from unrolled.segments import steps_of_segment
from unrolled.zoo import GLA, LSTM, SRU, DeltaNet, MatrixLSTM

Kind = Callable[[int, int], Cell]

STEPS = 11


class Reading(Cell):
    """A matrix that learns its decay and adds to itself what it is told by a constant."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(S=(hidden, inputs))
        self.decay = nn.Parameter(torch.rand(hidden))

    def forward(self, x: Tensor, S: Tensor, *, memory: Tensor) -> tuple[Tensor, Tensor]:
        S = self.decay[:, None] * S + memory[:, :, None] * x[:, None]
        return S.square().sum(-1), S


def results(
    cell: Cell, backend: str, *, reverse: bool, ragged: bool, resets: bool = False
) -> tuple[Tensor | None, ...]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        drawn = torch.randn(*shape, dtype=torch.float64, generator=generator)
        return drawn.requires_grad_()

    xs = draw(STEPS, 4, 3)
    state = {name: draw(4, *value.shape[1:]) for name, value in cell.initial_state(4).items()}
    constants = {"memory": draw(4, 5)} if isinstance(cell, Reading) else {}
    ys, last = unroll(
        cell,
        xs,
        state,
        lengths=torch.tensor([11, 3, 1, 7]) if ragged else None,
        resets=torch.rand(STEPS, 4, generator=generator) < 0.3 if resets else None,
        constants=constants,
        reverse=reverse,
        backend=backend,
    )
    total = ys.sin().sum() + sum(value.cos().sum() for value in last.values())
    wanted = [xs, *state.values(), *constants.values(), *cell.parameters()]
    return ys, *last.values(), *torch.autograd.grad(total, wanted, allow_unused=True)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let every loop without products run in segments; give the steps of each that did."""
    found: list[int] = []
    run = segments.differentiable_in_segments

    def watched(*arguments: object) -> tuple[Tensor, ...]:
        found.append(arguments[4])  # pyright: ignore[reportArgumentType]
        return run(*arguments)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(segments, "LARGE", 0)
    monkeypatch.setattr("unrolled.loop.differentiable_in_segments", watched)
    return found


@pytest.mark.parametrize("resets", [False, True], ids=["", "resets"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("kind", [GLA, DeltaNet, MatrixLSTM, SRU, Reading])
def test_segments_give_what_the_whole_loop_gives(
    kind: Kind, ragged: bool, reverse: bool, resets: bool, runs: list[int]
) -> None:
    cell = kind(3, 5).double()
    found = results(cell, "llvm", ragged=ragged, reverse=reverse, resets=resets)
    assert len(runs) == 1
    assert 0 < runs[0] < STEPS
    wanted = results(cell, "eager", ragged=ragged, reverse=reverse, resets=resets)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_segments_can_be_differentiated_twice(runs: list[int]) -> None:
    cell = GLA(2, 2, rank=1).double()
    xs = torch.randn(5, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda xs: unroll(cell, xs, backend="llvm")[0], xs)
    assert runs


def test_a_gradient_that_nobody_asks_for_is_not_made(runs: list[int]) -> None:
    cell = GLA(3, 4)
    xs = torch.randn(6, 2, 3)
    cell.W_q.weight.requires_grad_(False)
    unroll(cell, xs, backend="llvm")[0].sum().backward()
    assert runs
    assert cell.W_q.weight.grad is None
    assert cell.W_k.weight.grad is not None


def test_only_the_states_before_segments_are_kept(runs: list[int]) -> None:
    cell = GLA(3, 32)
    xs = torch.randn(64, 2, 3, requires_grad=True)

    def kept() -> int:
        sizes: dict[int, int] = {}

        def pack(x: Tensor) -> Tensor:
            sizes[x.data_ptr()] = x.numel()
            return x

        with saved_tensors_hooks(pack, lambda x: x):
            unroll(cell, xs, backend="llvm")
        return sum(sizes.values())

    matrix = 2 * 32 * 32
    assert 8 * matrix < kept() < 24 * matrix
    assert runs == [7]
    segments.LARGE = 1 << 40
    assert kept() > 64 * matrix


@pytest.mark.parametrize(
    ("kind", "steps"), [(GLA, 9), (SRU, 7), (LSTM, 100)], ids=["states", "gates", "products"]
)
def test_a_segment_has_the_steps_that_take_the_least_memory(
    kind: Kind, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = compile_cell(kind(3, 16), torch.zeros(2, 3))
    kernels = Kernels(*compiled.program(resets=False, states=False), "llvm")
    given = [torch.zeros(2, 1) for _ in kernels.programs["forward"].given]
    assert steps_of_segment(kernels, 100, given) == 100
    monkeypatch.setattr(segments, "LARGE", 0)
    assert steps_of_segment(kernels, 100, given) == steps

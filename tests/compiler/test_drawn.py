"""Steps that draw random numbers: all of them are drawn before the loop, anew for every call."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from unrolled.cell import Cell
from unrolled.compiler.capture import capture
from unrolled.compiler.parts import drawn as parts
from unrolled.recurrence import unroll

Draw = Callable[[Tensor], Tensor]


class Noisy(Cell):
    """A step in which something is drawn."""

    def __init__(self, change: Draw) -> None:
        super().__init__(h=6)
        self.W, self.U, self.change = nn.Linear(4, 6), nn.Linear(6, 6), change

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(self.W(x) + self.U(self.change(h)))
        return h, h


def concrete(h: Tensor) -> Tensor:
    """Relaxed choices, after Maddison, Mnih and Teh 2017."""
    return h * functional.gumbel_softmax(h, tau=0.7)


def kept(h: Tensor) -> Tensor:
    mask = h.new_empty(h.shape).bernoulli_(0.75)
    return h * mask / 0.75


DRAWN: dict[str, Draw] = {
    "dropout": lambda h: functional.dropout(h, 0.3),
    "dropout-of-nothing": lambda h: functional.dropout(h, 0.0),
    "dropout-of-all": lambda h: functional.dropout(h, 1.0),
    "dropout-of-features": lambda h: functional.dropout1d(h.unflatten(1, (2, 3)), 0.4).flatten(1),
    "rand": lambda h: h * torch.rand(h.shape[0], 6, dtype=h.dtype),
    "rand_like": lambda h: h - torch.rand_like(h),
    "randn_like": lambda h: h + 0.1 * torch.randn_like(h),
    "normal": lambda h: torch.normal(h, 0.2),
    "normal-of-some-width": lambda h: h + torch.normal(0.1, h.sigmoid()),
    "normal-of-both": lambda h: torch.normal(h, h.sigmoid()),
    "uniform_": lambda h: h + torch.empty_like(h).uniform_(-0.2, 0.3),
    "normal_": lambda h: h + torch.empty_like(h).normal_(0.1, 0.2),
    "exponential_": lambda h: h + torch.empty_like(h).exponential_(3.0),
    "bernoulli": lambda h: h * torch.bernoulli(h.sigmoid()),
    "bernoulli-of-a-number": lambda h: h * torch.bernoulli(h, 0.7),
    "bernoulli_": kept,
    "bernoulli_-of-each": lambda h: h * torch.empty_like(h).bernoulli_(h.sigmoid()),
    "gumbel_softmax": concrete,
}


def run(cell: Cell, xs: Tensor, backend: str) -> tuple[Tensor, ...]:
    torch.manual_seed(3)
    ys, _ = unroll(cell, xs, backend=backend, lengths=[5, 2, 0, 4])
    slopes = torch.autograd.grad(ys.sin().sum(), [xs, *cell.parameters()], create_graph=True)
    total = torch.stack([slope.square().sum() for slope in slopes]).sum()
    return ys, *slopes, *torch.autograd.grad(total, [xs, *cell.parameters()])


@pytest.mark.parametrize("name", DRAWN)
def test_what_is_drawn_is_the_same_for_forward_backward_and_its_backward(name: str) -> None:
    cell = Noisy(DRAWN[name]).double()
    xs = torch.randn(5, 4, 4, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(run(cell, xs, "llvm"), run(cell, xs, "interpreter"))


def test_every_row_is_tried(used_rows: set[object]) -> None:
    for name in DRAWN:
        capture(Noisy(DRAWN[name]), torch.zeros(2, 4))
    assert {*parts.DRAWN} - used_rows == set()


def test_it_has_the_distribution_that_it_has_in_a_loop() -> None:
    class Count(Cell):
        def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            h = h + functional.dropout(x, 0.2)
            return h, h

    xs = torch.ones(50, 40, 8)
    for backend in ("llvm", "eager"):
        ys, _ = unroll(Count(h=8), xs, backend=backend)
        steps = torch.diff(ys, dim=0)
        chosen = (steps > 0.5).double()
        torch.testing.assert_close(steps, torch.where(steps > 0.5, 1.25, 0.0), atol=1e-5, rtol=0)
        assert abs(chosen.mean() - 0.8) < 0.02  # four standard deviations are 0.013
        for dim in range(3):  # drawn anew for every step, sequence and feature
            others = chosen.movedim(dim, 0)
            both = (others[1:] * others[:-1]).mean()
            assert abs(both - 0.64) < 0.03


def test_every_call_draws_anew_and_a_seed_repeats_it() -> None:
    cell, xs, ys = Noisy(DRAWN["dropout"]), torch.randn(5, 4, 4), []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        ys.append(unroll(cell, xs, backend="llvm")[0])
    assert torch.equal(ys[0], ys[2])
    assert not torch.equal(ys[0], ys[1])


@pytest.mark.parametrize("name", ["rand_like", "poisson"])
@pytest.mark.filterwarnings("ignore:Noisy cannot be captured")
def test_capturing_draws_nothing_from_the_generator(name: str) -> None:
    changes = DRAWN | {"poisson": lambda h: torch.poisson(h.abs())}  # which is refused
    cell, xs = Noisy(changes[name]), torch.zeros(3, 2, 4)
    found = []
    for _ in range(2):  # the first call captures
        torch.manual_seed(0)
        unroll(cell, xs)
        found.append(torch.rand(1))
    assert torch.equal(*found)

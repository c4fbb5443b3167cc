"""Steps with a `torch.autograd.Function` of their own: captured with its gradient, or refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from unrolled.cell import Cell
from unrolled.compiler.capture import capture
from unrolled.errors import CaptureError
from unrolled.recurrence import unroll

Context = Any


class Spike(Function):
    """A step function with the derivative of a fast sigmoid."""

    @staticmethod
    def forward(ctx: Context, v: Tensor) -> Tensor:  # pyright: ignore
        ctx.save_for_backward(v)
        return (v > 0).to(v.dtype)

    @staticmethod
    def backward(ctx: Context, gradient: Tensor) -> Tensor:  # pyright: ignore
        (v,) = ctx.saved_tensors
        return gradient / (1 + 10 * v.abs()) ** 2


class Rectangle(Function):
    """The same with a window, set up apart, and written in place."""

    @staticmethod
    def forward(v: Tensor, width: float) -> Tensor:  # pyright: ignore
        return (v > 0).to(v.dtype)

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.width = inputs[1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore
        (v,) = ctx.saved_tensors
        made = gradient.clone()
        made[v.abs() > ctx.width] = 0
        return made, None


class Turned(Function):
    """Nothing on the way there, minus a half on the way back."""

    @staticmethod
    def forward(ctx: Context, x: Tensor) -> Tensor:  # pyright: ignore
        return x

    @staticmethod
    def backward(ctx: Context, gradient: Tensor) -> Tensor:  # pyright: ignore
        return -0.5 * gradient


class Pair(Function):
    """Two results of two values; one result has no gradient."""

    @staticmethod
    def forward(ctx: Context, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # pyright: ignore
        still = a.sign()
        ctx.save_for_backward(a, b)
        ctx.mark_non_differentiable(still)
        return a * b, torch.floor(a - b), still

    @staticmethod
    def backward(ctx: Context, one: Tensor, two: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore
        a, b = ctx.saved_tensors
        return one * b + two, one * a - two * b


class Clip(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor) -> Tensor:  # pyright: ignore
        return x.clone()

    @staticmethod
    def backward(ctx: Context, gradient: Tensor) -> Tensor:  # pyright: ignore
        return gradient.clamp(-1, 1)


class Window(Function):
    """A clipped gradient, and none at all far away."""

    @staticmethod
    def forward(ctx: Context, v: Tensor) -> Tensor:  # pyright: ignore
        ctx.save_for_backward(v)
        return (v > 0).to(v.dtype)

    @staticmethod
    def backward(ctx: Context, gradient: Tensor) -> Tensor:  # pyright: ignore
        (v,) = ctx.saved_tensors
        return gradient.clamp(-1, 1) * (v.abs() < 5)


class Tanh(Function):
    """Saves what it gives, and has a default."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, scale: float = 1.0) -> Tensor:  # pyright: ignore
        y = torch.tanh(x * scale)
        ctx.save_for_backward(y)
        ctx.scale = scale
        return y

    @staticmethod
    def backward(ctx: Context, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore
        (y,) = ctx.saved_tensors
        return gradient * (1 - y * y) * ctx.scale, None


class Map(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, weight: Tensor) -> Tensor:  # pyright: ignore
        ctx.save_for_backward(x, weight)
        return x @ weight.sign().T

    @staticmethod
    def backward(ctx: Context, gradient: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore
        x, weight = ctx.saved_tensors
        return gradient @ weight.sign(), gradient.T @ x


class Neuron(Cell):
    """Leaky integrate and fire, with a function chosen by name."""

    def __init__(self, fire: Callable[[Tensor], Tensor]) -> None:
        super().__init__(v=4, z=4)
        self.W, self.R = nn.Linear(3, 4), nn.Linear(4, 4, bias=False)
        self.fire = fire

    def forward(self, x: Tensor, v: Tensor, z: Tensor) -> tuple[Tensor, ...]:
        v = 0.9 * v * (1 - z) + self.W(x) + self.R(z)
        z = self.fire(v - 0.1)
        return z, v, z


def _both(v: Tensor) -> Tensor:
    one, two, still = Pair.apply(v.tanh(), v.sin() + 0.3)
    return one.tanh() + two + still


def _aside(v: Tensor) -> Tensor:
    with torch.no_grad():
        gate = Spike.apply(v)
    return gate * v


BOUND = Spike.apply  # as libraries keep it
SCALING: dict[str, Callable[[Tensor], Tensor]] = {
    "fast-sigmoid": Spike.apply,
    "bound-before": lambda v: BOUND(v),
    "window": lambda v: Rectangle.apply(v, 0.5),
    "turned": lambda v: Turned.apply(v).tanh(),
    "two-of-two": _both,
    "one-behind-the-other": lambda v: Spike.apply(Spike.apply(v) * v - 0.2),
    "without-gradients": _aside,
    "saves-its-result": lambda v: Tanh.apply(Tanh.apply(v), 0.5),
}


def gradients(cell: Cell, xs: Tensor, backend: str) -> tuple[Tensor, ...]:
    ys, last = unroll(cell, xs, backend=backend)
    weights = torch.linspace(-1, 1, ys.shape[-1], dtype=ys.dtype)
    total = (ys * weights).sum() + last["v"].square().sum()
    return ys, *torch.autograd.grad(total, [xs, *cell.parameters()], allow_unused=True)


@pytest.mark.parametrize("backend", ["interpreter", "llvm"])
@pytest.mark.parametrize("name", SCALING)
def test_a_function_that_scales_has_its_gradient_in_the_loop(name: str, backend: str) -> None:
    cell = Neuron(SCALING[name]).double()
    xs = torch.randn(6, 5, 3, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(gradients(cell, xs, backend), gradients(cell, xs, "eager"))


@pytest.mark.parametrize("fire", [Spike.apply, Tanh.apply], ids=["spike", "saves-its-result"])
@pytest.mark.parametrize("backend", ["interpreter", "llvm"])
def test_its_gradient_has_a_gradient(backend: str, fire: Callable[[Tensor], Tensor]) -> None:
    cell = Neuron(fire).double()
    xs = torch.randn(4, 5, 3, dtype=torch.float64, requires_grad=True)
    found = []
    for way in (backend, "eager"):
        ys, _ = unroll(cell, xs, backend=way)
        (slope,) = torch.autograd.grad(ys.sum(), xs, create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), [xs, *cell.parameters()]))
    torch.testing.assert_close(*found)


def test_infinity_and_nan_pass() -> None:
    cell = Neuron(lambda v: Turned.apply(v))
    xs = torch.zeros(2, 3, 3)
    xs[0, 0], xs[0, 1] = torch.inf, torch.nan
    found, expected = (unroll(cell, xs, backend=b)[0] for b in ("llvm", "eager"))
    torch.testing.assert_close(found, expected, equal_nan=True)


class Weighs(Neuron):
    def __init__(self) -> None:
        super().__init__(torch.tanh)
        self.M = nn.Parameter(torch.randn(4, 4))

    def forward(self, x: Tensor, v: Tensor, z: Tensor) -> tuple[Tensor, ...]:
        return super().forward(x, v, Map.apply(z, self.M))


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        (Neuron(Clip.apply), "Clip"),
        (Weighs(), "Map"),
        (Neuron(lambda v: Window.apply(v - 15.0)), "Window"),  # nothing near the state
    ],
    ids=["clip", "map", "far"],
)
def test_a_function_that_does_more_is_refused(cell: Cell, name: str) -> None:
    with pytest.raises(CaptureError, match=f"the backward of {name} does more than scale"):
        capture(cell, torch.zeros(2, 3))


def test_functions_are_left_as_they_were() -> None:
    v = torch.tensor([-0.1, 0.2], requires_grad=True)
    cell, before = Neuron(Spike.apply), torch.random.get_rng_state()
    capture(cell, torch.zeros(2, 3))
    assert torch.equal(torch.random.get_rng_state(), before)
    Spike.apply(v).sum().backward()
    torch.testing.assert_close(v.grad, 1 / (1 + 10 * v.detach().abs()) ** 2)
    assert "apply" not in vars(torch.autograd.function._SingleLevelFunction)

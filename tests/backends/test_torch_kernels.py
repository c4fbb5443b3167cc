"""The torch backend leaves what is not quite torch's recurrence to the loop."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from unrolled import unroll, zoo


class Counted(nn.Module):
    """A parametrization that is another at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, weight: Tensor) -> Tensor:
        self.calls += 1
        return weight * self.calls


class Doubled(nn.Linear):
    """Not the map by its weight."""

    def __call__(self, x: Tensor) -> Tensor:
        return 2 * super().__call__(x)


def count(cell: zoo.Elman) -> None:
    parametrize.register_parametrization(cell.U, "weight", Counted())


def double(cell: zoo.Elman) -> None:
    cell.U.__class__ = Doubled


def hook(cell: zoo.Elman) -> None:
    def twice(module: nn.Module, given: object, y: Tensor) -> Tensor:
        return 2 * y

    cell.U.register_forward_hook(twice)


def replace(cell: zoo.Elman) -> None:
    cell.U.forward = lambda input: nn.Linear.forward(cell.U, input + input)


@pytest.mark.parametrize("alter", [count, double, hook, replace])
def test_a_map_that_is_altered_acts_at_every_step(alter: Callable[[zoo.Elman], None]) -> None:
    xs, results = torch.randn(5, 2, 3), []
    for backend in ("torch", "eager"):
        torch.manual_seed(0)
        cell = zoo.Elman(3, 4)
        plain = unroll(cell, xs, backend="eager")[0]
        alter(cell)
        results.append(unroll(cell, xs, backend=backend)[0])
        assert not torch.allclose(results[-1], plain)
    assert torch.equal(*results)

"""The recurrence that mean-field theory speaks of: one square matrix and an activation."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn, relu, sigmoid, tanh

from unrolled.cell import Cell
from unrolled.inspect.recording import Recurrence, record
from unrolled.inspect.through_time import gradients
from unrolled.recurrence import unroll


def identity(u: Tensor) -> Tensor:
    """Give what comes."""
    return u


ACTIVATIONS = {"linear": identity, "relu": relu, "tanh": tanh, "sigmoid": sigmoid}


class Plain(Cell):
    """A recurrence without biases, its input added as it is.

        h' = act(U h + x)

    x and h, which is also the output, (batch, hidden); act is linear, relu, tanh or sigmoid. The
    weights are drawn from a normal distribution of variance `variance` / hidden.

    Example:
        >>> Plain(5, "relu", variance=2.0).states
        {'h': (5,)}
    """

    def __init__(self, hidden: int, activation: str, variance: float) -> None:
        super().__init__(h=hidden)
        self.U = nn.Linear(hidden, hidden, bias=False)
        nn.init.normal_(self.U.weight, std=(variance / hidden) ** 0.5)
        self.activation, self.act = activation, ACTIVATIONS[activation]

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Take a step."""
        h = self.act(self.U(h) + x)
        return h, h


@dataclass(frozen=True)
class Followed:
    """A recurrence that ran, and how large its state and the last state's gradient were."""

    recurrence: Recurrence
    state: Tensor  # (time,) geometric mean over rows of the state's norm
    gradient: Tensor  # (time,) and of the norm of a last output's gradient by the state


def follow(
    cell: Cell, xs: Tensor, first: Tensor, *, gates: bool = False, backend: str = "auto"
) -> Followed:
    """Run a cell from a first state, and follow the gradient of its last output back.

    Args:
        cell: with the single state h.
        xs: (time, batch, inputs).
        first: the state before the first step, (batch, hidden).
        gates: whether to measure the activations too.
        backend: as in `unroll`.
    """
    seen = record(
        lambda: unroll(cell, xs, {"h": first}, backend=backend)[0], cell, measure_gates=gates
    )
    last = seen.result[-1]
    (found,) = gradients(seen, (last * torch.randn_like(last)).sum())
    (recurrence,) = seen.recurrences
    norms = recurrence.activation_norms()["h"], found.norms["h"]
    return Followed(recurrence, *(n.double().log().mean(1).exp() for n in norms))


def per_step(norms: Tensor) -> float:
    """Give the factor by which norms grow in a step, from the first to the last.

    Example:
        >>> per_step(torch.tensor([1.0, 2.0, 4.0]))
        2.0
    """
    return float((norms[-1] / norms[0]) ** (1 / (len(norms) - 1)))

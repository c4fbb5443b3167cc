"""Cells whose neurons read only their own state, and one that learns to read the others'."""

from typing import Literal

import torch
from torch import Tensor, sigmoid, tanh
from torch.nn import Linear, Parameter

from unrolled.cell import Cell
from unrolled.zoo.elman import ACTIVATIONS
from unrolled.zoo.initial import start


class IndRNN(Cell):
    """Independently recurrent network: each neuron sees its own past only.

        h' = act(W x + b + u * h)

    x (batch, inputs); h, which is also the output, (batch, hidden); act is relu or tanh.
    Li et al. 2018, arXiv:1803.04831. Departs from the paper in: nothing; u starts in [0, 1], and is
    left to the optimiser, where the paper clips it to 2^(1/T) for sequences of T steps.

    Example:
        >>> IndRNN(3, 5).u.shape
        torch.Size([5])
    """

    def __init__(
        self, inputs: int, hidden: int, *, activation: Literal["relu", "tanh"] = "relu"
    ) -> None:
        super().__init__(h=hidden)
        self.W, self.u = Linear(inputs, hidden), Parameter(torch.rand(hidden))
        self.act = ACTIVATIONS[activation]
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.act(self.W(x) + self.u * h)
        return h, h


class BRC(Cell):
    """Bistable recurrent cell: a neuron whose feedback a exceeds 1 holds its state for ever.

        a  = 1 + tanh(W_a x + b_a + u_a * h)
        c  = sigmoid(W_c x + b_c + u_c * h)
        h' = c * h + (1 - c) * tanh(W_n x + a * h)

    x (batch, inputs); h, which is also the output, (batch, hidden).
    Vecoven, Ernst & Drion 2021, doi:10.1371/journal.pone.0252676, arXiv:2006.05252. Departs from
    the paper in: the biases of a and c, which the authors' code has; u_a and u_c start at 1, as
    there.

    Example:
        >>> BRC(3, 5).states
        {'h': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W_a, self.u_a = Linear(inputs, hidden), Parameter(torch.ones(hidden))
        self.W_c, self.u_c = Linear(inputs, hidden), Parameter(torch.ones(hidden))
        self.W_n = Linear(inputs, hidden, bias=False)
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        a = 1 + tanh(self.W_a(x) + self.u_a * h)
        c = sigmoid(self.W_c(x) + self.u_c * h)
        h = c * h + (1 - c) * tanh(self.W_n(x) + a * h)
        return h, h


class NBRC(Cell):
    """Neuromodulated bistable cell: the others' states set how a neuron holds its own.

        a  = 1 + tanh(W_a x + b_a + U_a h)
        c  = sigmoid(W_c x + b_c + U_c h)
        h' = c * h + (1 - c) * tanh(W_n x + a * h)

    x (batch, inputs); h, which is also the output, (batch, hidden).
    Vecoven, Ernst & Drion 2021, doi:10.1371/journal.pone.0252676, arXiv:2006.05252. Departs from
    the paper in: the biases of a and c, which the authors' code has.

    Example:
        >>> NBRC(3, 5).states
        {'h': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W_a, self.U_a = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        self.W_c, self.U_c = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        self.W_n = Linear(inputs, hidden, bias=False)
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        a = 1 + tanh(self.W_a(x) + self.U_a(h))
        c = sigmoid(self.W_c(x) + self.U_c(h))
        h = c * h + (1 - c) * tanh(self.W_n(x) + a * h)
        return h, h

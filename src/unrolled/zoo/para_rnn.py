"""Gated cells with diagonal recurrent matrices, which Newton's method solves for all steps."""

import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.nn import Linear

from unrolled.cell import Cell
from unrolled.zoo.initial import start


class ParaGRU(Cell):
    """Gated recurrent unit whose recurrent matrices are diagonal.

        z  = sigmoid(W_z x + b_z + a_z * h)
        r  = sigmoid(W_r x + b_r + a_r * h)
        n  = tanh(W_n x + b_n + a_n * r * h)
        h' = (1 - z) * h + z * n

    x (batch, inputs); h, which is also the output, (batch, hidden).
    Danieli et al. 2025, arXiv:2510.21450 (equations 3.1a and 3.3). Departs from the paper in: the
    vectors a are not clipped while training.

    Example:
        >>> ParaGRU(3, 5).states
        {'h': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W_z, self.a_z = Linear(inputs, hidden), _diagonal(hidden)
        self.W_r, self.a_r = Linear(inputs, hidden), _diagonal(hidden)
        self.W_n, self.a_n = Linear(inputs, hidden), _diagonal(hidden)
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        z = sigmoid(self.W_z(x) + self.a_z * h)
        r = sigmoid(self.W_r(x) + self.a_r * h)
        n = tanh(self.W_n(x) + self.a_n * r * h)
        h = (1 - z) * h + z * n
        return h, h


class ParaLSTM(Cell):
    """Long short-term memory with peepholes and coupled gates, its recurrent matrices diagonal.

        f  = sigmoid(W_f x + b_f + a_f * h + c_f * c)
        n  = tanh(W_n x + b_n + a_n * h)
        c' = f * c + (1 - f) * n
        o  = sigmoid(W_o x + b_o + a_o * h + c_o * c')
        h' = o * tanh(c')

    x (batch, inputs); h, which is also the output, and c (batch, hidden).
    Danieli et al. 2025, arXiv:2510.21450 (equations 3.1b and 3.3). Departs from the paper in: the
    vectors a and c_f, c_o are not clipped while training.

    Example:
        >>> ParaLSTM(3, 5).states
        {'h': (5,), 'c': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden, c=hidden)
        self.W_f, self.a_f, self.c_f = Linear(inputs, hidden), _diagonal(hidden), _diagonal(hidden)
        self.W_n, self.a_n = Linear(inputs, hidden), _diagonal(hidden)
        self.W_o, self.a_o, self.c_o = Linear(inputs, hidden), _diagonal(hidden), _diagonal(hidden)
        start(self)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        f = sigmoid(self.W_f(x) + self.a_f * h + self.c_f * c)
        n = tanh(self.W_n(x) + self.a_n * h)
        c = f * c + (1 - f) * n
        o = sigmoid(self.W_o(x) + self.a_o * h + self.c_o * c)
        h = o * tanh(c)
        return h, h, c


def _diagonal(hidden: int) -> nn.Parameter:
    """Make the diagonal of a matrix that a normal distribution filled as Xavier's rule says."""
    return nn.Parameter(torch.randn(hidden) * hidden**-0.5)

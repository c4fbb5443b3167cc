"""Cells whose matrices read the input only: the quasi-recurrent network and the SRU."""

import math

import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.nn import Linear

from unrolled.cell import Cell
from unrolled.zoo.initial import start


class QRNN(Cell):
    """Quasi-recurrent network: a convolution over two steps, pooled with forget and output gates.

        z   = tanh(W_z x + b_z + p_z)
        f   = sigmoid(W_f x + b_f + p_f)
        o   = sigmoid(W_o x + b_o + p_o)
        c'  = f * c + (1 - f) * z
        p_z' = V_z x
        p_f' = V_f x
        p_o' = V_o x
        y   = o * c'

    x (batch, inputs); c and y (batch, hidden); p_z, p_f and p_o (batch, hidden): what the input of
    the step before gives to the convolution, 0 before the first step.
    Bradbury et al. 2017, arXiv:1611.01576 (fo-pooling, width 2). Departs from the paper in: the
    biases.

    Example:
        >>> QRNN(3, 5).states
        {'c': (5,), 'p_z': (5,), 'p_f': (5,), 'p_o': (5,)}
    """

    def __init__(self, inputs: int, hidden: int, *, bias: bool = True) -> None:
        super().__init__(c=hidden, p_z=hidden, p_f=hidden, p_o=hidden)
        self.W_z, self.V_z = Linear(inputs, hidden, bias), Linear(inputs, hidden, bias=False)
        self.W_f, self.V_f = Linear(inputs, hidden, bias), Linear(inputs, hidden, bias=False)
        self.W_o, self.V_o = Linear(inputs, hidden, bias), Linear(inputs, hidden, bias=False)
        start(self)

    def forward(
        self, x: Tensor, c: Tensor, p_z: Tensor, p_f: Tensor, p_o: Tensor
    ) -> tuple[Tensor, ...]:
        z = tanh(self.W_z(x) + p_z)
        f = sigmoid(self.W_f(x) + p_f)
        o = sigmoid(self.W_o(x) + p_o)
        c = f * c + (1 - f) * z
        return o * c, c, self.V_z(x), self.V_f(x), self.V_o(x)


class SRU2017(Cell):
    """Simple recurrent unit as first published: the gates do not see the state.

        f  = sigmoid(W_f x + b_f)
        r  = sigmoid(W_r x + b_r)
        c' = f * c + (1 - f) * W x
        y  = r * tanh(c') + (1 - r) * skip(x)

    x (batch, inputs); c and y (batch, hidden); skip is a matrix, or nothing if inputs = hidden.
    Lei, Zhang & Artzi 2017, arXiv:1709.02755v1. Departs from the paper in: nothing; the matrix
    before the highway connection, where sizes differ, is that of the authors' code.

    Example:
        >>> SRU2017(3, 5).states
        {'c': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(c=hidden)
        self.W = Linear(inputs, hidden, bias=False)
        self.W_f, self.W_r = Linear(inputs, hidden), Linear(inputs, hidden)
        self.skip = _skip(inputs, hidden)
        start(self)

    def forward(self, x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        f = sigmoid(self.W_f(x))
        r = sigmoid(self.W_r(x))
        c = f * c + (1 - f) * self.W(x)
        return r * tanh(c) + (1 - r) * self.skip(x), c


class SRU(Cell):
    """Simple recurrent unit whose gates see their own place of the state.

        f  = sigmoid(W_f x + b_f + v_f * c)
        r  = sigmoid(W_r x + b_r + v_r * c)
        c' = f * c + (1 - f) * W x
        y  = r * c' + (1 - r) * scale * skip(x)

    x (batch, inputs); c and y (batch, hidden); skip is a matrix, or nothing if inputs = hidden;
    scale is sqrt(3), which keeps the variance of the highway connection while r starts at 1/2.
    Lei et al. 2018, arXiv:1709.02755 (from its third version). Departs from the paper in: nothing;
    the start of v and the matrix before the highway connection are those of the authors' code.

    Example:
        >>> SRU(3, 5).states
        {'c': (5,)}
    """

    scale = math.sqrt(3)

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(c=hidden)
        self.W = Linear(inputs, hidden, bias=False)
        self.W_f, self.v_f = Linear(inputs, hidden), nn.Parameter(torch.empty(hidden))
        self.W_r, self.v_r = Linear(inputs, hidden), nn.Parameter(torch.empty(hidden))
        self.skip = _skip(inputs, hidden)
        start(self)
        limit = math.sqrt(3 / inputs)  # variance 1 / inputs
        for matrix in (self.W, self.W_f, self.W_r, self.skip):
            if isinstance(matrix, Linear):
                nn.init.uniform_(matrix.weight, -limit, limit)
        for vector in (self.v_f, self.v_r):
            nn.init.uniform_(vector, -math.sqrt(1.5), math.sqrt(1.5))

    def forward(self, x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        f = sigmoid(self.W_f(x) + self.v_f * c)
        r = sigmoid(self.W_r(x) + self.v_r * c)
        c = f * c + (1 - f) * self.W(x)
        return r * c + (1 - r) * self.scale * self.skip(x), c


def _skip(inputs: int, hidden: int) -> nn.Module:
    return nn.Identity() if inputs == hidden else Linear(inputs, hidden, bias=False)

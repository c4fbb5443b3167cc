"""Strongly typed networks: no matrix ever multiplies a state, so each keeps the units it has."""

from torch import Tensor, sigmoid, tanh
from torch.nn import Linear

from unrolled.cell import Cell
from unrolled.zoo.initial import start


class TRNN(Cell):
    """Strongly typed RNN: a running mean of what the input is made into.

        z  = W_z x
        f  = sigmoid(W_f x + b_f)
        h' = f * h + (1 - f) * z

    x (batch, inputs); h, which is also the output, (batch, hidden).
    Balduzzi & Ghifary 2016, arXiv:1602.02218. Departs from the paper in: nothing.

    Example:
        >>> TRNN(3, 5).states
        {'h': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W_z, self.W_f = Linear(inputs, hidden, bias=False), Linear(inputs, hidden)
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        f = sigmoid(self.W_f(x))
        h = f * h + (1 - f) * self.W_z(x)
        return h, h


class TGRU(Cell):
    """Strongly typed GRU: gates over this input and the one before.

        z  = W_z x + b_z + V_z p
        f  = sigmoid(W_f x + b_f + V_f p)
        o  = tanh(W_o x + b_o + V_o p)
        h' = f * h + z * o
        p' = x

    x (batch, inputs); h, which is also the output, (batch, hidden); p, the input before, (batch,
    inputs). Balduzzi & Ghifary 2016, arXiv:1602.02218. Departs from the paper in: nothing.

    Example:
        >>> TGRU(3, 5).states
        {'h': (5,), 'p': (3,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden, p=inputs)
        self.W_z, self.V_z = Linear(inputs, hidden), Linear(inputs, hidden, bias=False)
        self.W_f, self.V_f = Linear(inputs, hidden), Linear(inputs, hidden, bias=False)
        self.W_o, self.V_o = Linear(inputs, hidden), Linear(inputs, hidden, bias=False)
        start(self)

    def forward(self, x: Tensor, h: Tensor, p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z = self.W_z(x) + self.V_z(p)
        f = sigmoid(self.W_f(x) + self.V_f(p))
        o = tanh(self.W_o(x) + self.V_o(p))
        h = f * h + z * o
        return h, h, x


class TLSTM(Cell):
    """Strongly typed LSTM: a running mean, and an output that reads it through a gate.

        z  = W_z x + b_z + V_z p
        f  = sigmoid(W_f x + b_f + V_f p)
        o  = tanh(W_o x + b_o + V_o p)
        c' = f * c + (1 - f) * z
        y  = c' * o
        p' = x

    x (batch, inputs); c and the output (batch, hidden); p, the input before, (batch, inputs).
    Balduzzi & Ghifary 2016, arXiv:1602.02218. Departs from the paper in: nothing.

    Example:
        >>> TLSTM(3, 5).states
        {'c': (5,), 'p': (3,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(c=hidden, p=inputs)
        self.W_z, self.V_z = Linear(inputs, hidden), Linear(inputs, hidden, bias=False)
        self.W_f, self.V_f = Linear(inputs, hidden), Linear(inputs, hidden, bias=False)
        self.W_o, self.V_o = Linear(inputs, hidden), Linear(inputs, hidden, bias=False)
        start(self)

    def forward(self, x: Tensor, c: Tensor, p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z = self.W_z(x) + self.V_z(p)
        f = sigmoid(self.W_f(x) + self.V_f(p))
        o = tanh(self.W_o(x) + self.V_o(p))
        c = f * c + (1 - f) * z
        return c * o, c, x

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

        z    = W_z x + b_z + p_z
        f    = sigmoid(W_f x + b_f + p_f)
        o    = tanh(W_o x + b_o + p_o)
        h'   = f * h + z * o
        p_z' = V_z x
        p_f' = V_f x
        p_o' = V_o x

    x (batch, inputs); h, which is also the output, (batch, hidden); p_z, p_f and p_o (batch,
    hidden): what the input of the step before gives to the gates, 0 before the first step.
    Balduzzi & Ghifary 2016, arXiv:1602.02218. Departs from the paper in: nothing.

    Example:
        >>> TGRU(3, 5).states
        {'h': (5,), 'p_z': (5,), 'p_f': (5,), 'p_o': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden, p_z=hidden, p_f=hidden, p_o=hidden)
        self.W_z, self.V_z = Linear(inputs, hidden), Linear(inputs, hidden, bias=False)
        self.W_f, self.V_f = Linear(inputs, hidden), Linear(inputs, hidden, bias=False)
        self.W_o, self.V_o = Linear(inputs, hidden), Linear(inputs, hidden, bias=False)
        start(self)

    def forward(
        self, x: Tensor, h: Tensor, p_z: Tensor, p_f: Tensor, p_o: Tensor
    ) -> tuple[Tensor, ...]:
        z = self.W_z(x) + p_z
        f = sigmoid(self.W_f(x) + p_f)
        o = tanh(self.W_o(x) + p_o)
        h = f * h + z * o
        return h, h, self.V_z(x), self.V_f(x), self.V_o(x)


class TLSTM(Cell):
    """Strongly typed LSTM: a running mean, and an output that reads it through a gate.

        z    = W_z x + b_z + p_z
        f    = sigmoid(W_f x + b_f + p_f)
        o    = tanh(W_o x + b_o + p_o)
        c'   = f * c + (1 - f) * z
        y    = c' * o
        p_z' = V_z x
        p_f' = V_f x
        p_o' = V_o x

    x (batch, inputs); c and the output (batch, hidden); p_z, p_f and p_o (batch, hidden): what the
    input of the step before gives to the gates, 0 before the first step.
    Balduzzi & Ghifary 2016, arXiv:1602.02218. Departs from the paper in: nothing.

    Example:
        >>> TLSTM(3, 5).states
        {'c': (5,), 'p_z': (5,), 'p_f': (5,), 'p_o': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(c=hidden, p_z=hidden, p_f=hidden, p_o=hidden)
        self.W_z, self.V_z = Linear(inputs, hidden), Linear(inputs, hidden, bias=False)
        self.W_f, self.V_f = Linear(inputs, hidden), Linear(inputs, hidden, bias=False)
        self.W_o, self.V_o = Linear(inputs, hidden), Linear(inputs, hidden, bias=False)
        start(self)

    def forward(
        self, x: Tensor, c: Tensor, p_z: Tensor, p_f: Tensor, p_o: Tensor
    ) -> tuple[Tensor, ...]:
        z = self.W_z(x) + p_z
        f = sigmoid(self.W_f(x) + p_f)
        o = tanh(self.W_o(x) + p_o)
        c = f * c + (1 - f) * z
        return c * o, c, self.V_z(x), self.V_f(x), self.V_o(x)

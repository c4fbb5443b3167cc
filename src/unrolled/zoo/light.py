"""Light gated cells: what is written comes from the input, and the state only steers the gates."""

import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.nn import Linear

from unrolled.cell import Cell
from unrolled.zoo.initial import start
from unrolled.zoo.matrices import gate


class LightRU(Cell):
    """Light recurrent unit: one gate mixes the old state with a new one read off the input.

        f  = sigmoid(W_f x + b_f + U_f h)
        n  = tanh(W_n x)
        h' = (1 - f) * h + f * n

    x (batch, inputs); h, which is also the output, (batch, hidden).
    Ye et al. 2024, doi:10.3390/electronics13163204; there it is called LRU, a name that the linear
    recurrent unit has too. Departs from the paper in: no stack of cells (its SRC).

    Example:
        >>> LightRU(3, 5).states
        {'h': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W_f, self.U_f = gate(inputs, hidden)
        self.W_n = Linear(inputs, hidden, bias=False)
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        f = sigmoid(self.W_f(x) + self.U_f(h))
        n = tanh(self.W_n(x))
        h = (1 - f) * h + f * n
        return h, h


class CFN(Cell):
    """Chaos-free network: without input, its state decays to 0 from wherever it is.

        theta = sigmoid(W_theta x + b_theta + U_theta h)
        eta   = sigmoid(W_eta x + b_eta + U_eta h)
        h'    = theta * tanh(h) + eta * tanh(W x)

    x (batch, inputs); h, which is also the output, (batch, hidden); b_theta starts at 1 and b_eta
    at -1, as in the paper's experiments. Laurent & von Brecht 2017, arXiv:1612.06212. Departs from
    the paper in: nothing.

    Example:
        >>> CFN(3, 5).states
        {'h': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W_theta, self.U_theta = gate(inputs, hidden)
        self.W_eta, self.U_eta = gate(inputs, hidden)
        self.W = Linear(inputs, hidden, bias=False)
        start(self, open_gates=(self.W_theta,))
        nn.init.constant_(self.W_eta.bias, -1.0)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        theta = sigmoid(self.W_theta(x) + self.U_theta(h))
        eta = sigmoid(self.W_eta(x) + self.U_eta(h))
        h = theta * tanh(h) + eta * tanh(self.W(x))
        return h, h


class ATR(Cell):
    """Addition-subtraction twin-gated unit: both gates come from the same two maps.

        p  = W x
        q  = U h
        i  = sigmoid(p + q)
        f  = sigmoid(p - q)
        h' = i * p + f * h

    x (batch, inputs); h, which is also the output, (batch, hidden).
    Zhang et al. 2018, arXiv:1810.12546. Departs from the paper in: nothing.

    Example:
        >>> ATR(3, 5).states
        {'h': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W, self.U = Linear(inputs, hidden, bias=False), Linear(hidden, hidden, bias=False)
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        p = self.W(x)
        q = self.U(h)
        i = sigmoid(p + q)
        f = sigmoid(p - q)
        h = i * p + f * h
        return h, h


class MinimalRNN(Cell):
    """Minimal recurrent network: the state stays a mean of the inputs as they are encoded.

        z  = tanh(W_z x + b_z)
        u  = sigmoid(U_h h + U_z z + b_u)
        h' = u * h + (1 - u) * z

    x (batch, inputs); h, which is also the output, (batch, hidden).
    Chen 2017, arXiv:1711.06788. Departs from the paper in: nothing; any map of x may stand for z
    there, and this is its example.

    Example:
        >>> MinimalRNN(3, 5).states
        {'h': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W_z = Linear(inputs, hidden)
        self.U_h, self.U_z = (Linear(hidden, hidden, bias=False) for _ in range(2))
        self.b_u = nn.Parameter(torch.zeros(hidden))
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        z = tanh(self.W_z(x))
        u = sigmoid(self.U_h(h) + self.U_z(z) + self.b_u)
        h = u * h + (1 - u) * z
        return h, h

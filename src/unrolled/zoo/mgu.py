"""The minimal gated unit, and three forms of it whose gate sees less and less."""

import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.nn import Linear

from unrolled.cell import Cell
from unrolled.zoo.initial import start
from unrolled.zoo.matrices import gate


class MGU(Cell):
    """Minimal gated unit: one gate both resets and forgets.

        f  = sigmoid(W_f x + b_f + U_f h)
        n  = tanh(W_n x + b_n + U_n (f * h))
        h' = (1 - f) * h + f * n

    x (batch, inputs); h, which is also the output, (batch, hidden).
    Zhou et al. 2016, arXiv:1603.09420. Departs from the paper in: nothing.

    Example:
        >>> MGU(3, 5).states
        {'h': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W_f, self.U_f = gate(inputs, hidden)
        self.W_n, self.U_n = gate(inputs, hidden)
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        f = sigmoid(self.W_f(x) + self.U_f(h))
        n = tanh(self.W_n(x) + self.U_n(f * h))
        h = (1 - f) * h + f * n
        return h, h


class MGU1(Cell):
    """Minimal gated unit whose gate sees the state and a bias.

        f  = sigmoid(U_f h + d_f)
        n  = tanh(W_n x + b_n + U_n (f * h))
        h' = (1 - f) * h + f * n

    x (batch, inputs); h, which is also the output, (batch, hidden).
    Heck & Salem 2017, arXiv:1701.03452. Departs from the paper in: nothing.

    Example:
        >>> MGU1(3, 5).states
        {'h': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.U_f = Linear(hidden, hidden)
        self.W_n, self.U_n = gate(inputs, hidden)
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        f = sigmoid(self.U_f(h))
        n = tanh(self.W_n(x) + self.U_n(f * h))
        h = (1 - f) * h + f * n
        return h, h


class MGU2(Cell):
    """Minimal gated unit whose gate sees the state alone.

        f  = sigmoid(U_f h)
        n  = tanh(W_n x + b_n + U_n (f * h))
        h' = (1 - f) * h + f * n

    x (batch, inputs); h, which is also the output, (batch, hidden).
    Heck & Salem 2017, arXiv:1701.03452. Departs from the paper in: nothing.

    Example:
        >>> MGU2(3, 5).states
        {'h': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.U_f = Linear(hidden, hidden, bias=False)
        self.W_n, self.U_n = gate(inputs, hidden)
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        f = sigmoid(self.U_f(h))
        n = tanh(self.W_n(x) + self.U_n(f * h))
        h = (1 - f) * h + f * n
        return h, h


class MGU3(Cell):
    """Minimal gated unit whose gate is a bias, the same at every step.

        f  = sigmoid(b_f)
        n  = tanh(W_n x + b_n + U_n (f * h))
        h' = (1 - f) * h + f * n

    x (batch, inputs); h, which is also the output, (batch, hidden).
    Heck & Salem 2017, arXiv:1701.03452. Departs from the paper in: nothing.

    Example:
        >>> MGU3(3, 5).states
        {'h': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.b_f = nn.Parameter(torch.zeros(hidden))
        self.W_n, self.U_n = gate(inputs, hidden)
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        f = sigmoid(self.b_f)
        n = tanh(self.W_n(x) + self.U_n(f * h))
        h = (1 - f) * h + f * n
        return h, h

"""The three gated units that a search through mutations of the GRU and the LSTM found best."""

from torch import Tensor, sigmoid, tanh
from torch.nn import Linear

from unrolled.cell import Cell
from unrolled.zoo.initial import start
from unrolled.zoo.matrices import gate


class MUT1(Cell):
    """First of the mutated units: the update gate sees only the input.

        z  = sigmoid(W_z x + b_z)
        r  = sigmoid(W_r x + b_r + U_r h)
        n  = tanh(U_n (r * h) + tanh(W_n x) + d_n)
        h' = n * z + h * (1 - z)

    x (batch, inputs); h, which is also the output, (batch, hidden).
    Jozefowicz, Zaremba & Sutskever 2015, https://proceedings.mlr.press/v37/jozefowicz15.html.
    Departs from the paper in: W_n, so that x may have any width; the paper has tanh(x).

    Example:
        >>> MUT1(3, 5).states
        {'h': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W_z = Linear(inputs, hidden)
        self.W_r, self.U_r = gate(inputs, hidden)
        self.W_n, self.U_n = Linear(inputs, hidden, bias=False), Linear(hidden, hidden)
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        z = sigmoid(self.W_z(x))
        r = sigmoid(self.W_r(x) + self.U_r(h))
        n = tanh(self.U_n(r * h) + tanh(self.W_n(x)))
        h = n * z + h * (1 - z)
        return h, h


class MUT2(Cell):
    """Second of the mutated units: the reset gate adds the input as it is.

        z  = sigmoid(W_z x + b_z + U_z h)
        r  = sigmoid(W_r x + U_r h + d_r)
        n  = tanh(U_n (r * h) + W_n x + b_n)
        h' = n * z + h * (1 - z)

    x (batch, inputs); h, which is also the output, (batch, hidden).
    Jozefowicz, Zaremba & Sutskever 2015, https://proceedings.mlr.press/v37/jozefowicz15.html.
    Departs from the paper in: W_r, so that x may have any width; the paper adds x itself.

    Example:
        >>> MUT2(3, 5).states
        {'h': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W_z, self.U_z = gate(inputs, hidden)
        self.W_r, self.U_r = Linear(inputs, hidden, bias=False), Linear(hidden, hidden)
        self.W_n, self.U_n = gate(inputs, hidden)
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        z = sigmoid(self.W_z(x) + self.U_z(h))
        r = sigmoid(self.W_r(x) + self.U_r(h))
        n = tanh(self.U_n(r * h) + self.W_n(x))
        h = n * z + h * (1 - z)
        return h, h


class MUT3(Cell):
    """Third of the mutated units: the update gate sees the state through tanh.

        z  = sigmoid(W_z x + b_z + U_z tanh(h))
        r  = sigmoid(W_r x + b_r + U_r h)
        n  = tanh(U_n (r * h) + W_n x + b_n)
        h' = n * z + h * (1 - z)

    x (batch, inputs); h, which is also the output, (batch, hidden).
    Jozefowicz, Zaremba & Sutskever 2015, https://proceedings.mlr.press/v37/jozefowicz15.html.
    Departs from the paper in: nothing.

    Example:
        >>> MUT3(3, 5).states
        {'h': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W_z, self.U_z = gate(inputs, hidden)
        self.W_r, self.U_r = gate(inputs, hidden)
        self.W_n, self.U_n = gate(inputs, hidden)
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        z = sigmoid(self.W_z(x) + self.U_z(tanh(h)))
        r = sigmoid(self.W_r(x) + self.U_r(h))
        n = tanh(self.U_n(r * h) + self.W_n(x))
        h = n * z + h * (1 - z)
        return h, h

"""Cells with gates that carry over: the state through time, the input through depth."""

from torch import Tensor, relu, sigmoid, tanh
from torch.nn import Linear

from unrolled.cell import Cell
from unrolled.zoo.initial import start
from unrolled.zoo.matrices import gate


class UGRNN(Cell):
    """Update-gate recurrent network: one gate chooses between the old state and a new one.

        c  = tanh(W_c x + b_c + U_c h)
        g  = sigmoid(W_g x + b_g + U_g h)
        h' = g * h + (1 - g) * c

    x (batch, inputs); h, which is also the output, (batch, hidden); b_g starts at 1.
    Collins, Sohl-Dickstein & Sussillo 2017, arXiv:1611.09913. Departs from the paper in: nothing.

    Example:
        >>> UGRNN(3, 5).states
        {'h': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W_c, self.U_c = gate(inputs, hidden)
        self.W_g, self.U_g = gate(inputs, hidden)
        start(self, open_gates=(self.W_g,))

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        c = tanh(self.W_c(x) + self.U_c(h))
        g = sigmoid(self.W_g(x) + self.U_g(h))
        h = g * h + (1 - g) * c
        return h, h


class IntersectionRNN(Cell):
    """Intersection recurrent network (+RNN): a gate through time, and another through depth.

        u   = relu(W_u x + b_u + U_u h)
        c   = tanh(W_c x + b_c + U_c h)
        g_y = sigmoid(W_y x + b_y + U_y h)
        g_h = sigmoid(W_h x + b_h + U_h h)
        y   = g_y * x + (1 - g_y) * u
        h'  = g_h * h + (1 - g_h) * c

    x and the output y (batch, inputs); h (batch, hidden); b_y and b_h start at 1. The paper maps
    the sequences to the width of h before the first layer; this cell keeps their width instead.
    Collins, Sohl-Dickstein & Sussillo 2017, arXiv:1611.09913. Departs from the paper in: nothing.

    Example:
        >>> IntersectionRNN(3, 5).states, IntersectionRNN(3, 5).outputs
        ({'h': (5,)}, 3)
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.outputs = inputs
        self.W_u, self.U_u = Linear(inputs, inputs), Linear(hidden, inputs, bias=False)
        self.W_c, self.U_c = gate(inputs, hidden)
        self.W_y, self.U_y = Linear(inputs, inputs), Linear(hidden, inputs, bias=False)
        self.W_h, self.U_h = gate(inputs, hidden)
        start(self, open_gates=(self.W_y, self.W_h))

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        u = relu(self.W_u(x) + self.U_u(h))
        c = tanh(self.W_c(x) + self.U_c(h))
        g_y = sigmoid(self.W_y(x) + self.U_y(h))
        g_h = sigmoid(self.W_h(x) + self.U_h(h))
        y = g_y * x + (1 - g_y) * u
        h = g_h * h + (1 - g_h) * c
        return y, h

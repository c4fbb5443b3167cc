"""Cells with one gate whose state passes through a tanh at every step."""

from torch import Tensor, sigmoid, tanh
from torch.nn import Linear

from unrolled.cell import Cell
from unrolled.zoo.initial import start


class STAR(Cell):
    """Stackable recurrent cell: one gate weighs the state against the input.

        z  = tanh(W_z x + b_z)
        k  = sigmoid(W_k x + b_k + U_k h)
        h' = tanh((1 - k) * h + k * z)

    x (batch, inputs); h, which is also the output, (batch, hidden).
    Turkoglu et al. 2021, arXiv:1911.11033. Departs from the paper in: nothing.

    Example:
        >>> STAR(3, 5).states
        {'h': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W_z = Linear(inputs, hidden)
        self.W_k, self.U_k = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        z = tanh(self.W_z(x))
        k = sigmoid(self.W_k(x) + self.U_k(h))
        h = tanh((1 - k) * h + k * z)
        return h, h


class SGRN(Cell):
    """Simple gated recurrent network: the gate and what it lets in share a matrix.

        v  = W x
        f  = sigmoid(v + U h + d)
        h' = tanh((1 - f) * v + f * h)

    x (batch, inputs); h, which is also the output, (batch, hidden).
    Zu, Wang & Li 2020, doi:10.1049/gtd2.12056. Departs from the paper in: nothing.

    Example:
        >>> SGRN(3, 5).states
        {'h': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W, self.U = Linear(inputs, hidden, bias=False), Linear(hidden, hidden)
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        v = self.W(x)
        f = sigmoid(v + self.U(h))
        h = tanh((1 - f) * v + f * h)
        return h, h

"""A cell that a search over architectures found."""

from torch import Tensor, relu, sigmoid, tanh
from torch.nn import Linear

from unrolled.cell import Cell
from unrolled.zoo.initial import start


class NAS(Cell):
    """The cell that neural architecture search found on Penn Treebank: a tree over eight sums.

        p  = tanh(sigmoid(W_0 x + U_0 h + d_0) * relu(W_1 x + U_1 h + d_1))
        q  = tanh(sigmoid(W_2 x + U_2 h + d_2) + relu((W_3 x) * (U_3 h + d_3)))
        r  = tanh(tanh(W_4 x + U_4 h + d_4) * sigmoid(W_5 x + U_5 h + d_5))
        s  = sigmoid(tanh(W_6 x + U_6 h + d_6) + sigmoid(W_7 x + U_7 h + d_7))
        c' = tanh(p + c) * q
        h' = tanh(c' * tanh(r + s))

    x (batch, inputs); h, which is also the output, and c (batch, hidden).
    Zoph & Le 2017, arXiv:1611.01578, as in the cell that the authors added to TensorFlow, with its
    optional biases, without its projection; torchrecurrent 0.2.5 differs, it adds W_3 x and U_3 h.
    Departs from the paper in: nothing.

    Example:
        >>> NAS(3, 5).states
        {'h': (5,), 'c': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden, c=hidden)
        for leaf in range(8):
            self.add_module(f"W_{leaf}", Linear(inputs, hidden, bias=False))
            self.add_module(f"U_{leaf}", Linear(hidden, hidden))
        start(self)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        w = [self.get_submodule(f"W_{leaf}")(x) for leaf in range(8)]
        u = [self.get_submodule(f"U_{leaf}")(h) for leaf in range(8)]
        p = tanh(sigmoid(w[0] + u[0]) * relu(w[1] + u[1]))
        q = tanh(sigmoid(w[2] + u[2]) + relu(w[3] * u[3]))
        r = tanh(tanh(w[4] + u[4]) * sigmoid(w[5] + u[5]))
        s = sigmoid(tanh(w[6] + u[6]) + sigmoid(w[7] + u[7]))
        c = tanh(p + c) * q
        h = tanh(c * tanh(r + s))
        return h, h, c

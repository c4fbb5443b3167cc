"""Neurons in an order: those that forget late, and those that forget early."""

from torch import Tensor, sigmoid, softmax, tanh
from torch.nn import Linear

from unrolled.cell import Cell
from unrolled.errors import ConfigError
from unrolled.zoo.initial import start


class ONLSTM(Cell):
    """Ordered neurons LSTM: two more gates divide the units into some that stay and some that go.

        p  = cumax(W_p x + b_p + U_p h)
        q  = 1 - cumax(W_q x + b_q + U_q h)
        i  = sigmoid(W_i x + b_i + U_i h)
        f  = sigmoid(W_f x + b_f + U_f h)
        o  = sigmoid(W_o x + b_o + U_o h)
        g  = tanh(W_g x + b_g + U_g h)
        P  = spread(p, chunk)
        Q  = spread(q, chunk)
        c' = (f * P * Q + P - P * Q) * c + (i * P * Q + Q - P * Q) * g
        h' = o * tanh(c')

    x (batch, inputs); h, which is also the output, and c (batch, hidden); cumax is the running sum
    of a softmax, which rises from 0 to 1; p and q, the paper's master forget and input gates, have
    a number for each `chunk` units that lie side by side.
    Shen et al. 2019, arXiv:1810.09536, equations 9 to 14. Departs from the paper in: nothing.

    Example:
        >>> ONLSTM(3, 6, chunk=2).states
        {'h': (6,), 'c': (6,)}
    """

    def __init__(self, inputs: int, hidden: int, *, chunk: int = 1) -> None:
        if chunk < 1 or hidden % chunk:
            raise ConfigError(
                f"ONLSTM has chunks of {chunk} for {hidden} hidden units: "
                "choose a size that divides them"
            )
        super().__init__(h=hidden, c=hidden)
        self.chunk, levels = chunk, hidden // chunk
        self.W_p, self.U_p = Linear(inputs, levels), Linear(hidden, levels, bias=False)
        self.W_q, self.U_q = Linear(inputs, levels), Linear(hidden, levels, bias=False)
        self.W_i, self.U_i = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        self.W_f, self.U_f = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        self.W_o, self.U_o = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        self.W_g, self.U_g = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        start(self)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        P = cumax(self.W_p(x) + self.U_p(h)).repeat_interleave(self.chunk, -1)
        Q = (1 - cumax(self.W_q(x) + self.U_q(h))).repeat_interleave(self.chunk, -1)
        i = sigmoid(self.W_i(x) + self.U_i(h))
        f = sigmoid(self.W_f(x) + self.U_f(h))
        o = sigmoid(self.W_o(x) + self.U_o(h))
        g = tanh(self.W_g(x) + self.U_g(h))
        both = P * Q
        c = (f * both + P - both) * c + (i * both + Q - both) * g
        h = o * tanh(c)
        return h, h, c


def cumax(a: Tensor) -> Tensor:
    """Give the running sum of a softmax: how likely a split lies before each place.

    Example:
        >>> import torch
        >>> cumax(torch.zeros(1, 4)).tolist()
        [[0.25, 0.5, 0.75, 1.0]]
    """
    return softmax(a, -1).cumsum(-1)

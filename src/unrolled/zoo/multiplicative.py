"""Cells whose recurrent matrix depends on the input: a product of two factors, one of each."""

from torch import Tensor, sigmoid, tanh
from torch.nn import Linear

from unrolled.cell import Cell
from unrolled.zoo.initial import start


class MultiplicativeRNN(Cell):
    """Multiplicative RNN: the input chooses the matrix that the state goes through.

        m  = (W_m x) * (U_m h)
        h' = tanh(W_h x + b_h + U_h m)

    x (batch, inputs); h, which is also the output, (batch, hidden); m (batch, factors), by default
    as many as hidden. Sutskever, Martens & Hinton 2011, doi:10.5555/3104482.3104610. Departs from
    the paper in: nothing.

    Example:
        >>> MultiplicativeRNN(3, 5, factors=7).U_h
        Linear(in_features=7, out_features=5, bias=False)
    """

    def __init__(self, inputs: int, hidden: int, *, factors: int | None = None) -> None:
        super().__init__(h=hidden)
        factors = factors or hidden
        self.W_m, self.U_m = (
            Linear(inputs, factors, bias=False),
            Linear(hidden, factors, bias=False),
        )
        self.W_h, self.U_h = Linear(inputs, hidden), Linear(factors, hidden, bias=False)
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        m = self.W_m(x) * self.U_m(h)
        h = tanh(self.W_h(x) + self.U_h(m))
        return h, h


class MultiplicativeLSTM(Cell):
    """Multiplicative LSTM: the gates see the state through a matrix that the input chooses.

        m  = (W_m x) * (U_m h)
        i  = sigmoid(W_i x + b_i + U_i m)
        f  = sigmoid(W_f x + b_f + U_f m)
        g  = tanh(W_g x + b_g + U_g m)
        o  = sigmoid(W_o x + b_o + U_o m)
        c' = f * c + i * g
        h' = o * tanh(c')

    x (batch, inputs); h, which is also the output, and c (batch, hidden). The paper calls it mLSTM,
    as another does the LSTM with a matrix for a memory.
    Krause et al. 2016, arXiv:1609.07959. Departs from the paper in: nothing.

    Example:
        >>> MultiplicativeLSTM(3, 5).states
        {'h': (5,), 'c': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden, c=hidden)
        self.W_m, self.U_m = Linear(inputs, hidden, bias=False), Linear(hidden, hidden, bias=False)
        self.W_i, self.U_i = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        self.W_f, self.U_f = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        self.W_g, self.U_g = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        self.W_o, self.U_o = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        start(self, open_gates=(self.W_f,))

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        m = self.W_m(x) * self.U_m(h)
        i = sigmoid(self.W_i(x) + self.U_i(m))
        f = sigmoid(self.W_f(x) + self.U_f(m))
        g = tanh(self.W_g(x) + self.U_g(m))
        o = sigmoid(self.W_o(x) + self.U_o(m))
        c = f * c + i * g
        h = o * tanh(c)
        return h, h, c

"""Long short-term memory, and the form of it with a projection."""

from torch import Tensor, sigmoid, tanh
from torch.nn import Linear

from unrolled.cell import Cell, TorchForm
from unrolled.zoo.initial import start


class LSTM(Cell):
    """Long short-term memory with a forget gate.

        i  = sigmoid(W_i x + b_i + U_i h + d_i)
        f  = sigmoid(W_f x + b_f + U_f h + d_f)
        g  = tanh(W_g x + b_g + U_g h + d_g)
        o  = sigmoid(W_o x + b_o + U_o h + d_o)
        c' = f * c + i * g
        h' = o * tanh(c')

    x (batch, inputs); h, which is also the output, and c (batch, hidden).
    Hochreiter & Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; forget gate: Gers, Schmidhuber &
    Cummins 2000, doi:10.1162/089976600300015015. Departs from the papers in: the second biases d,
    which `torch.nn.LSTM` has, and no peepholes.

    Example:
        >>> LSTM(3, 5).states
        {'h': (5,), 'c': (5,)}
    """

    torch_form = TorchForm("lstm", ("_i", "_f", "_g", "_o"))

    def __init__(self, inputs: int, hidden: int, *, bias: bool = True) -> None:
        super().__init__(h=hidden, c=hidden)
        self.W_i, self.U_i = Linear(inputs, hidden, bias), Linear(hidden, hidden, bias)
        self.W_f, self.U_f = Linear(inputs, hidden, bias), Linear(hidden, hidden, bias)
        self.W_g, self.U_g = Linear(inputs, hidden, bias), Linear(hidden, hidden, bias)
        self.W_o, self.U_o = Linear(inputs, hidden, bias), Linear(hidden, hidden, bias)
        start(self, open_gates=(self.W_f,))

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        i = sigmoid(self.W_i(x) + self.U_i(h))
        f = sigmoid(self.W_f(x) + self.U_f(h))
        g = tanh(self.W_g(x) + self.U_g(h))
        o = sigmoid(self.W_o(x) + self.U_o(h))
        c = f * c + i * g
        h = o * tanh(c)
        return h, h, c


class LSTMP(Cell):
    """Long short-term memory whose gates see a projection of its output.

        i  = sigmoid(W_i x + b_i + U_i h + d_i)
        f  = sigmoid(W_f x + b_f + U_f h + d_f)
        g  = tanh(W_g x + b_g + U_g h + d_g)
        o  = sigmoid(W_o x + b_o + U_o h + d_o)
        c' = f * c + i * g
        h' = P (o * tanh(c'))

    x (batch, inputs); h, which is also the output, (batch, projection), by default half of hidden;
    c (batch, hidden). Sak, Senior & Beaufays 2014, arXiv:1402.1128. Departs from the paper in: no
    peepholes and no non-recurrent projection, as in `torch.nn.LSTM` with ``proj_size``.

    Example:
        >>> LSTMP(3, 8).states
        {'h': (4,), 'c': (8,)}
    """

    def __init__(
        self, inputs: int, hidden: int, projection: int | None = None, *, bias: bool = True
    ) -> None:
        projection = projection or max(1, hidden // 2)
        super().__init__(h=projection, c=hidden)
        self.W_i, self.U_i = Linear(inputs, hidden, bias), Linear(projection, hidden, bias)
        self.W_f, self.U_f = Linear(inputs, hidden, bias), Linear(projection, hidden, bias)
        self.W_g, self.U_g = Linear(inputs, hidden, bias), Linear(projection, hidden, bias)
        self.W_o, self.U_o = Linear(inputs, hidden, bias), Linear(projection, hidden, bias)
        self.P = Linear(hidden, projection, bias=False)
        start(self, open_gates=(self.W_f,))

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        i = sigmoid(self.W_i(x) + self.U_i(h))
        f = sigmoid(self.W_f(x) + self.U_f(h))
        g = tanh(self.W_g(x) + self.U_g(h))
        o = sigmoid(self.W_o(x) + self.U_o(h))
        c = f * c + i * g
        h = self.P(o * tanh(c))
        return h, h, c

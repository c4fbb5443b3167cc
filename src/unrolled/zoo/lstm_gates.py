"""Long short-term memories whose gates see more than the input and the output before."""

import torch
from torch import Tensor, sigmoid, tanh
from torch.nn import Linear, Parameter
from torch.nn.functional import layer_norm

from unrolled.cell import Cell
from unrolled.errors import ConfigError
from unrolled.zoo.initial import start


class WMCLSTM(Cell):
    """LSTM with working memory connections: the gates see the cell through a squashed projection.

        i  = sigmoid(W_i x + b_i + U_i h + tanh(V_i c))
        f  = sigmoid(W_f x + b_f + U_f h + tanh(V_f c))
        g  = tanh(W_g x + b_g + U_g h)
        c' = f * c + i * g
        o  = sigmoid(W_o x + b_o + U_o h + tanh(V_o c'))
        h' = o * tanh(c')

    x (batch, inputs); h, which is also the output, and c (batch, hidden).
    Landi et al. 2021, arXiv:2109.00020. Departs from the paper in: nothing.

    Example:
        >>> WMCLSTM(3, 5).states
        {'h': (5,), 'c': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden, c=hidden)
        self.W_i, self.U_i = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        self.W_f, self.U_f = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        self.W_g, self.U_g = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        self.W_o, self.U_o = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        self.V_i, self.V_f = Linear(hidden, hidden, bias=False), Linear(hidden, hidden, bias=False)
        self.V_o = Linear(hidden, hidden, bias=False)
        start(self, open_gates=(self.W_f,))

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        i = sigmoid(self.W_i(x) + self.U_i(h) + tanh(self.V_i(c)))
        f = sigmoid(self.W_f(x) + self.U_f(h) + tanh(self.V_f(c)))
        g = tanh(self.W_g(x) + self.U_g(h))
        c = f * c + i * g
        o = sigmoid(self.W_o(x) + self.U_o(h) + tanh(self.V_o(c)))
        h = o * tanh(c)
        return h, h, c


class MogrifierLSTM(Cell):
    """Mogrifier LSTM: input and state scale each other, back and forth, before the gates see them.

        for l = 1 .. pairs:
            x = 2 * sigmoid(Q_l h) * x
            h = 2 * sigmoid(R_l x) * h
        for l = 1 .. odd:
            x = 2 * sigmoid(Q_last h) * x
        i  = sigmoid(W_i x + b_i + U_i h)
        f  = sigmoid(W_f x + b_f + U_f h)
        g  = tanh(W_g x + b_g + U_g h)
        o  = sigmoid(W_o x + b_o + U_o h)
        c' = f * c + i * g
        h' = o * tanh(c')

    x (batch, inputs); h, which is also the output, and c (batch, hidden); rounds is 2 pairs + odd,
    and 0 makes an LSTM of it.
    Melis, Kocisky & Blunsom 2020, arXiv:1909.01792. Departs from the paper in: Q and R have full
    rank, as the paper's first form.

    Raises:
        ConfigError: rounds is below 0.

    Example:
        >>> MogrifierLSTM(3, 5, rounds=1).Q_last
        Linear(in_features=5, out_features=3, bias=False)
    """

    def __init__(self, inputs: int, hidden: int, *, rounds: int = 5) -> None:
        super().__init__(h=hidden, c=hidden)
        if rounds < 0:
            raise ConfigError(f"MogrifierLSTM has {rounds} rounds: expected 0 or more")
        self.pairs, self.odd = divmod(rounds, 2)
        for pair in range(1, self.pairs + 1):
            self.add_module(f"Q_{pair}", Linear(hidden, inputs, bias=False))
            self.add_module(f"R_{pair}", Linear(inputs, hidden, bias=False))
        if self.odd:
            self.Q_last = Linear(hidden, inputs, bias=False)
        self.W_i, self.U_i = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        self.W_f, self.U_f = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        self.W_g, self.U_g = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        self.W_o, self.U_o = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        start(self, open_gates=(self.W_f,))

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        for pair in range(1, self.pairs + 1):
            x = 2 * sigmoid(self.get_submodule(f"Q_{pair}")(h)) * x
            h = 2 * sigmoid(self.get_submodule(f"R_{pair}")(x)) * h
        if self.odd:
            x = 2 * sigmoid(self.Q_last(h)) * x
        i = sigmoid(self.W_i(x) + self.U_i(h))
        f = sigmoid(self.W_f(x) + self.U_f(h))
        g = tanh(self.W_g(x) + self.U_g(h))
        o = sigmoid(self.W_o(x) + self.U_o(h))
        c = f * c + i * g
        h = o * tanh(c)
        return h, h, c


class LayerNormLSTM(Cell):
    """LSTM with layer normalisation of what the gates sum, and of the cell before its output.

        p  = u * layernorm(U h) + w * layernorm(W x) + b
        f  = sigmoid(part(p, 0, 4))
        i  = sigmoid(part(p, 1, 4))
        o  = sigmoid(part(p, 2, 4))
        g  = tanh(part(p, 3, 4))
        c' = f * c + i * g
        h' = o * tanh(v * layernorm(c') + e)

    x (batch, inputs); h, which is also the output, and c (batch, hidden). The four gates are
    normalised together.
    Ba, Kiros & Hinton 2016, arXiv:1607.06450, equations 20 to 22. Departs from the paper in: its
    three biases of p, which only occur as their sum, are one.

    Example:
        >>> LayerNormLSTM(3, 5).u.shape
        torch.Size([20])
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden, c=hidden)
        self.W = Linear(inputs, 4 * hidden, bias=False)
        self.U = Linear(hidden, 4 * hidden, bias=False)
        self.w, self.u = Parameter(torch.ones(4 * hidden)), Parameter(torch.ones(4 * hidden))
        self.v, self.e = Parameter(torch.ones(hidden)), Parameter(torch.zeros(hidden))
        self.b = Parameter(torch.zeros(4, hidden).index_fill(0, torch.tensor(0), 1.0).flatten())
        start(self)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        p = self.u * _normal(self.U(h)) + self.w * _normal(self.W(x)) + self.b
        f, i, o, g = p.chunk(4, dim=-1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(self.v * _normal(c) + self.e)
        return h, h, c


def _normal(value: Tensor) -> Tensor:
    return layer_norm(value, value.shape[-1:])

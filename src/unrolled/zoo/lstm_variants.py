"""Cells that differ from the long short-term memory by a gate more, fewer or tied."""

from typing import Literal

import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.nn import Linear

from unrolled.cell import Cell
from unrolled.zoo.initial import chrono, start
from unrolled.zoo.matrices import gate

ACTIVATIONS = {"tanh": nn.Tanh, "identity": nn.Identity}


class OriginalLSTM(Cell):
    """Long short-term memory as first published: nothing is ever forgotten.

        i  = sigmoid(W_i x + b_i + U_i h)
        g  = tanh(W_g x + b_g + U_g h)
        o  = sigmoid(W_o x + b_o + U_o h)
        c' = c + i * g
        h' = o * tanh(c')

    x (batch, inputs); h, which is also the output, and c (batch, hidden).
    Hochreiter & Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735. Departs from the paper in: tanh,
    where the paper has 4 sigmoid(a) - 2 for g and 2 sigmoid(a) - 1 for c'; one cell to a block; and
    gradients are not truncated.

    Example:
        >>> OriginalLSTM(3, 5).states
        {'h': (5,), 'c': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden, c=hidden)
        self.W_i, self.U_i = gate(inputs, hidden)
        self.W_g, self.U_g = gate(inputs, hidden)
        self.W_o, self.U_o = gate(inputs, hidden)
        start(self)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        i = sigmoid(self.W_i(x) + self.U_i(h))
        g = tanh(self.W_g(x) + self.U_g(h))
        o = sigmoid(self.W_o(x) + self.U_o(h))
        c = c + i * g
        h = o * tanh(c)
        return h, h, c


class PeepholeLSTM(Cell):
    """Long short-term memory whose gates see the memory c, each unit its own.

        i  = sigmoid(W_i x + b_i + U_i h + p_i * c)
        f  = sigmoid(W_f x + b_f + U_f h + p_f * c)
        g  = tanh(W_g x + b_g + U_g h)
        c' = f * c + i * g
        o  = sigmoid(W_o x + b_o + U_o h + p_o * c')
        h' = o * tanh(c')

    x (batch, inputs); h, which is also the output, and c (batch, hidden); the peepholes p start
    at 0. Gers, Schraudolph & Schmidhuber 2002, Journal of Machine Learning Research 3, 115-143,
    doi:10.1162/153244303768966139. Departs from the paper in: tanh for g and for c', as in Graves
    2013 (arXiv:1308.0850) and since; one cell to a block; and gradients are not truncated.

    Example:
        >>> PeepholeLSTM(3, 5).states
        {'h': (5,), 'c': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden, c=hidden)
        self.W_i, self.U_i = gate(inputs, hidden)
        self.W_f, self.U_f = gate(inputs, hidden)
        self.W_g, self.U_g = gate(inputs, hidden)
        self.W_o, self.U_o = gate(inputs, hidden)
        self.p_i, self.p_f, self.p_o = (nn.Parameter(torch.zeros(hidden)) for _ in range(3))
        start(self, open_gates=(self.W_f,))

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        i = sigmoid(self.W_i(x) + self.U_i(h) + self.p_i * c)
        f = sigmoid(self.W_f(x) + self.U_f(h) + self.p_f * c)
        g = tanh(self.W_g(x) + self.U_g(h))
        c = f * c + i * g
        o = sigmoid(self.W_o(x) + self.U_o(h) + self.p_o * c)
        h = o * tanh(c)
        return h, h, c


class CIFG(Cell):
    """Long short-term memory with coupled input and forget gates: what is forgotten is replaced.

        f  = sigmoid(W_f x + b_f + U_f h)
        g  = tanh(W_g x + b_g + U_g h)
        o  = sigmoid(W_o x + b_o + U_o h)
        c' = f * c + (1 - f) * g
        h' = o * tanh(c')

    x (batch, inputs); h, which is also the output, and c (batch, hidden).
    Greff et al. 2017, arXiv:1503.04069. Departs from the paper in: no peepholes; and f is learned,
    with 1 - f for i, where the paper has it the other way round, the same but for the sign of W_f,
    b_f and U_f.

    Example:
        >>> CIFG(3, 5).states
        {'h': (5,), 'c': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden, c=hidden)
        self.W_f, self.U_f = gate(inputs, hidden)
        self.W_g, self.U_g = gate(inputs, hidden)
        self.W_o, self.U_o = gate(inputs, hidden)
        start(self, open_gates=(self.W_f,))

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        f = sigmoid(self.W_f(x) + self.U_f(h))
        g = tanh(self.W_g(x) + self.U_g(h))
        o = sigmoid(self.W_o(x) + self.U_o(h))
        c = f * c + (1 - f) * g
        h = o * tanh(c)
        return h, h, c


class JANET(Cell):
    """Just another network: of the long short-term memory's gates, only the forget gate is left.

        s  = W_f x + b_f + U_f h
        g  = tanh(W_g x + b_g + U_g h)
        h' = sigmoid(s) * h + (1 - sigmoid(s - beta)) * g

    x (batch, inputs); h, the paper's c, which is also the output, (batch, hidden); beta a number.
    With `longest`, the longest dependency to be learnt, in steps, the biases b_f start as
    `initial.chrono` draws them; without, at 1.
    van der Westhuizen & Lasenby 2018, arXiv:1804.04849; torchrecurrent 0.2.5 differs, it trains
    beta. Departs from the paper in: nothing.

    Example:
        >>> JANET(3, 5, longest=784).states
        {'h': (5,)}
    """

    def __init__(
        self, inputs: int, hidden: int, *, beta: float = 1.0, longest: int | None = None
    ) -> None:
        super().__init__(h=hidden)
        self.W_f, self.U_f = gate(inputs, hidden)
        self.W_g, self.U_g = gate(inputs, hidden)
        self.beta = beta
        start(self, open_gates=(self.W_f,))
        if longest is not None:
            chrono(self.W_f, longest)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        s = self.W_f(x) + self.U_f(h)
        g = tanh(self.W_g(x) + self.U_g(h))
        h = sigmoid(s) * h + (1 - sigmoid(s - self.beta)) * g
        return h, h


class RAN(Cell):
    """Recurrent additive network: the memory is a weighted sum of the inputs, seen through act.

        i  = sigmoid(W_i x + b_i + U_i h)
        f  = sigmoid(W_f x + b_f + U_f h)
        c' = i * W_c x + f * c
        h' = act(c')

    x (batch, inputs); h, which is also the output, and c (batch, hidden); act is tanh or the
    identity. Lee, Levy & Zettlemoyer 2017, arXiv:1705.07393. Departs from the paper in: nothing.

    Example:
        >>> RAN(3, 5).states
        {'h': (5,), 'c': (5,)}
    """

    def __init__(
        self, inputs: int, hidden: int, *, activation: Literal["tanh", "identity"] = "tanh"
    ) -> None:
        super().__init__(h=hidden, c=hidden)
        self.W_i, self.U_i = gate(inputs, hidden)
        self.W_f, self.U_f = gate(inputs, hidden)
        self.W_c = Linear(inputs, hidden, bias=False)
        self.act = ACTIVATIONS[activation]()
        start(self, open_gates=(self.W_f,))

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        i = sigmoid(self.W_i(x) + self.U_i(h))
        f = sigmoid(self.W_f(x) + self.U_f(h))
        c = i * self.W_c(x) + f * c
        h = self.act(c)
        return h, h, c

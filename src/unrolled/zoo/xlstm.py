"""The two cells of xLSTM: exponential gates, kept finite by their largest exponent so far."""

import math

import torch
from torch import Tensor, exp, maximum, nn, sigmoid, tanh
from torch.nn import Linear
from torch.nn.functional import logsigmoid

from unrolled.cell import Cell
from unrolled.zoo.heads import outer, split, times, width_of_head
from unrolled.zoo.initial import start


class MatrixLSTM(Cell):
    """The mLSTM of xLSTM: a matrix for each head, written and read by key and query.

        q  = split(W_q x + b_q, heads)
        k  = split(W_k x + b_k, heads) * scale
        v  = split(W_v x + b_v, heads)
        l  = logsigmoid(W_f x + b_f) + m
        m' = max(l, W_i x + b_i)
        f  = exp(l - m')
        i  = exp(W_i x + b_i - m')
        C' = f * C + i * v k^T
        n' = f * n + i * k
        y  = sigmoid(W_o x + b_o) * flat(C' q / max(abs(n'^T q), exp(-m')))

    x (batch, inputs); C (batch, heads, hidden / heads, keys); n (batch, heads, keys);
    m (batch, heads); y (batch, hidden). keys is by default hidden / heads; scale is 1 / sqrt(keys).
    Beck et al. 2024, arXiv:2405.04517 (equations 19 to 27, and the stabiliser of its appendix); not
    the multiplicative LSTM. Departs from the paper in: nothing; of the forget gates that it allows
    this is the sigmoid, and the gates start as in the authors' code.

    Example:
        >>> MatrixLSTM(3, 8, heads=2).states
        {'C': (2, 4, 4), 'n': (2, 4), 'm': (2,)}
    """

    def __init__(
        self, inputs: int, hidden: int, *, heads: int = 1, keys: int | None = None
    ) -> None:
        values = width_of_head("MatrixLSTM", hidden, heads)
        keys = keys or values
        super().__init__(C=(heads, values, keys), n=(heads, keys), m=heads)
        self.heads, self.scale, self.outputs = heads, 1 / math.sqrt(keys), hidden
        self.W_q, self.W_k = Linear(inputs, heads * keys), Linear(inputs, heads * keys)
        self.W_v, self.W_o = Linear(inputs, hidden), Linear(inputs, hidden)
        self.W_i, self.W_f = Linear(inputs, heads), Linear(inputs, heads)
        start(self)
        for gate in (self.W_i, self.W_f):
            nn.init.zeros_(gate.weight)
        nn.init.normal_(self.W_i.bias, std=0.1)
        with torch.no_grad():
            self.W_f.bias.copy_(torch.linspace(3, 6, heads))

    def forward(
        self, x: Tensor, C: Tensor, n: Tensor, m: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        q, k, v = (split(W(x), self.heads) for W in (self.W_q, self.W_k, self.W_v))
        k = k * self.scale
        i, kept = self.W_i(x), logsigmoid(self.W_f(x)) + m
        m = maximum(kept, i)
        f, i = exp(kept - m)[..., None], exp(i - m)[..., None]
        C = f[..., None] * C + outer(i * v, k)
        n = f * n + i * k
        size = maximum((n * q).sum(-1).abs(), exp(-m))
        h = times(C, q) / size[..., None]
        return sigmoid(self.W_o(x)) * h.flatten(1), C, n, m


class ScalarLSTM(Cell):
    """The sLSTM of xLSTM: exponential input gate, and a count of what came in to divide by.

        l  = logsigmoid(W_f x + b_f + R_f h) + m
        j  = W_i x + b_i + R_i h
        m' = max(l, j)
        f  = exp(l - m')
        i  = exp(j - m')
        c' = f * c + i * tanh(W_z x + b_z + R_z h)
        n' = f * abs(n) + i
        h' = sigmoid(W_o x + b_o + R_o h) * c' / n'

    x (batch, inputs); h, which is also the output, c, n and m (batch, hidden). Each R has a matrix
    for each head, (heads, width, width), and mixes the units of one head only.
    Beck et al. 2024, arXiv:2405.04517 (equations 8 to 17). Departs from the paper in: abs, which
    changes nothing after a start at 0, and keeps n' positive after any other; of the forget gates
    that the paper allows this is the sigmoid, and R and b_f start as in the authors' code.

    Example:
        >>> ScalarLSTM(3, 8, heads=2).R_z.shape
        torch.Size([2, 4, 4])
    """

    def __init__(self, inputs: int, hidden: int, *, heads: int = 1) -> None:
        width = width_of_head("ScalarLSTM", hidden, heads)
        super().__init__(h=hidden, c=hidden, n=hidden, m=hidden)
        self.W_f, self.R_f = Linear(inputs, hidden), _zeros(heads, width)
        self.W_i, self.R_i = Linear(inputs, hidden), _zeros(heads, width)
        self.W_z, self.R_z = Linear(inputs, hidden), _zeros(heads, width)
        self.W_o, self.R_o = Linear(inputs, hidden), _zeros(heads, width)
        start(self)
        with torch.no_grad():  # from 5 to -7: units that remember for long, and for a step
            spread = 5 - 12 * torch.linspace(0, 1, width) ** 0.3
            self.W_f.bias.copy_(spread.repeat(heads))

    def forward(
        self, x: Tensor, h: Tensor, c: Tensor, n: Tensor, m: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        kept = logsigmoid(self.W_f(x) + _by_head(self.R_f, h)) + m
        i = self.W_i(x) + _by_head(self.R_i, h)
        m = maximum(kept, i)
        f, i = exp(kept - m), exp(i - m)
        c = f * c + i * tanh(self.W_z(x) + _by_head(self.R_z, h))
        n = f * n.abs() + i
        h = sigmoid(self.W_o(x) + _by_head(self.R_o, h)) * c / n
        return h, h, c, n, m


def _zeros(heads: int, width: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(heads, width, width))


def _by_head(R: Tensor, h: Tensor) -> Tensor:
    """Multiply each head's part of h by its own matrix."""
    return torch.einsum("bhi,hoi->bho", split(h, len(R)), R).flatten(1)

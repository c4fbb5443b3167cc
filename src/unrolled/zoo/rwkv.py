"""The time mixing of RWKV-4."""

import math

import torch
from torch import Tensor, exp, maximum, nn, sigmoid
from torch.nn import Linear

from unrolled.cell import Cell
from unrolled.zoo.initial import start


class RWKV4(Cell):
    """Time mixing of RWKV-4: a mean of all values so far, each weighted by its key and its age.

        r   = sigmoid(W_r (mu_r * x) + p_r)
        k   = W_k (mu_k * x) + p_k
        v   = W_v (mu_v * x) + p_v
        s   = max(m, u + k)
        e   = exp(m - s)
        g   = exp(u + k - s)
        y   = W_o (r * (e * a + g * v) / (e * abs(b) + g))
        m'  = max(m - exp(w), k)
        f   = exp(m - exp(w) - m')
        i   = exp(k - m')
        a'  = f * a + i * v
        b'  = f * abs(b) + i
        p_r' = W_r ((1 - mu_r) * x)
        p_k' = W_k ((1 - mu_k) * x)
        p_v' = W_v ((1 - mu_v) * x)

    x (batch, inputs); a, b and y (batch, hidden): the weighted sum of the values, and that of the
    weights, both divided by exp(m); m (batch, hidden), the largest exponent so far; p_r, p_k and
    p_v (batch, hidden), what the input of the step before gives to the mix. mu has a number for
    each input, the weight of x beside the input before.
    Peng et al. 2023, arXiv:2305.13048 (with the exponents kept small as in its appendix). Departs
    from the paper in: abs, which changes nothing after a start at 0, and keeps the divisor positive
    after any other. mu, w and u start as in the first layer of the authors' code.

    Example:
        >>> list(RWKV4(3, 5).states)
        ['a', 'b', 'm', 'p_r', 'p_k', 'p_v']
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(a=hidden, b=hidden, m=hidden, p_r=hidden, p_k=hidden, p_v=hidden)
        share = torch.arange(inputs) / inputs
        self.W_r, self.mu_r = Linear(inputs, hidden, bias=False), nn.Parameter(share.sqrt())
        self.W_k, self.mu_k = Linear(inputs, hidden, bias=False), nn.Parameter(share.clone())
        self.W_v, self.mu_v = Linear(inputs, hidden, bias=False), nn.Parameter(share.clone())
        self.W_o = Linear(hidden, hidden, bias=False)
        self.w = nn.Parameter(8 * torch.linspace(0, 1, hidden) ** 0.7 - 5)
        zigzag = 0.5 * ((torch.arange(hidden) + 1) % 3 - 1)
        self.u = nn.Parameter(math.log(0.3) + zigzag)
        start(self)

    def forward(
        self, x: Tensor, a: Tensor, b: Tensor, m: Tensor, p_r: Tensor, p_k: Tensor, p_v: Tensor
    ) -> tuple[Tensor, ...]:
        r = sigmoid(self.W_r(self.mu_r * x) + p_r)
        k = self.W_k(self.mu_k * x) + p_k
        v = self.W_v(self.mu_v * x) + p_v
        s = maximum(m, self.u + k)
        e, g = exp(m - s), exp(self.u + k - s)
        y = self.W_o(r * (e * a + g * v) / (e * b.abs() + g))
        faded = m - exp(self.w)
        m = maximum(faded, k)
        f, i = exp(faded - m), exp(k - m)
        a, b = f * a + i * v, f * b.abs() + i
        earlier = (W((1 - mu) * x) for W, mu in self.mixes())
        return y, a, b, m, *earlier

    def mixes(self) -> tuple[tuple[Linear, nn.Parameter], ...]:
        """Give each matrix that reads a mix of two inputs, and the mix."""
        return (self.W_r, self.mu_r), (self.W_k, self.mu_k), (self.W_v, self.mu_v)

"""The delta rule: a matrix that learns, step by step, to give a key's value back."""

import torch
from torch import Tensor, exp, nn, sigmoid
from torch.nn import Linear
from torch.nn.functional import normalize, silu, softplus

from unrolled.cell import Cell
from unrolled.zoo.heads import outer, split, times, width_of_head
from unrolled.zoo.initial import start, start_steps


class DeltaNet(Cell):
    """Delta rule: what the matrix gives for a key moves towards the value by a share of the error.

        q  = unit(split(silu(W_q x), heads))
        k  = unit(split(silu(W_k x), heads))
        v  = split(silu(W_v x), heads)
        b  = sigmoid(W_b x)
        S' = S + b * (v - S k) k^T
        y  = flat(S' q)

    x (batch, inputs); S (batch, heads, hidden / heads, keys); b (batch, heads); y (batch, hidden).
    keys is by default hidden / heads.
    Yang et al. 2024, arXiv:2406.06484. Departs from the paper in: the short convolutions before
    silu, the norm and the output matrix are layers around the cell.

    Example:
        >>> DeltaNet(3, 8, heads=2, keys=3).states
        {'S': (2, 4, 3)}
    """

    def __init__(
        self, inputs: int, hidden: int, *, heads: int = 1, keys: int | None = None
    ) -> None:
        values = width_of_head(type(self).__name__, hidden, heads)
        keys = keys or values
        super().__init__(S=(heads, values, keys))
        self.heads, self.outputs = heads, hidden
        self.W_q, self.W_k = (Linear(inputs, heads * keys, bias=False) for _ in range(2))
        self.W_v, self.W_b = Linear(inputs, hidden, bias=False), Linear(inputs, heads, bias=False)
        start(self)

    def forward(self, x: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
        q, k, v, b = self.read(x)
        S = S + outer(b * (v - times(S, k)), k)
        return times(S, q).flatten(1), S

    def read(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Give q, k, v (batch, heads, width) and b (batch, heads, 1)."""
        q, k, v = (split(silu(W(x)), self.heads) for W in (self.W_q, self.W_k, self.W_v))
        return normalize(q, dim=-1), normalize(k, dim=-1), v, sigmoid(self.W_b(x))[..., None]


class GatedDeltaNet(DeltaNet):
    """Delta rule with a gate: the matrix fades before it learns, as fast as the input says.

        q  = unit(split(silu(W_q x), heads))
        k  = unit(split(silu(W_k x), heads))
        v  = split(silu(W_v x), heads)
        b  = sigmoid(W_b x)
        a  = exp(-exp(rate) * softplus(W_a x + b_a))
        F  = a * S
        S' = F + b * (v - F k) k^T
        y  = flat(S' q)

    x (batch, inputs); S (batch, heads, hidden / heads, keys); a and b (batch, heads);
    y (batch, hidden). keys is by default hidden / heads.
    Yang, Kautz & Hatamizadeh 2025, arXiv:2412.06464. Departs from the paper in: the short
    convolutions before silu, the norm, the gate and the output matrix are layers around the cell.
    rate and b_a start as in Mamba-2, whose gate a is.

    Example:
        >>> GatedDeltaNet(3, 8, heads=2).states
        {'S': (2, 4, 4)}
    """

    def __init__(
        self, inputs: int, hidden: int, *, heads: int = 1, keys: int | None = None
    ) -> None:
        super().__init__(inputs, hidden, heads=heads, keys=keys)
        self.rate = nn.Parameter(torch.log(torch.empty(heads).uniform_(1, 16)))
        self.W_a = Linear(inputs, heads)
        nn.init.xavier_uniform_(self.W_a.weight)
        start_steps(self.W_a)

    def forward(self, x: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
        q, k, v, b = self.read(x)
        a = exp(-exp(self.rate) * softplus(self.W_a(x)))
        S = a[..., None, None] * S
        S = S + outer(b * (v - times(S, k)), k)
        return times(S, q).flatten(1), S

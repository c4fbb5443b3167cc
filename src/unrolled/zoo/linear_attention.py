"""Linear attention as a recurrence: a matrix of keys by values that fades."""

import torch
from torch import Tensor, exp, sigmoid
from torch.nn import Linear
from torch.nn.functional import logsigmoid, silu

from unrolled.cell import Cell
from unrolled.zoo.heads import outer, split, times, width_of_head
from unrolled.zoo.initial import start


class RetNet(Cell):
    """Retention: each head's matrix fades at a rate of its own, which does not change.

        q  = split(W_q x, heads)
        k  = split(W_k x, heads)
        v  = split(W_v x, heads)
        S' = decay * S + k v^T
        y  = flat(S'^T q)

    x (batch, inputs); S (batch, heads, keys, hidden / heads); y (batch, hidden). keys is by default
    hidden / heads; decay is 1 - 2^-5 for the first head, 1 - 2^-6 for the second, and so on.
    Sun et al. 2023, arXiv:2307.08621 (its recurrent form). Departs from the paper in: q and k are
    not turned by their position (xPos); the group norm, the gate and the output matrix are layers
    behind the cell.

    Example:
        >>> RetNet(3, 8, heads=2).states
        {'S': (2, 4, 4)}
    """

    decay: Tensor

    def __init__(
        self, inputs: int, hidden: int, *, heads: int = 1, keys: int | None = None
    ) -> None:
        values = width_of_head("RetNet", hidden, heads)
        keys = keys or values
        super().__init__(S=(heads, keys, values))
        self.heads, self.outputs = heads, hidden
        self.W_q, self.W_k = (Linear(inputs, heads * keys, bias=False) for _ in range(2))
        self.W_v = Linear(inputs, hidden, bias=False)
        rates = 1 - 2.0 ** (-5 - torch.arange(heads))
        self.register_buffer("decay", rates[:, None, None], persistent=False)
        start(self)

    def forward(self, x: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
        q, k, v = (split(W(x), self.heads) for W in (self.W_q, self.W_k, self.W_v))
        S = self.decay * S + outer(k, v)
        return times(S.mT, q).flatten(1), S


class GLA(Cell):
    """Gated linear attention: the input decides how fast each key fades.

        q  = split(W_q x, heads)
        k  = split(W_k x, heads)
        v  = split(W_v x, heads)
        a  = split(exp(logsigmoid(W_a D x + b_a) / 16), heads)
        S' = a * S + k v^T
        y  = flat(S'^T q)

    x (batch, inputs); S (batch, heads, keys, hidden / heads), of which a multiplies whole rows;
    y (batch, hidden). keys is by default hidden / heads; the paper has half of that. D maps x to
    rank numbers.
    Yang et al. 2024, arXiv:2312.06635. Departs from the paper in: the layer norm, the gate and the
    output matrix are layers behind the cell.

    Example:
        >>> GLA(3, 8, heads=2, keys=3).states
        {'S': (2, 3, 4)}
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        *,
        heads: int = 1,
        keys: int | None = None,
        rank: int = 16,
    ) -> None:
        values = width_of_head("GLA", hidden, heads)
        keys = keys or values
        super().__init__(S=(heads, keys, values))
        self.heads, self.outputs = heads, hidden
        self.W_q, self.W_k = (Linear(inputs, heads * keys, bias=False) for _ in range(2))
        self.W_v = Linear(inputs, hidden, bias=False)
        self.D, self.W_a = Linear(inputs, rank, bias=False), Linear(rank, heads * keys)
        start(self)

    def forward(self, x: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
        q, k, v = (split(W(x), self.heads) for W in (self.W_q, self.W_k, self.W_v))
        a = split(exp(logsigmoid(self.W_a(self.D(x))) / 16), self.heads)
        S = a[..., None] * S + outer(k, v)
        return times(S.mT, q).flatten(1), S


class HGRN2(Cell):
    """Gated recurrence with outer products: what is forgotten of a key is what is written to it.

        q  = split(silu(W_q x), heads)
        v  = split(W_v x, heads)
        f  = split(bound + (1 - bound) * sigmoid(W_f x), heads)
        S' = f * S + (1 - f) v^T
        y  = flat(S'^T q)

    x (batch, inputs); S (batch, heads, keys, hidden / heads), of which f multiplies whole rows;
    y (batch, hidden). keys is by default hidden / heads; bound, at least 0 and below 1, should grow
    from layer to layer.
    Qin et al. 2024, arXiv:2404.07904, and the authors' code. Departs from the paper in: bound is a
    number, where the paper learns those of all layers together; the norm and the output matrix are
    layers behind the cell.

    Example:
        >>> HGRN2(3, 8, heads=2, keys=3).states
        {'S': (2, 3, 4)}
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        *,
        heads: int = 1,
        keys: int | None = None,
        bound: float = 0.0,
    ) -> None:
        values = width_of_head("HGRN2", hidden, heads)
        keys = keys or values
        super().__init__(S=(heads, keys, values))
        self.heads, self.outputs, self.bound = heads, hidden, bound
        self.W_q, self.W_f = (Linear(inputs, heads * keys, bias=False) for _ in range(2))
        self.W_v = Linear(inputs, hidden, bias=False)
        start(self)

    def forward(self, x: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
        q, v = split(silu(self.W_q(x)), self.heads), split(self.W_v(x), self.heads)
        f = split(self.bound + (1 - self.bound) * sigmoid(self.W_f(x)), self.heads)
        S = f[..., None] * S + outer(1 - f, v)
        return times(S.mT, q).flatten(1), S

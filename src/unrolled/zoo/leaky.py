"""Cells whose state fades at a rate that is set, not learned."""

from torch import Tensor, sigmoid, tanh
from torch.nn import Linear

from unrolled.cell import Cell
from unrolled.zoo.initial import start


class SCRN(Cell):
    """Structurally constrained network: a simple network beside a context that moves slowly.

        s' = (1 - alpha) * W_s x + alpha * s
        h' = sigmoid(P s' + W_h x + U_h h)
        y  = V_h h' + V_s s'

    x (batch, inputs); h and the output (batch, hidden); s (batch, context), by default 2/5 of
    hidden, at least 1; 0 <= alpha < 1 is how much of the context stays.
    Mikolov et al. 2014, arXiv:1412.7753. Departs from the paper in: the function f around y, which
    belongs to the model that reads it. (torchrecurrent 0.2.5 takes y for the next step's h.)

    Example:
        >>> SCRN(3, 5).states
        {'h': (5,), 's': (2,)}
    """

    def __init__(
        self, inputs: int, hidden: int, *, context: int | None = None, alpha: float = 0.95
    ) -> None:
        context = context or max(1, 2 * hidden // 5)
        super().__init__(h=hidden, s=context)
        self.alpha = alpha
        self.W_s = Linear(inputs, context, bias=False)
        self.W_h, self.U_h = Linear(inputs, hidden, bias=False), Linear(hidden, hidden, bias=False)
        self.P = Linear(context, hidden, bias=False)
        self.V_h, self.V_s = Linear(hidden, hidden, bias=False), Linear(context, hidden, bias=False)
        start(self)

    def forward(self, x: Tensor, h: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        s = (1 - self.alpha) * self.W_s(x) + self.alpha * s
        h = sigmoid(self.P(s) + self.W_h(x) + self.U_h(h))
        return self.V_h(h) + self.V_s(s), h, s


class MiRU1(Cell):
    """Minion recurrent unit, first form: a GRU whose update is a constant.

        r  = sigmoid(W_r x + b_r + U_r h)
        n  = tanh(W_n x + b_n + U_n (r * h))
        h' = keep * h + (1 - keep) * n

    x (batch, inputs); h, which is also the output, (batch, hidden); keep is the paper's lambda.
    Zyarah & Kudithipudi 2025, arXiv:2503.06175. Departs from the paper in: nothing.

    Example:
        >>> MiRU1(3, 5, keep=0.9).states
        {'h': (5,)}
    """

    def __init__(self, inputs: int, hidden: int, *, keep: float = 0.5) -> None:
        super().__init__(h=hidden)
        self.keep = keep
        self.W_r, self.U_r = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        self.W_n, self.U_n = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        r = sigmoid(self.W_r(x) + self.U_r(h))
        n = tanh(self.W_n(x) + self.U_n(r * h))
        h = self.keep * h + (1 - self.keep) * n
        return h, h


class MiRU2(Cell):
    """Minion recurrent unit, second form: a GRU whose update and reset are constants.

        n  = tanh(W_n x + b_n + U_n (reset * h))
        h' = keep * h + (1 - keep) * n

    x (batch, inputs); h, which is also the output, (batch, hidden); keep and reset are the paper's
    lambda and beta. Zyarah & Kudithipudi 2025, arXiv:2503.06175. Departs from the paper in:
    nothing.

    Example:
        >>> MiRU2(3, 5, keep=0.9, reset=0.7).states
        {'h': (5,)}
    """

    def __init__(self, inputs: int, hidden: int, *, keep: float = 0.5, reset: float = 0.5) -> None:
        super().__init__(h=hidden)
        self.keep, self.reset = keep, reset
        self.W_n, self.U_n = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        n = tanh(self.W_n(x) + self.U_n(self.reset * h))
        h = self.keep * h + (1 - self.keep) * n
        return h, h

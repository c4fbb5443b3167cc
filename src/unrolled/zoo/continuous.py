"""Networks whose state follows time between the steps, in closed form."""

from torch import Tensor, sigmoid, tanh
from torch.nn import Linear

from unrolled.cell import Cell
from unrolled.zoo.initial import start


class CfC(Cell):
    """Closed-form continuous-time network: between two answers, time says how far.

        z  = 1.7159 * tanh(0.666 * (W x + b + U h))
        g  = tanh(W_g z + b_g)
        k  = tanh(W_k z + b_k)
        t  = sigmoid((W_a z + b_a) * dt + W_c z + b_c)
        h' = (1 - t) * g + t * k

    x (batch, inputs); z (batch, units), the backbone that all heads share; h, which is also the
    output, (batch, hidden); dt is the time between two steps. units is by default hidden.
    Hasani et al. 2022, arXiv:2106.13898, equation 3, and the authors' code, which the form of t and
    of the backbone follow. Departs from the paper in: steps lie evenly in time.

    Example:
        >>> CfC(3, 5, units=8).states
        {'h': (5,)}
    """

    def __init__(
        self, inputs: int, hidden: int, *, units: int | None = None, dt: float = 1.0
    ) -> None:
        super().__init__(h=hidden)
        self.dt, units = dt, units or hidden
        self.W, self.U = Linear(inputs, units), Linear(hidden, units, bias=False)
        self.W_g, self.W_k = Linear(units, hidden), Linear(units, hidden)
        self.W_a, self.W_c = Linear(units, hidden), Linear(units, hidden)
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        z = 1.7159 * tanh(0.666 * (self.W(x) + self.U(h)))
        t = sigmoid(self.W_a(z) * self.dt + self.W_c(z))
        h = (1 - t) * tanh(self.W_g(z)) + t * tanh(self.W_k(z))
        return h, h

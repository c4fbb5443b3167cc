"""Networks as steps of a differential equation, whose matrices are skew, or nearly so."""

from math import sqrt

from torch import Tensor, nn, sigmoid, tanh
from torch.nn import Linear
from torch.nn.functional import linear

from unrolled.cell import Cell
from unrolled.zoo.initial import start


class AntisymmetricRNN(Cell):
    """Antisymmetric RNN: a step along a flow that neither grows nor fades.

        a  = W x + b + U h - U^T h - gamma * h
        h' = h + epsilon * tanh(a)

    x (batch, inputs); h, which is also the output, (batch, hidden); epsilon > 0 is the size of a
    step, smaller for longer sequences, gamma >= 0 the diffusion that keeps steps stable.
    Chang et al. 2019, arXiv:1902.09689, equation 12. Departs from the paper in: nothing.

    Example:
        >>> AntisymmetricRNN(3, 5, epsilon=0.01).states
        {'h': (5,)}
    """

    def __init__(
        self, inputs: int, hidden: int, *, epsilon: float = 0.1, gamma: float = 0.01
    ) -> None:
        super().__init__(h=hidden)
        self.epsilon, self.gamma = epsilon, gamma
        self.W, self.U = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        _start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        a = self.W(x) + _skewed(self.U, h) - self.gamma * h
        h = h + self.epsilon * tanh(a)
        return h, h


class GatedAntisymmetricRNN(Cell):
    """Antisymmetric RNN with a gate that reads the state through the same matrix.

        u  = U h - U^T h - gamma * h
        z  = sigmoid(W_z x + b_z + u)
        h' = h + epsilon * z * tanh(W_h x + b_h + u)

    x (batch, inputs); h, which is also the output, (batch, hidden); epsilon and gamma as in
    `AntisymmetricRNN`. Chang et al. 2019, arXiv:1902.09689, equation 13. Departs from the paper in:
    nothing.

    Example:
        >>> GatedAntisymmetricRNN(3, 5, epsilon=0.01).states
        {'h': (5,)}
    """

    def __init__(
        self, inputs: int, hidden: int, *, epsilon: float = 0.1, gamma: float = 0.01
    ) -> None:
        super().__init__(h=hidden)
        self.epsilon, self.gamma = epsilon, gamma
        self.W_z, self.W_h = Linear(inputs, hidden), Linear(inputs, hidden)
        self.U = Linear(hidden, hidden, bias=False)
        _start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        u = _skewed(self.U, h) - self.gamma * h
        z = sigmoid(self.W_z(x) + u)
        h = h + self.epsilon * z * tanh(self.W_h(x) + u)
        return h, h


class LipschitzRNN(Cell):
    """Lipschitz RNN: a step of a stable linear flow and of a bent one.

        k  = 1 - 2 * beta
        a  = U_a h + k * U_a^T h - gamma * h
        u  = U_w h + k * U_w^T h - gamma * h
        h' = h + epsilon * (a + tanh(W x + b + u))

    x (batch, inputs); h, which is also the output, (batch, hidden); 0.5 <= beta <= 1 is the part of
    the matrices that is skew, the rest symmetric; epsilon and gamma as in `AntisymmetricRNN`.
    Erichson et al. 2021, arXiv:2006.12070. The paper's (1 - beta) (M + M^T) + beta (M - M^T) is
    M + (1 - 2 beta) M^T. Departs from the paper in: one beta and one gamma for both matrices, as in
    its experiments.

    Example:
        >>> LipschitzRNN(3, 5, beta=0.8).states
        {'h': (5,)}
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        *,
        epsilon: float = 0.1,
        beta: float = 0.75,
        gamma: float = 0.01,
    ) -> None:
        super().__init__(h=hidden)
        self.epsilon, self.beta, self.gamma = epsilon, beta, gamma
        self.W = Linear(inputs, hidden)
        self.U_a, self.U_w = Linear(hidden, hidden, bias=False), Linear(hidden, hidden, bias=False)
        _start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        k = 1 - 2 * self.beta
        a = _skewed(self.U_a, h, k) - self.gamma * h
        u = _skewed(self.U_w, h, k) - self.gamma * h
        h = h + self.epsilon * (a + tanh(self.W(x) + u))
        return h, h


def _skewed(matrix: Linear, h: Tensor, mirrored: float = -1.0) -> Tensor:
    """Multiply by a matrix and a multiple of its transpose: one product, the sum is made once."""
    return linear(h, matrix.weight + mirrored * matrix.weight.T)


def _start(cell: nn.Module) -> None:
    """Fill the matrices with normal numbers: an orthogonal one need not have a skew part."""
    start(cell)
    for child in cell.children():
        if isinstance(child, Linear):
            nn.init.normal_(child.weight, std=sqrt(1 / child.in_features))

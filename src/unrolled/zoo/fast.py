"""Small cells for small devices: one pair of matrices, and two trained numbers beside it."""

import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.nn import Linear

from unrolled.cell import Cell
from unrolled.zoo.initial import start
from unrolled.zoo.matrices import gate


class FastRNN(Cell):
    """Simple recurrent network with a weighted residual connection.

        n  = tanh(W x + b + U h)
        h' = sigmoid(alpha) * n + sigmoid(beta) * h

    x (batch, inputs); h, which is also the output, (batch, hidden); alpha and beta are numbers,
    and start at -3 and 3, as in the authors' code, so that the state changes slowly.
    Kusupati et al. 2018, arXiv:1901.02358. Departs from the paper in: nothing.

    Example:
        >>> FastRNN(3, 5).states
        {'h': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W, self.U = gate(inputs, hidden)
        self.alpha, self.beta = (nn.Parameter(torch.tensor(a)) for a in (-3.0, 3.0))
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        n = tanh(self.W(x) + self.U(h))
        h = sigmoid(self.alpha) * n + sigmoid(self.beta) * h
        return h, h


class FastGRNN(Cell):
    """FastRNN with a gate that shares the matrices of the new state.

        a  = W x + U h
        z  = sigmoid(a + b_z)
        n  = tanh(a + b_n)
        h' = (sigmoid(zeta) * (1 - z) + sigmoid(nu)) * n + z * h

    x (batch, inputs); h, which is also the output, (batch, hidden); zeta and nu are numbers; they
    start at 1 and -4, and the biases at 1, as in the authors' code.
    Kusupati et al. 2018, arXiv:1901.02358; torchrecurrent 0.2.5 differs, its z is a tanh unless it
    is told otherwise, and zeta starts at another number. Departs from the paper in: W and U are
    whole, where the paper also makes them of low rank, sparse and of few bits.

    Example:
        >>> FastGRNN(3, 5).states
        {'h': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W, self.U = Linear(inputs, hidden, bias=False), Linear(hidden, hidden, bias=False)
        self.b_z, self.b_n = (nn.Parameter(torch.ones(hidden)) for _ in range(2))
        self.zeta, self.nu = (nn.Parameter(torch.tensor(a)) for a in (1.0, -4.0))
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        a = self.W(x) + self.U(h)
        z = sigmoid(a + self.b_z)
        n = tanh(a + self.b_n)
        h = (sigmoid(self.zeta) * (1 - z) + sigmoid(self.nu)) * n + z * h
        return h, h

"""The gated recurrent unit, and two forms of it."""

from torch import Tensor, relu, sigmoid, tanh
from torch.nn import Linear

from unrolled.cell import Cell, TorchForm
from unrolled.zoo.initial import start
from unrolled.zoo.matrices import gate


class GRU(Cell):
    """Gated recurrent unit, the reset after the matrix.

        r  = sigmoid(W_r x + b_r + U_r h + d_r)
        z  = sigmoid(W_z x + b_z + U_z h + d_z)
        n  = tanh(W_n x + b_n + r * (U_n h + d_n))
        h' = (1 - z) * n + z * h

    x (batch, inputs); h, which is also the output, (batch, hidden).
    Cho et al. 2014, arXiv:1406.1078. Departs from the paper in: r multiplies U_n h + d_n, as in
    cuDNN and `torch.nn.GRU`, where the paper has U_n (r * h); z keeps, as in the paper.

    Example:
        >>> GRU(3, 5).states
        {'h': (5,)}
    """

    torch_form = TorchForm("gru", ("_r", "_z", "_n"))

    def __init__(self, inputs: int, hidden: int, *, bias: bool = True) -> None:
        super().__init__(h=hidden)
        self.W_r, self.U_r = Linear(inputs, hidden, bias), Linear(hidden, hidden, bias)
        self.W_z, self.U_z = Linear(inputs, hidden, bias), Linear(hidden, hidden, bias)
        self.W_n, self.U_n = Linear(inputs, hidden, bias), Linear(hidden, hidden, bias)
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        r = sigmoid(self.W_r(x) + self.U_r(h))
        z = sigmoid(self.W_z(x) + self.U_z(h))
        n = tanh(self.W_n(x) + r * self.U_n(h))
        h = (1 - z) * n + z * h
        return h, h


class GRUv3(Cell):
    """Gated recurrent unit, the reset before the matrix.

        r  = sigmoid(W_r x + b_r + U_r h)
        z  = sigmoid(W_z x + b_z + U_z h)
        n  = tanh(W_n x + b_n + U_n (r * h))
        h' = (1 - z) * n + z * h

    x (batch, inputs); h, which is also the output, (batch, hidden).
    Cho et al. 2014, arXiv:1406.1078v3, whose first version has the reset after the matrix, as `GRU`
    here. Departs from the paper in: the biases b, which its equations leave out.

    Example:
        >>> GRUv3(3, 5).states
        {'h': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W_r, self.U_r = gate(inputs, hidden)
        self.W_z, self.U_z = gate(inputs, hidden)
        self.W_n, self.U_n = gate(inputs, hidden)
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        r = sigmoid(self.W_r(x) + self.U_r(h))
        z = sigmoid(self.W_z(x) + self.U_z(h))
        n = tanh(self.W_n(x) + self.U_n(r * h))
        h = (1 - z) * n + z * h
        return h, h


class LiGRU(Cell):
    """Light gated recurrent unit, for speech: no reset gate, and a rectifier for the new state.

        z  = sigmoid(W_z x + b_z + U_z h)
        n  = relu(W_n x + b_n + U_n h)
        h' = z * h + (1 - z) * n

    x (batch, inputs); h, which is also the output, (batch, hidden).
    Ravanelli et al. 2018, arXiv:1803.10225. Departs from the paper in: biases in place of the batch
    normalisation of W_z x and W_n x, for the rows of a batch are independent here.

    Example:
        >>> LiGRU(3, 5).states
        {'h': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W_z, self.U_z = gate(inputs, hidden)
        self.W_n, self.U_n = gate(inputs, hidden)
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        z = sigmoid(self.W_z(x) + self.U_z(h))
        n = relu(self.W_n(x) + self.U_n(h))
        h = z * h + (1 - z) * n
        return h, h

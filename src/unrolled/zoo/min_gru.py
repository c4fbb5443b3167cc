"""GRU and LSTM cut down until their gates read the input only."""

from torch import Tensor, sigmoid
from torch.nn import Linear

from unrolled.cell import Cell
from unrolled.zoo.initial import start


class MinGRU(Cell):
    """Minimal gated recurrent unit: a running mean whose weight the input decides.

        z  = sigmoid(W_z x + b_z)
        n  = W_n x + b_n
        h' = (1 - z) * h + z * n

    x (batch, inputs); h, which is also the output, (batch, hidden).
    Feng et al. 2024, arXiv:2410.01201 (section 3.1). Departs from the paper in: nothing; the form
    of its appendix B, which keeps h positive to work with logarithms, is another cell.

    Example:
        >>> MinGRU(3, 5).states
        {'h': (5,)}
    """

    def __init__(self, inputs: int, hidden: int, *, bias: bool = True) -> None:
        super().__init__(h=hidden)
        self.W_z, self.W_n = Linear(inputs, hidden, bias), Linear(inputs, hidden, bias)
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        z = sigmoid(self.W_z(x))
        n = self.W_n(x)
        h = (1 - z) * h + z * n
        return h, h


class MinLSTM(Cell):
    """Minimal long short-term memory: forget and input gate, normalised to sum to 1.

        f  = sigmoid(W_f x + b_f)
        i  = sigmoid(W_i x + b_i)
        n  = W_n x + b_n
        h' = f / (f + i) * h + i / (f + i) * n

    x (batch, inputs); h, which is also the output, (batch, hidden).
    Feng et al. 2024, arXiv:2410.01201 (section 3.2, with the gates normalised). Departs from the
    paper in: nothing; the form of its appendix B, which keeps h positive, is another cell.

    Example:
        >>> MinLSTM(3, 5).states
        {'h': (5,)}
    """

    def __init__(self, inputs: int, hidden: int, *, bias: bool = True) -> None:
        super().__init__(h=hidden)
        self.W_f, self.W_i = Linear(inputs, hidden, bias), Linear(inputs, hidden, bias)
        self.W_n = Linear(inputs, hidden, bias)
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        f = sigmoid(self.W_f(x))
        i = sigmoid(self.W_i(x))
        n = self.W_n(x)
        h = f / (f + i) * h + i / (f + i) * n
        return h, h

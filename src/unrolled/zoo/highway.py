"""The recurrent highway network."""

from torch import Tensor, nn, sigmoid, tanh
from torch.nn import Linear

from unrolled.cell import Cell
from unrolled.errors import ConfigError
from unrolled.zoo.initial import start

GATE_BIAS = -2.0  # as the authors' code on Penn Treebank: the state mostly passes at first


class RHN(Cell):
    """Recurrent highway network: several gated layers, one after the other, within a step.

        n  = tanh(W_n x + b_n + U_n_1 h)
        t  = sigmoid(W_t x + b_t + U_t_1 h)
        s  = t * n + (1 - t) * h
        for l = 2 .. depth:
            n = tanh(U_n_l s + d_n_l)
            t = sigmoid(U_t_l s + d_t_l)
            s = t * n + (1 - t) * s
        h' = s

    x (batch, inputs), which the first layer reads; h, which is also the output, (batch, hidden);
    depth >= 1 is the number of layers.
    Zilly et al. 2017, arXiv:1607.03474. Departs from the paper in: the carry gate is 1 - t, as in
    the paper's experiments. Biases of t start at -2.

    Example:
        >>> sum(name.startswith("U_n") for name, _ in RHN(3, 5, depth=4).named_children())
        4
    """

    def __init__(self, inputs: int, hidden: int, *, depth: int = 3) -> None:
        super().__init__(h=hidden)
        if depth < 1:
            raise ConfigError(f"RHN has depth {depth}: it needs a layer, depth=1 or more")
        self.depth = depth
        self.W_n, self.U_n_1 = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        self.W_t, self.U_t_1 = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        for layer in range(2, depth + 1):
            self.add_module(f"U_n_{layer}", Linear(hidden, hidden))
            self.add_module(f"U_t_{layer}", Linear(hidden, hidden))
        start(self)
        for name, bias in self.named_parameters():
            if "_t" in name and name.endswith("bias"):
                nn.init.constant_(bias, GATE_BIAS)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        n = tanh(self.W_n(x) + self.U_n_1(h))
        t = sigmoid(self.W_t(x) + self.U_t_1(h))
        h = t * n + (1 - t) * h
        for layer in range(2, self.depth + 1):
            n = tanh(self.get_submodule(f"U_n_{layer}")(h))
            t = sigmoid(self.get_submodule(f"U_t_{layer}")(h))
            h = t * n + (1 - t) * h
        return h, h

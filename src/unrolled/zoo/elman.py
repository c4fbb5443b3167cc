"""The simple recurrent network."""

from typing import Literal

from torch import Tensor, relu, tanh
from torch.nn import Linear

from unrolled.cell import Cell, TorchForm
from unrolled.zoo.initial import start

ACTIVATIONS = {"tanh": tanh, "relu": relu}


class Elman(Cell):
    """Simple recurrent network: the state is one layer over the input and the state before.

        h' = act(W x + b + U h + d)

    x (batch, inputs); h, which is also the output, (batch, hidden); act is tanh or relu.
    Elman 1990, doi:10.1207/s15516709cog1402_1. Departs from the paper in: the second bias d, which
    `torch.nn.RNN` has, and the choice of act, a sigmoid there.

    Example:
        >>> Elman(3, 5).states
        {'h': (5,)}
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        *,
        bias: bool = True,
        activation: Literal["tanh", "relu"] = "tanh",
    ) -> None:
        super().__init__(h=hidden)
        self.W, self.U = Linear(inputs, hidden, bias), Linear(hidden, hidden, bias)
        self.activation, self.act = activation, ACTIVATIONS[activation]
        start(self)

    @property
    def torch_form(self) -> TorchForm:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The recurrence of torch with this activation."""
        return TorchForm(f"rnn_{self.activation}", ("",))

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.act(self.W(x) + self.U(h))
        return h, h

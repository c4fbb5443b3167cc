"""The clockwork network."""

from collections.abc import Sequence

import torch
from torch import Tensor, floor, relu, tanh
from torch.nn import Linear

from unrolled.cell import Cell
from unrolled.errors import ConfigError
from unrolled.zoo.initial import start


class ClockworkRNN(Cell):
    """Clockwork RNN: groups of neurons that move every so many steps, and see slower groups only.

        k  = round(t)
        on = relu(1 - (k - period * floor((k + 0.5) / period)))
        h' = on * tanh(W x + b + U_slower h) + (1 - on) * h
        t' = t + 1

    x (batch, inputs); h, which is also the output, (batch, hidden); t (batch, 1) counts the steps.
    Neurons are dealt out to the periods in order, as evenly as it goes; on is 1 where t is a
    multiple of a neuron's period, and 0 elsewhere.
    Koutnik et al. 2014, arXiv:1402.3511. Departs from the paper in: nothing.

    Raises:
        ConfigError: there is no period, or one below 1.

    Example:
        >>> ClockworkRNN(3, 8, periods=(1, 4)).period.tolist()
        [1.0, 1.0, 1.0, 1.0, 4.0, 4.0, 4.0, 4.0]
    """

    period: Tensor  # (hidden,)
    slower: Tensor  # (hidden, hidden): 1 where a neuron sees another, 0 elsewhere

    def __init__(self, inputs: int, hidden: int, *, periods: Sequence[int] = (1, 2, 4, 8)) -> None:
        super().__init__(h=hidden, t=1)
        if not periods or min(periods) < 1:
            raise ConfigError(f"ClockworkRNN has periods {periods}: give some, each 1 or more")
        dealt = [float(periods[i * len(periods) // hidden]) for i in range(hidden)]
        self.register_buffer("period", torch.tensor(dealt))
        self.register_buffer("slower", (self.period >= self.period[:, None]).float())
        self.W, self.U = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        start(self)

    @property
    def U_slower(self) -> Tensor:
        """U, with 0 where a neuron does not see another."""
        return self.U.weight * self.slower

    def forward(self, x: Tensor, h: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        k = t.round()
        on = relu(1 - (k - self.period * floor((k + 0.5) / self.period)))
        h = on * tanh(self.W(x) + h @ self.U_slower.T) + (1 - on) * h
        return h, h, t + 1

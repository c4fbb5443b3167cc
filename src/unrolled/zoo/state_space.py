"""The selective state space of Mamba."""

import math

import torch
from torch import Tensor, exp, nn
from torch.nn import Linear
from torch.nn.functional import softplus

from unrolled.cell import Cell
from unrolled.zoo.heads import outer, times
from unrolled.zoo.initial import start, start_steps


class S6(Cell):
    """Selective state space, as in Mamba: the input says how long each step is, and what it writes.

        v  = W x + b
        d  = softplus(W_d D v + b_d)
        B  = W_B v
        C  = W_C v
        h' = exp(-d * exp(rates)) * h + (d * v) B^T
        y  = h' C + skip * v

    x (batch, inputs); h (batch, hidden, places): for each unit a row of numbers, each of which
    fades at a rate of its own; d, v and y (batch, hidden). places is by default 16, and rank, the
    width of D v, a sixteenth of hidden.
    Gu & Dao 2023, arXiv:2312.00752 (algorithm 2). Departs from the paper in: the layer W before it,
    which in Mamba's block has a convolution behind it, is part of the cell, so that widths may
    differ; B is multiplied by d, as in the authors' code, where the paper integrates exactly.

    Example:
        >>> S6(3, 5).states
        {'h': (5, 16)}
    """

    def __init__(
        self, inputs: int, hidden: int, *, places: int = 16, rank: int | None = None
    ) -> None:
        rank = rank or math.ceil(hidden / 16)
        super().__init__(h=(hidden, places))
        self.outputs = hidden
        self.W = Linear(inputs, hidden)
        self.D, self.W_d = Linear(hidden, rank, bias=False), Linear(rank, hidden)
        self.W_B, self.W_C = (Linear(hidden, places, bias=False) for _ in range(2))
        start(self)
        start_steps(self.W_d)
        nn.init.uniform_(self.W_d.weight, -(rank**-0.5), rank**-0.5)
        self.rates = nn.Parameter(torch.log(torch.arange(1.0, places + 1)).repeat(hidden, 1))
        self.skip = nn.Parameter(torch.ones(hidden))

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        v = self.W(x)
        d = softplus(self.W_d(self.D(v)))
        h = exp(-d[..., None] * exp(self.rates)) * h + outer(d * v, self.W_B(v))
        return times(h, self.W_C(v)) + self.skip * v, h

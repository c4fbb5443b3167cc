"""A recurrence that keeps lengths: its matrix is orthogonal at every step of training."""

import torch
from torch import Tensor, nn, relu, sign
from torch.nn import Linear, Parameter
from torch.nn.utils.parametrizations import orthogonal

from unrolled.cell import Cell
from unrolled.zoo.initial import start


class ExpRNN(Cell):
    """Exponential RNN: an orthogonal matrix, as the exponential of a skew one.

        a  = W x + U h
        s  = relu(abs(a) + c)
        h' = sign(a) * s

    x (batch, inputs); h, which is also the output, (batch, hidden). U is a fixed orthogonal matrix
    times exp(A - A^T), so that gradients of any A keep it orthogonal; what follows is modReLU. A
    loop in PyTorch computes U at every step, the cell's program once a call.
    Lezcano-Casado & Martinez-Rubio 2019, arXiv:1901.08428, with PyTorch's parametrization by the
    same author. Departs from the paper in: U starts as a random orthogonal matrix, where the paper
    starts from blocks of turns.

    Example:
        >>> cell = ExpRNN(3, 5)
        >>> bool((cell.U.weight @ cell.U.weight.T - torch.eye(5)).abs().max() < 1e-5)
        True
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W, self.U = Linear(inputs, hidden, bias=False), Linear(hidden, hidden, bias=False)
        self.c = Parameter(torch.empty(hidden))
        start(self)
        nn.init.uniform_(self.c, -0.01, 0.01)
        orthogonal(self.U, orthogonal_map="matrix_exp")

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        a = self.W(x) + self.U(h)
        h = sign(a) * relu(a.abs() + self.c)
        return h, h

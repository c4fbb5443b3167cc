"""Diagonal linear recurrences: LRU, RG-LRU and HGRN."""

import math

import torch
from torch import Tensor, cos, exp, nn, sigmoid, sin, sqrt
from torch.nn import Linear
from torch.nn.functional import logsigmoid, silu

from unrolled.cell import Cell
from unrolled.zoo.initial import start


class LRU(Cell):
    """Linear recurrent unit: each place turns and shrinks a complex number by a learnt factor.

        a   = exp(-exp(nu))
        re' = a * (cos(exp(theta)) * re - sin(exp(theta)) * im) + exp(gamma) * B_re x
        im' = a * (sin(exp(theta)) * re + cos(exp(theta)) * im) + exp(gamma) * B_im x
        y   = C_re re' - C_im im' + D x

    x (batch, inputs); re, im and y (batch, hidden). The factors start on the ring between the radii
    r_min and r_max, at angles up to max_phase; gamma then makes |h| as large as |B x|.
    Orvieto et al. 2023, arXiv:2303.06349; not the light recurrent unit. Departs from the paper in:
    D is a matrix, where the paper has a vector, because inputs and outputs may differ in width.

    Example:
        >>> LRU(3, 5).states
        {'re': (5,), 'im': (5,)}
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        *,
        r_min: float = 0.0,
        r_max: float = 1.0,
        max_phase: float = 2 * math.pi,
    ) -> None:
        super().__init__(re=hidden, im=hidden)
        inside = torch.rand(hidden).clamp(1e-4, 1 - 1e-4)  # neither 0 nor 1: log of a log
        square = r_min**2 + inside * (r_max**2 - r_min**2)
        self.nu = nn.Parameter(torch.log(-0.5 * torch.log(square)))
        self.theta = nn.Parameter(torch.log(max_phase * torch.rand(hidden).clamp(min=1e-4)))
        self.gamma = nn.Parameter(0.5 * torch.log(1 - square))
        self.B_re, self.B_im = (Linear(inputs, hidden, bias=False) for _ in range(2))
        self.C_re, self.C_im = (Linear(hidden, hidden, bias=False) for _ in range(2))
        self.D = Linear(inputs, hidden, bias=False)
        for matrix, variance in ((self.B_re, 0.5), (self.B_im, 0.5), (self.D, 1.0)):
            nn.init.normal_(matrix.weight, std=math.sqrt(variance / inputs))
        for matrix in (self.C_re, self.C_im):
            nn.init.normal_(matrix.weight, std=math.sqrt(1 / hidden))

    def forward(self, x: Tensor, re: Tensor, im: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, phase, scale = exp(-exp(self.nu)), exp(self.theta), exp(self.gamma)
        across, along = a * cos(phase), a * sin(phase)
        re, im = (
            across * re - along * im + scale * self.B_re(x),
            along * re + across * im + scale * self.B_im(x),
        )
        return self.C_re(re) - self.C_im(im) + self.D(x), re, im


class RGLRU(Cell):
    """Real-gated linear recurrent unit: the input decides how fast each place forgets.

        v  = W x + b
        r  = sigmoid(W_r v + b_r)
        i  = sigmoid(W_i v + b_i)
        a  = exp(8 * r * logsigmoid(decay))
        h' = a * h + sqrt(1 - a ^ 2) * i * v

    x (batch, inputs); h, which is also the output, (batch, hidden). sigmoid(decay) ^ 8 starts
    uniform between 0.9 and 0.999.
    De et al. 2024, arXiv:2402.19427 (section 2.4). Departs from the paper in: the layer W before
    it, which in Griffin's block has a convolution behind it, is part of the cell, so that widths
    may differ; W_r and W_i are full matrices, as in the paper's equations, and not in blocks.

    Example:
        >>> RGLRU(3, 5).states
        {'h': (5,)}
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W = Linear(inputs, hidden)
        self.W_r, self.W_i = Linear(hidden, hidden), Linear(hidden, hidden)
        self.decay = nn.Parameter(torch.logit(torch.empty(hidden).uniform_(0.9, 0.999) ** (1 / 8)))
        start(self)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        v = self.W(x)
        r = sigmoid(self.W_r(v))
        i = sigmoid(self.W_i(v))
        log_a = 8 * r * logsigmoid(self.decay)
        h = exp(log_a) * h + sqrt(-torch.expm1(2 * log_a)) * i * v
        return h, h


class HGRN(Cell):
    """Hierarchically gated recurrent unit: a complex state whose forget gate has a lower bound.

        u   = silu(W_re x + b_re)
        v   = silu(W_im x + b_im)
        f   = bound + (1 - bound) * sigmoid(W_f x + b_f)
        re' = f * (cos(theta) * re - sin(theta) * im) + (1 - f) * u
        im' = f * (sin(theta) * re + cos(theta) * im) + (1 - f) * v
        p   = sigmoid(W_p x + b_p)
        q   = sigmoid(W_q x + b_q)
        y   = O_re (p * re') + O_im (q * im')

    x (batch, inputs); re, im and y (batch, hidden). bound, at least 0 and below 1, should grow from
    layer to layer: lower layers forget fast, upper ones slowly.
    Qin, Yang & Zhong 2023, arXiv:2311.04823. Departs from the paper in: bound is a number, where
    the paper learns those of all layers together; no layer norm before O and no bias in it.

    Example:
        >>> HGRN(3, 5).states
        {'re': (5,), 'im': (5,)}
    """

    def __init__(self, inputs: int, hidden: int, *, bound: float = 0.0) -> None:
        super().__init__(re=hidden, im=hidden)
        self.bound = bound
        self.W_re, self.W_im = Linear(inputs, hidden), Linear(inputs, hidden)
        self.W_f = Linear(inputs, hidden)
        self.W_p, self.W_q = Linear(inputs, hidden), Linear(inputs, hidden)
        self.theta = nn.Parameter(10000 ** (-2 * torch.arange(hidden) / hidden))
        self.O_re, self.O_im = (Linear(hidden, hidden, bias=False) for _ in range(2))
        start(self)

    def forward(self, x: Tensor, re: Tensor, im: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        u, v = silu(self.W_re(x)), silu(self.W_im(x))
        f = self.bound + (1 - self.bound) * sigmoid(self.W_f(x))
        across, along = f * cos(self.theta), f * sin(self.theta)
        re, im = (
            across * re - along * im + (1 - f) * u,
            along * re + across * im + (1 - f) * v,
        )
        p, q = sigmoid(self.W_p(x)), sigmoid(self.W_q(x))
        return self.O_re(p * re) + self.O_im(q * im), re, im

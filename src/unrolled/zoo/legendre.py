"""A memory of a window of time, as polynomials over it."""

import torch
from torch import Tensor, nn, tanh
from torch.nn import Linear
from torch.nn.functional import linear

from unrolled.cell import Cell
from unrolled.errors import ConfigError
from unrolled.zoo.initial import start


class LMU(Cell):
    """Legendre memory unit: coefficients of the last `window` steps of one signal.

        u  = E_x x + E_h h + E_m m
        m' = A m + B * u
        h' = tanh(W_x x + W_h h + W_m m')

    x (batch, inputs); u (batch, 1), the signal that is remembered; m (batch, order), the weights of
    Legendre polynomials whose sum is the signal over the last `window` steps; h, which is also the
    output, (batch, hidden). order is by default hidden; A and B do not learn.
    Voelker, Kajic & Eliasmith 2019, https://papers.nips.cc/paper/9689, equations 2, 4, 6 and 7, and
    their code, where E_m starts at 0. Departs from the paper in: nothing.

    Example:
        >>> LMU(3, 5, order=4).states
        {'h': (5,), 'm': (4,)}
    """

    A: Tensor
    B: Tensor

    def __init__(
        self, inputs: int, hidden: int, *, order: int | None = None, window: float = 100.0
    ) -> None:
        order = order or hidden
        if window <= 0:
            raise ConfigError(f"LMU has a window of {window} steps: expected more than 0")
        super().__init__(h=hidden, m=order)
        self.E_x, self.E_h = Linear(inputs, 1, bias=False), Linear(hidden, 1, bias=False)
        self.E_m = Linear(order, 1, bias=False)
        self.W_x, self.W_h = (
            Linear(inputs, hidden, bias=False),
            Linear(hidden, hidden, bias=False),
        )
        self.W_m = Linear(order, hidden, bias=False)
        start(self)
        nn.init.zeros_(self.E_m.weight)
        A, B = legendre(order, window)
        self.register_buffer("A", A, persistent=False)
        self.register_buffer("B", B, persistent=False)

    def forward(self, x: Tensor, h: Tensor, m: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        u = self.E_x(x) + self.E_h(h) + self.E_m(m)
        m = linear(m, self.A) + self.B * u
        h = tanh(self.W_x(x) + self.W_h(h) + self.W_m(m))
        return h, h, m


def legendre(order: int, window: float) -> tuple[Tensor, Tensor]:
    """Give the step of a memory that holds a window of time, exact for inputs that stand still.

    Args:
        order: how many polynomials.
        window: how many steps.

    Returns:
        The matrix A (order, order) and the vector B (order,).

    Example:
        >>> A, B = legendre(8, 4.0)
        >>> m = torch.zeros(8)
        >>> for _ in range(40):  # of ones: only the first polynomial is left, the constant
        ...     m = A @ m + B
        >>> bool(((m - torch.eye(8)[0]).abs() < 1e-3).all())
        True
    """
    i, j = torch.meshgrid(torch.arange(order), torch.arange(order), indexing="ij")
    signs = torch.where(i < j, -1.0, (-1.0) ** (i - j + 1))
    flow = torch.zeros(order + 1, order + 1, dtype=torch.float64)
    flow[:order, :order] = (2 * i + 1) * signs / window
    flow[:order, order] = (2 * i[:, 0] + 1) * (-1.0) ** i[:, 0] / window
    step = torch.linalg.matrix_exp(flow)
    both = step[:order, :order], step[:order, order]
    return both[0].to(torch.get_default_dtype()), both[1].to(torch.get_default_dtype())

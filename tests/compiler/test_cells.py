"""Cells that are not in the zoo, through the laws and through the classes."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn, relu, sigmoid, softmax, tanh
from torch.nn import Linear

from unrolled.cell import Cell
from unrolled.compiled import CACHE
from unrolled.compiler import trace
from unrolled.compiler.classify import Recurrence, classify
from unrolled.testing import check_law, prepare


class MGU(Cell):
    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W_f, self.U_f = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        self.W_n, self.U_n = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        f = sigmoid(self.W_f(x) + self.U_f(h))
        n = tanh(self.W_n(x) + self.U_n(f * h))
        h = (1 - f) * h + f * n
        return h, h


class LayerNormLSTM(Cell):
    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden, c=hidden)
        self.W, self.U = Linear(inputs, 4 * hidden, bias=False), Linear(hidden, 4 * hidden)
        self.by_input, self.by_state = nn.LayerNorm(4 * hidden), nn.LayerNorm(4 * hidden)
        self.by_cell = nn.LayerNorm(hidden)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        i, f, g, o = (self.by_input(self.W(x)) + self.by_state(self.U(h))).chunk(4, -1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(self.by_cell(c))
        return h, h, c


class Highway(Cell):
    """Three layers inside a step."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(s=hidden)
        self.W_h, self.W_t = Linear(inputs, hidden), Linear(inputs, hidden)
        self.R_h = nn.ModuleList(Linear(hidden, hidden) for _ in range(3))
        self.R_t = nn.ModuleList(Linear(hidden, hidden) for _ in range(3))

    def forward(self, x: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        for layer, (R_h, R_t) in enumerate(zip(self.R_h, self.R_t, strict=True)):
            first = layer == 0
            h = tanh(R_h(s) + (self.W_h(x) if first else 0))
            t = sigmoid(R_t(s) + (self.W_t(x) if first else 0))
            s = h * t + s * (1 - t)
        return s, s


class Oscillator(Cell):
    """Two states, one of which pushes the other; the output has a layer of its own."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(p=hidden, v=hidden)
        self.W, self.U, self.V = (
            Linear(inputs, hidden),
            Linear(hidden, hidden, bias=False),
            Linear(hidden, hidden, bias=False),
        )
        self.stiffness = nn.Parameter(torch.rand(hidden))
        self.damping = nn.Parameter(torch.tensor(0.5))
        self.out = Linear(hidden, 2)
        self.outputs = 2

    def forward(self, x: Tensor, p: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        force = tanh(self.U(p) + self.V(v) + self.W(x))
        v = v + 0.1 * (force - self.stiffness.abs() * p - self.damping * v)
        p = p + 0.1 * v
        return self.out(p), p, v


class MinGRU(Cell):
    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W_z, self.W_n = Linear(inputs, hidden), Linear(inputs, hidden)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        z = sigmoid(self.W_z(x))
        h = (1 - z) * h + z * self.W_n(x)
        return h, h


class IndRNN(Cell):
    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W, self.u = Linear(inputs, hidden), nn.Parameter(torch.rand(hidden))

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = relu(self.W(x) + self.u * h)
        return h, h


class Heads(Cell):
    """Block-diagonal weights, written three ways."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=2 * hidden)
        self.W = Linear(inputs, 2 * hidden)
        self.R, self.S, self.T = (
            nn.Parameter(0.5 * torch.randn(2, hidden, hidden)) for _ in range(3)
        )

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        heads = h.unflatten(-1, (2, -1))
        one = torch.einsum("bhi,hij->bhj", heads, self.R).flatten(1)
        two = torch.bmm(heads.transpose(0, 1), self.S).transpose(0, 1).reshape(h.shape)
        three = (heads[:, :, None] @ self.T).flatten(1)
        h = tanh(self.W(x) + one + two * three)
        return h, h


class SoftmaxOfFeatures(Cell):
    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W, self.U = Linear(inputs, hidden), Linear(hidden, hidden)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        a = softmax(self.W(x) + self.U(h), -1)
        h = 0.5 * h + a * (1 + h.amax(-1, keepdim=True)) - torch.logsumexp(h, -1, keepdim=True)
        return h, h


class OutputGate(Cell):
    """One product of the state gives what feeds back and what only the output reads."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W, self.U = Linear(inputs, hidden), Linear(hidden, 2 * hidden)
        self.V, self.O = Linear(hidden, hidden), Linear(hidden, hidden)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        a, o = self.U(h).chunk(2, -1)
        b, p = self.V(h), self.O(h)
        h = tanh(self.W(x) + a * b)
        return sigmoid(o + p) * h, h


class FastWeights(Cell):
    """A matrix for a state: written by an outer product, read by a query."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(S=(hidden, 2))
        self.K, self.V = Linear(inputs, 2), Linear(inputs, hidden)
        self.Q, self.decay = Linear(inputs, 2), nn.Parameter(torch.rand(hidden, 1))
        self.outputs = hidden

    def forward(self, x: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
        k, v, q = self.K(x), self.V(x), self.Q(x)
        read = torch.einsum("bhk,bk->bh", S, k)
        S = sigmoid(self.decay) * S + (v - read)[:, :, None] * k[:, None]
        return (S @ q[:, :, None])[:, :, 0], S


class Aside(Cell):
    """Cuts one product in pieces: one for the next state, one for the output alone."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W, self.U = Linear(inputs, 2 * hidden), Linear(hidden, 2 * hidden, bias=False)
        self.V = Linear(hidden, hidden)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        n, o = (self.W(x) + self.U(h)).chunk(2, -1)
        y = tanh(o) * self.V(h)
        h = tanh(n)
        return y, h


class Delay(Cell):
    """The next state is the input; the output masks, counts and cuts."""

    scale: Tensor

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(last=inputs, steps=1)
        self.register_buffer("scale", torch.linspace(0.5, 1.0, inputs))
        self.slope = nn.Parameter(torch.ones(()))
        self.outputs = 2 * inputs

    def forward(self, x: Tensor, last: Tensor, steps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        change = torch.where((x > last) & (steps > 1), self.slope * (x - last), self.scale * last)
        return torch.cat([change, torch.ones_like(x)], -1), x, steps + 1


class Convolution(Cell):
    """States that hold what the last two inputs bring along: known before the loop."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden, p=hidden, q=hidden)
        self.W, self.V = Linear(inputs, hidden), Linear(inputs, hidden)

    def forward(
        self, x: Tensor, h: Tensor, p: Tensor, q: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        h = sigmoid(self.W(x) + p) * h + tanh(q)
        return h, h, self.V(x), p


class SideBySide(Cell):
    """Maps the state and the input by one matrix, and by another with a part of the state."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W, self.V = Linear(2 * inputs + hidden, hidden), Linear(1 + 2 * inputs, hidden, False)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        a = self.W(torch.cat([-x, h, x], -1))
        h = tanh(a + self.V(torch.cat([h[:, :1], x, x * x], 1)))
        return h, h


class Products(Cell):
    """Writes its maps as products with matrices."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W, self.V = (nn.Parameter(torch.randn(inputs, hidden)) for _ in range(2))
        self.U, self.R = (nn.Parameter(0.5 * torch.randn(hidden, hidden)) for _ in range(2))

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        z = sigmoid(x @ self.W + torch.mm(h, self.U))
        h = z * h + (1 - z) * tanh(x @ self.V + h @ (self.R - self.R.T))
        return h, h


CELLS: dict[str, tuple[Callable[[int, int], nn.Module], Recurrence]] = {
    "MGU": (MGU, Recurrence.MIXING),
    "LayerNormLSTM": (LayerNormLSTM, Recurrence.MIXING),
    "Highway": (Highway, Recurrence.MIXING),
    "Oscillator": (Oscillator, Recurrence.MIXING),
    "MinGRU": (MinGRU, Recurrence.LINEAR),
    "IndRNN": (IndRNN, Recurrence.NONLINEAR),
    "Heads": (Heads, Recurrence.MIXING),
    "SoftmaxOfFeatures": (SoftmaxOfFeatures, Recurrence.MIXING),
    "OutputGate": (OutputGate, Recurrence.MIXING),
    "FastWeights": (FastWeights, Recurrence.MIXING),
    "Aside": (Aside, Recurrence.MIXING),
    "Delay": (Delay, Recurrence.LINEAR),
    "Convolution": (Convolution, Recurrence.LINEAR),
    "SideBySide": (SideBySide, Recurrence.MIXING),
    "Products": (Products, Recurrence.MIXING),
    "torch-GRUCell": (nn.GRUCell, Recurrence.MIXING),
    "torch-LSTMCell": (nn.LSTMCell, Recurrence.MIXING),
}


ALONE = [pytest.param(name, marks=pytest.mark.xdist_group(f"cell {name}")) for name in CELLS]
"""A cell's tests are one worker's, which captures it once."""


@pytest.mark.parametrize("law", ["loop", "gradients", "ragged", "resets"])
@pytest.mark.parametrize("cell", ALONE)
def test_law(cell: str, law: str) -> None:
    subject = prepare(CELLS[cell][0](3, 5), 3, "interpreter", torch.float64)
    assert check_law(law, subject).verdict == "holds"


@pytest.mark.parametrize("cell", ALONE)
def test_class(cell: str) -> None:
    make, expected = CELLS[cell]
    subject = prepare(make(3, 5), 3, "interpreter", torch.float64).cell
    like = torch.zeros(2, 7, 3, dtype=torch.float64)
    state = tuple(subject.initial_state(7, dtype=torch.float64).values())
    compiled = CACHE.get(subject, trace(subject).structure, like, state, {})
    assert classify(compiled.lowered.program) is expected

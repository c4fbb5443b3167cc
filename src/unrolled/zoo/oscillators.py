"""Networks of oscillators, and a memory on several scales of time."""

import torch
from torch import Tensor, sigmoid, tanh
from torch.nn import Linear, Parameter

from unrolled.cell import Cell
from unrolled.zoo.initial import start


class CoRNN(Cell):
    """Coupled oscillatory network: positions and velocities of driven, damped oscillators.

        z' = z + dt * (tanh(W x + b + U_h h + U_z z) - gamma * h - epsilon * z)
        h' = h + dt * z'

    x (batch, inputs); h, which is also the output, and its velocity z (batch, hidden); dt is the
    size of a step, gamma the frequency, epsilon the damping, all above 0.
    Rusch & Mishra 2021, arXiv:2010.00951; the damping is explicit, as in the authors' code, whose
    numbers for sequential MNIST are the defaults. Departs from the paper in: nothing.

    Example:
        >>> CoRNN(3, 5).states
        {'h': (5,), 'z': (5,)}
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        *,
        dt: float = 0.042,
        gamma: float = 2.7,
        epsilon: float = 4.7,
    ) -> None:
        super().__init__(h=hidden, z=hidden)
        self.dt, self.gamma, self.epsilon = dt, gamma, epsilon
        self.W = Linear(inputs, hidden)
        self.U_h, self.U_z = Linear(hidden, hidden, bias=False), Linear(hidden, hidden, bias=False)
        start(self)

    def forward(self, x: Tensor, h: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        force = tanh(self.W(x) + self.U_h(h) + self.U_z(z))
        z = z + self.dt * (force - self.gamma * h - self.epsilon * z)
        h = h + self.dt * z
        return h, h, z


class UnICORNN(Cell):
    """Undamped independent controlled oscillators: no energy is lost, no neuron sees another.

        s  = dt * sigmoid(c)
        z' = z - s * (tanh(W x + b + u * h) + alpha * h)
        h' = h + s * z'

    x (batch, inputs); h, which is also the output, and its velocity z (batch, hidden); dt > 0 is
    the size of a step, which each neuron shortens by its own sigmoid(c); alpha >= 0 is the square
    of the frequency.
    Rusch & Mishra 2021, arXiv:2103.05487, one layer. Departs from the paper in: nothing; u and c
    start uniform in [0, 1] and [-0.1, 0.1], as in the authors' code.

    Example:
        >>> UnICORNN(3, 5).states
        {'h': (5,), 'z': (5,)}
    """

    def __init__(self, inputs: int, hidden: int, *, dt: float = 0.2, alpha: float = 1.0) -> None:
        super().__init__(h=hidden, z=hidden)
        self.dt, self.alpha = dt, alpha
        self.W, self.u = Linear(inputs, hidden), Parameter(torch.rand(hidden))
        self.c = Parameter(0.2 * torch.rand(hidden) - 0.1)
        start(self)

    def forward(self, x: Tensor, h: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        s = self.dt * sigmoid(self.c)
        z = z - s * (tanh(self.W(x) + self.u * h) + self.alpha * h)
        h = h + s * z
        return h, h, z


class LEM(Cell):
    """Long expressive memory: two coupled states, each on scales of time that it learns.

        a  = dt * sigmoid(W_a x + b_a + U_a h)
        e  = dt * sigmoid(W_e x + b_e + U_e h)
        z' = (1 - a) * z + a * tanh(W_z x + b_z + U_z h)
        h' = (1 - e) * h + e * tanh(W_h x + b_h + U_h z')

    x (batch, inputs); h, the paper's y, which is also the output, and z (batch, hidden); dt, above
    0 and at most 1, bounds the scales.
    Rusch et al. 2022, arXiv:2110.04744, equation 3, and the authors' code; torchrecurrent 0.2.5
    differs, its h' reads the z before. Departs from the paper in: nothing.

    Example:
        >>> LEM(3, 5).states
        {'h': (5,), 'z': (5,)}
    """

    def __init__(self, inputs: int, hidden: int, *, dt: float = 1.0) -> None:
        super().__init__(h=hidden, z=hidden)
        self.dt = dt
        self.W_a, self.U_a = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        self.W_e, self.U_e = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        self.W_z, self.U_z = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        self.W_h, self.U_h = Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
        start(self)

    def forward(self, x: Tensor, h: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a = self.dt * sigmoid(self.W_a(x) + self.U_a(h))
        e = self.dt * sigmoid(self.W_e(x) + self.U_e(h))
        z = (1 - a) * z + a * tanh(self.W_z(x) + self.U_z(h))
        h = (1 - e) * h + e * tanh(self.W_h(x) + self.U_h(z))
        return h, h, z

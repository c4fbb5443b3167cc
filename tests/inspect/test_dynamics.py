import math

import pytest
import torch
from torch import Tensor

from unrolled import zoo
from unrolled.cell import Cell, wrap
from unrolled.errors import ShapeError
from unrolled.inspect.dynamics import growth, jacobians, lyapunov
from unrolled.inspect.intervals import interval, median
from unrolled.inspect.memory import effective_memory
from unrolled.zoo import CELLS


class Logistic(Cell):
    """h' = r h (1 - h): at r = 4 its Lyapunov exponent is ln 2."""

    def __init__(self, r: float) -> None:
        super().__init__(h=1)
        self.r = r

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.r * h * (1 - h)
        return h, h


class Matrix(Cell):
    """h' = A h: its Lyapunov exponents are the logarithms of the sizes of A's eigenvalues."""

    def __init__(self, a: Tensor) -> None:
        super().__init__(h=len(a))
        self.register_buffer("A", a)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = h @ self.get_buffer("A").T
        return h, h


class RandomTanh(Cell):
    """h' = tanh(g J h), the entries of J normal with variance 1 / n."""

    def __init__(self, n: int, gain: float) -> None:
        super().__init__(h=n)
        random = torch.Generator().manual_seed(1)
        j = torch.randn(n, n, generator=random, dtype=torch.float64) / n**0.5
        self.register_buffer("J", gain * j)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(h @ self.get_buffer("J").T)
        return h, h


def nothing(time: int, batch: int = 1) -> Tensor:
    return torch.zeros(time, batch, 1, dtype=torch.float64)


def within(found: float, wanted: float, share: float) -> None:
    assert abs(found - wanted) <= share * abs(wanted), f"{found} instead of {wanted}"


def test_the_logistic_map_has_exponent_ln_2() -> None:
    state = {"h": torch.linspace(0.11, 0.43, 16, dtype=torch.float64)[:, None]}
    found = lyapunov(Logistic(4.0), nothing(500, 16), state).largest
    within(found.value, math.log(2), 0.02)
    assert found.low <= math.log(2) <= found.high


def test_a_linear_recurrence_has_the_logarithms_of_its_eigenvalues() -> None:
    sizes = torch.tensor([1.05, 0.9, 0.6, 0.3], dtype=torch.float64)
    basis = torch.randn(4, 4, dtype=torch.float64)
    cell = Matrix(basis @ torch.diag(sizes) @ torch.linalg.inv(basis))
    found = lyapunov(cell, nothing(400), {"h": torch.ones(1, 4, dtype=torch.float64)}, count=4)
    for exponent, size in zip(found.exponents, sizes, strict=True):
        within(exponent.value, math.log(size), 0.02)


def mean_field(gain: float) -> float:
    """The largest exponent of an infinite random tanh network, ln(E[(g tanh')^2]) / 2.

    The variance q of a unit's input solves q = g^2 E[tanh(sqrt(q) z)^2], z normal.
    """
    z = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    weight = torch.softmax(-(z**2) / 2, 0)
    q = torch.ones((), dtype=torch.float64)
    for _ in range(1000):
        q = gain**2 * (weight * torch.tanh(q.sqrt() * z) ** 2).sum()
    slope = 1 - torch.tanh(q.sqrt() * z) ** 2
    return 0.5 * math.log(gain**2 * float((weight * slope**2).sum()))


def test_a_chaotic_random_network_has_the_exponent_of_its_gain() -> None:
    cell = RandomTanh(1600, 4.0)  # of 400 units, it is 2 % below that of infinitely many
    state = {"h": torch.randn(1, 1600, dtype=torch.float64)}
    found = lyapunov(cell, nothing(400), state).largest
    within(found.value, mean_field(4.0), 0.02)


def test_a_random_network_of_low_gain_forgets_at_the_rate_of_its_spectrum() -> None:
    cell = RandomTanh(100, 0.8)
    radius = torch.linalg.eigvals(cell.get_buffer("J")).abs().max()
    state = {"h": 1e-3 * torch.randn(1, 100, dtype=torch.float64)}
    found = lyapunov(cell, nothing(1200), state, settle=200).largest
    within(found.value, math.log(radius), 0.02)


@pytest.mark.parametrize("name", CELLS)
def test_jacobians_are_those_of_autograd(name: str) -> None:
    cell = wrap(CELLS[name](3, 4)).double()
    xs = torch.randn(2, 2, 3, dtype=torch.float64)  # from the first state, and from a later one
    found = jacobians(cell, xs)
    state = tuple(cell.initial_state(2).values())
    for t, x in enumerate(xs):
        new = cell(x, *state)[1:]
        for row in range(2):

            def step(*one: Tensor, x: Tensor = x[row : row + 1]) -> tuple[Tensor, ...]:
                return cell(x, *one)[1:]

            blocks = torch.autograd.functional.jacobian(
                step, tuple(s[row : row + 1] for s in state)
            )
            joined = torch.cat(
                [
                    torch.cat(
                        [
                            b.reshape(new[i][row].numel(), state[j][row].numel())
                            for j, b in enumerate(blocks[i])
                        ],
                        1,
                    )
                    for i in range(len(new))
                ]
            )
            torch.testing.assert_close(found[t, row], joined)
        state = new


def test_growth_of_a_product() -> None:
    a = torch.randn(4, 4, dtype=torch.float64)
    found = growth(a.expand(60, 2, 4, 4))
    torch.testing.assert_close(found.singular_values[3, 1], torch.linalg.svdvals(a))
    wanted = torch.linalg.matrix_norm(torch.linalg.matrix_power(a, 60), 2).log()
    torch.testing.assert_close(found.product[-1], wanted.expand(2))
    torch.testing.assert_close(found.rate[0], wanted / 60)


def test_memory_of_a_known_leak() -> None:
    cell = Matrix(0.5 * torch.eye(3))
    found = effective_memory(cell, torch.zeros(40, 4, 1), {"h": torch.ones(4, 3)})
    assert found.horizon == 20
    assert (found.median.value, found.median.low, found.median.high) == (7, 7, 7)  # 2^-7 < 1 %


def test_memory_of_what_never_forgets_is_infinite() -> None:
    found = effective_memory(Matrix(torch.eye(3)), torch.zeros(40, 4, 1), {"h": torch.ones(4, 3)})
    assert found.median.value == math.inf


def test_memory_grows_with_the_forget_gate() -> None:
    xs = torch.randn(200, 4, 3)
    found = []
    for bias in (0.0, 2.0):
        cell = zoo.LSTM(3, 6)
        torch.nn.init.constant_(cell.W_f.bias, bias)
        found.append(effective_memory(cell, xs).median)
    assert found[0].high < found[1].low


def test_intervals_hold_what_they_should() -> None:
    samples = torch.randn(2000, 40)
    means = [interval(s) for s in samples]
    medians = [median(s) for s in samples]
    assert 0.92 < sum(i.low <= 0 <= i.high for i in means) / 2000 < 0.97
    assert 0.94 < sum(i.low <= 0 <= i.high for i in medians) / 2000 < 0.985
    assert median(samples[0, :3]).low == -math.inf


def test_what_cannot_be_measured_says_so() -> None:
    with pytest.raises(ShapeError, match="2 exponents of 1 numbers"):
        lyapunov(Logistic(4.0), nothing(10), count=2)
    with pytest.raises(ShapeError, match="expected h"):
        lyapunov(Logistic(4.0), nothing(10), {"c": torch.zeros(1, 1)})
    with pytest.raises(ShapeError, match="expected two steps"):
        effective_memory(Logistic(4.0), nothing(1))

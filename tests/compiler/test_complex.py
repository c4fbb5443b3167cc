"""Complex numbers in steps and states: as PyTorch has them, in programs of real ones."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from unrolled.cell import Cell, State
from unrolled.compiler.capture import capture
from unrolled.compiler.complex import recorded, rules
from unrolled.complex_states import with_real_states
from unrolled.errors import CaptureError
from unrolled.explanation import explain
from unrolled.recurrence import unroll

Function = Callable[[Tensor], Tensor]
ON_BOTH = ("interpreter", "eager")


def matrix(z: Tensor) -> Tensor:
    return torch.linspace(-1, 1, 16, dtype=z.real.dtype).view(4, 4).to(z.dtype) * (0.3 + 0.2j)


def square(z: Tensor) -> Tensor:
    return z[:, :, None] * z[:, None]


def waves(z: Tensor) -> Tensor:
    """Bind by circular convolution, after Plate 1995."""
    one, other = torch.fft.rfft(z.real), torch.fft.rfft(z.imag)
    return torch.fft.irfft(one * other.conj(), n=4) + z.imag


FUNCTIONS: dict[str, Function] = {  # of a complex state (batch, 4)
    "real": lambda z: z.real * z.imag,
    "turned": lambda z: 1j * z * (0.5 - 0.25j),
    "conjugate": lambda z: z * z.conj() + z.conj().resolve_conj() + torch.conj_physical(z),
    "add": lambda z: z + 1 - 2j + z.real,
    "sub": lambda z: (1 - z) - z.real - (z.imag - z),
    "scaled sum": lambda z: torch.add(z, z.real, alpha=3) - torch.sub(z, z * z, alpha=2),
    "divide": lambda z: z / (z + 3) + z / (1.5 + z.real**2) + 1 / (z + 4j) + z / 2,
    "powers": lambda z: z**3 + z.square() + z**2.0 + z * 0j,
    "size": lambda z: z * z.abs() + z.abs() ** 2,
    "angle": lambda z: z.angle() + z.log().imag,
    "sign": lambda z: torch.sgn(z),
    "exp": lambda z: z.exp() + torch.exp(z.real.to(z.dtype)),
    "polar": lambda z: torch.polar(z.abs() + 0.1, z.imag) + torch.complex(z.imag, z.real),
    "views": lambda z: torch.view_as_complex(torch.view_as_real(z) * 0.5),
    "matmul": lambda z: z @ matrix(z) + z.real.to(z.dtype) @ matrix(z).T,
    "mm": lambda z: torch.mm(z, matrix(z).conj()),
    "bmm": lambda z: torch.bmm(square(z), z[..., None])[..., 0],
    "turned matrices": lambda z: z @ matrix(z).mH + z @ matrix(z).H + z @ matrix(z).mT,
    "adjoint": lambda z: z @ matrix(z).adjoint(),
    "turned rows": lambda z: (square(z).mH @ z[..., None])[..., 0],
    "linear": lambda z: nn.functional.linear(z, matrix(z), matrix(z)[0]),
    "einsum": lambda z: torch.einsum("bi,ij->bj", z, matrix(z)),
    "norm": lambda z: z * torch.linalg.vector_norm(z, dim=-1, keepdim=True),
    "where": lambda z: torch.where(z.real > 0, z, 1j * z) + torch.where(z.imag > 0, z, 0.0),
    "other where": lambda z: torch.where(z.imag > 0, 0.5, z),
    "cast": lambda z: z.real.to(z.dtype) + z.imag.to(z) + z.to(z.dtype),
    "made": lambda z: torch.zeros_like(z) + torch.ones_like(z) + z.new_zeros(z.shape) + z,
    "ones": lambda z: z * torch.ones(4, dtype=z.dtype) + torch.zeros(4, dtype=z.dtype),
    "moved": lambda z: torch.cat([z[:, 2:], z.real[:, :2]], -1).roll(1, -1).flip(-1),
    "viewed": lambda z: z.view(-1, 2, 2).permute(0, 2, 1).reshape(-1, 4).contiguous(),
    "squeezed": lambda z: z.unsqueeze(1).squeeze(1).clone() + z[:, :1].expand_as(z),
    "repeated": lambda z: z.repeat(1, 2).narrow(1, 2, 4) + square(z).movedim(1, 2).sum(1),
    "picked": lambda z: z.index_select(1, torch.tensor([1, 0, 3, 2])) @ matrix(z).t(),
    "unbound": lambda z: torch.stack(z.unbind(1)[::-1], 1) + torch.cat(z.split(2, -1)[::-1], 1),
    "padded": lambda z: nn.functional.pad(z[:, 1:], (1, 0)),
    "reshaped": lambda z: z.unflatten(1, (2, 2)).transpose(1, 2).flatten(1)[:, [0, 2, 1, 3]],
    "stacked": lambda z: torch.stack([z, z * z], 1).sum(1) + z.mean(-1, keepdim=True),
    "parts": lambda z: torch.cat(z.split([1, 3], -1)[::-1], -1) * torch.cat(z.chunk(2, -1), -1),
    "running": lambda z: z.cumsum(-1) + (-z).expand(2, -1, -1).sum(0),
    "fft": lambda z: torch.fft.fft(z, norm="ortho") + torch.fft.ifft(z),
    "fft of real": lambda z: torch.fft.fft(z.real) * torch.fft.fft(z[:, None], dim=-1)[:, 0],
    "rfft": waves,
    "forward norm": lambda z: torch.fft.ifft(torch.fft.fft(z, norm="forward"), norm="forward"),
    "irfft of five": lambda z: torch.fft.irfft(z[:, :3], n=5)[:, :4],
}


class Turns(Cell):
    """A diagonal recurrence of complex numbers with a function in it, of complex parameters."""

    def __init__(self, change: Function) -> None:
        super().__init__(z=4)
        self.W = nn.Parameter(torch.randn(4, 3, dtype=torch.complex128) * 0.3)
        self.speed = nn.Parameter(torch.rand(4, dtype=torch.float64))
        self.change, self.outputs = change, 4

    def initial_state(self, batch: int, **_: object) -> State:
        return {"z": torch.full((batch, 4), 0.1 + 0.2j, dtype=torch.complex128)}

    def forward(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        turn = torch.polar(torch.full_like(self.speed, 0.5), self.speed)
        made = self.change(turn * z + x.to(z.dtype) @ self.W.T)
        z = 0.5 * made / (1 + made.abs()) + 0.1j
        return z.real + z.imag, z


def run(cell: Cell, xs: Tensor, backend: str, **options: object) -> tuple[Tensor, ...]:
    ys, last, *states = unroll(cell, xs, backend=backend, **options)  # pyright: ignore
    total = ys.sin().sum() + torch.view_as_real(last["z"].resolve_conj()).square().sum()
    found = torch.autograd.grad(total, [xs, *cell.parameters()], allow_unused=True)
    return ys, last["z"], *[state["z"] for state in states], *found


@pytest.fixture
def xs() -> Tensor:
    return torch.randn(5, 4, 3, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_complex_numbers_is_compiled(name: str, xs: Tensor) -> None:
    cell = Turns(FUNCTIONS[name])
    torch.testing.assert_close(*(run(cell, xs, backend) for backend in ON_BOTH))


def test_every_row_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    used = set()

    class Watched(dict):  # pyright: ignore[reportMissingTypeArgument]
        def get(self, key: object, *_: object) -> object:
            used.add(key)
            return super().get(key)

    monkeypatch.setattr(recorded, "COMPLEX", Watched(rules.COMPLEX))
    for name in FUNCTIONS:
        capture(with_real_states(Turns(FUNCTIONS[name])), torch.zeros(2, 3, dtype=torch.float64))
    assert {*rules.COMPLEX} - used == set()


@pytest.mark.parametrize("backend", ["llvm", "auto"])
def test_complex_states_go_wherever_states_go(backend: str, xs: Tensor) -> None:
    cell = Turns(FUNCTIONS["turned"])
    options = {"lengths": [5, 0, 2, 4], "reverse": True, "return_states": True}
    options["resets"] = torch.rand(5, 4) < 0.3
    options["state"] = {"z": torch.randn(4, 4, dtype=torch.complex128)}
    torch.testing.assert_close(run(cell, xs, backend, **options), run(cell, xs, "eager", **options))


def test_their_gradients_have_gradients(xs: Tensor) -> None:
    cell = Turns(FUNCTIONS["size"])

    def ends(xs: Tensor, *parameters: Tensor) -> Tensor:
        names = [f"cell.{name}" for name, _ in cell.named_parameters()]
        return torch.func.functional_call(Over(cell), dict(zip(names, parameters, strict=True)), xs)

    given = [xs[:2, :2].detach().requires_grad_(), *cell.parameters()]
    assert torch.autograd.gradcheck(ends, given)
    assert torch.autograd.gradgradcheck(ends, given)


class Over(nn.Module):
    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, xs: Tensor) -> Tensor:
        return unroll(self.cell, xs, backend="llvm")[0]


def test_a_state_may_come_out_of_a_conjugate(xs: Tensor) -> None:
    cell = Turns(FUNCTIONS["conjugate"])
    first = {"z": torch.randn(4, 4, dtype=torch.complex128).conj()}

    class Last(Turns):
        def forward(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
            y, z = super().forward(x, z)
            return y, z.conj()

    for own in (cell, Last(FUNCTIONS["turned"])):
        found = [run(own, xs, b, state=first) for b in ("llvm", "auto", "torch", "eager")]
        for other in found[1:]:
            torch.testing.assert_close(found[0], other)


def test_what_pytorch_does_with_complex_parameters_is_left_to_it() -> None:
    class Flows(Cell):
        def __init__(self) -> None:
            super().__init__(h=4)
            self.A = nn.Parameter(torch.randn(4, 4, dtype=torch.complex128) * 0.1)
            self.W = nn.Linear(3, 4).double()

        def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            flow = torch.linalg.matrix_exp(self.A)
            h = torch.tanh(h @ flow.real + self.W(x) * torch.linalg.inv(flow).abs().sum())
            return h, h

    cell, xs = Flows(), torch.randn(3, 2, 3, dtype=torch.float64)
    found = []
    for backend in ("llvm", "eager"):
        ys, _ = unroll(cell, xs, backend=backend)
        found.append((ys, *torch.autograd.grad(ys.sum(), list(cell.parameters()))))
    torch.testing.assert_close(*found)


def test_a_state_that_becomes_complex_is_named() -> None:
    class Becomes(Cell):
        def forward(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
            z = 0.5j * z + x
            return z.real, z

    with pytest.raises(CaptureError, match="its state z becomes complex\nUse an initial_state"):
        unroll(Becomes(z=3), torch.zeros(4, 2, 3), backend="llvm")
    first = {"z": torch.randn(2, 3, dtype=torch.complex64)}
    xs = torch.randn(4, 2, 3)
    found = [unroll(Becomes(z=3), xs, first, backend=b) for b in ("llvm", "eager")]
    torch.testing.assert_close(*found)


def test_inputs_and_outputs_may_be_complex() -> None:
    class Whole(Turns):
        def forward(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
            z = 0.5j * z + x @ self.W.T
            return z, z

    cell = Whole(FUNCTIONS["real"])
    xs = torch.randn(5, 4, 3, dtype=torch.complex128, requires_grad=True)
    found = []
    for backend in ("llvm", "eager"):
        ys, _ = unroll(cell, xs, backend=backend, lengths=[5, 3, 0, 1])
        slopes = torch.autograd.grad(torch.view_as_real(ys).sin().sum(), [xs, cell.W])
        found.append((ys, *slopes))
    torch.testing.assert_close(*found)


def test_the_gradient_of_the_size_of_zero_is_zero() -> None:
    class Still(Turns):
        def forward(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
            z = 0.0 * z + x.to(z.dtype) @ self.W.T
            return z.abs(), z * z.abs()

    cell, xs = Still(FUNCTIONS["real"]), torch.zeros(3, 2, 3, dtype=torch.float64)
    found = run(cell, xs.requires_grad_(), "llvm")
    torch.testing.assert_close(found, run(cell, xs, "eager"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (torch.tanh, r"it computes with complex numbers \(tanh\)"),
        (lambda z: z.clone().mul_(2), r"it writes in place to complex numbers \(mul_\)"),
        (lambda z: z**0.5, "it takes a complex number to the power of 0.5"),
        (lambda z: torch.fft.fft(z, n=6)[:, :4], "it has a Fourier transform of 4 numbers to 6"),
    ],
    ids=["function", "write", "power", "padded"],
)
def test_what_no_program_has_is_named(change: Function, message: str) -> None:
    with pytest.raises(CaptureError, match=f"Turns cannot be captured: {message}"):
        unroll(Turns(change), torch.zeros(3, 2, 3, dtype=torch.float64), backend="llvm")


def test_explain_shows_pairs() -> None:
    page = str(explain(Turns(FUNCTIONS["turned"]), inputs=3))
    assert page.startswith("Turns: ")
    assert "state  z: rows 8" in page

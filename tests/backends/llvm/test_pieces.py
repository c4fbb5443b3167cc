"""Products of float32 in pieces of bfloat16: as near as float32 is, and infinity as it comes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from unrolled import compiled, unroll, zoo
from unrolled.backends.llvm.kernel import Kernel
from unrolled.backends.llvm.target import WHOLE, choose_target, with_tiles
from unrolled.ir import Program, parse, verify

TILES = with_tiles(choose_target(), WHOLE)
PROGRAMS = sorted(path.stem for path in (Path(__file__).parent / "programs").iterdir())

Build = Callable[[str, int, str], Program]
Draw = Callable[[Program, int, int], dict[str, Any]]
Reference = Callable[..., tuple[dict[str, Tensor], dict[str, Tensor]]]

pytestmark = pytest.mark.skipif(TILES is None, reason="this machine does not multiply in tiles")


def kernel(program: Program) -> Kernel:
    assert TILES is not None
    return Kernel(program, TILES)


def multiply(left: Tensor, right: Tensor) -> Tensor:
    """Multiply two matrices in a kernel of one step."""
    (rows, terms), units = left.shape, right.shape[1]
    program = verify(
        parse(f"""program float32
        input  x: rows {terms}
        state  h: rows {units}
        fixed  W: {terms}x{units}
        y = matmul x, W : rows {units}
        output y = y
        next   h = y""")
    )
    state = torch.zeros(rows, units)
    return kernel(program)({"x": left[None]}, {}, {"h": state}, {"W": right}, time=1).outputs["y"][
        0
    ]


@pytest.mark.parametrize("scale", [2.0**-80, 1.0, 2.0**80])
def test_pieces_are_the_whole_number(scale: float) -> None:
    x = torch.randn(40, 70) * scale
    assert torch.equal(multiply(x, torch.eye(70)), x)
    assert torch.equal(multiply(torch.eye(40), x), x)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 70, 5), (33, 257, 40)])
def test_products_are_as_near_as_those_of_float32(shape: tuple[int, int, int]) -> None:
    rows, terms, units = shape
    spread = torch.logspace(-4, 4, terms)[:, None]
    left, right = torch.randn(rows, terms) / spread.T, torch.randn(terms, units) * spread
    wanted = left.double() @ right.double()
    sizes = left.double().abs() @ right.double().abs()
    assert ((multiply(left, right) - wanted).abs() / sizes).max() < 2.0**-21


@pytest.mark.parametrize(
    "number", [torch.nan, torch.inf, -torch.inf, 3.4e38], ids=["nan", "inf", "-inf", "largest"]
)
def test_what_is_no_number_comes_out_as_in_pytorch(number: float) -> None:
    left = torch.ones(3, 4)
    left[1, 2] = number
    right = torch.tensor([1.0, -0.5, 1 / 3, 0.0]).repeat(4, 1)
    torch.testing.assert_close(multiply(left, right), left @ right, equal_nan=True)
    torch.testing.assert_close(multiply(right.T, left.T), right.T @ left.T, equal_nan=True)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_agrees_with_its_reference(
    name: str, threads: int, program: Build, arguments: Draw, reference: Reference
) -> None:
    step = program(name, 40, "float32")
    run = kernel(step)
    for time, batch in ((1, 1), (4, 3), (3, 37)):
        given = arguments(step, time, batch)
        lengths = (torch.arange(batch) + 1) % (time + 1)
        ended = torch.arange(time)[:, None] >= lengths
        for x in given["inputs"].values():
            x[ended] = torch.nan  # which nobody may read
        found = run(**given, time=time, threads=threads, lengths=lengths)
        again = run(**given, time=time, threads=threads, lengths=lengths)
        outputs, states = reference(step, **given, time=time, lengths=lengths)
        for ours, same, theirs in (
            (found.outputs, again.outputs, outputs),
            (found.states, again.states, states),
        ):
            for name, x in theirs.items():
                torch.testing.assert_close(ours[name].double(), x, rtol=1e-5, atol=1e-5)
                assert torch.equal(ours[name], same[name])


def test_infinity_times_infinity_is_infinity() -> None:
    signs = torch.tensor([[torch.inf], [-torch.inf], [2.0], [torch.nan], [0.0]])
    ours, theirs = multiply(signs, signs.T), signs @ signs.T
    torch.testing.assert_close(ours, theirs, equal_nan=True)


@pytest.mark.parametrize("many", [True, False], ids=["many rows", "few rows"])
def test_batches_of_many_rows_take_pieces(many: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = compiled.MANY * torch.get_num_threads() - (not many)
    asked = []
    own = compiled.in_tiles
    monkeypatch.setattr(
        compiled,
        "in_tiles",
        lambda name, *, rounded: asked.append(rounded) or own(name, rounded=rounded),
    )
    cell, xs = zoo.LSTM(20, 40), torch.randn(6, batch, 20, requires_grad=True)
    wanted = (xs, *cell.parameters())
    ours, theirs = (unroll(cell, xs, backend=backend)[0] for backend in ("auto", "eager"))
    assert asked == [False] * many
    for one, other in zip(
        torch.autograd.grad(ours.square().sum(), wanted),
        torch.autograd.grad(theirs.square().sum(), wanted),
        strict=True,
    ):
        assert (one - other).norm() <= 1e-6 * other.norm()

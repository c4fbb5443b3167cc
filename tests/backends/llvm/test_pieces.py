"""Products of float32 in pieces of bfloat16: as near as is asked, and infinity as it comes."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from unrolled import unroll, ways, zoo
from unrolled.backends import in_tiles, pieces_around, pieces_asked
from unrolled.backends.llvm.kernel import Kernel
from unrolled.backends.llvm.target import choose_target, with_tiles
from unrolled.backends.precision import HIGH, ROUNDED, WHOLE
from unrolled.ir import Program, parse, verify

TILES = with_tiles(choose_target(), WHOLE)
PROGRAMS = sorted(path.stem for path in (Path(__file__).parent / "programs").iterdir())

Build = Callable[[str, int, str], Program]
Draw = Callable[[Program, int, int], dict[str, Any]]
Reference = Callable[..., tuple[dict[str, Tensor], dict[str, Tensor]]]

pytestmark = pytest.mark.skipif(TILES is None, reason="this machine does not multiply in tiles")


ERRORS = {HIGH: 2.0**-15, WHOLE: 2.0**-21}  # of a product, at most

in_pieces = pytest.mark.parametrize("pieces", list(ERRORS), ids=["high", "whole"])


def kernel(program: Program, pieces: int) -> Kernel:
    assert TILES is not None
    return Kernel(program, replace(TILES, pieces=pieces))


def multiply(left: Tensor, right: Tensor, pieces: int = WHOLE) -> Tensor:
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
    run = kernel(program, pieces)
    return run({"x": left[None]}, {}, {"h": state}, {"W": right}, time=1).outputs["y"][0]


@pytest.mark.parametrize("scale", [2.0**-80, 1.0, 2.0**80])
def test_pieces_are_the_whole_number(scale: float) -> None:
    x = torch.randn(40, 70) * scale
    assert torch.equal(multiply(x, torch.eye(70)), x)
    assert torch.equal(multiply(torch.eye(40), x), x)


def test_two_pieces_are_rounded_twice() -> None:
    x = torch.randn(40, 70)
    first = x.bfloat16().float()
    found = multiply(x, torch.eye(70), HIGH)
    assert ((found - x).abs() <= 2.0**-17 * x.abs()).all()
    assert torch.equal(found, first + (x - first).bfloat16().float())


@in_pieces
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 70, 5), (33, 257, 40)])
def test_products_are_as_near_as_is_asked(shape: tuple[int, int, int], pieces: int) -> None:
    rows, terms, units = shape
    spread = torch.logspace(-4, 4, terms)[:, None]
    left, right = torch.randn(rows, terms) / spread.T, torch.randn(terms, units) * spread
    wanted = left.double() @ right.double()
    sizes = left.double().abs() @ right.double().abs()
    assert ((multiply(left, right, pieces) - wanted).abs() / sizes).max() < ERRORS[pieces]


@in_pieces
@pytest.mark.parametrize(
    "number", [torch.nan, torch.inf, -torch.inf, 3.4e38], ids=["nan", "inf", "-inf", "largest"]
)
def test_what_is_no_number_comes_out_as_in_pytorch(number: float, pieces: int) -> None:
    left = torch.ones(3, 4)
    left[1, 2] = number
    right = torch.tensor([1.0, -0.5, 1 / 3, 0.0]).repeat(4, 1)
    for factors in ((left, right), (right.T, left.T)):
        ours, theirs = multiply(*factors, pieces), torch.mm(*factors)
        torch.testing.assert_close(ours, theirs, equal_nan=True, rtol=ERRORS[pieces], atol=0)


@in_pieces
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_agrees_with_its_reference(
    name: str, threads: int, pieces: int, program: Build, arguments: Draw, reference: Reference
) -> None:
    step = program(name, 40, "float32")
    run, error = kernel(step, pieces), {HIGH: 3e-4, WHOLE: 1e-5}[pieces]
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
                torch.testing.assert_close(ours[name].double(), x, rtol=error, atol=error)
                assert torch.equal(ours[name], same[name])


@in_pieces
def test_infinity_times_infinity_is_infinity(pieces: int) -> None:
    signs = torch.tensor([[torch.inf], [-torch.inf], [2.0], [torch.nan], [0.0]])
    ours, theirs = multiply(signs, signs.T, pieces), signs @ signs.T
    torch.testing.assert_close(ours, theirs, equal_nan=True)


@pytest.fixture
def precision() -> Iterator[Callable[[str], None]]:
    """Give PyTorch's setting of how products of float32 are made, for one test."""
    yield torch.set_float32_matmul_precision
    torch.set_float32_matmul_precision("highest")


SETTINGS = {"highest": WHOLE, "high": HIGH, "medium": ROUNDED}


@pytest.mark.parametrize("many", [True, False], ids=["many rows", "few rows"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_batches_of_many_rows_take_pieces(
    setting: str,
    many: bool,
    monkeypatch: pytest.MonkeyPatch,
    precision: Callable[[str], None],
) -> None:
    pieces = SETTINGS[setting]
    each, least = ways.MANY[pieces]
    batch = max(1, max(each * torch.get_num_threads(), least) - (not many))
    asked = []
    own = ways.in_tiles
    monkeypatch.setattr(
        ways, "in_tiles", lambda name, pieces: asked.append(pieces) or own(name, pieces)
    )
    cell, xs = zoo.LSTM(20, 40), torch.randn(6, batch, 20, requires_grad=True)
    wanted = (xs, *cell.parameters())
    theirs = unroll(cell, xs, backend="eager")[0]
    theirs = (theirs, *torch.autograd.grad(theirs.square().sum(), wanted))
    precision(setting)
    ours = unroll(cell, xs)[0]
    ours = (ours, *torch.autograd.grad(ours.square().sum(), wanted))
    assert asked == [pieces] * (many or pieces == ROUNDED)
    error = {WHOLE: 1e-6, HIGH: 5e-5, ROUNDED: 0.02}[pieces]
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).norm() <= error * other.norm()


def test_a_setting_says_what_products_around_few_rows_are(precision: Callable[[str], None]) -> None:
    for setting, pieces in SETTINGS.items():
        precision(setting)
        assert (pieces_asked(), pieces_around("llvm")) == (pieces, pieces)
        assert pieces_around(in_tiles("llvm", HIGH)) == HIGH


def test_medium_is_what_autocast_makes_of_products(precision: Callable[[str], None]) -> None:
    cell, xs = zoo.GRU(20, 40), torch.randn(6, 33, 20)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = unroll(cell, xs)[0]
    precision("medium")
    assert torch.equal(unroll(cell, xs)[0], rounded)

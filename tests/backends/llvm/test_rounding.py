"""Products of factors rounded to bfloat16: what is rounded, and that nothing else is."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from unrolled import LSTM, unroll, zoo
from unrolled.backends import IN_TILES, in_tiles, pieces_around, pieces_of
from unrolled.backends.llvm.kernel import Kernel, compile_program
from unrolled.backends.llvm.target import bfloat16_targets, choose_target, with_tiles
from unrolled.backends.precision import HIGH, REGISTERS_PAY, ROUNDED, WHOLE
from unrolled.ir import Program, parse, verify

UNITS = bfloat16_targets(choose_target())
PROGRAMS = sorted(path.stem for path in (Path(__file__).parent / "programs").iterdir())

Build = Callable[[str, int, str], Program]
Draw = Callable[[Program, int, int], dict[str, Any]]
Make = Callable[[Program], Kernel]
Reference = Callable[..., tuple[dict[str, Tensor], dict[str, Tensor]]]

in_bfloat16 = pytest.mark.skipif(
    with_tiles(choose_target(), ROUNDED) is None, reason="bfloat16 does not pay on this machine"
)


@pytest.fixture(params=["tiles", "vectors"])
def kernel(request: pytest.FixtureRequest) -> Callable[[Program], Kernel]:
    """Give what compiles a program for what multiplies bfloat16, whether that pays or not."""
    if request.param not in UNITS:
        pytest.skip(f"this machine does not multiply bfloat16 in {request.param}")
    return partial(Kernel, target=UNITS[request.param])


def products(terms: int, units: int, blocks: int) -> Program:
    """Two products that share a nest, one that is turned over, and one block by block."""
    return verify(
        parse(f"""program float32
        input  x: rows {terms}
        state  h: rows {units}
        fixed  W: {terms}x{units}
        fixed  V: {terms}x{units}
        fixed  U: {units}x{terms}
        fixed  D: {blocks}x{terms // blocks}x{units}
        w = matmul x, W : rows {units}
        v = matmul x, V : rows {units}
        u = matmul_t x, U : rows {units}
        d = matmul x, D : rows {blocks * units}
        s = add w, v : rows {units}
        h_1 = add s, u : rows {units}
        output y = h_1
        output d = d
        output w = w
        next   h = h_1""")
    )


def rounded(group: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: x.bfloat16().float() for name, x in group.items()}


@pytest.mark.parametrize("batch", [1, 15, 17, 32, 33, 70])
@pytest.mark.parametrize(
    ("terms", "units", "blocks"), [(1, 1, 1), (4, 3, 2), (33, 16, 3), (63, 40, 3), (130, 17, 2)]
)
def test_factors_that_rounding_leaves_alone_give_exact_products(
    terms: int,
    units: int,
    blocks: int,
    batch: int,
    arguments: Draw,
    reference: Reference,
    kernel: Make,
) -> None:
    step = products(terms, units, blocks)
    given = arguments(step, 3, batch)
    given |= {kind: rounded(given[kind]) for kind in ("inputs", "fixed")}
    lengths = 3 - torch.arange(batch) % 4
    ended = torch.arange(3)[:, None] >= lengths
    given["inputs"]["x"][ended] = torch.nan  # which nobody may read
    found = kernel(step)(**given, time=3, lengths=lengths)
    wanted, _ = reference(step, **given, time=3, lengths=lengths)
    for name, x in wanted.items():
        torch.testing.assert_close(found.outputs[name].double(), x, rtol=1e-6, atol=2e-6)


def test_both_factors_are_rounded_to_the_nearest_and_to_even(arguments: Draw, kernel: Make) -> None:
    step = products(1, 4, 1)
    given = arguments(step, 1, 4)
    numbers = torch.tensor([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-9, 3.14159])
    given["inputs"]["x"], given["fixed"]["W"] = numbers[None, :, None], numbers[None]
    found = kernel(step)(**given, time=1).outputs["w"][0]
    assert torch.equal(found, numbers.bfloat16().float()[:, None] * numbers.bfloat16().float())


@pytest.mark.parametrize(
    "number", [torch.nan, torch.inf, -torch.inf, 3.4e38], ids=["nan", "inf", "-inf", "largest"]
)
def test_what_is_no_number_stays_in_its_row(number: float, arguments: Draw, kernel: Make) -> None:
    step = products(4, 3, 2)
    given = arguments(step, 1, 3)
    given["inputs"]["x"][0, 1, 2] = number
    given["fixed"]["W"].fill_(0.5)
    found = kernel(step)(**given, time=1).outputs["w"][0]
    assert found[[0, 2]].isfinite().all()
    wanted = torch.tensor(number).bfloat16().float() * 0.5  # the largest is rounded to infinity
    torch.testing.assert_close(found[1], wanted.expand(3), equal_nan=True)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_close_to_its_reference(
    name: str, threads: int, program: Build, arguments: Draw, reference: Reference, kernel: Make
) -> None:
    step = program(name, 24, "float32")
    run = kernel(step)
    for time, batch in ((1, 1), (4, 3), (3, 37)):
        given = arguments(step, time, batch)
        found = run(**given, time=time, threads=threads)
        outputs, states = reference(step, **given, time=time)
        for ours, theirs in ((found.outputs, outputs), (found.states, states)):
            for name, x in theirs.items():
                error = (ours[name].double() - x).norm() / x.norm()
                assert error < 0.02, name  # bfloat16 is right to 0.004


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_are_the_same_bits_from_run_to_run(
    threads: int, program: Build, arguments: Draw, kernel: Make
) -> None:
    step = program("gru", 150, "float32")
    run, given = kernel(step), arguments(step, 5, 19)
    one = run(**given, time=5, threads=threads)
    for _ in range(5):
        assert torch.equal(one.outputs["y"], run(**given, time=5, threads=threads).outputs["y"])


def test_float64_is_never_rounded(program: Build, arguments: Draw) -> None:
    step = program("gru", 5, "float64")
    given = arguments(step, 3, 2)
    found = [compile_program(step, pieces=n)(**given, time=3).outputs["y"] for n in (0, 1, 3)]
    assert all(torch.equal(found[0], other) for other in found[1:])


def test_who_multiplies_in_tiles_has_a_row_of_its_own() -> None:
    whole = 0 if choose_target().cpu in REGISTERS_PAY else None
    for pieces in (ROUNDED, HIGH, WHOLE):
        found = in_tiles("llvm", pieces)
        pays = with_tiles(choose_target(), pieces) is not None
        assert found == (IN_TILES["llvm", pieces] if pays else "llvm")
        assert pieces_of(found) == (pieces if pays else 0)
        assert pieces_around(found) == (pieces if pays else whole)
        assert in_tiles("interpreter", pieces) == "interpreter"
    assert pieces_of("llvm") == 0
    assert pieces_around("llvm") == (WHOLE if "tiles" in UNITS else whole)
    assert pieces_around("interpreter") is None


@in_bfloat16
@pytest.mark.parametrize("batch", [1, 64], ids=["few rows", "many rows"])
def test_autocast_rounds_and_gradients_are_close(batch: int) -> None:
    layer, xs = LSTM(20, 40, num_layers=2, bidirectional=True), torch.randn(6, batch, 20)
    xs.requires_grad_()
    found = []
    for on in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=on):
            ys, _ = layer(xs)
        assert ys.dtype == torch.float32
        found.append((ys, *torch.autograd.grad(ys.square().sum(), (xs, *layer.parameters()))))
    for ours, theirs in zip(*found, strict=True):
        error = (ours - theirs).norm() / theirs.norm()
        assert 0 < error < 0.02


def test_a_cell_in_float64_is_left_alone_by_autocast() -> None:
    cell, xs = zoo.GRU(3, 5).double(), torch.randn(4, 2, 3).double()
    ys, _ = unroll(cell, xs)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(unroll(cell, xs)[0], ys)

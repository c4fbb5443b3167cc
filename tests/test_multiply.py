"""Products around the loop: ours are those of PyTorch, derivatives of both orders too."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled import multiply as products
from unrolled.backends import precision
from unrolled.backends.llvm.target import choose_target
from unrolled.backends.precision import HIGH, IN_TILES, ROUNDED, WHOLE, in_tiles
from unrolled.errors import BackendError
from unrolled.multiply import LINEAR, multiply

ERRORS = {0: 2e-6, ROUNDED: 0.03, HIGH: 5e-5, WHOLE: 2e-6}  # of the norm, by pieces of a factor
NAMES = {0: "registers", ROUNDED: "rounded", HIGH: "high", WHOLE: "whole"}


def tiled(pieces: int) -> pytest.MarkDecorator:
    there = in_tiles("llvm", pieces) == IN_TILES["llvm", pieces]
    return pytest.mark.skipif(not there, reason="this machine does not multiply such pieces")


in_pieces = pytest.mark.parametrize(
    "pieces", [pytest.param(n, id=NAMES[n], marks=tiled(n) if n else ()) for n in ERRORS]
)


@pytest.fixture
def everything_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "WORTH", dict.fromkeys(ERRORS, 0))
    monkeypatch.setattr(products, "BLOCK", 0)


def are_near(ours: Tensor, theirs: Tensor, pieces: int) -> bool:
    return bool((ours - theirs).norm() <= ERRORS[pieces] * theirs.norm())


@pytest.mark.usefixtures("everything_pays")
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@in_pieces
def test_linear_is_that_of_pytorch_to_the_second_derivative(pieces: int, bias: bool) -> None:
    xs, weight, added = torch.randn(50, 33), torch.randn(20, 33) / 9, torch.randn(20)
    given = [x.requires_grad_() for x in ((xs, weight, added) if bias else (xs, weight))]
    found = []
    for run in (LINEAR[pieces], F.linear):
        made = run(*given)
        first = torch.autograd.grad(made.sin().sum(), given, create_graph=True)
        second = torch.autograd.grad(sum((g.cos().sum() for g in first), made.new_zeros(())), given)
        found.append((made, *first, *second))
    for ours, theirs in zip(*found, strict=True):
        assert are_near(ours, theirs, pieces)


@pytest.mark.usefixtures("everything_pays")
@in_pieces
def test_pairs_of_matrices_are_multiplied_each_with_its_own(pieces: int) -> None:
    left, right = torch.randn(3, 20, 40), torch.randn(3, 40, 9)
    assert are_near(multiply(left, right, pieces), left @ right, pieces)


@pytest.mark.usefixtures("everything_pays")
def test_transforms_of_functions_follow() -> None:
    xs, weight = torch.randn(50, 33), torch.randn(20, 33)
    ours, theirs = (
        torch.func.grad(lambda w, run=run: run(xs, w).sin().sum())(weight)
        for run in (LINEAR[0], F.linear)
    )
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("pieces", ERRORS)
def test_kernels_multiply_what_pays_and_pytorch_the_rest(
    pieces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def watched(left: Tensor, right: Tensor, pieces: int) -> Tensor:
        made.append(pieces)
        return left @ right

    monkeypatch.setattr(products, "multiply_here", watched)
    monkeypatch.setattr(products, "WORTH", {pieces: 50 * 40 * 30})
    monkeypatch.setattr(products, "BLOCK", 50 * 30 // torch.get_num_threads())
    left, right = torch.randn(50, 40), torch.randn(40, 30)
    multiply(left, right, pieces)
    LINEAR[pieces](left, right.T)
    multiply(left.expand(3, 50, 40), right.expand(3, 40, 30), pieces)
    assert made == 5 * [pieces]
    multiply(left[:, 1:], right[1:], pieces)  # too little to do
    multiply(left[1:].repeat(1, 2), right.repeat(2, 1), pieces)  # too small for all threads
    multiply(left, right, None)
    LINEAR[pieces](left[1:], right.T)
    assert made == 5 * [pieces]


@pytest.mark.usefixtures("everything_pays")
@in_pieces
def test_what_kernels_cannot_have_is_left_to_pytorch(pieces: int) -> None:
    double = torch.randn(3, 4, dtype=torch.float64)
    assert torch.equal(LINEAR[pieces](double, double), double @ double.T)
    nowhere = torch.empty(3, 4, device="meta")
    assert LINEAR[pieces](nowhere, nowhere).device.type == "meta"


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # what duals themselves use
@pytest.mark.usefixtures("everything_pays")
def test_forward_mode_is_refused_as_kernels_refuse_it() -> None:
    xs, weight = torch.randn(5, 6), torch.randn(4, 6, requires_grad=True)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(xs, xs)
        with pytest.raises(BackendError):
            LINEAR[0](dual, weight)


@pytest.mark.parametrize("pays", [True, False], ids=["where that pays", "where it does not"])
@pytest.mark.parametrize("asked", [WHOLE, HIGH, ROUNDED], ids=["whole", "high", "rounded"])
def test_without_tiles_registers_multiply(
    asked: int, pays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "in_tiles", lambda compiler, _: compiler)
    monkeypatch.setattr(precision, "REGISTERS_PAY", {choose_target().cpu} if pays else {})
    monkeypatch.setattr(precision, "_registers_pay", precision._registers_pay.__wrapped__)
    monkeypatch.setattr(precision, "pieces_asked", lambda: asked)
    assert precision.pieces_around("llvm") == (0 if pays and asked != ROUNDED else None)
    assert precision.pieces_around("interpreter") is None

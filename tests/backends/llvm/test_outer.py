"""Sums over rows of products of two rows, and the gradients of maps that are made of them."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear as torch_linear

from unrolled.backends.llvm import outer
from unrolled.backends.llvm.linear import linear
from unrolled.backends.llvm.target import targets


def operands(rows: int, m: int, n: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Give two operands, the left one cut from a wider one."""
    torch.manual_seed(rows)
    return torch.randn(rows, m + 3, dtype=dtype)[:, 2 : m + 2], torch.randn(rows, n, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", targets())
def test_it_is_the_product_and_the_sum_on_every_instruction_set(
    name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outer, "_here", lambda: targets()[name])
    for rows, m, n in ((1, 1, 1), (outer.CHUNK, 16, 32), (150, 37, 45)):
        left, right = operands(rows, m, n, dtype)
        product, total = outer.over_rows(left, right)
        torch.testing.assert_close(product, left.T @ right)
        torch.testing.assert_close(total, left.sum(0))


def test_no_number_depends_on_how_many_threads_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = operands(200, 70, 40, torch.float32)
    before = outer.over_rows(left, right)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    for one, other in zip(before, outer.over_rows(left, right), strict=True):
        assert torch.equal(one, other)


def test_what_is_no_number_stays_where_it_belongs() -> None:
    left, right = operands(70, 20, 20, torch.float32)
    left[66, 3] = torch.nan
    product, total = outer.over_rows(left, right)
    assert product.isnan().any(1).nonzero().tolist() == [[3]]
    assert total.isnan().nonzero().tolist() == [[3]]


def test_no_rows_give_zeros() -> None:
    product, total = outer.over_rows(torch.ones(0, 2), torch.ones(0, 3))
    assert not product.any()
    assert not total.any()


def test_a_map_has_the_gradients_of_torchs_and_can_be_differentiated_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outer, "WORTH", 1)
    torch.manual_seed(0)
    given = [torch.randn(128, 8), torch.randn(32, 8), torch.randn(32)]
    given = [tensor.double().requires_grad_() for tensor in given]
    asked: list[bool] = []
    monkeypatch.setattr(outer, "is_worth_it", lambda *_: asked.append(True) or True)
    mine, theirs = (
        torch.autograd.grad(own(*given).square().sum(), given) for own in (linear, torch_linear)
    )
    assert asked
    torch.testing.assert_close(mine, theirs)
    few = [given[0][:3], given[1][:2], given[2][:2]]
    assert torch.autograd.gradgradcheck(linear, [t.detach().requires_grad_() for t in few])

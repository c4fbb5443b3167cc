"""A sampled softmax is the softmax where all are candidates, and estimates it where some are."""

from itertools import permutations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled import zoo
from unrolled.models.candidates import sampled_losses
from unrolled.models.language import LanguageModel

SYMBOLS, WIDTH = 6, 3
WANTED = torch.arange(SYMBOLS)


def readout() -> tuple[Tensor, Tensor, Tensor]:
    sizes = ((SYMBOLS, WIDTH), (SYMBOLS, WIDTH), (SYMBOLS,))
    features, weight, bias = (torch.randn(size, dtype=torch.float64) for size in sizes)
    return features, weight, bias


@pytest.mark.parametrize("candidates", [SYMBOLS, 3 * SYMBOLS])
def test_with_all_as_candidates_it_is_the_cross_entropy_and_so_are_its_gradients(
    candidates: int,
) -> None:
    given = readout()
    for tensor in given:
        tensor.requires_grad_()
    features, weight, bias = given
    exact = F.cross_entropy(F.linear(features, weight, bias), WANTED, reduction="none")
    found = sampled_losses(features, WANTED, weight, bias, candidates)
    torch.testing.assert_close(found, exact)
    wanted = torch.autograd.grad(exact.sum(), given)
    torch.testing.assert_close(torch.autograd.grad(found.sum(), given), wanted)


@pytest.mark.parametrize("candidates", [1, 2, 3, 4, 5])
def test_the_sum_it_estimates_is_right_in_the_mean_of_all_draws(
    candidates: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, weight, bias = readout()
    sums = []
    for order in permutations(range(SYMBOLS - candidates // 2)):
        monkeypatch.setattr(torch, "randperm", lambda n, device, order=order: torch.tensor(order))
        sums.append(sampled_losses(features, WANTED, weight, bias, candidates).exp())
    exact = F.cross_entropy(F.linear(features, weight, bias), WANTED, reduction="none").exp()
    torch.testing.assert_close(torch.stack(sums).mean(0), exact)


@pytest.mark.parametrize("tied", [False, True])
def test_a_language_model_compares_with_candidates_if_it_is_to(tied: bool) -> None:
    model = LanguageModel(40, cell=zoo.GRU, embedding=4, hidden=6, tied=tied)
    ids = torch.randint(40, (6, 3))
    with torch.no_grad():
        whole, last = model.losses(ids[:-1], ids[1:])
        some, state = model.losses(ids[:-1], ids[1:], candidates=10)
        every, _ = model.losses(ids[:-1], ids[1:], candidates=40)
    assert some.shape == whole.shape
    assert not torch.allclose(some, whole)
    torch.testing.assert_close(every, whole)
    torch.testing.assert_close(state, last)

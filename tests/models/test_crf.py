"""The conditional random field against all sequences, one by one."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from unrolled.errors import ConfigError, ShapeError
from unrolled.models.crf import CRF

TAGS, LENGTHS = 3, [4, 1, 3]


@pytest.fixture
def crf() -> CRF:
    crf = CRF(TAGS).double()
    for parameter in crf.parameters():
        nn.init.normal_(parameter)
    return crf


@pytest.fixture
def scores() -> Tensor:
    scores = torch.randn(4, 3, TAGS, dtype=torch.double)
    scores[1:, 1], scores[3:, 2] = torch.nan, torch.nan  # what lies behind the ends is not read
    return scores


def weights(crf: CRF, scores: Tensor, row: int) -> dict[tuple[int, ...], Tensor]:
    """Weigh every sequence of a row by the definition."""
    found = {}
    for path in itertools.product(range(TAGS), repeat=LENGTHS[row]):
        total = crf.begin[path[0]] + crf.end[path[-1]]
        total = total + sum(scores[t, row, tag] for t, tag in enumerate(path))
        for one, other in itertools.pairwise(path):
            total = total + crf.transitions[one, other]
        found[path] = total
    return found


def test_the_log_partition_is_that_of_all_sequences(crf: CRF, scores: Tensor) -> None:
    expected = [torch.stack([*weights(crf, scores, i).values()]).logsumexp(0) for i in range(3)]
    found = crf.log_partition(scores, torch.tensor(LENGTHS))
    torch.testing.assert_close(found, torch.stack(expected))


def test_gradients_are_those_of_all_sequences(crf: CRF, scores: Tensor) -> None:
    parameters = list(crf.parameters())
    expected = sum(torch.stack([*weights(crf, scores, i).values()]).logsumexp(0) for i in range(3))
    found = crf.log_partition(scores, torch.tensor(LENGTHS)).sum()
    pairs = zip(
        torch.autograd.grad(found, parameters),
        torch.autograd.grad(torch.as_tensor(expected), parameters),
        strict=True,
    )
    for one, other in pairs:
        torch.testing.assert_close(one, other)


def test_probabilities_are_weights_over_their_sum(crf: CRF, scores: Tensor) -> None:
    tags = torch.randint(TAGS, (4, 3))
    found = crf(scores, tags, torch.tensor(LENGTHS))
    for row, length in enumerate(LENGTHS):
        all_of = weights(crf, scores, row)
        own = all_of[tuple(tags[:length, row].tolist())]
        torch.testing.assert_close(found[row], own - torch.stack([*all_of.values()]).logsumexp(0))


def test_marginals_sum_the_probabilities_of_the_sequences_with_a_tag(
    crf: CRF, scores: Tensor
) -> None:
    found = crf.marginals(scores, torch.tensor(LENGTHS))
    for row, length in enumerate(LENGTHS):
        all_of = weights(crf, scores, row)
        shares = torch.stack([*all_of.values()]).softmax(0)
        expected = torch.zeros(4, TAGS, dtype=torch.double)
        for path, share in zip(all_of, shares, strict=True):
            for t, tag in enumerate(path):
                expected[t, tag] += share
        torch.testing.assert_close(found[:, row], expected.detach())
        assert not found[length:, row].any()


@pytest.mark.parametrize("held", [False, True], ids=["all-allowed", "some-allowed"])
def test_decoding_finds_the_heaviest_sequence_allowed(crf: CRF, scores: Tensor, held: bool) -> None:
    if held:
        crf.begins = torch.tensor([False, True, True])
        crf.follows = torch.tensor([[1, 0, 1], [1, 1, 0], [0, 1, 0]]).bool()
    paths, totals = crf.decode(scores, torch.tensor(LENGTHS))
    for row, length in enumerate(LENGTHS):
        allowed = {
            path: weight
            for path, weight in weights(crf, scores, row).items()
            if crf.begins[path[0]] and all(crf.follows[a, b] for a, b in itertools.pairwise(path))
        }
        best = max(allowed, key=lambda path: allowed[path].item())
        assert tuple(paths[:length, row].tolist()) == best
        torch.testing.assert_close(totals[row], allowed[best].detach())
        assert not paths[length:, row].any()


def test_large_scores_neither_overflow_nor_lose_their_gradient() -> None:
    crf, scores = CRF(TAGS), 1e4 * torch.randn(6, 2, TAGS)
    tags, _ = crf.decode(scores)
    scores.requires_grad_()
    found = crf(scores, tags)
    found.sum().backward()
    torch.testing.assert_close(found.detach(), torch.zeros(2), atol=1e-2, rtol=0)
    assert scores.grad is not None and scores.grad.isfinite().all()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="CRF has 0 tags"):
        CRF(0)
    with pytest.raises(ShapeError, match=r"expected \(time, batch, 3\)"):
        CRF(3).decode(torch.zeros(2, 1, 4))
    with pytest.raises(ShapeError, match="lengths holds 0"):
        CRF(3).log_partition(torch.zeros(2, 1, 3), torch.tensor([0]))
    with pytest.raises(ShapeError, match=r"tags has shape \(2,\)"):
        CRF(3).score(torch.zeros(2, 1, 3), torch.zeros(2))

"""Laws of the transducer's lattice, against all ways one by one and against another recursion."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from unrolled.errors import ShapeError
from unrolled.models.lattice import NEVER, best_way, log_likelihood

STEPS, SIZES = [5, 3, 1, 2], [3, 0, 2, 3]


def noise(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Give blanks and labels (5, 4, 4), NaN behind the ends."""
    chance = torch.Generator().manual_seed(seed)
    scores = torch.randn(5, 4, 4, 3, generator=chance, dtype=torch.double).log_softmax(-1)
    blanks, labels = scores[..., 0].clone(), scores[..., 1].clone()
    for row, (steps, size) in enumerate(zip(STEPS, SIZES, strict=True)):
        for some in (blanks, labels):
            some[steps:, row], some[:, row, size + 1 :] = torch.nan, torch.nan
        labels[:, row, size] = torch.nan
    return blanks, labels


def ways(blanks: Tensor, labels: Tensor) -> dict[tuple[int, ...], float]:
    """Weigh every way (steps, symbols + 1): the step at which each symbol is written."""
    steps, places = blanks.shape
    found = {}
    for way in itertools.combinations_with_replacement(range(steps), places - 1):
        total = sum(float(labels[t, u]) for u, t in enumerate(way))
        for t in range(steps):
            total += float(blanks[t, sum(one <= t for one in way)])
        found[way] = total
    return found


def forward(blanks: np.ndarray, labels: np.ndarray) -> float:
    """Graves 2012, eq. 16-18, place by place."""
    steps, places = blanks.shape
    reached = np.full((steps + 1, places), -np.inf)
    reached[0, 0] = 0
    for t in range(steps):
        for u in range(places):
            if u:
                written = reached[t, u - 1] + labels[t, u - 1]
                reached[t, u] = np.logaddexp(reached[t, u], written)
            reached[t + 1, u] = np.logaddexp(reached[t + 1, u], reached[t, u] + blanks[t, u])
    return float(reached[steps, places - 1])


def alone(row: int, *some: Tensor) -> list[Tensor]:
    return [one[: STEPS[row], row, : SIZES[row] + 1] for one in some]


def test_the_likelihood_is_that_of_all_ways() -> None:
    blanks, labels = noise()
    found = log_likelihood(blanks, labels, torch.tensor(STEPS), torch.tensor(SIZES))
    for row, likely in enumerate(found.tolist()):
        every = ways(*alone(row, blanks, labels))
        assert len(every) == math.comb(STEPS[row] + SIZES[row] - 1, SIZES[row])
        assert likely == pytest.approx(math.log(sum(map(math.exp, every.values()))), rel=1e-12)


def test_a_long_lattice_is_that_of_another_recursion() -> None:
    scores = 3 * torch.randn(90, 2, 15, 4, dtype=torch.double)
    blanks, labels = scores.log_softmax(-1)[..., :2].unbind(-1)
    steps, sizes = torch.tensor([90, 71]), torch.tensor([9, 14])
    for dtype, exact in ((torch.double, 1e-12), (torch.float, 1e-6)):
        found = log_likelihood(blanks.to(dtype), labels.to(dtype), steps, sizes)
        assert found.dtype == dtype
        for row in range(2):
            t, u = int(steps[row]), int(sizes[row]) + 1
            expected = forward(blanks[:t, row, :u].numpy(), labels[:t, row, :u].numpy())
            assert found[row].item() == pytest.approx(expected, rel=exact)


def test_gradients_are_right_and_nothing_flows_from_behind_the_ends() -> None:
    blanks, labels = (some.nan_to_num(0.5).requires_grad_() for some in noise())
    steps, sizes = torch.tensor(STEPS), torch.tensor(SIZES)
    assert torch.autograd.gradcheck(
        lambda blanks, labels: log_likelihood(blanks, labels, steps, sizes), (blanks, labels)
    )
    likely = log_likelihood(*noise(), steps, sizes)
    for dirty, clean in zip(noise(), (blanks, labels), strict=True):
        dirty.requires_grad_()
        again = noise()
        given = (dirty, again[1]) if clean is blanks else (again[0], dirty)
        [found] = torch.autograd.grad(log_likelihood(*given, steps, sizes).sum(), dirty)
        assert found.isfinite().all()
    # each symbol is written once: the gradients by its labels are shares of all ways
    [shares] = torch.autograd.grad(log_likelihood(blanks, labels, steps, sizes).sum(), labels)
    torch.testing.assert_close(
        shares.sum(0), (torch.arange(4) < torch.tensor(SIZES)[:, None]).double()
    )
    assert likely.isfinite().all()


def test_the_best_way_is_the_best_of_all() -> None:
    blanks, labels = noise(seed=1)
    for row in range(4):
        some = alone(row, blanks, labels)
        every = ways(*some)
        assert tuple(best_way(*(one.numpy() for one in some))) == max(every, key=every.__getitem__)


def test_a_text_without_steps_is_impossible() -> None:
    empty, none = torch.zeros(0, 2, 3), torch.tensor([0, 0])
    found = log_likelihood(empty, empty, none, torch.tensor([0, 2]))
    assert found[0] == 0 and found[1] <= NEVER / 2
    assert best_way(np.zeros((0, 1)), np.zeros((0, 1))) == []
    with pytest.raises(ShapeError, match="2 symbols do not fit into 0 steps"):
        best_way(np.zeros((0, 3)), np.zeros((0, 3)))


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"blanks has shape \(3, 1, 2\) and labels \(3, 1, 3\)"):
        log_likelihood(torch.zeros(3, 1, 2), torch.zeros(3, 1, 3), torch.ones(1), torch.ones(1))
    with pytest.raises(ShapeError, match="lengths holds 2"):
        some = torch.zeros(3, 1, 2)
        log_likelihood(some, some, torch.tensor([3]), torch.tensor([2]))

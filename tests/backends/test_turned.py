"""Reading sequences from their ends is reading them reversed, on every backend."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled import unroll, zoo
from unrolled.backends import BACKENDS
from unrolled.backends.turned import reverse, reverse_resets

TIME = 6
few = settings(deadline=None, max_examples=30)
ragged = st.lists(st.integers(0, TIME), min_size=1, max_size=4)


def steps(batch: int) -> torch.Tensor:
    return torch.arange(TIME * batch * 2.0).reshape(TIME, batch, 2)


@few
@given(ragged)
def test_each_sequence_is_reversed_and_its_padding_stays(lengths):
    xs = steps(len(lengths))
    got = reverse(xs, torch.tensor(lengths))
    for b, n in enumerate(lengths):
        assert torch.equal(got[:n, b], xs[:n, b].flip(0))
        assert torch.equal(got[n:, b], xs[n:, b])


@few
@given(ragged)
def test_reversing_twice_gives_the_same_back(lengths):
    xs, ends = steps(len(lengths)), torch.tensor(lengths)
    assert torch.equal(reverse(reverse(xs, ends), ends), xs)


def test_without_lengths_time_is_flipped():
    assert torch.equal(reverse(steps(2)), steps(2).flip(0))


def segments(resets: list[bool]) -> list[list[int]]:
    """Cut steps 0.. before every reset."""
    cut: list[list[int]] = []
    for t, fresh in enumerate(resets):
        if fresh or not cut:
            cut.append([])
        cut[-1].append(t)
    return cut


@few
@given(st.lists(st.booleans(), min_size=TIME, max_size=TIME), st.integers(1, TIME))
def test_the_reversed_resets_cut_the_reversed_sequence_into_the_same_parts(resets, length):
    column = torch.tensor(resets)[:, None]
    turned = reverse_resets(column, torch.tensor([length]))[:length, 0].tolist()
    assert not reverse_resets(column, torch.tensor([length]))[length:].any()
    forwards = segments(resets[:length])
    backwards = [[length - 1 - t for t in part][::-1] for part in segments(turned)][::-1]
    assert backwards == forwards


@pytest.mark.parametrize("resets", [False, True], ids=["", "resets"])
@pytest.mark.parametrize("lengths", [None, [TIME, 2, 0, 4]], ids=["full", "ragged"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_reading_backwards_is_reading_what_is_reversed(backend, lengths, resets):
    cell = zoo.GRU(3, 5).double()
    xs = torch.randn(TIME, 4, 3, dtype=torch.float64, requires_grad=True)
    state = {"h": torch.randn(4, 5, dtype=torch.float64, requires_grad=True)}
    ends = None if lengths is None else torch.tensor(lengths)
    cuts = torch.rand(TIME, 4) < 0.3 if resets else None
    turned = None if cuts is None else reverse_resets(cuts, ends)
    ys, last, states = unroll(
        cell, reverse(xs, ends), state, lengths=ends, resets=turned, return_states=True
    )
    wanted = (reverse(ys, ends), last["h"], reverse(states["h"], ends))
    given = {"lengths": ends, "resets": cuts, "reverse": True, "backend": backend}
    ys, last, states = unroll(cell, xs, state, return_states=True, **given)
    found = (ys, last["h"], states["h"])
    torch.testing.assert_close(found, wanted)
    ys, last = unroll(cell, xs, state, **given)
    torch.testing.assert_close((ys, last["h"]), wanted[:2])
    weights = [torch.randn_like(result) for result in wanted]
    of = [xs, state["h"], *cell.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad(found, of, weights), torch.autograd.grad(wanted, of, weights)
    )


@pytest.mark.parametrize("backend", ["llvm", "interpreter"])
def test_backwards_too_there_are_gradients_of_gradients(backend):
    cell = zoo.LSTM(2, 3).double()
    xs = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([4, 2])

    def last(xs):
        ys, _ = unroll(cell, xs, lengths=lengths, reverse=True, backend=backend)
        return ys.square().sum()

    torch.autograd.gradgradcheck(last, (xs,))

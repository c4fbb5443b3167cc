"""Laws of sampling: frequencies, cuts, seeds. What all searches obey is in test_search."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from unrolled.errors import ConfigError
from unrolled.models.sampling import sample
from unrolled.models.search import State, greedy

PROBS = (0.05, 0.4, 0.1, 0.15, 0.0, 0.3)
EOS = len(PROBS) - 1


class Table:
    """A step whose log-probabilities depend on the last symbol only."""

    def __init__(self, probs: Tensor) -> None:
        self.table = probs.log()

    def __call__(
        self, tokens: Tensor, state: State, constants: State
    ) -> tuple[Tensor, State, None]:
        return self.table[tokens], state, None


def random_table(seed: int) -> Table:
    generator = torch.Generator().manual_seed(seed)
    return Table(torch.randn(6, 6, generator=generator).softmax(1))


def first_symbols(rows: int = 5000, **settings: Any) -> Tensor:
    """How often each symbol of PROBS comes first, in `rows` draws."""
    found = sample(
        Table(torch.tensor(PROBS).expand(6, 6)),
        {},
        rows=rows,
        bos=0,
        eos=EOS,
        max_steps=1,
        generator=torch.Generator().manual_seed(3),
        **settings,
    )
    symbols = [one.tokens[0] if one.tokens else EOS for one in found]
    return torch.bincount(torch.tensor(symbols), minlength=len(PROBS)).double()


@pytest.mark.parametrize(
    "settings",
    [{"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-3}, {"temperature": 1e-50}],
    ids=str,
)
def test_sampling_with_no_freedom_is_greedy(settings: dict[str, Any]) -> None:
    for seed in range(10):
        step, rows = random_table(seed), torch.tensor([9, 3, 20])
        found = sample(step, {}, rows=3, bos=seed % 6, eos=EOS, max_steps=rows, **settings)
        assert found == greedy(step, {}, rows=3, bos=seed % 6, eos=EOS, max_steps=rows)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_samples_have_the_frequencies_of_the_scaled_probabilities(temperature: float) -> None:
    counts = first_symbols(temperature=temperature)
    expected = torch.tensor(PROBS).double() ** (1 / temperature)
    expected *= counts.sum() / expected.sum()
    possible = expected > 0
    assert not counts[~possible].any()
    chi_square = ((counts - expected)[possible] ** 2 / expected[possible]).sum().item()
    assert chi_square < 23.5  # 4 degrees of freedom: p = 0.0001


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({"top_k": 2}, {1: 4, 5: 3}),
        ({"top_k": 99}, {0: 0.5, 1: 4, 2: 1, 3: 1.5, 5: 3}),
        ({"top_p": 0.39}, {1: 1}),
        ({"top_p": 0.5}, {1: 4, 5: 3}),
        ({"top_p": 0.71}, {1: 4, 5: 3, 3: 1.5}),
        ({"top_k": 3, "top_p": 0.8}, {1: 4, 5: 3}),  # 0.7 / 0.85 of the three reaches 0.8
    ],
    ids=str,
)
def test_cuts_keep_their_symbols_in_proportion(
    settings: dict[str, Any], expected: dict[int, float]
) -> None:
    counts = first_symbols(**settings)
    assert set(counts.nonzero()[:, 0].tolist()) == set(expected)
    for symbol, share in expected.items():
        part = share / sum(expected.values())
        assert (counts[symbol] / counts.sum()).item() == pytest.approx(part, abs=0.03)


def test_later_symbols_are_drawn_given_the_earlier() -> None:
    step = Table(torch.tensor([[0.2, 0.5, 0.3], [0.7, 0.1, 0.2], [1.0, 0.0, 0.0]]))
    generator = torch.Generator().manual_seed(0)
    found = sample(step, {}, rows=4000, bos=0, eos=2, max_steps=2, generator=generator)
    for tokens, probability in {(): 0.3, (0,): 0.06, (1,): 0.1, (1, 0): 0.35, (0, 1): 0.1}.items():
        share = sum(one.tokens == tokens for one in found) / 4000
        assert share == pytest.approx(probability, abs=0.03)


def test_scores_are_of_the_step_before_temperature_and_cuts() -> None:
    step = random_table(0)
    for one in sample(step, {}, rows=50, bos=0, eos=EOS, max_steps=9, temperature=2.0, top_k=4):
        path = [0, *one.tokens, *[EOS] * one.finished]
        expected = sum(step.table[a, b].item() for a, b in zip(path, path[1:], strict=False))
        assert one.score == one.normalised == pytest.approx(expected)


def test_the_same_seed_gives_the_same_samples() -> None:
    first, again, other = (
        sample(
            random_table(0),
            {},
            rows=5,
            bos=0,
            eos=EOS,
            max_steps=30,
            generator=torch.Generator().manual_seed(seed),
        )
        for seed in (5, 5, 6)
    )
    assert first == again != other


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"temperature": 0.0}, "temperature=0.0: expected a number above 0"),
        ({"temperature": math.nan}, "temperature=nan: expected a number above 0"),
        ({"top_k": -1}, "top_k=-1: expected at least 0; 0 keeps every symbol"),
        ({"top_p": 0.0}, "top_p=0.0: expected above 0 and at most 1; 1 keeps every symbol"),
        ({"top_p": 1.5}, "top_p=1.5: expected above 0 and at most 1; 1 keeps every symbol"),
    ],
    ids=str,
)
def test_a_setting_out_of_range(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        first_symbols(rows=2, **settings)
    assert str(caught.value) == message

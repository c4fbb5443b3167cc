"""Laws of decoding: greedy, sampling and beam search against plain enumeration."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unrolled.errors import ConfigError, ShapeError, UnrolledError
from unrolled.models.sampling import sample
from unrolled.models.search import Hypothesis, State, beam, greedy

PLACES = 97  # of the hash that a toy makes of its history
Path = tuple[tuple[int, ...], float]  # symbols, EOS included, and their total log-probability


@dataclass
class Toy:
    """A step whose log-probabilities depend on the row and on every symbol so far."""

    seed: int = 0
    symbols: int = 4
    sharpness: float = 2.0
    dtype: torch.dtype = torch.float64
    seen: list[int] = field(default_factory=list)  # how many rows each call had

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        logits = self.sharpness * torch.randn(PLACES, self.symbols, generator=generator)
        self.table = logits.double().log_softmax(1).to(self.dtype)

    @property
    def eos(self) -> int:
        return self.symbols - 1

    def __call__(
        self, tokens: Tensor, state: State, constants: State
    ) -> tuple[Tensor, State, Tensor]:
        self.seen.append(len(tokens))
        assert not torch.is_grad_enabled()
        place = self.follow(state["place"], tokens, constants["source"][:, 0])
        weights = torch.stack([constants["source"][:, 0], state["time"], tokens], 1)
        return self.table[place], {"place": place, "time": state["time"] + 1}, weights

    @staticmethod
    def follow(place: Any, token: Any, source: Any) -> Any:
        return (place * 31 + token * 7 + source * 13 + 1) % PLACES

    def arguments(self, sources: list[int], limits: list[int]) -> dict[str, Any]:
        rows = len(sources)
        return {
            "step": self,
            "state": {"place": torch.zeros(rows).long(), "time": torch.zeros(rows).long()},
            "constants": {"source": torch.tensor(sources)[:, None].expand(rows, 2)},
            "rows": rows,
            "bos": 0,
            "eos": self.eos,
            "max_steps": torch.tensor(limits).long(),
        }

    def extend(self, path: Path, source: int) -> list[Path]:
        """Every continuation by one symbol, worked out in plain Python."""
        symbols, score = path
        place = 0
        for token in (0, *symbols):
            place = self.follow(place, token, source)
        return [((*symbols, i), score + p) for i, p in enumerate(self.table[place].tolist())]


def plain_beam(
    toy: Toy, source: int, limit: int, width: int, best: int, power: float
) -> list[tuple[tuple[int, ...], float, float, bool]]:
    """Beam search one row at a time, always to the limit: no bound, no batch, no pointers."""
    live: list[Path] = [((), 0.0)]
    done: list[Path] = []
    for _ in range(limit):
        paths = [longer for path in live for longer in toy.extend(path, source)]
        paths = sorted(paths, key=lambda path: -path[1])[:width]
        done += [path for path in paths if path[0][-1] == toy.eos]
        live = [path for path in paths if path[0][-1] != toy.eos]

    def rank(path: Path) -> float:
        return path[1] / ((5 + len(path[0])) / 6) ** power

    done = sorted(done, key=lambda path: -rank(path))
    return [
        (tuple(i for i in path[0] if i != toy.eos), path[1], rank(path), path[0][-1] == toy.eos)
        for path in (done + live)[:best]
    ]


def agree(found: list[Hypothesis], expected: list[tuple]) -> None:
    assert [(one.tokens, one.finished) for one in found] == [(e[0], e[3]) for e in expected]
    assert [one.score for one in found] == pytest.approx([e[1] for e in expected])
    assert [one.normalised for one in found] == pytest.approx([e[2] for e in expected])


@given(
    seed=st.integers(0, 999),
    symbols=st.integers(1, 5),
    sharpness=st.sampled_from([0.0, 0.5, 3.0]),
    sources=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    limits=st.lists(st.integers(1, 6), min_size=4, max_size=4),
    widths=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    power=st.sampled_from([0.0, 0.6, 1.0, 3.0]),
)
@settings(deadline=None, max_examples=60)
def test_beam_is_the_plain_beam_of_each_row(
    seed: int,
    symbols: int,
    sharpness: float,
    sources: list[int],
    limits: list[int],
    widths: tuple[int, int],
    power: float,
) -> None:
    toy, best, width = Toy(seed, symbols, sharpness), min(widths), max(widths)
    limits = limits[: len(sources)]
    found = beam(**toy.arguments(sources, limits), width=width, best=best, length_penalty=power)
    assert len(found) == len(sources)
    for row, source, limit in zip(found, sources, limits, strict=True):
        agree(row, plain_beam(toy, source, limit, width, best, power))


@pytest.mark.parametrize("power", [0.0, 0.6, 1.0, 2.5])
@pytest.mark.parametrize("best", [1, 4, 243])
def test_a_beam_as_wide_as_the_space_is_exhaustive_search(power: float, best: int) -> None:
    for seed in range(3):
        toy = Toy(seed, symbols=3)
        arguments = toy.arguments([seed, seed + 1], [5, 4])
        found = beam(**arguments, width=3**5, best=best, length_penalty=power)
        for row, source, limit in zip(found, [seed, seed + 1], [5, 4], strict=True):
            agree(row, plain_beam(toy, source, limit, 10**9, best, power))
        if best == 243:  # 2^0 + ... + 2^4 sequences end in time, 2^5 are cut off
            assert [len(row) for row in found] == [31 + 32, 15 + 16]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_greedy_is_the_best_symbol_of_every_step_and_a_beam_of_one(dtype: torch.dtype) -> None:
    for seed in range(15):
        toy = Toy(seed, symbols=5, sharpness=1.0, dtype=dtype)
        arguments = toy.arguments([0, 1, 2], [9, 2, 20])
        found = greedy(**arguments)
        assert [[one] for one in found] == beam(**arguments, width=1, length_penalty=0.0)
        for one, source, limit in zip(found, [0, 1, 2], [9, 2, 20], strict=True):
            path: Path = ((), 0.0)
            while len(path[0]) < limit and toy.eos not in path[0]:
                path = max(toy.extend(path, source), key=lambda longer: longer[1])
            tokens = tuple(symbol for symbol in path[0] if symbol != toy.eos)
            assert (one.tokens, one.finished) == (tokens, tokens != path[0])
            assert one.score == one.normalised == pytest.approx(path[1], rel=1e-5)


# every search as (arguments of a toy, generator) -> hypotheses per row
SEARCHES: dict[str, Callable[[dict[str, Any], torch.Generator], list[list[Hypothesis]]]] = {
    "greedy": lambda arguments, _: [[one] for one in greedy(**arguments)],
    "sample": lambda arguments, generator: [
        [one] for one in sample(**arguments, generator=generator, temperature=1.5, top_p=0.95)
    ],
    "beam": lambda arguments, _: beam(**arguments, width=4, best=3),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_batch_is_its_rows_one_by_one(name: str) -> None:
    sources, limits = [3, 0, 2, 1, 0], [7, 4, 12, 1, 9]
    for seed in range(6):
        toy, generator = Toy(seed), torch.Generator().manual_seed(seed)
        together = SEARCHES[name](toy.arguments(sources, limits), generator)
        generator.manual_seed(seed)
        apart = [
            SEARCHES[name](toy.arguments([source], [limit]), generator)[0]
            for source, limit in zip(sources, limits, strict=True)
        ]
        assert together == apart
        for row, alone in zip(together, apart, strict=True):
            for one, other in zip(row, alone, strict=True):
                assert one.weights is not None and other.weights is not None
                assert torch.equal(one.weights, other.weights)


@pytest.mark.parametrize("name", SEARCHES)
def test_weights_follow_each_hypothesis(name: str) -> None:
    sources = [3, 0, 2]
    for seed in range(6):
        arguments = Toy(seed, sharpness=1.0).arguments(sources, [7, 4, 12])
        found = SEARCHES[name](arguments, torch.Generator().manual_seed(seed))
        for row, source in zip(found, sources, strict=True):
            for one in row:
                fed = [0, *one.tokens][: len(one.tokens) + one.finished]
                assert one.weights is not None
                assert one.weights.tolist() == [[source, t, i] for t, i in enumerate(fed)]


@pytest.mark.parametrize(
    "name, seen", [("greedy", [3, 2, 2, 1]), ("sample", [3, 2, 2, 1]), ("beam", [12, 8, 8, 4])]
)
def test_rows_that_are_done_stop_costing_work(name: str, seen: list[int]) -> None:
    toy = Toy()
    toy.table = torch.tensor([0.4, 0.3, 0.3, 0.0]).log().expand(PLACES, -1)
    SEARCHES[name](toy.arguments([0, 1, 2], [3, 1, 4]), torch.Generator())
    assert toy.seen == seen


def test_the_beam_stops_once_no_live_hypothesis_can_enter_the_best() -> None:
    toy = Toy()
    toy.table = torch.tensor([0.1, 0.1, 0.1, 0.7]).log().expand(PLACES, -1)
    found = beam(**toy.arguments([0], [50]), width=4, best=1, length_penalty=0.0)
    assert (found[0][0].tokens, toy.seen) == ((), [4])
    # a live score of log 0.1 could reach log 0.1 / (55 / 6)^1 = -0.25 > log 0.7 after 50 steps
    beam(**toy.arguments([0], [50]), width=4, best=1, length_penalty=1.0)
    assert 1 < len(toy.seen) < 1 + 50


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_scores_are_added_in_float32_or_wider(dtype: torch.dtype) -> None:
    toy = Toy(symbols=2, dtype=dtype)
    toy.table = torch.tensor([-0.01, -5.0], dtype=dtype).expand(PLACES, -1)
    [[one]] = beam(**toy.arguments([0], [400]), width=1)
    assert one.score == pytest.approx(400 * toy.table[0, 0].item(), rel=1e-5)


@pytest.mark.parametrize("name", SEARCHES)
def test_a_row_at_its_limit_comes_back_unfinished(name: str) -> None:
    toy = Toy()
    toy.table = torch.tensor([0.5, 0.3, 0.2, 0.0]).log().expand(PLACES, -1)
    found = SEARCHES[name](toy.arguments([0, 1], [3, 5]), torch.Generator())
    assert [len(one.tokens) for row in found for one in row[:1]] == [3, 5]
    assert not any(one.finished for row in found for one in row)


@pytest.mark.parametrize("name", SEARCHES)
def test_eos_first_is_an_empty_hypothesis(name: str) -> None:
    toy = Toy()
    toy.table = torch.tensor([0.0, 0.0, 0.0, 1.0]).log().expand(PLACES, -1)
    [[one]] = SEARCHES[name](toy.arguments([0], [3]), torch.Generator())  # and nothing beside it
    assert one == Hypothesis((), 0.0, 0.0, True, None)
    assert one.weights is not None and one.weights.shape == (1, 3)


@pytest.mark.parametrize("name", SEARCHES)
def test_a_dead_end_comes_back_only_where_there_is_nothing_else(name: str) -> None:
    toy = Toy()
    toy.table = torch.full((PLACES, 4), -math.inf)
    [[one]] = SEARCHES[name](toy.arguments([0], [9]), torch.Generator())
    assert (one.tokens, one.score, one.finished, toy.seen[1:]) == ((0,), -math.inf, False, [])


def test_the_beam_gives_fewer_than_asked_rather_than_the_impossible() -> None:
    toy = Toy()
    toy.table = torch.tensor([0.5, 0.0, 0.0, 0.5]).log().expand(PLACES, -1)
    [found] = beam(**toy.arguments([0], [2]), width=9, best=9, length_penalty=0.0)
    assert [(one.tokens, one.finished) for one in found] == [
        ((), True),
        ((0,), True),
        ((0, 0), False),
    ]


def test_no_rows_give_no_hypotheses_and_one_limit_serves_all() -> None:
    toy = Toy()
    assert [greedy(**toy.arguments([], [])), beam(**toy.arguments([], []))] == [[], []]
    arguments = toy.arguments([0, 1], [4, 4])
    assert greedy(**arguments) == greedy(**{**arguments, "max_steps": 4})


def test_a_step_without_attention_gives_no_weights() -> None:
    table = torch.tensor([0.2, 0.8]).log().repeat(2, 1)

    def step(tokens: Tensor, state: State, constants: State) -> tuple[Tensor, State, None]:
        return table[tokens], state, None

    [[one]] = beam(step, {}, rows=1, bos=0, eos=1, max_steps=3)
    assert (one.tokens, one.weights) == ((), None)


@pytest.mark.parametrize(
    "search, settings, message",
    [
        (beam, {"width": 0}, "width=0: expected at least 1; 1 is greedy search"),
        (beam, {"width": 2, "best": 3}, "best=3: expected 1 to width=2; widen the beam"),
        (beam, {"best": 0}, "best=0: expected 1 to width=5"),
        (beam, {"length_penalty": -1.0}, "length_penalty=-1.0: expected at least 0"),
        (beam, {"length_penalty": math.nan}, "length_penalty=nan: expected at least 0"),
        (greedy, {"max_steps": 0}, "max_steps=0: expected at least 1 in every row"),
    ],
)
def test_a_setting_out_of_range(
    search: Callable[..., object], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        search(**{**Toy().arguments([0, 1], [4, 4]), **settings})
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"max_steps": torch.tensor([4])}, r"max_steps of shape \(1,\) and type torch.int64"),
        ({"max_steps": torch.tensor([4.0, 4.0])}, "type torch.float32: expected one integer"),
        ({"rows": 3}, r"'place' of shape \(2,\) in the state: expected \(3, ...\); put the rows"),
        ({"constants": {"source": torch.tensor(1)}}, r"'source' of shape \(\) in the constants"),
        ({"eos": 4}, r"shape \(2, 4\) at step 0: expected \(2, symbols\) with eos=4 among"),
        (
            {"step": lambda tokens, state, constants: (torch.zeros(1, 4), state, None)},
            r"log-probabilities of shape \(1, 4\) at step 0: expected \(2, symbols\)",
        ),
        (
            {"step": lambda tokens, *_: (torch.zeros(2, 4), {"h": torch.zeros(1, 2, 8)}, None)},
            r"'h' of shape \(1, 2, 8\) in the state after step 0: expected \(2, ...\)",
        ),
    ],
)
def test_a_tensor_of_the_wrong_shape(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        greedy(**{**Toy().arguments([0, 1], [4, 4]), **settings})


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("value, found", [(math.nan, "nan"), (1.5, "1.5")], ids=["nan", "logit"])
def test_what_is_no_log_probability_is_an_error(name: str, value: float, found: str) -> None:
    toy = Toy()
    toy.table = toy.table.clone()
    toy.table[:, 2] = value
    with pytest.raises(UnrolledError, match=f"log-probabilities reach {found} at step 0: expected"):
        SEARCHES[name](toy.arguments([0, 1], [4, 4]), torch.Generator())

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from unrolled.errors import ConfigError, ShapeError
from unrolled.layers.attention import SCORES, Attention, Memory, padded

SOURCE, TIME, BATCH, FEATURES, HIDDEN = 5, 4, 3, 4, 7
LENGTHS = [5, 2, 3]
VALUES = {
    "dot": 4,
    "scaled_dot": 4,
    "general": 6,
    "scaled_general": 6,
    "additive": 6,
}  # features of a value
Parameters = dict[str, np.ndarray]
FORMULAS: dict[str, Callable[[np.ndarray, np.ndarray, Parameters], np.ndarray]] = {
    "dot": lambda q, v, p: q @ v,
    "scaled_dot": lambda q, v, p: q @ v / np.sqrt(4),
    "general": lambda q, v, p: q @ p["W.weight"] @ v,
    "scaled_general": lambda q, v, p: q @ p["W.weight"] @ v / len(q) ** 0.5,
    "additive": lambda q, v, p: (
        p["v.weight"][0] @ np.tanh(p["W.weight"] @ q + p["U.weight"] @ v + p["U.bias"])
    ),
}
scores = pytest.mark.parametrize("score", SCORES)


def build(score: str) -> Attention:
    return Attention(score, FEATURES, VALUES[score], HIDDEN).double()


def some_values(score: str, batch: int = BATCH) -> Tensor:
    return torch.randn(SOURCE, batch, VALUES[score], dtype=torch.float64)


def some_queries(batch: int = BATCH) -> Tensor:
    return torch.randn(TIME, batch, FEATURES, dtype=torch.float64)


def by_formula(
    score: str, attention: Attention, queries: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Read the values (source, values) for one query; give what was read and the weights."""
    parameters = {n: p.detach().numpy() for n, p in attention.score.named_parameters()}
    fit = np.array([FORMULAS[score](queries, value, parameters) for value in values])
    weights = np.exp(fit - fit.max())
    weights /= weights.sum()
    return weights @ values, weights


def test_every_score_has_its_formula() -> None:
    assert FORMULAS.keys() == SCORES.keys() == VALUES.keys()


@scores
def test_it_follows_its_formula(score: str) -> None:
    attention, queries, values = build(score), some_queries(), some_values(score)
    read, weights = attention(queries, attention.memory(values, LENGTHS))
    for row, length in enumerate(LENGTHS):
        for t in range(TIME):
            expected = by_formula(
                score, attention, queries[t, row].numpy(), values[:length, row].numpy()
            )
            found = read[t, row].detach().numpy(), weights[t, row, :length].detach().numpy()
            for f, e in zip(found, expected, strict=True):
                np.testing.assert_allclose(f, e, rtol=1e-12, atol=1e-12)


@scores
def test_gradients_are_the_finite_differences(score: str) -> None:
    attention = build(score)
    queries, values = some_queries(2)[:2].requires_grad_(), some_values(score, 2)[:3]

    def read(queries: Tensor, values: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
        return attention(queries, attention.memory(values, [3, 1]))

    leaves = [queries, values.requires_grad_(), *attention.parameters()]
    assert torch.autograd.gradcheck(read, leaves)


@scores
@given(lengths=st.lists(st.integers(0, SOURCE), min_size=1, max_size=4))
def test_a_padded_memory_is_its_rows_one_by_one(score: str, lengths: list[int]) -> None:
    attention, queries = build(score), some_queries(len(lengths)).requires_grad_()
    values = some_values(score, len(lengths))
    for row, length in enumerate(lengths):
        values[length:, row] = torch.nan
    values.requires_grad_()
    leaves = [queries, values, *attention.parameters()]
    read, weights = attention(queries, attention.memory(values, lengths))
    alone = [
        attention(queries[:, row : row + 1], attention.memory(values[:length, row : row + 1]))
        for row, length in enumerate(lengths)
    ]
    torch.testing.assert_close(read, torch.cat([r for r, _ in alone], 1))
    for row, (length, (_, expected)) in enumerate(zip(lengths, alone, strict=True)):
        torch.testing.assert_close(weights[:, row, :length], expected[:, 0])
    found = torch.autograd.grad(read.square().sum(), leaves)
    total = torch.stack([r.square().sum() for r, _ in alone]).sum()
    torch.testing.assert_close(found, torch.autograd.grad(total, leaves))


@scores
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_weights_sum_to_1_over_what_there_is_and_are_0_elsewhere(
    score: str, dtype: torch.dtype
) -> None:
    attention = build(score).to(dtype)
    memory = attention.memory(30 * some_values(score).to(dtype), LENGTHS)
    _, weights = attention(30 * some_queries().to(dtype), memory)
    assert weights.dtype == dtype
    assert ((weights.double().sum(-1) - 1).abs() <= SOURCE * torch.finfo(dtype).eps).all()
    for row, length in enumerate(LENGTHS):
        assert (weights[:, row, length:] == 0).all()


@scores
def test_a_row_with_nothing_to_see_gives_zeros_and_zero_gradients(score: str) -> None:
    attention, queries = build(score), some_queries().requires_grad_()
    values = some_values(score).requires_grad_()
    read, weights = attention(queries, attention.memory(values, [SOURCE, 0, 2]))
    assert not read[:, 1].any() and not weights[:, 1].any()
    with torch.autograd.set_detect_anomaly(True):  # no NaN on the way either
        of_queries, of_values, *others = torch.autograd.grad(
            read.square().sum(), [queries, values, *attention.parameters()]
        )
    assert not of_queries[:, 1].any() and not of_values[:, 1].any()
    assert of_queries[:, 2].any() and of_values[:2, 2].any()
    assert all(gradient.isfinite().all() for gradient in others)


@scores
def test_one_time_without_its_dimension_is_a_time_of_1(score: str) -> None:
    attention, queries = build(score), some_queries()
    memory = attention.memory(some_values(score), LENGTHS)
    read, weights = attention(queries, memory)
    for t in range(TIME):
        torch.testing.assert_close(attention(queries[t], memory), (read[t], weights[t]))


@scores
def test_no_time_and_no_source_keep_the_shapes(score: str) -> None:
    attention, values = build(score), some_values(score)
    read, weights = attention(some_queries()[:0], attention.memory(values))
    assert (read.shape, weights.shape) == ((0, BATCH, VALUES[score]), (0, BATCH, SOURCE))
    read, weights = attention(some_queries(), attention.memory(values[:0]))
    assert not read.any()
    assert (read.shape, weights.shape) == ((TIME, BATCH, VALUES[score]), (TIME, BATCH, 0))


@scores
def test_rows_of_a_memory_can_be_picked_as_search_does(score: str) -> None:
    attention, queries = build(score), some_queries()
    memory = attention.memory(some_values(score), LENGTHS)
    rows = torch.tensor([2, 2, 0])
    picked: Memory = {name: tensor.index_select(0, rows) for name, tensor in memory.items()}
    read, weights = attention(queries, memory)
    torch.testing.assert_close(
        attention(queries[:, rows], picked), (read[:, rows], weights[:, rows])
    )


def test_a_memory_of_full_length_is_one_without_lengths() -> None:
    attention, values = build("general"), some_values("general")
    full, plain = attention.memory(values, [SOURCE] * BATCH), attention.memory(values)
    assert all(torch.equal(full[name], plain[name]) for name in plain)


def test_an_additive_score_is_as_wide_inside_as_a_query_unless_told() -> None:
    widths = [Attention("additive", 4, 6, hidden).score.v.in_features for hidden in (None, 9)]  # pyright: ignore
    assert widths == [4, 9]


WRONG: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "score": (
        lambda: Attention("cosine", 4, 4),
        ConfigError,
        "there is no score 'cosine': choose one of dot, scaled_dot, general, scaled_general, "
        "additive",
    ),
    "dot-features": (
        lambda: Attention("dot", 4, 6),
        ConfigError,
        "dot scores compare queries of 4 features with values of 6: they must be equal; take the "
        "score 'general' or 'additive'",
    ),
    "size": (
        lambda: Attention("additive", 4, 6, 0),
        ConfigError,
        "attention has queries=4, values=6 and hidden=0: sizes start at 1",
    ),
    "values-features": (
        lambda: build("general").memory(torch.zeros(5, 3, 4)),
        ShapeError,
        "values has shape (5, 3, 4): expected (source, batch, 6)",
    ),
    "values-rank": (
        lambda: build("general").memory(torch.zeros(5, 6)),
        ShapeError,
        "values has shape (5, 6): expected (source, batch, 6)",
    ),
    "lengths": (
        lambda: build("general").memory(some_values("general"), [1, 6, 2]),
        ShapeError,
        "lengths holds 6: expected 0 to 5, the steps of the batch",
    ),
    "queries-features": (
        lambda: build("dot")(torch.zeros(3, 5), build("dot").memory(some_values("dot"))),
        ShapeError,
        "queries has shape (3, 5): expected ([time,] 3, 4), a memory of 3 rows and queries of 4 "
        "features",
    ),
    "queries-batch": (
        lambda: build("dot")(torch.zeros(7, 2, 4), build("dot").memory(some_values("dot"))),
        ShapeError,
        "queries has shape (7, 2, 4): expected ([time,] 3, 4), a memory of 3 rows and queries of 4 "
        "features",
    ),
    "queries-rank": (
        lambda: build("dot")(torch.zeros(1, 7, 3, 4), build("dot").memory(some_values("dot"))),
        ShapeError,
        "queries has shape (1, 7, 3, 4): expected ([time,] 3, 4), a memory of 3 rows and queries "
        "of 4 features",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_refused_with_its_numbers(case: str) -> None:
    call, kind, message = WRONG[case]
    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        call()


def test_padded_memories_have_few_lengths_and_nothing_more_to_see() -> None:
    lengths = set()
    for source in range(1, 200):
        memory = {
            "keys": torch.randn(2, source, 3),
            "values": torch.randn(2, source, 4),
            "visible": torch.ones(2, source, dtype=torch.bool),
        }
        longer = padded(memory)
        found = {name: value.shape[1] for name, value in longer.items()}
        (length,) = set(found.values())
        lengths.add(length)
        assert source <= length <= max(source + 3, 1.25 * source)
        assert longer["visible"].sum() == memory["visible"].sum()
        assert all(torch.equal(longer[name][:, :source], memory[name]) for name in memory)
    assert len(lengths) < 24

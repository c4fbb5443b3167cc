import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled import zoo
from unrolled.errors import ConfigError, ShapeError
from unrolled.layers.attention import SCORES
from unrolled.models import search
from unrolled.models.seq2seq import Seq2Seq

SOURCES, TARGETS, BOS, EOS = 11, 13, 1, 2
LENGTHS, TARGET_LENGTHS = [5, 1, 3], [4, 2, 3]
MODELS: dict[str, dict[str, Any]] = {
    "GRU-luong-LSTM": {},
    "GRU-gnmt-LSTM": {"attention": "gnmt", "decoder_layers": 2, "tied": True},
    "GRU-bahdanau-LSTM": {"attention": "bahdanau", "score": "additive"},
    "LSTM-luong-LSTMP": {
        "encoder_cell": zoo.LSTM,
        "decoder_cell": zoo.LSTMP,
        "encoder_layers": 2,
        "decoder_layers": 2,
    },
    "LSTMP-bahdanau-GRU": {
        "encoder_cell": zoo.LSTMP,
        "decoder_cell": nn.GRUCell,
        "attention": "bahdanau",
        "decoder_layers": 2,
    },
    "Elman-luong-Elman": {
        "encoder_cell": zoo.Elman,
        "decoder_cell": zoo.Elman,
        "score": "scaled_dot",
    },
}
models = pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)
attentions = pytest.mark.parametrize("attention", ["luong", "bahdanau"])


def build(**settings: Any) -> Seq2Seq:
    """Make a model whose scores are far enough apart that the next symbol matters."""
    cells = {"encoder_cell": zoo.GRU, "decoder_cell": zoo.LSTM}
    model = Seq2Seq(SOURCES, TARGETS, **{"embedding": 4, "hidden": 6, **cells, **settings})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    return model.double().eval()


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Give sources, their lengths and targets, zero behind their ends."""
    source, target = torch.randint(1, SOURCES, (5, 3)), torch.randint(3, TARGETS, (4, 3))
    target[0] = BOS
    for row, (s, t) in enumerate(zip(LENGTHS, TARGET_LENGTHS, strict=True)):
        source[s:, row], target[t:, row] = 0, 0
    return source, torch.tensor(LENGTHS), target


def loss(scores: Tensor, target: Tensor) -> Tensor:
    """Give the cross-entropy of the symbols that follow each of the target, summed."""
    return F.cross_entropy(
        scores[:-1].flatten(0, 1), target[1:].flatten(), ignore_index=0, reduction="sum"
    )


@models
def test_a_ragged_batch_is_its_rows_one_by_one(settings: dict[str, Any]) -> None:
    model, (source, lengths, target) = build(**settings, dropout=0.5), batch()
    together = model(source, lengths, target)
    losses = []
    for row, (s, t) in enumerate(zip(LENGTHS, TARGET_LENGTHS, strict=True)):
        one = slice(row, row + 1)
        alone = model(source[:s, one], lengths[one], target[:t, one])
        torch.testing.assert_close(together[:t, one], alone)
        losses.append(loss(alone, target[:t, one]))
    found, expected = loss(together, target), torch.stack(losses).sum()
    torch.testing.assert_close(found, expected)
    parameters = list(model.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(found, parameters), torch.autograd.grad(expected, parameters)
    )


@models
def test_rows_may_change_places(settings: dict[str, Any]) -> None:
    model, (source, lengths, target) = build(**settings), batch()
    order = torch.tensor([2, 0, 1])
    moved = model(source[:, order], lengths[order], target[:, order])
    torch.testing.assert_close(moved, model(source, lengths, target)[:, order])


@models
def test_search_step_by_step_scores_as_teacher_forcing_does(settings: dict[str, Any]) -> None:
    model, (source, lengths, target) = build(**settings), batch()
    expected = model(source, lengths, target).log_softmax(-1)
    state, memory = model.start(source, lengths)
    for t, symbols in enumerate(target):
        assert all(s.shape[0] == 3 for s in (*state.values(), *memory.values()))
        found, state, weights = model.step(symbols, state, memory)
        torch.testing.assert_close(found, expected[t])
        assert weights is not None and weights.shape == (3, 5)
        torch.testing.assert_close(weights.sum(-1), torch.ones(3).double())
        for row, length in enumerate(LENGTHS):
            assert not weights[row, length:].any()


@models
def test_beam_search_and_greedy_search_take_the_best_symbol(settings: dict[str, Any]) -> None:
    model, (source, lengths, _) = build(**settings), batch()
    state, memory = model.start(source, lengths)
    asked: dict[str, Any] = {"rows": 3, "bos": BOS, "eos": EOS, "max_steps": 6}
    greedy = search.greedy(model.step, state, constants=memory, **asked)  # pyright: ignore
    beam = search.beam(model.step, state, constants=memory, width=1, **asked)  # pyright: ignore
    assert [best.tokens for best in greedy] == [best.tokens for [best] in beam]
    for row, found in enumerate(greedy):
        one = slice(row, row + 1)
        tokens: list[int] = []
        while len(tokens) < 6 and EOS not in tokens:
            given = torch.tensor([BOS, *tokens])[:, None]
            scores = model(source[: LENGTHS[row], one], lengths[one], given)
            tokens.append(int(scores[-1, 0].argmax()))
        assert (*found.tokens, *[EOS] * found.finished) == tuple(tokens)


@models
def test_no_score_reads_the_symbols_after_it_and_each_reads_those_before(
    settings: dict[str, Any],
) -> None:
    model, (source, lengths, target) = build(**settings), batch()
    embedded: dict[str, Tensor] = {}

    def keep(side: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda module, args, result: embedded.update({side: result})

    model.encoder.embedding.register_forward_hook(keep("source"))
    model.decoder.embedding.register_forward_hook(keep("target"))
    scores = model(source, lengths, target)
    for t in range(len(target)):
        of_source, of_target = torch.autograd.grad(
            scores[t].square().sum(), [embedded["source"], embedded["target"]], retain_graph=True
        )
        assert not of_target[t + 1 :].any()
        assert of_target[: t + 1].any(-1).all()
        for row, length in enumerate(LENGTHS):
            assert of_source[:length, row].any(-1).all()
            assert not of_source[length:, row].any()


@models
def test_gradients_reach_every_parameter(settings: dict[str, Any]) -> None:
    model, (source, lengths, target) = build(**settings), batch()
    loss(model(source, lengths, target), target).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


@models
def test_weights_can_be_stored_and_loaded(settings: dict[str, Any]) -> None:
    model, other = build(**settings), build(**settings)
    expected = model(*batch_of(0))
    assert not torch.allclose(other(*batch_of(0)), expected)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(*batch_of(0)), expected)


def batch_of(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(seed)
    return batch()


@pytest.mark.parametrize("layers", [1, 2])
def test_the_bridge_is_a_layer_over_the_last_states_of_the_top_layer(layers: int) -> None:
    model = build(encoder_cell=zoo.LSTM, encoder_layers=layers, decoder_layers=2)
    source, lengths, _ = batch()
    _, given = model.encoder(source, lengths)
    found, _ = model.encode(source, lengths)
    top = torch.cat([given["h"][-2], given["h"][-1], given["c"][-2], given["c"][-1]], -1)
    parts = torch.tanh(model.bridge.layer(top)).chunk(4, -1)
    expected = {"h": torch.stack(parts[:2]), "c": torch.stack(parts[2:])}
    torch.testing.assert_close(found, expected)


# Training.


@pytest.mark.kernels
@attentions
def test_it_learns_16_pairs_by_heart(attention: str) -> None:
    torch.manual_seed(0)
    model = Seq2Seq(
        SOURCES,
        TARGETS,
        embedding=16,
        hidden=32,
        encoder_cell=nn.GRUCell,
        decoder_cell=nn.GRUCell,
        attention=attention,
    )
    source, lengths = torch.randint(1, SOURCES, (5, 16)), torch.randint(1, 6, (16,))
    target = torch.randint(3, TARGETS, (5, 16))
    target[0], target[-1] = BOS, EOS
    source[torch.arange(5)[:, None] >= lengths] = 0
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    value = torch.tensor(torch.inf)
    for _ in range(80):
        value = loss(model(source, lengths, target), target) / 64
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    assert value < 0.02
    state, memory = model.eval().start(source, lengths)
    found = search.greedy(
        model.step,  # pyright: ignore
        state,
        constants=memory,
        rows=16,
        bos=BOS,
        eos=EOS,
        max_steps=9,
    )
    assert [best.tokens for best in found] == [tuple(row) for row in target[1:-1].T.tolist()]


@pytest.mark.kernels
@attentions
@pytest.mark.filterwarnings("ignore:.*autocast is on")
@pytest.mark.parametrize("score", SCORES)
def test_bfloat16_autocast_runs_both_ways(attention: str, score: str) -> None:
    model = build(attention=attention, score=score).float()
    source, lengths, target = batch()
    lengths[1] = 0
    expected = model(source, lengths, target)
    with torch.autocast("cpu", torch.bfloat16):
        scores = model(source, lengths, target)
        value = loss(scores, target)
    value.backward()
    torch.testing.assert_close(scores.float(), expected, rtol=0.05, atol=0.1)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


# Errors.

SOURCE, TARGET = torch.ones(5, 3, dtype=torch.long), torch.ones(4, 3, dtype=torch.long)
WRONG: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "attention": (
        lambda: build(attention="hard"),
        ConfigError,
        "there is no attention 'hard': choose one of luong, gnmt, bahdanau",
    ),
    "score": (
        lambda: build(score="cosine"),
        ConfigError,
        "there is no score 'cosine': choose one of dot, scaled_dot, general, scaled_general, "
        "additive",
    ),
    "dot-odd-hidden": (
        lambda: build(score="dot", hidden=7),
        ConfigError,
        "dot scores compare queries of 7 features with values of 6: they must be equal; take the "
        "score 'general' or 'additive'",
    ),
    "dropout": (
        lambda: build(dropout=1.0),
        ConfigError,
        "dropout has the rate 1.0: expected 0 to below 1",
    ),
    "target-batch": (
        lambda: build()(SOURCE, [5, 1, 3], TARGET[:, :2]),
        ShapeError,
        "source has shape (5, 3) and target (4, 2): expected (time, batch) of both, with the same "
        "batch",
    ),
    "target-rank": (
        lambda: build()(SOURCE, [5, 1, 3], TARGET[0]),
        ShapeError,
        "source has shape (5, 3) and target (3,): expected (time, batch) of both, with the same "
        "batch",
    ),
    "lengths": (
        lambda: build()(SOURCE, torch.tensor([5, 1]), TARGET),
        ShapeError,
        "lengths has shape (2,) and type torch.int64: expected integers of shape (3,), one for "
        "each sequence",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_refused_with_its_numbers(case: str) -> None:
    call, kind, message = WRONG[case]
    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        call()

"""The pointer-generator of See, Liu & Manning 2017, against its equations."""

from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from unrolled import zoo
from unrolled.errors import ConfigError, ShapeError
from unrolled.layers.attention import SCORES
from unrolled.layers.coverage import COVERED, coverage_loss
from unrolled.models import search
from unrolled.models.pointer import Decoded, Pointer
from unrolled.models.sampling import sample
from unrolled.models.seq2seq import Seq2Seq

SOURCES, TARGETS, BOS, EOS, UNK = 11, 9, 1, 2, 3
LENGTHS = [5, 2, 4]
KINDS = {
    "luong": {},
    "coverage": {"coverage": True},
    "additive-coverage": {"coverage": True, "score": "additive"},
    "gnmt-coverage": {"attention": "gnmt", "decoder_layers": 2, "coverage": True},
    "bahdanau": {"attention": "bahdanau"},
}
kinds = pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)


def build(**settings: Any) -> Seq2Seq:
    torch.manual_seed(0)
    model = Seq2Seq(
        SOURCES,
        TARGETS,
        embedding=4,
        hidden=6,
        encoder_cell=zoo.GRU,
        decoder_cell=zoo.GRU,
        **{"copy": True, **settings},
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
        for name, parameter in model.named_parameters():
            if name.endswith("coverage.w"):
                parameter.normal_(std=2)
    return model.double().eval()


def batch() -> dict[str, Any]:
    """Give a batch whose first source has two unknown symbols, one of them twice."""
    source = torch.randint(1, SOURCES, (5, 3))
    copies = torch.tensor(
        [[9, 4, 5], [10, 4, 5], [9, 0, 9], [6, 0, 6], [7, 0, 0]]
    )  # (time, batch); ids from 9 on cannot be generated
    target = torch.tensor([[BOS] * 3, [9, 4, 9], [UNK, 5, 6], [10, 0, 8]])
    source[2:, 1], source[4:, 2] = 0, 0
    return {"source": source, "lengths": torch.tensor(LENGTHS), "target": target, "copies": copies}


def mixture(scores: Tensor, weights: Tensor, gate: Tensor, copies: Tensor, extra: int) -> Any:
    """Equation 9 in NumPy: scores (V,), weights (source,), one gate."""
    found = np.zeros(len(scores) + extra)
    generate = 1 / (1 + np.exp(-gate.item()))
    powers = np.exp(scores.numpy() - scores.numpy().max())
    found[: len(scores)] = generate * powers / powers.sum()
    for weight, symbol in zip(weights.tolist(), copies.tolist(), strict=True):
        found[symbol] += (1 - generate) * weight
    return found


@kinds
@torch.no_grad()
def test_the_distribution_is_that_of_the_equations(settings: dict[str, Any]) -> None:
    model, given = build(**settings), batch()
    found, parts = model(**given), model.decode(**given)
    assert found.shape == (4, 3, TARGETS + 2)
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(4, 3).double())
    assert parts.pointer is not None and parts.weights is not None
    losses = parts.losses(given["target"])
    for t in range(4):
        for row in range(3):
            expected = mixture(
                parts.scores[t, row],
                parts.weights[t, row],
                parts.pointer.gate[t, row],
                given["copies"][:, row],
                extra=2,
            )
            np.testing.assert_allclose(found[t, row].exp().numpy(), expected, atol=1e-12)
            wanted = given["target"][t, row]
            loss = -np.log(expected[wanted]) if wanted else 0.0
            assert losses[t, row].item() == pytest.approx(loss, rel=1e-9)


@torch.no_grad()
def test_the_gate_reads_context_state_and_input() -> None:
    model, given = build(), batch()
    parts = model.decode(**given)
    assert parts.pointer is not None and parts.weights is not None
    state, memory = model.encode(given["source"], given["lengths"], given["copies"])
    xs = model.decoder.embedding(given["target"].masked_fill(given["target"] >= TARGETS, UNK))
    ys, read, *_ = model.decoder.recurrence(xs, state, memory)
    np.testing.assert_allclose(
        read.numpy(),
        np.einsum("tbs,bsv->tbv", parts.weights.numpy(), memory["values"].numpy()),
        atol=1e-12,
    )
    gate = model.decoder.gate
    assert gate is not None
    joined = np.concatenate([read.numpy(), ys.numpy(), xs.numpy()], -1)
    expected = joined @ gate.weight.numpy()[0] + gate.bias.numpy()[0]
    np.testing.assert_allclose(parts.pointer.gate.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("score", SCORES)
@torch.no_grad()
def test_coverage_is_the_sum_of_the_weights_before(score: str) -> None:
    model, given = build(coverage=True, score=score), batch()
    weights = model.decode(**given).weights
    assert weights is not None
    recurrence = model.decoder.recurrence
    state, memory = model.encode(given["source"], given["lengths"], given["copies"])
    xs = model.decoder.embedding(given["target"].masked_fill(given["target"] >= TARGETS, UNK))
    queries = recurrence(xs, state, memory)[0]
    w = cast(Any, recurrence.coverage).w
    covered = torch.zeros(3, 5).double()
    for t, seen in enumerate(weights):
        keys = memory["keys"] + covered[..., None] * w
        scores = recurrence.attention.score(queries[t][:, None], keys)[:, 0]
        for row, length in enumerate(LENGTHS):
            expected = scores[row, :length].softmax(-1)
            torch.testing.assert_close(seen[row, :length], expected)
            assert not seen[row, length:].any()
        loss = np.minimum(seen.numpy(), covered.numpy()).sum(-1)
        np.testing.assert_allclose(coverage_loss(weights)[t].numpy(), loss, atol=1e-12)
        covered = covered + seen
    plain = build(score=score).decode(**given).weights
    assert plain is not None
    torch.testing.assert_close(plain[0], weights[0])  # nothing is covered yet
    assert not torch.allclose(plain[1:], weights[1:])


@kinds
@torch.no_grad()
def test_step_by_step_is_the_whole_and_search_gives_extended_symbols(
    settings: dict[str, Any],
) -> None:
    model, given = build(**settings), batch()
    expected, target = model(**given), given.pop("target")
    state, memory = model.start(**given)
    for t, symbols in enumerate(target):
        found, state, _ = model.step(symbols, state, memory)
        torch.testing.assert_close(found, expected[t])
    assert (COVERED in state) == ("coverage" in settings)
    state, memory = model.start(**given)
    asked: dict[str, Any] = {"rows": 3, "bos": BOS, "eos": EOS, "max_steps": 6}
    asked |= {"constants": memory}
    best = search.greedy(model.step, state, **asked)  # pyright: ignore
    [beam] = zip(*search.beam(model.step, state, width=1, **asked), strict=True)  # pyright: ignore
    drawn = sample(model.step, state, top_k=1, **asked)  # pyright: ignore
    assert [b.tokens for b in best] == [b.tokens for b in beam] == [d.tokens for d in drawn]
    many = search.beam(model.step, state, width=8, best=8, **asked)  # pyright: ignore
    seen = [{id for h in row for id in h.tokens if id >= TARGETS} for row in many]
    assert seen[0] and seen[0] <= {9, 10} and seen[1] == set() and seen[2] <= {9}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_gradients_agree_with_finite_differences(smoothing: float) -> None:
    copies, expected = torch.tensor([[5, 6, 5], [1, 2, 0]]), torch.tensor([[5, 2], [1, 0], [6, 3]])

    def figures(scores: Tensor, looks: Tensor, gate: Tensor) -> tuple[Tensor, ...]:
        weights = looks.softmax(-1)
        found = Decoded(scores, {}, weights, Pointer(gate, copies))
        logs = found.scored()
        there = logs.masked_fill(logs.isinf(), 0)
        return found.losses(expected, smoothing), there, coverage_loss(weights)

    shapes = (3, 2, 5), (3, 2, 3), (3, 2)
    some = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(figures, some)


@kinds
def test_gradients_reach_every_parameter_and_both_ways_to_the_loss_agree(
    settings: dict[str, Any],
) -> None:
    model, given = build(**settings), batch()
    expected = given["target"].roll(-1, 0)
    parameters = dict(model.named_parameters())
    short = model.decode(**given).losses(expected)
    long = -model(**given).gather(-1, expected[..., None])[..., 0].masked_fill(expected == 0, 0)
    torch.testing.assert_close(short, long)
    gradients = torch.autograd.grad(short.sum(), [*parameters.values()], allow_unused=True)
    for name, gradient in zip(parameters, gradients, strict=True):
        assert gradient is not None and gradient.isfinite().all() and gradient.any(), name
    others = torch.autograd.grad(long.sum(), [*parameters.values()])
    torch.testing.assert_close(gradients, others)


def test_chances_too_small_for_a_float_keep_loss_and_gradient_finite() -> None:
    scores = torch.tensor([[[200.0, 0.0, 0.0, -200.0, 0.0]]]).requires_grad_()
    weights = torch.tensor([[[1.0, 0.0]]]).requires_grad_()  # the second by underflow
    gate = torch.tensor([[-150.0]]).requires_grad_()
    for wanted, least in ((3, 500), (5, 80), (1, 0)):
        found = Decoded(scores, {}, weights, Pointer(gate, torch.tensor([[1, 5]])))
        loss = found.losses(torch.tensor([[wanted]])).sum()
        assert least <= loss.item() < 600
        for gradient in torch.autograd.grad(loss, [scores, weights, gate]):
            assert gradient.isfinite().all()
    assert found.scored().isfinite().all()


def test_smoothing_is_over_what_can_be_generated() -> None:
    model, given = build(), batch()
    parts = model.decode(**given)
    expected = given["target"]
    plain, smoothed = parts.losses(expected), parts.losses(expected, smoothing=0.2)
    mean = -parts.scores.log_softmax(-1).mean(-1)
    there = expected != 0
    torch.testing.assert_close(smoothed[there], (0.8 * plain + 0.2 * mean)[there])
    assert not smoothed[~there].any()


def test_scheduled_sampling_of_certain_symbols_is_teacher_forcing_on_them() -> None:
    """A model that is sure to copy the first symbol is given it, as unknown, from then on."""
    model, given = build(coverage=True), batch()
    with torch.no_grad():
        assert model.decoder.gate is not None
        model.decoder.gate.bias.fill_(-200.0)
        model.decoder.gate.weight.zero_()
    given = {name: t[:, :1] if t.dim() == 2 else t[:1] for name, t in given.items()}
    given["copies"] = torch.full((5, 1), 9)
    forced = torch.tensor([[BOS], [9], [9], [9]])
    expected = model(**{**given, "target": forced})
    torch.testing.assert_close(model(**given, sampling=1.0), expected)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="^coverage is for attention after the recurrence; take"):
        build(coverage=True, attention="bahdanau")
    with pytest.raises(ConfigError, match="^unknown is symbol 40 of 9; give one of them"):
        build(unknown=40)
    given = batch()
    with pytest.raises(ShapeError, match="^copies have shape .*: expected None, as a model has th"):
        build(copy=False)(**given)
    del given["copies"]
    with pytest.raises(ShapeError, match="^copies have shape None: expected .*, as a model has th"):
        build()(**given)

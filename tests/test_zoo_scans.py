"""Cells of the zoo whose matrices mostly leave the state alone, against other forms of them."""

import math
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import pytest
import torch
from torch import Tensor, exp, sigmoid, tanh
from torch.nn.functional import conv1d, logsigmoid, normalize, pad, silu, softplus

from unrolled import zoo
from unrolled.cell import Cell, CellFactory
from unrolled.errors import ConfigError
from unrolled.layers.recurrent import Recurrent
from unrolled.recurrence import unroll as unroll_by
from unrolled.testing import check_law, prepare
from unrolled.zoo.heads import split

TIME, BATCH, INPUTS, HIDDEN = 9, 3, 4, 6
Kind = TypeVar("Kind", bound=Cell)
unroll = partial(unroll_by, backend="eager")  # what the laws hold every kernel to

KINDS: tuple[CellFactory, ...] = (
    zoo.QRNN,
    zoo.SRU2017,
    zoo.SRU,
    zoo.MinGRU,
    zoo.MinLSTM,
    zoo.ParaGRU,
    zoo.ParaLSTM,
    zoo.LRU,
    zoo.RGLRU,
    zoo.HGRN,
    zoo.S6,
    zoo.RWKV4,
    zoo.RetNet,
    zoo.GLA,
    zoo.DeltaNet,
    zoo.GatedDeltaNet,
    zoo.MatrixLSTM,
    zoo.ScalarLSTM,
)


def named(value: object) -> str:
    return getattr(value, "__name__", str(value))


VARIANTS: dict[str, Cell] = {
    "QRNN-no-bias": zoo.QRNN(3, 5, bias=False),
    "SRU2017-square": zoo.SRU2017(3, 3),
    "SRU-square": zoo.SRU(3, 3),
    "MinGRU-no-bias": zoo.MinGRU(3, 5, bias=False),
    "MinLSTM-no-bias": zoo.MinLSTM(3, 5, bias=False),
    "HGRN-bound": zoo.HGRN(3, 5, bound=0.4),
    "S6-places-3": zoo.S6(3, 5, places=3, rank=2),
    "RetNet-heads-2-keys-5": zoo.RetNet(3, 6, heads=2, keys=5),
    "GLA-heads-2-keys-5": zoo.GLA(3, 6, heads=2, keys=5, rank=2),
    "DeltaNet-heads-2-keys-5": zoo.DeltaNet(3, 6, heads=2, keys=5),
    "GatedDeltaNet-heads-2-keys-5": zoo.GatedDeltaNet(3, 6, heads=2, keys=5),
    "MatrixLSTM-heads-2-keys-5": zoo.MatrixLSTM(3, 6, heads=2, keys=5),
    "ScalarLSTM-heads-2": zoo.ScalarLSTM(3, 6, heads=2),
}


@pytest.mark.parametrize("law", ["loop", "equations"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_law_of_a_variant(variant: str, law: str) -> None:
    subject = prepare(VARIANTS[variant], 3, "eager", torch.float64)
    assert check_law(law, subject).verdict == "holds"


@pytest.mark.parametrize(
    "variant", [name for name in VARIANTS if "-heads-" in name or "S6" in name]
)
def test_a_program_of_several_heads_is_the_loop(variant: str) -> None:
    subject = prepare(VARIANTS[variant], 3, "interpreter", torch.float64)
    assert check_law("loop", subject).verdict == "holds"


def moved(cell: Kind) -> Kind:
    """Move parameters off their start, where zeros might hide a fault."""
    with torch.no_grad():
        for parameter in cell.double().parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return cell


def sequences(inputs: int = INPUTS) -> Tensor:
    return torch.randn(TIME, BATCH, inputs, dtype=torch.float64)


def two_heads(xs: Tensor, *maps: Callable[[Tensor], Tensor]) -> list[Tensor]:
    return [split(W(xs), 2) for W in maps]


def attention(q: Tensor, k: Tensor, v: Tensor, fading: Tensor) -> Tensor:
    """Let each step read every step up to it; fading (time, time, batch, heads, keys or 1)."""
    past = torch.ones(TIME, TIME, dtype=torch.float64).tril()
    found = torch.einsum("tbhk,sbhk,tsbhk,ts,sbhv->tbhv", q, k, fading, past, v)
    return found.flatten(2)


def test_a_qrnn_convolves_and_pools() -> None:
    cell, xs = moved(zoo.QRNN(INPUTS, HIDDEN)), sequences()
    padded = pad(xs.permute(1, 2, 0), (1, 0))
    z, f, o = (
        conv1d(padded, torch.stack([V.weight, W.weight], -1), W.bias).permute(2, 0, 1)
        for V, W in ((cell.V_z, cell.W_z), (cell.V_f, cell.W_f), (cell.V_o, cell.W_o))
    )
    c, expected = torch.zeros(BATCH, HIDDEN).double(), []
    for t in range(TIME):
        c = sigmoid(f[t]) * c + (1 - sigmoid(f[t])) * tanh(z[t])
        expected.append(sigmoid(o[t]) * c)
    torch.testing.assert_close(unroll(cell, xs)[0], torch.stack(expected))


def test_an_lru_counts_with_complex_numbers() -> None:
    cell, xs = moved(zoo.LRU(INPUTS, HIDDEN)), sequences()
    factor = exp(-exp(cell.nu) + 1j * exp(cell.theta))
    pushes = torch.complex(cell.B_re(xs), cell.B_im(xs)) * exp(cell.gamma)
    h = torch.stack([factor**t * pushes[TIME - 1 - t] for t in range(TIME)]).sum(0)
    ys, last = unroll(cell, xs)
    torch.testing.assert_close(torch.complex(last["re"], last["im"]), h)
    C = torch.complex(cell.C_re.weight, cell.C_im.weight)
    torch.testing.assert_close(ys[-1], (h @ C.T).real + cell.D(xs[-1]))


def test_an_lru_starts_on_its_ring() -> None:
    cell = zoo.LRU(3, 2000, r_min=0.5, r_max=0.9, max_phase=1.0)
    radius, angle = exp(-exp(cell.nu)), exp(cell.theta)
    assert 0.5 <= radius.min() < 0.51 and 0.89 < radius.max() <= 0.9
    assert angle.min() < 0.01 and 0.99 < angle.max() <= 1
    torch.testing.assert_close(exp(cell.gamma) ** 2, 1 - radius**2)


def test_an_rg_lru_starts_with_a_long_memory() -> None:
    slowest = sigmoid(zoo.RGLRU(3, 2000).decay) ** 8
    assert 0.9 <= slowest.min() < 0.901 and 0.998 < slowest.max() <= 0.9991
    assert slowest.mean().item() == pytest.approx(0.9495, abs=0.003)


@pytest.mark.parametrize("kind", [zoo.MinGRU, zoo.MinLSTM, zoo.QRNN, zoo.SRU2017], ids=named)
def test_a_running_mean_stays_within_what_it_has_seen(kind: Callable[[int, int], Cell]) -> None:
    cell, xs = moved(kind(INPUTS, HIDDEN)), sequences()
    candidates = {"MinGRU": "W_n", "MinLSTM": "W_n", "SRU2017": "W"}
    seen = torch.ones(1).double()
    if kind is not zoo.QRNN:
        seen = getattr(cell, candidates[kind.__name__])(xs).abs().amax((0, 1))
    state = next(iter(unroll(cell, xs)[1].values()))
    assert (state.abs() <= seen).all()


def test_an_sru_without_its_vectors_is_linear_in_the_state() -> None:
    cell, xs = moved(zoo.SRU(INPUTS, HIDDEN)), sequences()
    with torch.no_grad():
        cell.v_f.zero_()
        cell.v_r.zero_()
    a, b = (torch.randn(BATCH, HIDDEN).double() for _ in range(2))
    ends = [unroll(cell, xs, {"c": c})[1]["c"] for c in (a, b, (a + b) / 2)]
    torch.testing.assert_close((ends[0] + ends[1]) / 2, ends[2])


def test_a_lower_bound_keeps_an_hgrn_from_forgetting() -> None:
    cell = moved(zoo.HGRN(INPUTS, HIDDEN, bound=0.9))
    first = {name: torch.ones(BATCH, HIDDEN).double() for name in ("re", "im")}
    for matrix in (cell.W_re, cell.W_im):
        torch.nn.init.zeros_(matrix.weight)
        torch.nn.init.zeros_(matrix.bias)
    last = unroll(cell, sequences(), first)[1]
    assert (last["re"] ** 2 + last["im"] ** 2 >= 2 * 0.9 ** (2 * TIME)).all()


def test_a_selective_state_space_sums_what_has_not_faded() -> None:
    cell, xs = moved(zoo.S6(INPUTS, HIDDEN, places=3)), sequences()
    v = cell.W(xs)
    d = softplus(cell.W_d(cell.D(v)))
    age = (d.cumsum(0)[-1] - d.cumsum(0))[..., None]
    left = exp(-age * exp(cell.rates)) * (d * v)[..., None] * cell.W_B(v)[:, :, None]
    ys, last = unroll(cell, xs)
    torch.testing.assert_close(last["h"], left.sum(0))
    read = (left.sum(0) * cell.W_C(v[-1])[:, None]).sum(-1)
    torch.testing.assert_close(ys[-1], read + cell.skip * v[-1])


def test_an_rwkv_reads_a_weighted_mean_of_its_values() -> None:
    cell, xs = moved(zoo.RWKV4(INPUTS, HIDDEN)), sequences()
    before = torch.cat([torch.zeros(1, BATCH, INPUTS).double(), xs[:-1]])
    r, k, v = (W(mu * xs + (1 - mu) * before) for W, mu in cell.mixes())
    expected = []
    for t in range(TIME):
        age = torch.arange(t, 0, -1)[:, None, None] - 1
        exponents = torch.cat([k[:t] - age * exp(cell.w), (cell.u + k[t])[None]])
        mean = (torch.softmax(exponents, 0) * v[: t + 1]).sum(0)
        expected.append(cell.W_o(sigmoid(r[t]) * mean))
    torch.testing.assert_close(unroll(cell, xs)[0], torch.stack(expected))


def test_retention_is_attention_that_fades_with_distance() -> None:
    cell, xs = moved(zoo.RetNet(INPUTS, HIDDEN, heads=2)), sequences()
    distance = torch.arange(TIME)[:, None] - torch.arange(TIME)
    fading = torch.tensor([1 - 1 / 32, 1 - 1 / 64]).double() ** distance[..., None]
    q, k, v = two_heads(xs, cell.W_q, cell.W_k, cell.W_v)
    expected = attention(q, k, v, fading[:, :, None, :, None].expand(-1, -1, BATCH, -1, 3))
    torch.testing.assert_close(unroll(cell, xs)[0], expected)


def test_gated_linear_attention_is_attention_that_fades_by_key() -> None:
    cell, xs = moved(zoo.GLA(INPUTS, HIDDEN, heads=2)), sequences()
    q, k, v, a = two_heads(xs, cell.W_q, cell.W_k, cell.W_v, lambda x: cell.W_a(cell.D(x)))
    since = (logsigmoid(a) / 16).cumsum(0)
    expected = attention(q, k, v, exp(since[:, None] - since))
    torch.testing.assert_close(unroll(cell, xs)[0], expected)


def test_a_delta_rule_that_learns_at_once_gives_back_the_last_value_of_a_key() -> None:
    cell, xs = moved(zoo.DeltaNet(1, HIDDEN)), torch.ones(TIME, 1, 1).double()
    with torch.no_grad():
        cell.W_b.weight.fill_(100.0)
    last = unroll(cell, xs)[1]["S"]
    k = normalize(silu(cell.W_k(xs[0])), dim=-1)
    torch.testing.assert_close((last @ k.mT)[..., 0][0], silu(cell.W_v(xs[0])))


def test_a_gate_that_keeps_all_makes_a_gated_delta_rule_a_plain_one() -> None:
    gated, xs = moved(zoo.GatedDeltaNet(INPUTS, HIDDEN, heads=2)), sequences()
    with torch.no_grad():
        gated.rate.fill_(-100.0)
    plain = zoo.DeltaNet(INPUTS, HIDDEN, heads=2).double()
    plain.load_state_dict(gated.state_dict(), strict=False)
    torch.testing.assert_close(unroll(gated, xs)[0], unroll(plain, xs)[0])


def test_the_stabiliser_of_a_matrix_lstm_cancels() -> None:
    cell, xs = moved(zoo.MatrixLSTM(INPUTS, HIDDEN, heads=2)), sequences()
    q, k, v = two_heads(xs, cell.W_q, cell.W_k, cell.W_v)
    since = logsigmoid(cell.W_f(xs)).cumsum(0)
    gates = exp(since[:, None] - since + cell.W_i(xs))[..., None].expand(-1, -1, -1, -1, 3)
    k = k / math.sqrt(3)
    top = split(attention(q, k, v, gates), 2)
    counts = split(attention(q, k, torch.ones_like(v), gates), 2)
    h = top / counts.abs().clamp(min=1)
    torch.testing.assert_close(unroll(cell, xs)[0], sigmoid(cell.W_o(xs)) * h.flatten(2))


def test_the_stabiliser_of_a_scalar_lstm_cancels() -> None:
    cell, xs = moved(zoo.ScalarLSTM(INPUTS, HIDDEN, heads=2)), sequences()
    R_f, R_i, R_z, R_o = (torch.block_diag(*R) for R in (cell.R_f, cell.R_i, cell.R_z, cell.R_o))
    h = c = n = torch.zeros(BATCH, HIDDEN).double()
    for x in xs:
        f, i = sigmoid(cell.W_f(x) + h @ R_f.T), exp(cell.W_i(x) + h @ R_i.T)
        c = f * c + i * tanh(cell.W_z(x) + h @ R_z.T)
        n = f * n + i
        h = sigmoid(cell.W_o(x) + h @ R_o.T) * c / n
    torch.testing.assert_close(unroll(cell, xs)[0][-1], h)


@pytest.mark.parametrize("kind", [zoo.MatrixLSTM, zoo.ScalarLSTM], ids=named)
def test_an_exponential_gate_never_overflows(kind: Callable[[int, int], Cell]) -> None:
    cell = kind(INPUTS, HIDDEN)
    with torch.no_grad():
        dict(cell.named_parameters())["W_i.bias"].fill_(1000.0)
    ys, last = unroll(cell, sequences().float())
    assert ys.isfinite().all() and all(value.isfinite().all() for value in last.values())


@pytest.mark.parametrize(("kind", "divisor"), [(zoo.ScalarLSTM, "n"), (zoo.RWKV4, "b")], ids=named)
def test_after_any_first_state_it_divides_by_a_positive_number(
    kind: Callable[[int, int], Cell], divisor: str
) -> None:
    cell = moved(kind(INPUTS, HIDDEN))
    state = {name: -torch.ones(BATCH, HIDDEN).double() for name in cell.states}
    ys, last = unroll(cell, sequences(), state)
    assert ys.isfinite().all() and (last[divisor] > 0).all()


WITH_HEADS: dict[str, Callable[..., Cell]] = {
    "RetNet": zoo.RetNet,
    "GLA": zoo.GLA,
    "DeltaNet": zoo.DeltaNet,
    "GatedDeltaNet": zoo.GatedDeltaNet,
    "MatrixLSTM": zoo.MatrixLSTM,
    "ScalarLSTM": zoo.ScalarLSTM,
}


@pytest.mark.parametrize("kind", WITH_HEADS)
def test_heads_have_to_divide_the_hidden_units(kind: str) -> None:
    expected = f"{kind} has 4 heads for 6 hidden units: choose a number of heads that divides them"
    with pytest.raises(ConfigError, match=expected):
        WITH_HEADS[kind](3, 6, heads=4)


@pytest.mark.parametrize("cell", KINDS, ids=named)
def test_layers_of_it_stack(cell: CellFactory) -> None:
    layers = Recurrent(cell, 3, 6, layers=2, bidirectional=True, backend="eager")
    ys, _ = layers(torch.randn(4, 2, 3))
    assert ys.shape == (4, 2, 12)

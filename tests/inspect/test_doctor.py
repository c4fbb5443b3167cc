import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from unrolled import Recurrent, zoo
from unrolled.cell import CellFactory
from unrolled.errors import ShapeError
from unrolled.inspect.doctor import diagnose
from unrolled.inspect.findings import Finding
from unrolled.inspect.illnesses import ILLNESSES
from unrolled.models.seq2seq import Seq2Seq

TIME, BATCH, INPUTS, HIDDEN = 40, 8, 4, 32


def elman(scale: float = 1.0, activation: str = "tanh", layers: int = 1) -> Recurrent:
    """A stack whose recurrent matrices are orthogonal times `scale`."""
    model = Recurrent(
        lambda i, h: zoo.Elman(i, h, activation="relu" if activation == "relu" else "tanh"),
        INPUTS,
        HIDDEN,
        layers=layers,
        backend="eager",
    )
    with torch.no_grad():
        for cell in model.cells:
            cell.get_parameter("U.weight").mul_(scale)
            cell.get_parameter("W.weight").mul_(0.3)
    return model


def lstm(forget: float, layers: int = 1, backend: str = "eager") -> Recurrent:
    model = Recurrent(zoo.LSTM, INPUTS, HIDDEN, layers=layers, backend=backend)
    for cell in model.cells:
        nn.init.constant_(cell.get_parameter("W_f.bias"), forget)
    return model


def healthy(backend: str = "eager") -> Recurrent:
    return lstm(3.0, layers=2, backend=backend)


def found(model: nn.Module, *, scale: float = 1.0, **options: object) -> list[Finding]:
    xs = scale * torch.randn(TIME, BATCH, INPUTS)
    return diagnose(lambda: model(xs)[0][-1].pow(2).mean(), model, **options)  # pyright: ignore


def only(findings: list[Finding], illness: str) -> Finding:
    matching = [f for f in findings if f.illness == illness]
    assert len(matching) == 1, findings
    assert matching[0].evidence and matching[0].change and matching[0].text
    return matching[0]


@pytest.mark.parametrize("backend", ["eager", "llvm"])
def test_a_healthy_model_has_nothing(backend: str) -> None:
    falling = [{"train_loss": 2.0 * 0.8**epoch} for epoch in range(10)]
    assert found(healthy(backend), metrics=falling, lag=20) == []


@pytest.mark.parametrize("cells", [(zoo.GRU, zoo.LSTM), (zoo.LSTM, zoo.GRU)], ids=["GRU", "LSTM"])
@pytest.mark.parametrize("attention", ["luong", "bahdanau"])
def test_a_fresh_model_for_words_has_nothing(
    cells: tuple[CellFactory, CellFactory], attention: str
) -> None:
    encoder, decoder = cells
    model = Seq2Seq(
        30, 40, hidden=32, encoder_cell=encoder, decoder_cell=decoder, attention=attention
    )
    for part in model.modules():
        if isinstance(part, Recurrent):
            part.backend = "eager"
    source, target = torch.randint(1, 30, (9, 8)), torch.randint(1, 40, (8, 8))
    lengths = torch.tensor([9, 4, 7, 9, 3, 8, 6, 9])

    def run() -> Tensor:
        scores = model(source, lengths, target[:-1])
        return nn.functional.cross_entropy(scores.flatten(0, 1), target[1:].flatten())

    assert diagnose(run, model) == []


def test_exploding() -> None:
    finding = only(found(elman(3.0)), "exploding")
    assert finding.title.startswith("layer 0 explodes")
    growth = finding.evidence["growth per step"]
    assert 1.1 < growth < 3.0  # below 3, because tanh bends
    assert 0 < finding.evidence["step"] < TIME


def test_exploding_from_the_step_and_with_the_clip_of_a_linear_one() -> None:
    model = elman(1.5, activation="relu")
    with torch.no_grad():
        model.cells[0].get_parameter("U.weight").copy_(1.5 * torch.eye(HIDDEN))
        model.cells[0].get_parameter("W.weight").abs_()
    xs = torch.rand(TIME, BATCH, INPUTS)
    finding = only(diagnose(lambda: model(xs)[0][-1].mean(), model), "exploding")
    assert finding.evidence["growth per step"] == pytest.approx(1.5, rel=1e-4)
    assert finding.evidence["growth"] == pytest.approx(1.5 ** (TIME - 1), rel=1e-3)
    assert finding.evidence["step"] == TIME - 1 - 6  # 1.5^6 is the first above 10
    model(xs)[0][-1].mean().backward()
    whole = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
    assert 0 < finding.evidence["clip"] < 1e-3 * float(whole)


def test_the_layer_that_explodes_is_named() -> None:
    model = elman(1.0, layers=2)
    with torch.no_grad():
        model.cells[1].get_parameter("U.weight").mul_(3.0)
    assert only(found(model), "exploding").title.startswith("layer 1 explodes")


def test_vanishing() -> None:
    finding = only(found(elman(0.5)), "vanishing")
    assert finding.evidence["steps"] == TIME - 1
    assert 4 <= finding.evidence["reach"] <= 7  # 0.5^7 is below 1 %; tanh takes a little more
    assert "gated cell" in finding.change


def test_what_a_reset_cuts_off_is_not_forgotten() -> None:
    model, xs = elman(0.3), torch.randn(TIME, BATCH, INPUTS)
    for every, illnesses in ((5, []), (TIME // 2 + 1, ["vanishing"])):
        resets = (torch.arange(TIME) % every == 0)[:, None].expand(TIME, BATCH)
        seen = diagnose(lambda r=resets: model(xs, resets=r)[0][-1].pow(2).mean(), model)
        assert [f.illness for f in seen] == illnesses
    (finding,) = diagnose(lambda: model(xs, resets=xs[..., 0] > 99)[0][-1].sum(), model)
    assert finding.evidence["steps"] == TIME - 1


def test_saturated_gates() -> None:
    model = lstm(1.0)
    with torch.no_grad():
        model.cells[0].get_parameter("W_o.weight").mul_(100)
    findings = [f for f in found(model) if f.illness == "saturated"]
    assert [f.title.split(" is ")[0] for f in findings] == ["layer 0: o"]
    tanh = found(elman(), scale=200.0)
    assert only(tanh, "saturated").title.startswith("layer 0: h' is saturated")


def test_a_forget_gate_that_is_open_is_not_saturated() -> None:
    assert [f for f in found(lstm(8.0)) if f.illness == "saturated"] == []
    closed = found(lstm(-8.0))
    assert only(closed, "saturated").title.startswith("layer 0: f is saturated")


def test_dead_units() -> None:
    model = elman(activation="relu")
    assert [f for f in found(model) if f.illness == "dead"] == []
    with torch.no_grad():
        model.cells[0].get_parameter("W.bias")[:8] = -100
    finding = only(found(model), "dead")
    assert (finding.evidence["dead"], finding.evidence["units"]) == (8, HIDDEN)


@pytest.mark.parametrize(
    ("cell", "gate", "bias"), [(zoo.LSTM, "f", 0.0), (zoo.GRU, "z", 0.0)], ids=["LSTM", "GRU"]
)
def test_a_forget_bias_that_should_start_at_1(cell: CellFactory, gate: str, bias: float) -> None:
    model = Recurrent(cell, INPUTS, HIDDEN, backend="eager")
    nn.init.constant_(model.cells[0].get_parameter(f"W_{gate}.bias"), bias)
    finding = only(found(model), "forget bias")
    assert f"the bias of {gate} is 0" in finding.title and finding.evidence["bias"] == 0
    assert 0.5 < finding.evidence["half-life"] < 2
    nn.init.constant_(model.cells[0].get_parameter(f"W_{gate}.bias"), 3.0)
    assert found(model) == []


@pytest.mark.parametrize("short", [0, 1], ids=["below", "above"])
def test_what_one_layer_of_a_stack_forgets_another_keeps(short: int) -> None:
    model = lstm(5.0, layers=2)
    forgetful = model.cells[short].get_parameter("W_f.bias")
    nn.init.zeros_(forgetful)
    assert found(model, lag=60) == []
    for cell in model.cells:
        nn.init.zeros_(cell.get_parameter("W_f.bias"))
    findings = found(model, lag=60)
    assert {f.illness for f in findings} == {"vanishing", "forget bias", "lag"}
    assert {f.where.split(":")[0] for f in findings} == {"layer 0", "layer 1"}


def test_what_one_direction_forgets_the_other_does_not_keep() -> None:
    model = Recurrent(zoo.LSTM, INPUTS, HIDDEN, layers=2, bidirectional=True, backend="eager")
    for number, cell in enumerate(model.cells):
        nn.init.constant_(cell.get_parameter("W_f.bias"), 0.0 if number % 2 else 5.0)
    findings = [f for f in found(model) if f.illness == "vanishing"]
    assert [f.where for f in findings] == ["layer 0 backwards", "layer 1 backwards"]


def test_a_known_lag() -> None:
    finding = only(found(lstm(3.0), lag=400), "lag")
    assert finding.evidence["longest half-life"] < 100
    model = lstm(0.0)
    chrono = torch.empty(HIDDEN).uniform_(1, 399).log()
    with torch.no_grad():
        model.cells[0].get_parameter("W_f.bias").copy_(chrono)
        model.cells[0].get_parameter("W_i.bias").copy_(-chrono)
    assert [f for f in found(model, lag=400) if f.illness == "lag"] == []


@pytest.mark.parametrize(
    ("losses", "ill"),
    [
        ([2.0, 1.0, 0.5, 1.8, 2.5], True),
        ([2.0, 2.5, 3.0, 4.0], True),
        ([2.0, 1.0, math.nan, math.nan], True),
        ([2.0, 1.0, 0.5, 0.55, 0.52], False),
        ([2.0, 0.001, 0.003, 0.002], False),
        ([2.0, 5.0], False),
    ],
    ids=["up again", "from the start", "nan", "noise", "noise near 0", "too few"],
)
def test_a_learning_rate_that_diverges(losses: list[float], ill: bool) -> None:
    findings = found(healthy(), metrics=[{"train_loss": loss} for loss in losses])
    assert [f.illness for f in findings] == ["diverging"] * ill


def test_the_first_number_that_is_none() -> None:
    model = healthy()
    with torch.no_grad():
        model.cells[1].get_parameter("U_o.weight")[0, 0] = math.inf
    finding = only(found(model), "non-finite")
    assert finding.title == "layer 1: state h is no number from step 0 on"
    assert "already in the parameter U_o.weight" in finding.text
    assert finding.evidence["step"] == 0 and "checkpoint" in finding.change


def test_a_state_that_overflows() -> None:
    model = elman(activation="relu")
    with torch.no_grad():
        model.cells[0].get_parameter("U.weight").copy_(1e10 * torch.eye(HIDDEN))
    finding = only(found(model), "non-finite")
    assert "the operation" in finding.text and "from finite numbers" in finding.text
    assert 3 <= finding.evidence["step"] <= 5  # 1e38 is the largest


def test_a_nan_in_the_data_is_blamed_on_the_data() -> None:
    model = healthy()
    xs = torch.randn(TIME, BATCH, INPUTS)
    xs[7, 3, 1] = math.nan
    finding = only(diagnose(lambda: model(xs)[0].sum(), model), "non-finite")
    assert finding.title.startswith("layer 0: state h is no number from step 7 on")
    assert "row 3" in finding.text and "already in the input" in finding.text


def test_a_loss_that_is_none_though_all_states_are_numbers() -> None:
    model = healthy()
    xs = torch.randn(TIME, BATCH, INPUTS)
    finding = only(diagnose(lambda: (model(xs)[0] * 0).sum().log(), model), "non-finite")
    assert finding.title == "the loss is no number, but every state is"


def test_every_illness_has_been_planted() -> None:
    planted: dict[str, Callable[[], list[Finding]]] = {
        "exploding": lambda: found(elman(3.0)),
        "vanishing": lambda: found(elman(0.5)),
        "saturated": lambda: found(elman(), scale=200.0),
        "forget bias": lambda: found(lstm(0.0)),
        "lag": lambda: found(lstm(3.0), lag=400),
        "diverging": lambda: found(healthy(), metrics=[{"train_loss": x} for x in (1, 2, 3)]),
    }
    tested_above = {"dead", "non-finite"}
    assert set(planted) | tested_above == set(ILLNESSES)
    for illness, plant in planted.items():
        assert illness in {f.illness for f in plant()}


def test_no_gradient_is_left_and_a_loss_is_one_number() -> None:
    model = healthy()
    found(model)
    assert all(p.grad is None for p in model.parameters())
    with pytest.raises(ShapeError, match="expected one number"):
        diagnose(lambda: model(torch.randn(3, 2, INPUTS))[0], model)

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn, relu, sigmoid, tanh

from unrolled.backends import BACKENDS, Call, Result, choose
from unrolled.backends.call import Step
from unrolled.cell import Cell, CellFactory, wrap
from unrolled.errors import ConfigError
from unrolled.testing import LAWS, check_cell, check_law, prepare
from unrolled.zoo import GRU, Elman


class Simple(Cell):
    """One layer.

    h' = tanh(W x + b + U h + d)
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W, self.U = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        h = tanh(self.W(x) + self.U(h))
        return h, h


class Users(Cell):
    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(fast=hidden, slow=(2, hidden), count=1)
        self.weight = nn.Parameter(0.1 * torch.ones(hidden, inputs + hidden))
        self.outputs = 2 * hidden

    def forward(
        self, x: Tensor, fast: Tensor, slow: Tensor, count: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        fast = sigmoid(torch.cat([x, fast], dim=1) @ self.weight.T)
        slow = 0.9 * slow + 0.1 * fast[:, None]
        return torch.cat([fast, slow.sum(1)], dim=1), fast, slow, count + 1


class Average(Cell):
    """No parameter, and the block is the docstring's end.

    m' = (m + x) / 2
    y  = 2 * m'
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(m=inputs)

    def forward(self, x: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
        m = 0.5 * (m + x)
        return 2 * m, m


def users_module(inputs: int, hidden: int) -> Cell:
    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.W, self.U = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden)

        def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            h = relu(self.W(x)) + tanh(self.U(h))
            return h, h

    return wrap(Module(), h=hidden)


@pytest.mark.parametrize(
    ("cell", "stated"),
    [(Simple, True), (Average, True), (Users, False), (users_module, False), (nn.LSTMCell, False)],
    ids=["linear", "no-parameters", "three-states-wide-output", "wrapped-module", "torch"],
)
def test_a_good_cell_obeys_every_law(cell: CellFactory, stated: bool) -> None:
    report = check_cell(cell, backends=["eager"])
    others = [finding for finding in report.findings if finding.law != "equations"]
    equations = [finding for finding in report.findings if finding.law == "equations"]
    assert len(report.findings) == 2 * len(LAWS)
    assert {finding.verdict for finding in others} == {"holds"}
    assert {finding.verdict for finding in equations} == {"holds" if stated else "not stated"}


def test_a_cell_already_made_is_checked_and_stays_as_it_is() -> None:
    cell = GRU(4, 2)
    before = {name: value.clone() for name, value in cell.state_dict().items()}
    assert check_cell(cell, inputs=4, backends=["eager"], dtypes=[torch.float64]).holds
    assert cell.training
    assert all(torch.equal(value, before[name]) for name, value in cell.state_dict().items())


def test_a_cell_already_made_needs_its_inputs() -> None:
    with pytest.raises(ConfigError, match=r"^GRU is a cell already made: give .*, inputs=3\)$"):
        check_cell(GRU(4, 2))


def test_checking_leaves_the_settings_of_torch_alone() -> None:
    cell = GRU(3, 5)
    before = torch.get_deterministic_debug_mode(), torch.get_rng_state()
    check_cell(cell, inputs=3, backends=["interpreter"], dtypes=[torch.float64])
    assert torch.get_deterministic_debug_mode() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


# Cells with a planted fault.


class MixesRows(Simple):
    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        return super().forward(x, h + 0.1 * h.mean(0))


class Remembers(Simple):
    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.steps = 0

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        self.steps += 1
        return super().forward(x, h + 0.01 * self.steps)


class DividesByZeroInPadding(Simple):
    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        return super().forward(x / x.norm(dim=1, keepdim=True), h)


class StatesAnother(Simple):
    """States a sum where the code has a difference.

    h' = tanh(W x + b - U h - d)
    """


class StatesNoBias(Simple):
    """States no bias, which the code has: at its first value, 0, only moved parameters tell.

    h' = tanh(W x + U h)
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        nn.init.zeros_(self.W.bias)
        nn.init.zeros_(self.U.bias)


class StatesHalf(Users):
    """States one state of three.

    fast' = fast
    """


class Detaches(Simple):
    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        return super().forward(x, h.detach())


class SaysAnotherWidth(Simple):
    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.outputs = hidden + 1


class LosesAState(Simple):
    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        return super().forward(x, h)[:1]


def failing(cell: nn.Module, backend: str = "eager") -> dict[str, str]:
    """Give what came of each law that fails."""
    subject = prepare(cell, 3, backend, torch.float64)
    findings = [check_law(law, subject) for law in LAWS]
    return {finding.law: finding.verdict for finding in findings if finding.fails}


FAULTY_CELLS = [
    (MixesRows, "rows", r"T=1 B=3 one by one: y differs by 0\.\d+"),
    (Remembers, "loop", r"T=1 B=1: y differs by 0\.\d+"),
    (DividesByZeroInPadding, "ragged", r"T=1 B=3 lengths 1, 0, 1: gradient by .* by nan"),
    (StatesAnother, "equations", r"T=1 B=1: y differs by \d\.\d+"),
    (StatesNoBias, "equations", r"T=1 B=1: y differs by 0\.\d+"),
    (StatesHalf, "equations", r"raises ConfigError: .* has no equation for slow'.*"),
    (Detaches, "gradients", r"T=1 B=1: derivative by initial h is 0, expected -?\d\.\d+"),
    (SaysAnotherWidth, "outputs", r"B=1: width of y \(self.outputs\) is 5, expected 6"),
    (LosesAState, "loop", r"raises ShapeError: the step returned 1 values: .*"),
]


@pytest.mark.parametrize(
    ("cell", "law", "verdict"),
    FAULTY_CELLS,
    ids=[f"{row[0].__name__}-{row[1]}" for row in FAULTY_CELLS],
)
def test_a_fault_in_a_cell_is_found(cell: CellFactory, law: str, verdict: str) -> None:
    assert re.fullmatch(verdict, failing(cell(3, 5))[law])


@pytest.mark.parametrize("cell", [StatesAnother, StatesNoBias, Detaches, SaysAnotherWidth])
def test_a_fault_against_one_law_fails_no_other(cell: CellFactory) -> None:
    assert len(failing(cell(3, 5))) == 1


# Backends with a planted fault.


def backwards(step: Step, call: Call) -> Result:
    result = choose("eager")(step, replace(call, xs=call.xs.flip(0)))
    return replace(result, ys=result.ys.flip(0))


def forgetful(step: Step, call: Call) -> Result:
    return choose("eager")(step, replace(call, state=call.start))


def blind_to_lengths(step: Step, call: Call) -> Result:
    return choose("eager")(step, replace(call, lengths=None))


def blind_to_resets(step: Step, call: Call) -> Result:
    return choose("eager")(step, replace(call, resets=None))


def resets_to_the_state_given(step: Step, call: Call) -> Result:
    return choose("eager")(step, replace(call, start=call.state))


def cut_off(step: Step, call: Call) -> Result:
    result = choose("eager")(step, call)
    return replace(result, ys=result.ys.detach())


def unwritten(step: Step, call: Call) -> Result:
    result = choose("eager")(step, call)
    return replace(result, ys=torch.cat([result.ys[:-1], torch.empty_like(result.ys[-1:])]))


def assumes_contiguous(step: Step, call: Call) -> Result:
    xs = call.xs.as_strided(call.xs.shape, torch.empty_like(call.xs).contiguous().stride())
    return choose("eager")(step, replace(call, xs=xs))


FAULTY_BACKENDS = [
    (backwards, "causality", r"T=7 B=3: gradient of step 0 by later inputs differs by .*"),
    (backwards, "chunking", r"T=3\+4 B=1: y differs by .*"),
    (forgetful, "chunking", r"T=3\+4 B=1: y differs by .*"),
    (blind_to_lengths, "ragged", r"T=1 B=1 lengths 0: y differs by .*"),
    (blind_to_resets, "resets", r"T=1 B=1 lengths 1, with resets: y differs by .*"),
    (resets_to_the_state_given, "resets", r"T=1 B=1 lengths 1, with resets: y differs by .*"),
    (cut_off, "gradients", r"T=1 B=1: derivative by x is .*"),
    (unwritten, "loop", r"T=1 B=1: y differs by nan"),
    (assumes_contiguous, "loop", r"T=7 B=3 strided: y differs by .*"),
]


@pytest.mark.parametrize(
    ("backend", "law", "verdict"),
    FAULTY_BACKENDS,
    ids=[f"{row[0].__name__}-{row[1]}" for row in FAULTY_BACKENDS],
)
def test_a_fault_in_a_backend_is_found(
    backend: Callable[[Step, Call], Result],
    law: str,
    verdict: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(BACKENDS, "faulty", backend)
    assert re.fullmatch(verdict, failing(Elman(3, 5), "faulty")[law])


def test_a_broken_law_raises_with_the_report() -> None:
    with pytest.raises(AssertionError) as caught:
        check_cell(StatesAnother, backends=["eager"], dtypes=[torch.float64])
    title, *lines = str(caught.value).splitlines()
    assert title == f"StatesAnother: 1 of {len(LAWS)} checks fail"
    assert lines[0] == "outputs    eager   float64  holds"
    assert re.match(r"equations  eager   float64  FAILS T=1 B=1: y differs by \d", lines[-1])


def test_every_backend_is_checked_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "second", choose("eager"))
    report = check_cell(Simple, dtypes=[torch.float64])
    assert {finding.backend for finding in report.findings} == set(BACKENDS)

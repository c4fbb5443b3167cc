"""Why a forget gate helps: the gradient through the cell state against that through the hidden."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unrolled import zoo
from unrolled.cell import Cell
from unrolled.experiments.outcome import Outcome, Say, seeded, times
from unrolled.experiments.plain import per_step
from unrolled.inspect import figures, page
from unrolled.inspect.recording import Recurrence, record
from unrolled.inspect.through_time import gradients
from unrolled.recurrence import unroll

BIASES = (0.0, 1.0, 3.0, 5.0)  # of the forget gate
LOST = 0.01  # of the gradient at the last step

METHOD = """
All cells are fresh, read independent normal numbers and have orthogonal recurrent matrices. The
gradient is that of a random direction of the last hidden state by the cell state c, or the hidden
state h, at every step before; the factor per step is measured over the first half of the way back.

To see one way alone, the other is cut: through c alone, the gates are given an h that passes no
gradient, so that only c' = f * c + i * g leads back; through h alone, the old c passes none. The
theory for c alone is the root of the mean square of the forget gate, which is the sigmoid of its
bias for gates that read nothing. Without a forget gate is the long short-term memory as first
published (Hochreiter & Schmidhuber 1997); with it, Gers, Schmidhuber & Cummins 2000.
"""


class ThroughCell(zoo.LSTM):
    """A long short-term memory whose gradient goes back through the cell state alone."""

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take the step; the old h passes no gradient."""
        return super().forward(x, h.detach(), c)


class ThroughHidden(zoo.LSTM):
    """A long short-term memory whose gradient goes back through the hidden state alone."""

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take the step; the old c passes no gradient."""
        return super().forward(x, h, c.detach())


@dataclass(frozen=True)
class Settings:
    """How large the experiment is."""

    inputs: int = 16
    hidden: int = 64
    steps: int = 80
    batch: int = 16
    seed: int = 1


@dataclass(frozen=True)
class _Row:
    name: str
    theory: float | None  # kept per step
    back: Tensor  # (steps,) the gradient, from the last step back, over the first
    size: float  # of the state at the end, per unit

    @property
    def kept(self) -> float:
        """The factor per step on the first half of the way back, where there is any left."""
        half = self.back[: len(self.back) // 2]
        return per_step(half[half > 1e-25])

    @property
    def reach(self) -> str:
        """The steps over which the gradient falls to a hundredth."""
        below = (self.back < LOST).nonzero()
        return str(int(below[0])) if len(below) else f"over {len(self.back) - 1}"

    def cells(self) -> tuple[str, ...]:
        theory = "" if self.theory is None else f"{self.theory:.3f}"
        left = times(float(self.back[-1]))
        return self.name, theory, f"{self.kept:.3f}", left, self.reach, f"{self.size:.2f}"


def run(settings: Settings = Settings(), say: Say = print) -> Outcome:
    """Measure what a step back keeps of the gradient, way by way.

    Args:
        settings: how large it is.
        say: is told what is being done.
    """
    with seeded(settings.seed):
        rows = _rows(settings, say)
    tanh, hidden, without = rows["tanh"], rows["h alone, bias 1"], rows["no forget gate"]
    start, opened = rows["c alone, bias 1"], rows["c alone, bias 5"]
    return Outcome(
        title="Why a forget gate helps",
        lead=f"Through the hidden state a step back keeps {hidden.kept:.0%} of the gradient; "
        f"through the cell state it keeps as much as the forget gate is open: {start.kept:.0%} "
        f"with a bias of 1 and {opened.kept:.0%} with one of 5. A tanh recurrence keeps "
        f"{tanh.kept:.0%}. Without a forget gate nothing is lost, but the state grows to "
        f"{without.size:.1f} a unit in {settings.steps} steps where a bias of 1 keeps it at "
        f"{start.size:.1f}.",
        facts={
            "units": str(settings.hidden),
            "inputs": str(settings.inputs),
            "steps": str(settings.steps),
            "sequences": str(settings.batch),
        },
        table=page.Table(
            "What a step back keeps of the gradient",
            COLUMNS,
            [row.cells() for row in rows.values()],
            COLUMNS[1:],
        ),
        figures=_figures(rows, settings.steps),
        method=METHOD,
        numbers={
            f"{name} {what}": value
            for name, row in rows.items()
            for what, value in (("kept", row.kept), ("theory", row.theory), ("size", row.size))
            if value is not None
        },
    )


COLUMNS = ("way back", "theory", "kept per step", "left at the first step", "steps to 1 %", "size")


def _rows(settings: Settings, say: Say) -> dict[str, _Row]:
    sizes = settings.inputs, settings.hidden
    xs = torch.randn(settings.steps, settings.batch, settings.inputs)
    rows = {"tanh": _measured("tanh", zoo.Elman(*sizes), "h", xs)}
    rows["no forget gate"] = _measured("no forget gate", zoo.OriginalLSTM(*sizes), "c", xs)
    for bias in BIASES:
        say(f"a forget gate with a bias of {bias:g}")
        whole = zoo.LSTM(*sizes)
        nn.init.constant_(whole.W_f.bias, bias)
        for way, kind, state in (
            ("c alone", ThroughCell, "c"),
            ("h alone", ThroughHidden, "h"),
            ("both", zoo.LSTM, "c"),
        ):
            cell = kind(*sizes)
            cell.load_state_dict(whole.state_dict())
            name = f"{way}, bias {bias:g}"
            rows[name] = _measured(name, cell, state, xs)
    return rows


def _measured(name: str, cell: Cell, state: str, xs: Tensor) -> _Row:
    """Follow the gradient of the last hidden state back to one state at every step."""
    seen = record(lambda: unroll(cell, xs, backend="eager")[0], cell, measure_gates=False)
    last = seen.result[-1]
    (found,) = gradients(seen, (last * torch.randn_like(last)).sum())
    back = found.mean(state).double().flip(0)
    (recurrence,) = seen.recurrences
    final = recurrence.last[state].detach()
    theory = _openness(cell, recurrence, xs) if isinstance(cell, ThroughCell) else None
    return _Row(name, theory, back / back[0], float(final.square().mean() ** 0.5))


def _openness(cell: zoo.LSTM, recurrence: Recurrence, xs: Tensor) -> float:
    """Give the root of the mean square of the forget gate over the run."""
    with torch.no_grad():
        before = recurrence.states["h"][:-1]
        f = torch.sigmoid(cell.W_f(xs[1:]) + cell.U_f(before))
    return float(f.square().mean() ** 0.5)


def _figures(rows: dict[str, _Row], steps: int) -> list[page.Figure]:
    ways = ["tanh", "h alone, bias 1", "c alone, bias 1", "both, bias 1"]
    opened = [f"c alone, bias {bias:g}" for bias in BIASES]
    return [
        page.Figure(
            _chart([rows[way] for way in ways], "A forget gate with a bias of 1"),
            "The way through the hidden state is lost first. The cell state keeps what the forget "
            "gate lets through, and with both ways open the gradient follows the better one.",
        ),
        page.Figure(
            _chart([*(rows[way] for way in opened), rows["no forget gate"]], "How far it is open"),
            "Each line is the product of one forget gate after another: the more open it starts, "
            f"the further back there is anything to learn from, up to {steps} steps here. Without "
            "a forget gate the line does not fall at all, and the state is never emptied.",
        ),
    ]


def _chart(rows: Sequence[_Row], title: str) -> figures.Markup:
    series = [
        figures.Series(row.name, list(range(len(row.back))), row.back.clamp_min(1e-12).tolist())
        for row in rows
    ]
    return figures.line_chart(
        series,
        x_label="steps back from the last output",
        y_label="times the gradient at the last step",
        title=title,
        log_y=True,
    )

"""Pictures of what the doctor looked at: a page's sections, with a sentence under each picture."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from unrolled.inspect import figures, page
from unrolled.inspect.findings import Examination, Examined, Finding
from unrolled.inspect.gates import Gate
from unrolled.inspect.illnesses import VANISHED
from unrolled.inspect.looks import Looked
from unrolled.inspect.positions import PositionLoss
from unrolled.inspect.reading import alike, looks
from unrolled.inspect.texts import Read
from unrolled.inspect.through_time import averaged

SHOWN = 12  # recurrences
LEAST = 1e-12  # of a gradient that is drawn


def sections(
    examination: Examination,
    findings: Sequence[Finding],
    looked: Sequence[Looked] = (),
    positions: PositionLoss | None = None,
    lengths: Tensor | None = None,
    reads: Sequence[Read] = (),
) -> list[page.Section]:
    """Draw an examination.

    Args:
        examination: from `examine`.
        findings: from `treat`.
        looked: from `looking`, of the same run.
        positions: the loss of each position.
        lengths: (batch,) how many positions each sequence has.
        reads: what parts of the model read, as text.
    """
    some = examination.recurrences[:SHOWN]
    blocks: dict[str, list[page.Block]] = {
        "What the doctor says": list(_said(findings)),
        "How far it reaches back": [*_reaches(some), *_gradients(some)],
        "Gates": list(_gates(some)),
        "The size of its states": list(_sizes(some)),
        "Where the loss is": list(_positions(positions)),
        "Where it looks": list(looks(looked, lengths, reads)),
        "What it takes for the same": list(alike(examination.recurrences, reads)),
    }
    return [page.Section(heading, found) for heading, found in blocks.items() if found]


def evidence(finding: Finding) -> str:
    """Say what was measured, in a line.

    Example:
        >>> evidence(Finding("vanishing", "", "", "", {"reach": 3, "steps": 39}))
        'reach 3, steps 39'
    """
    return ", ".join(f"{name} {figures.number(v)}" for name, v in finding.evidence.items())


def _said(findings: Sequence[Finding]) -> Iterator[page.Block]:
    if not findings:
        yield page.Prose("Nothing that it knows is wrong.")
        return
    rows = [(f.title, f.text, f.change, evidence(f)) for f in findings]
    columns = ["finding", "what it means", "what to change", "measured"]
    yield page.Table("What is wrong, and what to do about it", columns, rows)


def _reaches(some: Sequence[Examined]) -> Iterator[page.Block]:
    judged = [e for e in some if e.judged]
    if not judged:
        yield page.Prose("The sequences are too short to tell how far back a state reaches.")
        return
    series = []
    for examined in judged:
        grown = examined.grown()[0].clamp_min(LEAST).tolist()
        series.append(figures.Series(examined.name, list(range(len(grown))), grown))
    chart = figures.line_chart(
        series,
        x_label="steps back from the last",
        y_label="times the gradient at the last step",
        title="The gradient of the last state, back through time",
        log_y=True,
    )
    reached = (
        f"{e.name} reaches back {e.reach(VANISHED)[0]:.0f} of {e.reach(VANISHED)[1]:.0f} steps"
        for e in judged
    )
    yield page.Figure(
        chart,
        "A line that falls is a memory that fades: below a hundredth, what stood there can hardly "
        f"be learnt from. A line that climbs explodes. {'; '.join(reached)}.",
    )


def _gradients(some: Sequence[Examined]) -> Iterator[page.Block]:
    charts = [
        _chart(e, e.by_state, "norm of the gradient", "Gradient of the loss", log=True)
        for e in some
        if e.by_state
    ]
    if charts:
        yield page.Grid([page.Figure(chart, "") for chart in charts])
        yield page.Prose(
            "How much the loss of this batch depends on each state at each step, all that follows "
            "from it included. Steps without any gradient teach the layer nothing."
        )


def _sizes(some: Sequence[Examined]) -> Iterator[page.Block]:
    charts = []
    for examined in some:
        active = examined.recurrence.active
        norms = examined.recurrence.activation_norms()
        means = {name: averaged(n, active) for name, n in norms.items()}
        charts.append(_chart(examined, means, "norm", "State", log=False))
    yield page.Grid([page.Figure(chart, "") for chart in charts])
    yield page.Prose(
        "The norm of each state after each step, averaged over the sequences that have the step. A "
        "healthy state levels off; one that climbs without end will overflow on longer sequences."
    )


def _chart(
    examined: Examined, values: dict[str, Tensor], y_label: str, title: str, *, log: bool
) -> figures.Markup:
    series = [
        figures.Series(name, list(range(1, len(v) + 1)), v.tolist()) for name, v in values.items()
    ]
    return figures.line_chart(
        series, x_label="step", y_label=y_label, title=f"{title}: {examined.name}", log_y=log
    )


def _gates(some: Sequence[Examined]) -> Iterator[page.Block]:
    named = {f"{e.name}: {gate.name}": gate for e in some for gate in e.recurrence.gates.values()}
    if not named:
        return
    columns = ["gate", "kind", "low", "high", "keeps", "half-life", "longest", "bias"]
    rows = [(name, *_row(gate)) for name, gate in named.items()]
    yield page.Table(
        "Gates: how often saturated, and how long they keep",
        columns,
        rows,
        columns[2:4] + columns[5:],
    )
    yield page.Prose(
        "A sigmoid is low below 0.1 and high above 0.9, a tanh beyond 0.9 on either side, a ReLU "
        "low at 0. A gate that keeps a state and is high does so on purpose; one that is always "
        "on one side learns nothing more. A half-life is the number of steps in which half of a "
        "unit's state is kept: the median over units, and the longest."
    )
    keeping = {name: g.half_lives for name, g in named.items() if g.half_lives is not None}
    if keeping:
        chart = figures.line_chart(
            [
                figures.Series(name, _shares(lives), lives.sort().values.tolist())
                for name, lives in keeping.items()
            ],
            x_label="per cent of the units",
            y_label="half-life in steps",
            title="How long the units keep their state",
            log_y=True,
        )
        yield page.Figure(
            chart,
            "Units from the most forgetful to the most faithful: the end of a line on the right is "
            "the longest memory that the layer has by its gate alone.",
        )


def _shares(lives: Tensor) -> list[float]:
    return (100 * torch.arange(1, len(lives) + 1) / len(lives)).tolist()


def _row(gate: Gate) -> tuple[str, ...]:
    lives = gate.half_lives
    kept = ("", "", "")
    if lives is not None:
        kept = (gate.keeps or "", f"{float(lives.median()):.1f}", f"{float(lives.max()):.1f}")
    bias = "" if gate.bias is None else f"{float(gate.bias.mean()):.2f}"
    sides = (f"{float(side.mean()):.0%}" for side in (gate.left, gate.right))
    return gate.kind, *sides, *kept, bias


def _positions(positions: PositionLoss | None) -> Iterator[page.Block]:
    if positions is None or not len(positions.mean):
        return
    steps = list(range(1, len(positions.mean) + 1))
    ends = [i if i and math.isfinite(i.low) else None for i in positions.intervals]
    band = figures.Band(
        "95 % interval of the mean",
        steps,
        [i.low if i else math.nan for i in ends],
        [i.high if i else math.nan for i in ends],
    )
    chart = figures.line_chart(
        [figures.Series("mean", steps, positions.mean.tolist())],
        x_label="position",
        y_label="loss",
        title="Loss by position",
        bands=[band] * any(ends),
    )
    highest = int(positions.mean.nan_to_num(nan=-math.inf).argmax())
    yield page.Figure(
        chart,
        f"The loss at each position, over the sequences that have it. It is highest at "
        f"{steps[highest]}, {float(positions.mean[highest]):.2f} on average over "
        f"{int(positions.rows[highest])} sequences; a line that climbs towards the end is a model "
        "that loses the thread.",
    )

"""How sigmoid and tanh saturate: the larger what they are given, the less gradient they pass."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.experiments.outcome import Outcome, Say, seeded, times
from unrolled.experiments.plain import ACTIVATIONS, Plain, follow, per_step
from unrolled.inspect import figures, page
from unrolled.inspect.gates import LIMITS

DRIVES = (0.3, 1.0, 3.0, 10.0)  # standard deviation of the input that each unit is given
UNITS = ("tanh", "sigmoid")
LOST = 0.01  # of the gradient at the last step

METHOD = """
Each recurrence h' = act(U h + x) has weights of variance 1/n and reads, in every unit, independent
normal numbers x of the standard deviation in the table. The gradient per step is that of a random
direction of the last state by the states before it, averaged over rows.

Mean-field theory (Poole et al. 2016, arXiv:1606.05340; Schoenholz et al. 2017, arXiv:1611.01232):
what goes into a unit is normal with a variance q = E act(u)^2 + x^2, found by going round until it
stays; a step back multiplies the squared gradient by E act'(u)^2. A unit counts as saturated,
after Karpathy et al. 2015, arXiv:1506.02078, when a sigmoid is below 0.1 or above 0.9, a tanh
beyond 0.9 on either side.
"""


@dataclass(frozen=True)
class Settings:
    """How large the experiment is."""

    width: int = 512
    steps: int = 24
    batch: int = 16
    drives: tuple[float, ...] = DRIVES
    seed: int = 1
    backend: str = "auto"


@dataclass(frozen=True)
class _Row:
    activation: str
    drive: float
    saturated: float
    gradient: float  # per step
    saturated_theory: float
    gradient_theory: float
    back: Tensor  # (steps,) the gradient, from the last step back

    @property
    def reach(self) -> float:
        """The steps over which the gradient falls to a hundredth."""
        return math.log(LOST) / math.log(self.gradient) if self.gradient < 1 else math.inf

    def cells(self) -> tuple[str, ...]:
        shares = (f"{s:.1%}" for s in (self.saturated_theory, self.saturated))
        factors = (f"{g:.3f}" for g in (self.gradient_theory, self.gradient))
        return self.activation, f"{self.drive:g}", *shares, *factors, f"{self.reach:.1f}"


def run(settings: Settings = Settings(), say: Say = print) -> Outcome:
    """Measure saturation and the gradient per step, against theory.

    Args:
        settings: how large it is.
        say: is told what is being done.
    """
    with seeded(settings.seed):
        rows = [
            _measured(name, drive, settings, say) for name in UNITS for drive in settings.drives
        ]
    mild, strong = rows[0], rows[len(settings.drives) - 1]
    best = max(row.gradient for row in rows if row.activation == "sigmoid")
    return Outcome(
        title="Sigmoid and tanh saturate",
        lead=f"With inputs of size {strong.drive:g}, {strong.saturated:.0%} of a tanh recurrence's "
        f"values are saturated and a step back keeps {strong.gradient:.0%} of the gradient; with "
        f"inputs of size {mild.drive:g} it keeps {mild.gradient:.0%}. A sigmoid never keeps more "
        f"than {best:.0%} here, for its slope is a quarter at best.",
        facts={
            "units": str(settings.width),
            "steps": str(settings.steps),
            "sequences": str(settings.batch),
            "weights": "variance 1/n",
        },
        table=page.Table(
            "Values saturated, and the gradient that a step back keeps",
            COLUMNS,
            [row.cells() for row in rows],
            COLUMNS[1:],
        ),
        figures=[_slopes(), *(_back([r for r in rows if r.activation == u]) for u in UNITS)],
        method=METHOD,
        numbers={
            f"{row.activation} {row.drive:g} {what}": value
            for row in rows
            for what, value in (
                ("saturated", row.saturated),
                ("saturated, theory", row.saturated_theory),
                ("gradient", row.gradient),
                ("gradient, theory", row.gradient_theory),
            )
        },
    )


COLUMNS = (
    "activation",
    "inputs",
    "saturated, theory",
    "saturated",
    "kept, theory",
    "kept",
    "steps to 1 %",
)


def mean_field(activation: str, drive: float) -> tuple[float, float]:
    """Give the share of saturated values and the gradient's factor per step, in theory.

    Args:
        activation: tanh or sigmoid.
        drive: standard deviation of the inputs.

    Example:
        >>> share, factor = mean_field("tanh", 1e-3)  # all but linear, weights of variance 1/n
        >>> share < 1e-6, factor > 0.99
        (True, True)
    """
    z = torch.linspace(-9, 9, 4001, dtype=torch.float64)
    weight = torch.exp(-z.square() / 2)
    weight /= weight.sum()
    act, variance = ACTIVATIONS[activation], drive**2
    for _ in range(200):
        variance = drive**2 + float((weight * act(variance**0.5 * z).square()).sum())
    u = (variance**0.5 * z).requires_grad_()
    value = act(u)
    (slope,) = torch.autograd.grad(value.sum(), u)
    low, high = LIMITS[activation]
    saturated = float(weight[(value <= low) | (value >= high)].sum())
    return saturated, float((weight * slope.square()).sum() ** 0.5)


def _measured(activation: str, drive: float, settings: Settings, say: Say) -> _Row:
    say(f"{activation}, inputs of size {drive:g}")
    cell = Plain(settings.width, activation, 1.0)
    xs = drive * torch.randn(settings.steps, settings.batch, settings.width)
    first = torch.zeros(settings.batch, settings.width)
    found = follow(cell, xs, first, gates=True, backend=settings.backend)
    (gate,) = found.recurrence.gates.values()
    settled = settings.steps // 3  # the variance needs some steps to come to rest
    back = found.gradient[settled:].flip(0)
    return _Row(
        activation,
        drive,
        float(gate.saturated[settled:].mean()),
        per_step(back),
        *mean_field(activation, drive),
        back / back[0],
    )


def _slopes() -> page.Figure:
    u = torch.linspace(-6, 6, 121, dtype=torch.float64)
    series = [
        figures.Series("tanh", u.tolist(), (1 - torch.tanh(u).square()).tolist()),
        figures.Series("sigmoid", u.tolist(), (u.sigmoid() * (1 - u.sigmoid())).tolist()),
    ]
    chart = figures.line_chart(
        series, x_label="what the unit is given", y_label="slope", title="The slope of a unit"
    )
    return page.Figure(
        chart,
        "The slope is what a step back multiplies the gradient by. Beyond 3 on either side tanh "
        "has hardly any left, and the sigmoid has a quarter at its steepest.",
    )


def _back(rows: Sequence[_Row]) -> page.Figure:
    name = rows[0].activation
    chart = figures.line_chart(
        [
            figures.Series(f"inputs of size {r.drive:g}", list(range(len(r.back))), r.back.tolist())
            for r in rows
        ],
        x_label="steps back from the last state",
        y_label="times the gradient at the last step",
        title=f"The gradient through a {name} recurrence",
        log_y=True,
    )
    least = rows[-1].gradient ** (len(rows[-1].back) - 1)
    return page.Figure(
        chart,
        f"The larger the inputs of a {name} recurrence, the steeper the gradient falls: with the "
        f"largest it is {times(least)} of what it was, {len(rows[-1].back) - 1} steps back.",
    )

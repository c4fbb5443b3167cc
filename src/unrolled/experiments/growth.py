"""How a recurrence grows: ReLU weights of variance 3/n, 2/n and 1.5/n, and linear ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from unrolled.experiments.outcome import Outcome, Say, seeded, times
from unrolled.experiments.plain import Followed, Plain, follow, per_step
from unrolled.inspect import figures, page
from unrolled.inspect.intervals import Interval, interval

VARIANCES = (1.5, 2.0, 3.0)  # times n: vanishing, the edge, exploding
RADII = (0.9, 1.0, 1.1)  # of the linear recurrence's spectrum

METHOD = """
Each recurrence h' = act(U h) starts from random states and reads nothing. The growth per step is
the ratio of the last norm to the first, to the power of one over the steps between, averaged over
the draws of U; the interval holds the mean over draws with 95 % confidence. Gradients are those of
a random direction of the last state by the state at every step.

Mean-field theory for ReLU: half of the units are off, so a step multiplies the squared norm of the
state by half of n times the variance, and that of the gradient too (He et al. 2015,
arXiv:1502.01852, eq. 10 and 14, there for layers instead of steps). For a linear recurrence it is
the spectral radius that counts, the largest eigenvalue's size (Pascanu et al. 2013,
arXiv:1211.5063); its growth is taken over the second half of the steps, when the largest
eigenvalues have won.
"""


@dataclass(frozen=True)
class Settings:
    """How large the experiment is."""

    width: int = 1024
    steps: int = 50
    batch: int = 8
    draws: int = 16  # of the matrix
    linear_width: int = 128
    linear_steps: int = 200
    seed: int = 1
    backend: str = "auto"


@dataclass(frozen=True)
class _Row:
    name: str
    weights: str
    theory: float
    state: Interval
    gradient: Interval
    state_curve: torch.Tensor  # (steps,) over the first state's norm, geometric mean over draws
    gradient_curve: torch.Tensor  # (steps,) from the last step back

    def cells(self, steps: int) -> tuple[str, ...]:
        grown = times(self.state.value**steps)
        whiskers = (f"{i.value:.3f} ({i.low:.3f} to {i.high:.3f})" for i in self._intervals)
        return self.name, self.weights, f"{self.theory:.3f}", *whiskers, grown

    @property
    def _intervals(self) -> tuple[Interval, Interval]:
        return self.state, self.gradient


def run(settings: Settings = Settings(), say: Say = print) -> Outcome:
    """Measure how norms grow per step, against theory.

    Args:
        settings: how large it is.
        say: is told what is being done.
    """
    with seeded(settings.seed):
        rows = [_relu(variance, settings, say) for variance in VARIANCES]
        rows += [_linear(radius, settings, say) for radius in RADII]
    low, edge, high, *_ = rows
    return Outcome(
        title="Exploding, vanishing, and the edge between them",
        lead=f"With ReLU and weights of variance 3/n the state grows by "
        f"{high.state.value - 1:.0%} a step and the gradient by {high.gradient.value - 1:.0%} "
        f"(theory {high.theory - 1:.0%}); with 1.5/n they shrink by {1 - low.state.value:.0%} and "
        f"{1 - low.gradient.value:.0%} (theory {1 - low.theory:.0%}); with 2/n they stay, to "
        f"{max(abs(edge.state.value - 1), abs(edge.gradient.value - 1)):.1%} a step.",
        facts={
            "units": f"{settings.width}, linear {settings.linear_width}",
            "steps": f"{settings.steps}, linear {settings.linear_steps}",
            "draws of the matrix": str(settings.draws),
            "sequences": str(settings.batch),
        },
        table=_table(rows, settings.steps),
        figures=_figures([low, edge, high]),
        method=METHOD,
        numbers={
            f"{row.name} {row.weights} {what}": value
            for row in rows
            for what, value in (
                ("theory", row.theory),
                ("state", row.state.value),
                ("gradient", row.gradient.value),
            )
        },
    )


def _relu(variance: float, settings: Settings, say: Say) -> _Row:
    say(f"ReLU, variance {variance:g}/n")
    drawn = []
    for _ in range(settings.draws):
        cell = Plain(settings.width, "relu", variance)
        xs = torch.zeros(settings.steps, settings.batch, settings.width)
        first = torch.randn(settings.batch, settings.width).relu()
        drawn.append(follow(cell, xs, first, backend=settings.backend))
    return _row("ReLU", f"variance {variance:g}/n", (variance / 2) ** 0.5, drawn)


def _linear(radius: float, settings: Settings, say: Say) -> _Row:
    say(f"linear, spectral radius {radius:g}")
    drawn, width = [], settings.linear_width
    for _ in range(settings.draws):
        cell = Plain(width, "linear", 1.0)
        with torch.no_grad():
            cell.U.weight.mul_(radius / torch.linalg.eigvals(cell.U.weight).abs().max())
        xs = torch.zeros(settings.linear_steps, settings.batch, width)
        first = torch.randn(settings.batch, width)
        found = follow(cell, xs, first, backend=settings.backend)
        late = slice(settings.linear_steps // 2, None)
        early = slice(None, settings.linear_steps // 2)  # furthest from the last output
        drawn.append(Followed(found.recurrence, found.state[late], found.gradient[early]))
    return _row("linear", f"radius {radius:g}", radius, drawn)


def _row(name: str, weights: str, theory: float, drawn: Sequence[Followed]) -> _Row:
    state = torch.tensor([per_step(d.state) for d in drawn])
    gradient = torch.tensor([per_step(d.gradient.flip(0)) for d in drawn])
    curves = ([d.state for d in drawn], [d.gradient.flip(0) for d in drawn])
    means = (torch.stack([c / c[0] for c in some]).log().mean(0).exp() for some in curves)
    return _Row(name, weights, theory, interval(state), interval(gradient), *means)


def _table(rows: Sequence[_Row], steps: int) -> page.Table:
    columns = ["recurrence", "weights", "theory", "state", "gradient", f"state, {steps} steps on"]
    return page.Table(
        "Growth per step; 1 is the edge", columns, [r.cells(steps) for r in rows], columns[2:]
    )


def _figures(rows: Sequence[_Row]) -> list[page.Figure]:
    state = _chart(
        [(row, row.state_curve) for row in rows],
        "step",
        "times the norm of the first state",
        "The state through time",
    )
    gradient = _chart(
        [(row, row.gradient_curve) for row in rows],
        "steps back from the last output",
        "times the norm at the last step",
        "The gradient on its way back",
    )
    return [
        page.Figure(
            state,
            "The mean over all draws, on a logarithmic axis, where growth by a constant factor is "
            "a straight line. 3/n climbs, 1.5/n falls, 2/n stays level; theory's lines lie close.",
        ),
        page.Figure(
            gradient,
            "The same matrices read backwards: what the state does forwards, the gradient does on "
            "its way back. Fifty steps are enough to make one useless and the other dangerous.",
        ),
    ]


def _chart(
    curves: Sequence[tuple[_Row, torch.Tensor]], x_label: str, y_label: str, title: str
) -> figures.Markup:
    series = []
    for row, values in curves:
        steps = range(len(values))
        theory = [row.theory**step for step in steps]
        series.append(figures.Series(row.weights, list(steps), values.tolist()))
        series.append(figures.Series(f"{row.weights}, theory", list(steps), theory))
    return figures.line_chart(series, x_label=x_label, y_label=y_label, title=title, log_y=True)

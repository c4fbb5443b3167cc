"""What clipping the gradient's norm does for a recurrence that explodes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled import zoo
from unrolled.experiments.outcome import Outcome, Say, seeded, times
from unrolled.experiments.sequences import ADDING_GUESS, adding
from unrolled.experiments.training import Learnt, Reader, train
from unrolled.inspect import figures, page

CLIPS = (math.inf, 10.0, 1.0, 0.1)

METHOD = """
A ReLU recurrence with weights of variance 3/n, which explodes, learns the adding problem by plain
gradient descent, from the same first weights and on the same sequences each time; only what the
norm of the gradient is clipped to differs (Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063,
algorithm 1). A training ends with the first loss or gradient that is no number. Always answering 1
has a loss of 1/6.
"""


@dataclass(frozen=True)
class Settings:
    """How large the experiment is."""

    hidden: int = 64
    lag: int = 30
    batch: int = 32
    steps: int = 1500
    rate: float = 0.01
    variance: float = 3.0  # over n, of the recurrent weights
    seed: int = 1
    backend: str = "auto"


def run(settings: Settings = Settings(), say: Say = print) -> Outcome:
    """Train with and without clipping.

    Args:
        settings: how large it is.
        say: is told what is being done.
    """
    found = {clip: _learnt(clip, settings, say) for clip in CLIPS}
    free, clipped = found[math.inf], found[1.0]
    return Outcome(
        title="Clipping the gradient",
        lead=f"Without clipping the first gradient's norm is {times(free.norms[0])} and the "
        f"training {_end(free)}; clipped at 1, the same training comes down from a loss of "
        f"{times(clipped.losses[0])} to {times(clipped.last)}, where guessing has "
        f"{ADDING_GUESS:.3f}.",
        facts={
            "units": str(settings.hidden),
            "weights": f"variance {settings.variance:g}/n",
            "lag": str(settings.lag),
            "learning rate": f"{settings.rate:g}",
        },
        table=_table(found),
        figures=_figures(found),
        method=METHOD,
        numbers={
            f"{_name(clip)} {what}": value
            for clip, learnt in found.items()
            for what, value in (
                ("first norm", learnt.norms[0]),
                ("first", learnt.losses[0]),
                ("last", learnt.last),
                ("steps", len(learnt.losses)),
            )
        },
    )


def _learnt(clip: float, settings: Settings, say: Say) -> Learnt:
    with seeded(settings.seed):
        cell = partial(zoo.Elman, activation="relu")
        model = Reader(cell, 2, settings.hidden, 1, settings.backend)
        recurrent = model.recurrent.cells[0].get_parameter("U.weight")
        nn.init.normal_(recurrent, std=(settings.variance / settings.hidden) ** 0.5)
        optimizer = torch.optim.SGD(model.parameters(), lr=settings.rate)

        def loss(_: float) -> Tensor:
            batch = adding(settings.lag, settings.batch)
            return F.mse_loss(model(batch.xs)[-1, :, 0], batch.targets)

        learnt = train(model, loss, optimizer, settings.steps, clip=clip)
    say(f"{_name(clip)}: {_end(learnt)}")
    return learnt


def _name(clip: float) -> str:
    return "no clipping" if math.isinf(clip) else f"clipped at {clip:g}"


def _end(learnt: Learnt) -> str:
    whole = math.isfinite(learnt.losses[-1] + learnt.norms[-1])
    steps = len(learnt.losses)
    return f"goes through all {steps} steps" if whole else f"ends in step {steps} with no number"


def _table(found: Mapping[float, Learnt]) -> page.Table:
    columns = ["training", "first loss", "first norm", "largest norm", "end", "last loss"]
    rows = [
        (
            _name(clip),
            times(learnt.losses[0]),
            times(learnt.norms[0]),
            times(max(n for n in learnt.norms if math.isfinite(n))),
            _end(learnt),
            times(learnt.last) if math.isfinite(learnt.last) else "none",
        )
        for clip, learnt in found.items()
    ]
    return page.Table(
        "The same training, but for the clip", columns, rows, [*columns[1:4], "last loss"]
    )


def _figures(found: Mapping[float, Learnt]) -> list[page.Figure]:
    def chart(values: Mapping[float, list[float]], title: str, y_label: str) -> figures.Markup:
        some = {clip: _thinned(v) for clip, v in values.items()}
        series = [figures.Series(_name(clip), *points) for clip, points in some.items()]
        return figures.line_chart(series, x_label="step", y_label=y_label, title=title, log_y=True)

    losses = chart({c: f.losses for c, f in found.items()}, "Loss", "mean squared error")
    norms = chart({c: f.norms for c, f in found.items()}, "Gradient", "norm, before it is clipped")
    return [
        page.Figure(
            losses,
            "Without clipping the curve stops where the loss is no number any more. A clip keeps "
            "the direction of the step and bounds its length, so the loss comes down.",
        ),
        page.Figure(
            norms,
            "What the clip had to bound: the norm starts out huge, and falls as the training "
            "leaves the region where the recurrence explodes.",
        ),
    ]


def _thinned(values: list[float], points: int = 200) -> tuple[list[float], list[float]]:
    """Take evenly spread points of a curve, its first steps all."""
    every = max(1, len(values) // points)
    steps = [s for s in range(len(values)) if s < 20 or s % every == 0]
    return [s + 1.0 for s in steps], [values[s] for s in steps]

"""The page about a forecaster: forecasts beside what came, errors beside the naive ones."""

from dataclasses import astuple

import numpy as np

from unrolled.inspect import figures, page
from unrolled.tasks.forecast.config import ForecastConfig
from unrolled.tasks.forecast.evaluation import MODEL, Evaluation
from unrolled.tasks.progress import clock
from unrolled.tasks.report import learning
from unrolled.tasks.run import Run
from unrolled.tasks.standing import Standing

SHOWN = 8  # forecasts that are drawn
PAST = 3  # horizons of the past that are drawn before each
COLUMNS = ("sMAPE, %", "MASE", "MSE", "MAE", "MSE, raw", "MAE, raw")


def write_report(
    run: Run, settings: ForecastConfig, standing: Standing, evaluation: Evaluation
) -> None:
    """Write a run's ``report.html``.

    Args:
        run: the run; its metrics are the learning curves.
        settings: those it was trained with.
        standing: where its training ended.
        evaluation: what it made of windows that it did not learn from.
    """
    model, found = settings.model, evaluation.errors
    best = min((e.mase, name) for name, e in found.items() if name != MODEL)
    lead = (
        f"The model's absolute error is {found[MODEL].mase:.3g} of what the seasonal naive "
        f"forecast makes in the history (MASE); the better naive one, {best[1]}, has {best[0]:.3g}."
    )
    facts = {
        "cell": model.cell,
        "units": f"{model.layers} layer{'s' * (model.layers > 1)} of {model.hidden:,}",
        "reads": f"{model.context:,} steps",
        "forecasts": f"{settings.data.horizon:,} steps",
        "season": f"{evaluation.season:,} steps",
        "trained": f"{clock(standing.seconds)}, {standing.step:,} steps",
    }
    sections = [
        page.Section("Forecasts", _forecasts(evaluation)),
        page.Section("Errors, beside naive forecasts", _errors(evaluation)),
        page.Section("How it learnt", learning(run, standing, {"MASE": "mase"}, "step")),
    ]
    page.write(page.Page("Forecasting", lead, facts, sections), run.report)


def _forecasts(evaluation: Evaluation) -> list[page.Block]:
    count = len(evaluation.spans)
    places = np.linspace(0, count - 1, min(SHOWN, count)).round().astype(int)
    text = (
        "What came, what was forecast before it came, and the widest interval, for windows from "
        "all over the dev data. Steps are counted from the first one that was forecast."
    )
    return [page.Prose(text), page.Grid([_forecast(evaluation, place) for place in places])]


def _forecast(evaluation: Evaluation, place: int) -> page.Figure:
    one = evaluation.series[evaluation.spans.which[place]]
    origin, horizon = int(evaluation.spans.origins[place]), evaluation.truth.shape[1]
    past = min(origin, PAST * horizon)
    here = one.values[origin - past : origin + horizon]
    ahead = list(range(horizon))
    forecasts = evaluation.forecasts
    point = forecasts.point[place].tolist()
    curves = [
        figures.Series("what came", list(range(-past, len(here) - past)), here.tolist()),
        figures.Series("forecast", ahead, point),
    ]
    bands = []
    if len(forecasts.levels) > 1:
        quantiles, levels = forecasts.quantiles[place], forecasts.levels
        name = f"{levels[-1] - levels[0]:.0%} interval"
        bands = [figures.Band(name, ahead, quantiles[:, 0].tolist(), quantiles[:, -1].tolist())]
    title = f"{one.name}, from {one.clock.text(origin)}"
    chart = figures.line_chart(curves, bands=bands, x_label="step", y_label="value", title=title)
    return page.Figure(chart, "")


def _errors(evaluation: Evaluation) -> list[page.Block]:
    rows = [
        (name, *(f"{value:.4g}" for value in astuple(found)))
        for name, found in evaluation.errors.items()
    ]
    table = page.Table("Errors on dev windows", ["forecast", *COLUMNS], rows, COLUMNS)
    blocks: list[page.Block] = [
        page.Figure(
            figures.bar_table(
                [
                    figures.Bar(name, getattr(found, key), muted=name != MODEL)
                    for name, found in evaluation.errors.items()
                ],
                title=title,
                label="forecast",
                value=title,
            ),
            caption,
        )
        for key, title, caption in (
            ("mase", "MASE", "Absolute errors over those of the seasonal naive in the history."),
            ("smape", "sMAPE, %", "200 |y - f| / (|y| + |f|), in per cent. Shorter is better."),
        )
    ]
    blocks.append(table)
    if evaluation.interval:
        wanted, held = evaluation.interval
        blocks.append(
            page.Prose(
                f"The interval that should hold {wanted:.0%} of the values holds {held:.1%}."
            )
        )
    return blocks

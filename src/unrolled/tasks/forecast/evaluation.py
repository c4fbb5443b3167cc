"""Scoring forecasts of what came, beside the naive ones."""

import csv
import io
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from unrolled.errors import DataError
from unrolled.files import write_atomically
from unrolled.tasks.forecast.data import Spans
from unrolled.tasks.forecast.foreteller import Forecasts, Foreteller
from unrolled.tasks.forecast.metrics import Errors, Yardstick, coverage, errors, pinball
from unrolled.tasks.forecast.series import Series

MODEL, SEASONAL, NAIVE = "this model", "seasonal naive", "naive"


@dataclass(frozen=True)
class Evaluation:
    """What a model made of windows, and what came.

    series: the whole series. spans: the windows. truth: (windows, horizon). forecasts: the model's.
    naive: the naive forecasts by name, (windows, horizon). errors: of the model and the naive ones.
    season: steps of a season. seconds: that the forecasts took.
    """

    series: Sequence[Series]
    spans: Spans
    truth: np.ndarray
    forecasts: Forecasts
    naive: dict[str, np.ndarray]
    errors: dict[str, Errors]
    season: int
    seconds: float

    @property
    def interval(self) -> tuple[float, float] | None:
        """The share of values that the widest interval should hold, and the share that it holds."""
        levels, quantiles = self.forecasts.levels, self.forecasts.quantiles
        if len(levels) < 2:
            return None
        held = coverage(self.truth, quantiles[..., 0], quantiles[..., -1])
        return levels[-1] - levels[0], held

    def lines(self) -> list[str]:
        """Say it in words."""
        lines = [f"{'':16}{'sMAPE':>9}{'MASE':>9}{'MSE':>9}{'MAE':>9}"]
        for name, e in self.errors.items():
            figures = f"{e.smape:>7.2f} %{e.mase:>9.4g}{e.mse:>9.4g}{e.mae:>9.4g}"
            lines.append(f"{name:16}{figures}")
        if self.interval:
            wanted, held = self.interval
            lines.append(f"the {wanted:.0%} interval holds {held:.2%} of the values")
        count, horizon = self.truth.shape
        lines.append(
            f"{count:,} forecasts of {horizon} steps of {len(self.series):,} series, a season of "
            f"{self.season} steps, in {self.seconds:.1f} s; MSE and MAE are of normalised values"
        )
        return lines

    def record(self) -> dict[str, object]:
        """Give the figures as JSON."""
        found: dict[str, object] = dict(asdict(self.errors[MODEL]))
        if self.interval:
            levels = self.forecasts.levels
            found["interval"], found["coverage"] = self.interval
            found["quantile_loss"] = pinball(self.truth, self.forecasts.quantiles, levels)
        return found | {
            "baselines": {name: asdict(self.errors[name]) for name in (SEASONAL, NAIVE)},
            "windows": len(self.truth),
            "series": len(self.series),
            "season": self.season,
            "seconds": round(self.seconds, 2),
        }

    def write(self, path: Path) -> None:
        """Write every forecast beside what came, one line for each step."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        levels = self.forecasts.levels
        writer.writerow(["series", "origin", "time", "value", "point", *map(level_name, levels)])
        for i, (which, origin) in enumerate(zip(self.spans.which, self.spans.origins, strict=True)):
            one = self.series[which]
            begin = one.clock.text(int(origin))
            for step in range(self.truth.shape[1]):
                numbers = [self.truth[i, step], self.forecasts.point[i, step]]
                numbers += list(self.forecasts.quantiles[i, step])
                moment = one.clock.text(int(origin) + step)
                writer.writerow([one.name, begin, moment, *(f"{x:.7g}" for x in numbers)])
        write_atomically(path, text.getvalue().encode())


def level_name(level: float) -> str:
    """Call a quantile as the head of a table does.

    >>> level_name(0.05), level_name(0.5)
    ('q0.05', 'q0.5')
    """
    return f"q{level:g}"


def evaluate(
    foreteller: Foreteller, series: Sequence[Series], spans: Spans, histories: Sequence[int]
) -> Evaluation:
    """Forecast windows and compare with what came.

    Args:
        foreteller: the trained model.
        series: whole ones.
        spans: the windows.
        histories: the steps of each series that came before; a series that was not learnt from is
            measured by these.

    Raises:
        DataError: there are no windows, or the model cannot read these series.
    """
    if not len(spans):
        raise DataError(
            f"{series[0].where}: there is nothing to score on: what came after the history is "
            f"shorter than the {foreteller.model.horizon} steps of a forecast"
        )
    before = time.monotonic()
    pool, season = foreteller.pool(series), foreteller.knowledge.season
    forecasts = foreteller.forecast(pool, spans.which, spans.origins)
    seconds = time.monotonic() - before
    truth = pool.targets(spans.which, spans.origins).T.numpy()
    naive = {
        name: pool.naive(spans.which, spans.origins, period).T.numpy()
        for name, period in ((SEASONAL, season), (NAIVE, 1))
    }
    known = foreteller.knowledge.yardsticks
    yardsticks = [
        known.get(one.name) or Yardstick.of(one.values[:end], season)
        for one, end in zip(series, histories, strict=True)
    ]
    found = {
        name: errors(truth, forecast, spans.which, yardsticks)
        for name, forecast in {MODEL: forecasts.point, **naive}.items()
    }
    return Evaluation(series, spans, truth, forecasts, naive, found, season, seconds)

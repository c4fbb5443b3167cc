"""Forecasts of what has not come yet, as a table."""

import csv
import io
from collections.abc import Sequence

import numpy as np

from unrolled.tasks.forecast.evaluation import level_name
from unrolled.tasks.forecast.foreteller import Foreteller
from unrolled.tasks.forecast.series import Series
from unrolled.tasks.forecast.windows import check_known


def predict(
    foreteller: Foreteller, series: Sequence[Series], covariates: Sequence[str], digits: int
) -> str:
    """Give a CSV of the steps after each series: its name, time, point and quantiles.

    Raises:
        DataError: the model cannot read these series, or covariates are not told.
    """
    horizon = foreteller.model.horizon
    for one in series:
        check_known(one, horizon, covariates)
    which = np.arange(len(series))
    origins = np.array([len(one.values) for one in series])
    found = foreteller.forecast(foreteller.pool(series), which, origins)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["series", "time", "point", *map(level_name, found.levels)])
    for one, point, quantiles in zip(series, found.point, found.quantiles, strict=True):
        for step in range(horizon):
            numbers = [point[step], *quantiles[step]]
            moment = one.clock.text(len(one.values) + step)
            writer.writerow([one.name, moment, *(f"{x:.{digits}g}" for x in numbers)])
    return text.getvalue()

"""How far forecasts are from what came."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Yardstick:
    """What errors of a series are measured by, taken from its history.

    mean, std: of its values, with which errors are normalised. naive: the mean absolute difference
    between values a season apart, Hyndman & Koehler 2006, doi:10.1016/j.ijforecast.2006.03.001.
    """

    mean: float
    std: float
    naive: float

    @classmethod
    def of(cls, values: np.ndarray, season: int) -> "Yardstick":
        """Measure a history.

        >>> Yardstick.of(np.array([1.0, 3.0, 2.0, 4.0]), season=2)
        Yardstick(mean=2.5, std=1.118033988749895, naive=1.0)
        """
        season = season if len(values) > season else 1
        apart = np.abs(values[season:] - values[:-season]) if len(values) > 1 else np.zeros(1)
        return cls(float(values.mean()), float(values.std()), float(apart.mean()))


@dataclass(frozen=True)
class Errors:
    """Errors of a system's forecasts, each the mean over the series of the mean over its windows.

    smape: 200 |y - f| / (|y| + |f|), in per cent, as in the M4 competition (Makridakis et al. 2020,
    doi:10.1016/j.ijforecast.2019.04.014). mase: absolute errors over the history's naive ones.
    mse, mae: of values with mean and deviation of the history taken off. raw_mse, raw_mae: as is.
    """

    smape: float
    mase: float
    mse: float
    mae: float
    raw_mse: float
    raw_mae: float


def errors(
    truth: np.ndarray, forecast: np.ndarray, which: np.ndarray, yardsticks: Sequence[Yardstick]
) -> Errors:
    """Measure forecasts.

    truth, forecast: (windows, horizon). which: (windows,), the place of each window's series in
    yardsticks.

    >>> one = Yardstick(mean=0.0, std=2.0, naive=1.0)
    >>> found = errors(np.array([[2.0, 4.0]]), np.array([[2.0, 2.0]]), np.array([0]), [one])
    >>> round(found.smape, 4), found.mase, found.mse, found.raw_mae
    (33.3333, 1.0, 0.5, 1.0)
    """
    away = np.abs(truth - forecast)
    size = np.abs(truth) + np.abs(forecast)
    naive = np.array([one.naive for one in yardsticks])[which, None]
    std = np.array([one.std for one in yardsticks])[which, None]
    unit = np.where(std > 0, std, 1.0)

    def mean(values: np.ndarray) -> float:
        windows, count = values.mean(1), np.bincount(which, minlength=len(yardsticks))
        sums = np.bincount(which, windows, len(yardsticks))
        return float((sums[count > 0] / count[count > 0]).mean())

    return Errors(
        smape=mean(200 * away / np.where(size > 0, size, 1.0)),
        mase=mean(away / np.where(naive > 0, naive, 1.0)),
        mse=mean((away / unit) ** 2),
        mae=mean(away / unit),
        raw_mse=mean(away**2),
        raw_mae=mean(away),
    )


def coverage(truth: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """Give the share of values that lie between two quantiles, all of the same shape.

    >>> coverage(np.array([1.0, 5.0]), np.array([0.0, 0.0]), np.array([2.0, 2.0]))
    0.5
    """
    return float(((low <= truth) & (truth <= high)).mean())


def pinball(truth: np.ndarray, quantiles: np.ndarray, levels: Sequence[float]) -> float:
    """Give the weighted quantile loss: twice the pinball losses over the sum of absolute values.

    truth (windows, horizon); quantiles (windows, horizon, levels). The mean over the levels, as in
    Salinas et al. 2017, arXiv:1704.04110, 4.

    >>> pinball(np.array([[2.0]]), np.array([[[1.0]]]), [0.5])
    0.5
    """
    over = truth[..., None] - quantiles
    losses = np.maximum(np.array(levels) * over, (np.array(levels) - 1) * over)
    return float(2 * losses.sum((0, 1)).mean() / max(np.abs(truth).sum(), 1e-300))

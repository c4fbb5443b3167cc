"""What forecasting learns from: series, what came after them, and the windows of both."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unrolled.errors import DataError
from unrolled.tasks.faults import Faults
from unrolled.tasks.forecast.config import Data
from unrolled.tasks.forecast.series import Series, join, read_series

HELD_OUT = Path("held out")  # what dev data without a file are called


@dataclass(frozen=True)
class Sides:
    """Whole series, and the step of each at which what is learnt from ends and dev begins."""

    series: list[Series]
    ends: list[int]


@dataclass(frozen=True)
class Spans:
    """Windows that can be forecast: series, and the step that each begins at.

    which, origins: (windows,).
    """

    which: np.ndarray
    origins: np.ndarray

    def __len__(self) -> int:
        return len(self.which)

    def some(self, places: Sequence[int] | np.ndarray) -> "Spans":
        """Take the windows at some places."""
        return Spans(self.which[places], self.origins[places])


def spans(firsts: Sequence[int], ends: Sequence[int], horizon: int, stride: int = 1) -> Spans:
    """List the windows of each series whose steps to forecast lie from a first one to an end.

    >>> found = spans([2, 0], [6, 3], horizon=3, stride=1)
    >>> found.which.tolist(), found.origins.tolist()
    ([0, 0, 1], [2, 3, 0])
    """
    origins = [np.arange(f, e - horizon + 1, stride) for f, e in zip(firsts, ends, strict=True)]
    which = np.repeat(np.arange(len(origins)), [len(one) for one in origins])
    return Spans(which, np.concatenate(origins))


def load_data(data: Data, faults: Faults) -> Sides:
    """Read the series to learn from and what came after them, held out where there is no file.

    Raises:
        DataError: see `read_series`; a series is too short, or none is long enough.
    """
    if data.train is None:
        raise DataError("there is nothing to learn from; name a file of series with --train")
    train = read_series(data.train, data.columns, faults)
    if data.dev is not None:
        later = {one.name: one for one in join(train, read_series(data.dev, data.columns, faults))}
        whole = [later.get(one.name, one) for one in train]
        least = {one.name: len(one.values) for one in train}
    else:
        whole, held_out = train, data.held_out * data.horizon
        least = {one.name: len(one.values) - held_out for one in whole}
    kept = []
    for one in whole:
        if least[one.name] > data.horizon:
            kept.append(one)
        else:
            needed = 1 + data.horizon * (1 if data.dev else 1 + data.held_out)
            faults.found(
                one.where,
                f"{one.name} has {len(one.values)} values; to forecast {data.horizon} steps, and "
                f"hold as many out, it needs {needed}",
            )
    if not kept:
        raise DataError(f"{data.train}: has no series to learn from; {faults.summary()}")
    if all(len(one.values) - least[one.name] < data.horizon for one in kept):
        raise DataError(f"{data.dev}: is shorter than the {data.horizon} steps of a forecast")
    return Sides(kept, [least[one.name] for one in kept])


def training_spans(sides: Sides, horizon: int, context: int) -> Spans:
    """List the windows to learn from: those with a whole past, or, of a short series, the last."""
    firsts = [min(context, end - horizon) for end in sides.ends]
    return spans(firsts, sides.ends, horizon)


def dev_spans(sides: Sides, horizon: int) -> Spans:
    """List the windows to score on: all that lie in dev data."""
    return spans(sides.ends, [len(one.values) for one in sides.series], horizon)


def season_of(data: Data, series: Sequence[Series]) -> int:
    """Give the season that is set, or the one that the times tell."""
    return data.season or series[0].clock.season

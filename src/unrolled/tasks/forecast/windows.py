"""Windows of series: what a model reads of a past, and what came after it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unrolled.errors import DataError
from unrolled.models.forecaster import Windows
from unrolled.tasks.forecast import config
from unrolled.tasks.forecast.series import Series

FLAT = 1e-3  # of a deviation, as a share of the values' size: a flat window is no tiny unit


@dataclass(frozen=True)
class Cut:
    """Windows with what brings them back: a value is `shift + scale * scaled value`.

    windows: what a model reads. shift, scale: (batch,) in float64.
    """

    windows: Windows
    shift: Tensor
    scale: Tensor

    def scaled(self, values: Tensor) -> Tensor:
        """Scale values (horizon, batch) as the windows are, in float32."""
        return ((values - self.shift) / self.scale).float()

    def back(self, values: Tensor) -> Tensor:
        """Bring scaled values (horizon, batch, ...) back, in float64."""
        shape = (-1, *[1] * (values.dim() - 2))
        return values.double() * self.scale.view(shape) + self.shift.view(shape)


class Pool:
    """Series side by side, to cut windows out of.

    Args:
        series: any number of them.
        numbers: of each series, from 1 on; 0 for one that was not learnt from.
        periods: whose values are read, the season first.
        horizon: steps to forecast.
        model: what is read of a past.
    """

    def __init__(
        self,
        series: Sequence[Series],
        numbers: Sequence[int],
        periods: Sequence[int],
        horizon: int,
        model: config.Model,
    ) -> None:
        self.series, self.periods, self.horizon = series, tuple(periods), horizon
        self.scaling, self.context = model.scaling, model.context
        ahead = model.context + max(periods)  # places before each series, where nothing is
        spans = [ahead + len(one.values) + horizon for one in series]
        begins = np.cumsum([0, *spans[:-1]]) + ahead
        self.begins, self.numbers = torch.from_numpy(begins), torch.tensor(numbers)
        values = np.zeros(sum(spans))
        known = [self._known(one, ahead, model.calendar) for one in series]
        for one, begin in zip(series, begins, strict=True):
            values[begin : begin + len(one.values)] = one.values
        self.values, self.known = torch.from_numpy(values), torch.from_numpy(np.concatenate(known))

    def _known(self, series: Series, ahead: int, calendar: bool) -> np.ndarray:
        count = len(series.values) + self.horizon
        told = np.zeros((ahead + count, series.known.shape[1]))
        there = min(count, len(series.known))
        told[ahead : ahead + there] = series.known[:there]
        if not calendar:
            return told.astype(np.float32)
        return np.concatenate(
            [told, series.clock.calendar(-ahead, ahead + count)], -1, dtype=np.float32
        )

    def cut(self, which: Sequence[int] | np.ndarray, origins: Sequence[int] | np.ndarray) -> Cut:
        """Cut windows.

        Args:
            which: the place of a series, for each window.
            origins: the first step to forecast, for each window: 1 to the length of its series.
        """
        series = torch.as_tensor(which)
        begin = self.begins[series]
        origin = begin + torch.as_tensor(origins)
        past = origin + torch.arange(-self.context, 0)[:, None]
        future = origin + torch.arange(self.horizon)[:, None]
        values, present = self.values[past], past >= begin
        shift, scale = self._scale(values, present)

        def lagged(places: Tensor, back: Sequence[Tensor]) -> Tensor:
            sources = torch.stack([places - steps for steps in back], -1)
            scaled = (self.values[sources] - shift[:, None]) / scale[:, None]
            return scaled.masked_fill(sources < begin[:, None], 0).float()

        periods = [torch.tensor(period) for period in self.periods]
        windows = Windows(
            values=((values - shift) / scale).masked_fill(~present, 0).float(),
            present=present.float(),
            past_lags=lagged(past, periods),
            future_lags=lagged(future, [self._back(period) for period in self.periods]),
            past_known=self.known[past],
            future_known=self.known[future],
            series=self.numbers[series],
            scale=scale.float(),
        )
        return Cut(windows, shift, scale)

    def _back(self, period: int) -> Tensor:
        """Tell how far back the last known value of each later step's place is, (horizon, 1)."""
        steps = torch.arange(self.horizon)[:, None]
        return (steps // period + 1) * period

    def targets(
        self, which: Sequence[int] | np.ndarray, origins: Sequence[int] | np.ndarray
    ) -> Tensor:
        """Give what came: (horizon, batch) in float64; 0 behind a series' end."""
        first = self.begins[torch.as_tensor(which)] + torch.as_tensor(origins)
        return self.values[first + torch.arange(self.horizon)[:, None]]

    def naive(
        self, which: Sequence[int] | np.ndarray, origins: Sequence[int] | np.ndarray, period: int
    ) -> Tensor:
        """Give what was one period before, again and again: (horizon, batch) in float64."""
        begin = self.begins[torch.as_tensor(which)]
        origin = begin + torch.as_tensor(origins)
        source = origin + torch.arange(self.horizon)[:, None] - self._back(period)
        return self.values[torch.maximum(source, begin)]

    def _scale(self, values: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Give shift and scale of windows (context, batch); those of zeros have scale 1."""
        count = present.sum(0).clamp(min=1)
        size = values.abs().sum(0) / count
        nothing = torch.zeros_like(size)
        if self.scaling == "none":
            return nothing, nothing + 1
        if self.scaling == "mean":
            return nothing, torch.where(size > 0, size, 1.0)
        mean = values.sum(0) / count
        std = ((values - mean).masked_fill(~present, 0).square().sum(0) / count).sqrt()
        scale = torch.hypot(std, FLAT * size)
        return mean, torch.where(scale > 0, scale, 1.0)


def check_known(series: Series, horizon: int, covariates: Sequence[str]) -> None:
    """Refuse to forecast a series whose covariates are not told for the steps to come."""
    needed = len(series.values) + horizon
    if covariates and len(series.known) < needed:
        raise DataError(
            f"{series.where}: the covariates of {series.name} end at "
            f"{series.clock.text(len(series.known) - 1)}; give them for {horizon} steps after its "
            "last value, which stays empty there"
        )


def check_counts(series: Sequence[Series]) -> None:
    """Refuse series that are not counts."""
    for one in series:
        wrong = np.flatnonzero((one.values < 0) | (one.values != np.round(one.values)))
        if len(wrong):
            raise DataError(
                f"{one.where}: {one.name} is {one.values[wrong[0]]:g} at "
                f"{one.clock.text(int(wrong[0]))}, which is no count; take another --output"
            )

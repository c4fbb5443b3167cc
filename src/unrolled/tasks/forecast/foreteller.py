"""A trained forecaster with what it knows of its series: windows in, forecasts out."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from unrolled.errors import DataError
from unrolled.files import write_atomically
from unrolled.models.forecaster import OUTPUTS, Forecaster
from unrolled.tasks.cells import find_cell
from unrolled.tasks.forecast.config import ForecastConfig, Model
from unrolled.tasks.forecast.metrics import Yardstick
from unrolled.tasks.forecast.series import Series
from unrolled.tasks.forecast.windows import Pool

ROWS = 256  # windows that are forecast side by side


@dataclass(frozen=True)
class Knowledge:
    """What a run knows of the series that it learnt from.

    season: steps of a season. known: numbers that are known of each step beforehand. yardsticks: of
    each series by its name, in the order of their numbers, which begin at 1.
    """

    season: int
    known: int
    yardsticks: dict[str, Yardstick]

    def number(self, name: str) -> int:
        """Give the number of a series; 0 for one that was not learnt from."""
        return next((i for i, known in enumerate(self.yardsticks, 1) if known == name), 0)

    def save(self, folder: Path) -> None:
        """Write it into a run."""
        text = json.dumps(dataclasses.asdict(self), ensure_ascii=False, indent=1)
        write_atomically(folder / "series.json", text.encode())

    @classmethod
    def load(cls, folder: Path) -> "Knowledge":
        """Read it from a run; raise DataError if it is missing or damaged."""
        path = folder / "series.json"
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            yardsticks = {n: Yardstick(**y) for n, y in record["yardsticks"].items()}
            return cls(int(record["season"]), int(record["known"]), yardsticks)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: cannot be read ({error}); put a good copy there") from None


def build_model(settings: ForecastConfig, knowledge: Knowledge) -> Forecaster:
    """Make the model that the settings describe, with fresh weights."""
    model = settings.model
    return Forecaster(
        settings.data.horizon,
        1 + len(model.lags),
        knowledge.known,
        len(knowledge.yardsticks),
        OUTPUTS[model.output](model.levels),
        cell=find_cell(model.cell),
        hidden=model.hidden,
        layers=model.layers,
        identity=model.identity,
        highway=model.highway,
        dropout=model.dropout,
    )


@dataclass(frozen=True)
class Forecasts:
    """Forecasts of windows.

    point: (windows, horizon). quantiles: (windows, horizon, levels), perhaps none. levels: theirs.
    """

    point: np.ndarray
    quantiles: np.ndarray
    levels: tuple[float, ...]


@dataclass(frozen=True)
class Foreteller:
    """A trained model, and what is known of its series."""

    model: Forecaster
    knowledge: Knowledge
    settings: Model

    def pool(self, series: Sequence[Series]) -> Pool:
        """Lay series side by side as the model reads them; raise DataError if it cannot."""
        numbers = [self.knowledge.number(one.name) for one in series]
        periods = [self.knowledge.season, *self.settings.lags]
        pool = Pool(series, numbers, periods, self.model.horizon, self.settings)
        if pool.known.shape[1] != self.knowledge.known:
            raise DataError(
                f"{series[0].where}: {pool.known.shape[1]} numbers are known of each step, by "
                f"covariates and calendar; the model learnt with {self.knowledge.known}: give the "
                "same covariates, and steps of the same length"
            )
        return pool

    @torch.no_grad()
    def forecast(self, pool: Pool, which: np.ndarray, origins: np.ndarray) -> Forecasts:
        """Forecast from the steps at `origins` (windows,) of the series at `which` (windows,)."""
        self.model.eval()
        device = next(self.model.parameters()).device
        points, quantiles = [], []
        for start in range(0, len(which), ROWS):
            rows = slice(start, start + ROWS)
            cut = pool.cut(which[rows], origins[rows])
            point, levels = self.model.forecast(cut.windows.to(device))
            points.append(cut.back(point.cpu()).T)
            quantiles.append(cut.back(levels.cpu()).transpose(0, 1))
        return Forecasts(
            torch.cat(points).numpy(), torch.cat(quantiles).numpy(), self.model.output.levels
        )

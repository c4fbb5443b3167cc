"""What forecasting does for each command."""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from unrolled.errors import DataError
from unrolled.tasks.device import pick_device
from unrolled.tasks.faults import Faults
from unrolled.tasks.forecast.config import EvaluateConfig, ForecastConfig, PredictConfig
from unrolled.tasks.forecast.data import HELD_OUT, dev_spans, load_data, season_of, spans
from unrolled.tasks.forecast.evaluation import evaluate as score
from unrolled.tasks.forecast.foreteller import Foreteller, Knowledge, build_model
from unrolled.tasks.forecast.lesson import ForecastLesson
from unrolled.tasks.forecast.metrics import Yardstick
from unrolled.tasks.forecast.prediction import predict as forecast
from unrolled.tasks.forecast.series import Series, join, read_series
from unrolled.tasks.forecast.windows import Pool, check_counts
from unrolled.tasks.progress import Progress
from unrolled.tasks.run import Run
from unrolled.tasks.scores import save_scores
from unrolled.tasks.trained import load_best, read_settings

NEEDS = ("config.toml", "model.safetensors", "series.json")


def learn(settings: ForecastConfig, device: torch.device, progress: Progress) -> ForecastLesson:
    """Read the series, measure them, and build the model."""
    faults, data = Faults(settings.data.skip_bad), settings.data
    sides = load_data(data, faults)
    if settings.model.output == "negative_binomial":
        check_counts(sides.series)
    season = season_of(data, sides.series)
    yardsticks = {
        one.name: Yardstick.of(one.values[:end], season)
        for one, end in zip(sides.series, sides.ends, strict=True)
    }
    first = Pool(sides.series[:1], [0], [season], data.horizon, settings.model)
    knowledge = Knowledge(season, first.known.shape[1], yardsticks)
    model = build_model(settings, knowledge).to(device)
    return ForecastLesson(model, knowledge, sides, settings, faults.summary())


def open_run(path: Path, device: str = "auto") -> tuple[ForecastConfig, Foreteller]:
    """Give a run's settings and its best model, ready to forecast."""
    run = Run.open(path, needs=NEEDS)
    settings = read_settings(run)
    knowledge = Knowledge.load(path)
    model = load_best(run, build_model(settings, knowledge)).to(pick_device(device))
    return settings, Foreteller(model, knowledge, settings.model)


def history_of(settings: ForecastConfig, file: Path | None = None) -> list[Series]:
    """Read the series of a file, or all that a run was given, to its end."""
    faults = Faults(settings.data.skip_bad)
    if file is not None:
        return read_series(file, settings.data.columns, faults)
    data = settings.data
    if data.train is None:
        raise DataError("the run names no file of series; name one")
    train = read_series(data.train, data.columns, faults)
    return train if data.dev is None else join(train, read_series(data.dev, data.columns, faults))


def evaluate(path: Path, settings: EvaluateConfig) -> None:
    """Score a run on what came after its history, print the figures, and keep them in the run."""
    saved, foreteller = open_run(path, settings.device)
    if settings.data is None:
        name, data = "dev", saved.data.dev or HELD_OUT
        sides = load_data(saved.data, Faults(saved.data.skip_bad))
        evaluation = score(
            foreteller, sides.series, dev_spans(sides, saved.data.horizon), sides.ends
        )
    else:
        name, data = settings.data.name.split(".")[0], settings.data
        history = {one.name: one for one in history_of(saved, settings.history)}
        later = read_series(data, saved.data.columns, Faults(saved.data.skip_bad))
        whole = join(list(history.values()), later)
        begins = [len(history[one.name].values) for one in whole]
        ends = [len(one.values) for one in whole]
        windows = spans(begins, ends, saved.data.horizon, settings.stride)
        evaluation = score(foreteller, whole, windows, begins)
    print("\n".join(evaluation.lines()), flush=True)
    save_scores(Run(path), name, data, evaluation.record())
    if settings.predictions:
        evaluation.write(settings.predictions)


def predict(path: Path, settings: PredictConfig, files: Sequence[Path]) -> int:
    """Write forecasts of what comes after series on standard output."""
    saved, foreteller = open_run(path, settings.device)
    series = history_of(saved, files[0] if files else None)
    text = forecast(foreteller, series, saved.data.columns.covariates, settings.digits)
    sys.stdout.write(text)
    sys.stdout.flush()
    return 0

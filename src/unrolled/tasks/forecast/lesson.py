"""What is learnt in forecasting: from series to a trained model and its report."""

import copy
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unrolled.models.forecaster import Forecaster, Windows
from unrolled.tasks.forecast import report
from unrolled.tasks.forecast.config import ForecastConfig
from unrolled.tasks.forecast.data import HELD_OUT, Sides, dev_spans, training_spans
from unrolled.tasks.forecast.evaluation import evaluate
from unrolled.tasks.forecast.foreteller import ROWS, Foreteller, Knowledge
from unrolled.tasks.forecast.metrics import errors
from unrolled.tasks.forecast.series import fingerprint
from unrolled.tasks.lesson import Lesson
from unrolled.tasks.progress import Progress
from unrolled.tasks.run import Run
from unrolled.tasks.scores import save_scores
from unrolled.tasks.standing import Standing
from unrolled.tasks.trained import load_best


class ForecastLesson(Lesson[Forecaster]):
    """What the training loop needs to know of forecasting.

    Args:
        model: the model to train, on the device to train it on.
        knowledge: of the series.
        sides: the series, and where dev begins.
        settings: of the run.
        warning: what is wrong with the data, if anything.
    """

    def __init__(
        self,
        model: Forecaster,
        knowledge: Knowledge,
        sides: Sides,
        settings: ForecastConfig,
        warning: str = "",
    ) -> None:
        super().__init__(model)
        self.knowledge, self.sides, self.settings = knowledge, sides, settings
        self.warning = warning
        self.foreteller = Foreteller(model, knowledge, settings.model)
        self.pool = self.foreteller.pool(sides.series)
        horizon = settings.data.horizon
        self.train = training_spans(sides, horizon, settings.model.context)
        self.dev = dev_spans(sides, horizon)
        places = list(range(len(self.dev)))
        random.Random(settings.training.seed).shuffle(places)
        self.scored = self.dev.some(sorted(places[: settings.training.score_items]))

    def batches(self, epoch: int) -> Sequence[Sequence[int]]:
        """Give an epoch's batches: every window once, in random order."""
        training = self.settings.training
        chance = np.random.default_rng([training.seed, epoch])
        order = chance.permutation(len(self.train))
        starts = range(0, len(order), training.batch)
        return [order[start : start + training.batch].tolist() for start in starts]

    def loss(self, batch: Sequence[int], progress: float) -> tuple[Tensor, int]:
        """Give the mean loss over the steps of a batch's windows, and their number."""
        windows, target = self._cut(batch)
        return self.model.loss(windows, target), target.numel()

    def position_losses(self, batch: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Give the loss of each step that is forecast."""
        windows, target = self._cut(batch)
        raw, base = self.model(windows)
        losses = self.model.output.loss(raw, base, target, windows.scale)
        return losses, torch.full((len(batch),), len(losses))

    def held_out(self) -> "ForecastLesson":
        """Give the dev windows to learn from."""
        lesson = copy.copy(self)
        lesson.train = self.dev
        return lesson

    def _cut(self, batch: Sequence[int]) -> tuple[Windows, Tensor]:
        """Give a batch's windows and the scaled values (horizon, batch) that follow them."""
        spans = self.train.some(batch)
        cut = self.pool.cut(spans.which, spans.origins)
        target = cut.scaled(self.pool.targets(spans.which, spans.origins))
        return cut.windows.to(self.device), target.to(self.device)

    @torch.no_grad()
    def score(self, model: Forecaster) -> dict[str, float]:
        """Forecast dev windows: the loss, and the errors of the points."""
        windows, losses, points = self.scored, [], []
        for start in range(0, len(windows), ROWS):
            some = windows.some(np.arange(start, min(start + ROWS, len(windows))))
            cut = self.pool.cut(some.which, some.origins)
            target = cut.scaled(self.pool.targets(some.which, some.origins)).to(self.device)
            given = cut.windows.to(self.device)
            raw, base = model(given)
            losses.append(model.output.loss(raw, base, target, given.scale).mean(0).cpu())
            points.append(cut.back(model.output.point(raw, base, given.scale).cpu()).T)
        truth = self.pool.targets(windows.which, windows.origins).T.numpy()
        yardsticks = [self.knowledge.yardsticks[one.name] for one in self.sides.series]
        found = errors(truth, torch.cat(points).numpy(), windows.which, yardsticks)
        loss = torch.cat(losses).mean().item()
        return {"dev_loss": loss, "smape": found.smape, "mase": found.mase, "mse": found.mse}

    def introduction(self) -> str:
        """Say how many series and windows there are."""
        return (
            f"{len(self.train):,} windows of {len(self.sides.series):,} series to learn from, "
            f"{len(self.dev):,} to score on; a season has {self.knowledge.season} steps"
        )

    def warnings(self) -> list[str]:
        """Say what was left out."""
        return [self.warning] if self.warning else []

    def fingerprints(self) -> dict[str, dict[str, str | int]]:
        """Tell these series from others."""
        data = self.settings.data
        return {"train": fingerprint(data.train, self.sides.series)}

    def save(self, folder: Path) -> None:
        """Write what is known of the series."""
        self.knowledge.save(folder)

    def conclude(
        self, run: Run, settings: ForecastConfig, standing: Standing, progress: Progress
    ) -> None:
        """Score the best weights on the dev windows, and write the report."""
        best = Foreteller(load_best(run, self.model), self.knowledge, settings.model)
        evaluation = evaluate(best, self.sides.series, self.dev, self.sides.ends)
        save_scores(run, "dev", settings.data.dev or HELD_OUT, evaluation.record())
        report.write_report(run, settings, standing, evaluation)

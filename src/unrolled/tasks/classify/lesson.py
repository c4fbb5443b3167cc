"""What is learnt in classification: from labelled items to a trained model and its report."""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.inspect.texts import Read
from unrolled.models.classifier import Classifier
from unrolled.tasks.batches import bucketed
from unrolled.tasks.classify import config, report
from unrolled.tasks.classify.data import HELD_OUT, Classes
from unrolled.tasks.classify.evaluation import evaluate
from unrolled.tasks.classify.inputs import Inputs, Texts
from unrolled.tasks.classify.items import Item, fingerprint
from unrolled.tasks.classify.labeller import Labeller
from unrolled.tasks.faults import Faults
from unrolled.tasks.lesson import Lesson
from unrolled.tasks.progress import Progress
from unrolled.tasks.reads import read
from unrolled.tasks.run import Run
from unrolled.tasks.scores import save_scores
from unrolled.tasks.standing import Standing
from unrolled.tasks.trained import load_best


class ClassifyLesson(Lesson[Classifier]):
    """What the training loop needs to know of classification.

    Args:
        model: the model to train, on the device to train it on.
        inputs: what it reads.
        classes: what it tells.
        train: the items to learn from.
        dev: the items to choose the best weights by.
        settings: of the run.
        warning: what is wrong with the data, if anything.
    """

    def __init__(
        self,
        model: Classifier,
        inputs: Inputs,
        classes: Classes,
        train: Sequence[Item],
        dev: Sequence[Item],
        settings: config.ClassifyConfig,
        warning: str = "",
    ) -> None:
        super().__init__(model)
        self.inputs, self.classes, self.settings = inputs, classes, settings
        self.train, self.dev, self.warning = train, dev, warning
        self.sequences = [inputs.encode(item.content) for item in train]
        self.labels = torch.tensor([classes.number(item) for item in train])
        scored = list(dev)
        random.Random(settings.training.seed).shuffle(scored)
        scored = scored[: settings.training.score_items]
        self.scored = [inputs.encode(item.content) for item in scored]
        self.truth = torch.tensor([classes.number(item) for item in scored])

    def batches(self, epoch: int) -> list[list[int]]:
        """Give an epoch's batches, items of like length together."""
        training = self.settings.training
        seed = training.seed * 1_000_003 + epoch
        return bucketed(list(map(len, self.sequences)), training.batch, seed=seed)

    def loss(self, batch: Sequence[int], progress: float) -> tuple[Tensor, int]:
        """Give the mean cross-entropy over the batch's items, and their number."""
        steps, lengths = self.inputs.batch([self.sequences[i] for i in batch])
        steps, lengths = steps.to(self.device), lengths.to(self.device)
        steps = self.inputs.vary(steps, lengths, self.settings.augmentation)
        labels = self.labels[list(batch)].to(self.device)
        smoothing = self.settings.training.smoothing
        scores = self.model(steps, lengths)
        return F.cross_entropy(scores, labels, label_smoothing=smoothing), len(batch)

    def score(self, model: Classifier) -> dict[str, float]:
        """Classify the dev items: how unlikely their classes seem, and which share is wrong."""
        logits = Labeller(model, self.inputs, self.classes).logits(self.scored)
        wrong = (logits.argmax(-1) != self.truth).double().mean()
        return {
            "cross_entropy": F.cross_entropy(logits, self.truth).item(),
            "error_rate": wrong.item(),
        }

    def reads(self, batch: Sequence[int]) -> list[Read]:
        """Give the symbols of texts."""
        if not isinstance(self.inputs, Texts):
            return []
        return [read("recurrent", self.inputs.vocabulary, [self.sequences[i] for i in batch])]

    def introduction(self) -> str:
        """Say how many items there are."""
        return (
            f"{len(self.train):,} items of {len(self.classes.names)} classes to learn from, "
            f"{len(self.dev):,} to score on"
        )

    def warnings(self) -> list[str]:
        """Say what was left out."""
        return [self.warning] if self.warning else []

    def fingerprints(self) -> dict[str, dict[str, str | int]]:
        """Tell these items from others."""
        data = self.settings.data
        sides = {"train": (data.train, self.train), "dev": (data.dev or data.train, self.dev)}
        return {side: fingerprint(*found) for side, found in sides.items()}

    def save(self, folder: Path) -> None:
        """Write the classes, and the vocabulary or the scale."""
        self.classes.save(folder)
        self.inputs.save(folder)

    def conclude(
        self,
        run: Run,
        settings: config.ClassifyConfig,
        standing: Standing,
        progress: Progress,
    ) -> None:
        """Score the best weights on the dev items, and write the report."""
        labeller = Labeller(load_best(run, self.model), self.inputs, self.classes)
        evaluation = evaluate(labeller, self.dev, Faults(skip=False))
        save_scores(run, "dev", settings.data.dev or HELD_OUT, evaluation.record())
        report.write_report(run, settings, standing, evaluation)

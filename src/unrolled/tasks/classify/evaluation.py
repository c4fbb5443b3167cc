"""Scoring a trained classifier on items it has not seen."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from unrolled.errors import DataError
from unrolled.files import write_atomically
from unrolled.tasks.classify.data import Classes
from unrolled.tasks.classify.items import Item
from unrolled.tasks.classify.labeller import Labeller
from unrolled.tasks.faults import Faults
from unrolled.tasks.metrics import wilson


@dataclass(frozen=True)
class ClassScore:
    """How well one class is told: items of it, items taken for it, and items that are both."""

    name: str
    items: int
    taken: int
    right: int

    @property
    def precision(self) -> float:
        """The share of right ones among those taken for it; 0 if there are none."""
        return self.right / max(self.taken, 1)

    @property
    def recall(self) -> float:
        """The share of its items that are found; 0 if there are none."""
        return self.right / max(self.items, 1)

    @property
    def f1(self) -> float:
        """The harmonic mean of both."""
        return 2 * self.right / max(self.items + self.taken, 1)


@dataclass(frozen=True)
class Evaluation:
    """What a model made of a set of items.

    items: those that were scored. classes: their names. truth: the number of each item's class.
    probabilities: (items, classes). seconds: that it took.
    """

    items: tuple[Item, ...]
    classes: Classes
    truth: np.ndarray
    probabilities: np.ndarray
    seconds: float

    @cached_property
    def confusion(self) -> np.ndarray:
        """Count the items of each class (row) that are taken for each class (column)."""
        count = len(self.classes.names)
        table = np.zeros((count, count), dtype=int)
        np.add.at(table, (self.truth, self.probabilities.argmax(1)), 1)
        return table

    @property
    def right(self) -> int:
        """Count the items whose likeliest class is theirs."""
        return int(np.trace(self.confusion))

    @property
    def accuracy(self) -> float:
        """The share of right items."""
        return self.right / len(self.items)

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy, by Wilson's score."""
        return wilson(self.right, len(self.items))

    @property
    def cross_entropy(self) -> float:
        """The mean of -log p of the right class, in nats."""
        right = self.probabilities[np.arange(len(self.truth)), self.truth]
        return float(-np.log(np.maximum(right, 1e-30)).mean())

    def by_class(self) -> list[ClassScore]:
        """Score each class."""
        table = self.confusion
        columns = (table.sum(1).tolist(), table.sum(0).tolist(), table.diagonal().tolist())
        return list(map(ClassScore, self.classes.names, *columns))

    @property
    def macro_f1(self) -> float:
        """The mean of F1 over the classes that have items here."""
        return float(np.mean([score.f1 for score in self.by_class() if score.items]))

    def majority(self) -> float:
        """The accuracy of always saying the most frequent class of these items."""
        return max(score.items for score in self.by_class()) / len(self.items)

    def lines(self) -> list[str]:
        """Say it in words."""
        low, high = self.accuracy_interval
        count = len(self.items)
        return [
            f"accuracy       {self.accuracy:7.2%}  ({self.right:,} of {count:,} items right; "
            f"95 % interval {low:.2%} to {high:.2%}; most frequent class: {self.majority():.2%})",
            f"macro F1       {self.macro_f1:7.2%}  ({len(self.classes.names)} classes)",
            f"cross-entropy  {self.cross_entropy:7.4f}  nats",
            f"time           {self.seconds:5.1f} s  "
            f"({count / max(self.seconds, 1e-9):,.0f} items a second)",
        ]

    def record(self) -> dict[str, object]:
        """Give the figures as JSON."""
        return {
            "accuracy": self.accuracy,
            "interval": self.accuracy_interval,
            "right": self.right,
            "items": len(self.items),
            "macro_f1": self.macro_f1,
            "cross_entropy": self.cross_entropy,
            "classes": {
                s.name: {"precision": s.precision, "recall": s.recall, "items": s.items}
                for s in self.by_class()
            },
            "seconds": round(self.seconds, 2),
        }

    def write(self, path: Path) -> None:
        """Write place, label, prediction and its probability, one line for each item."""
        names, best = self.classes.names, self.probabilities.argmax(1)
        lines = (
            f"{item.where}\t{item.label}\t{names[i]}\t{row[i]:.4f}\n"
            for item, i, row in zip(self.items, best, self.probabilities, strict=True)
        )
        write_atomically(path, "".join(lines).encode())


def evaluate(labeller: Labeller, items: Sequence[Item], faults: Faults) -> Evaluation:
    """Classify items and compare with their labels.

    Args:
        labeller: the trained model.
        items: with labels that it knows.
        faults: where items go that the model cannot read.

    Raises:
        DataError: there are no items, or, unless they are skipped, one cannot be read.
    """
    before = time.monotonic()
    sequences, kept = [], []
    for item in items:
        try:
            sequences.append(labeller.inputs.encode(item.content))
        except DataError as fault:
            faults.found(item.where, str(fault))
        else:
            kept.append(item)
    if not kept:
        raise DataError(f"there is nothing to score on; {faults.summary() or 'give items'}")
    probabilities = labeller.probabilities(sequences).double().numpy()
    truth = np.array([labeller.classes.number(item) for item in kept])
    seconds = time.monotonic() - before
    return Evaluation(tuple(kept), labeller.classes, truth, probabilities, seconds)

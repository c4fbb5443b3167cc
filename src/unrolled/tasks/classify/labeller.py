"""A trained classifier with its inputs and classes: contents in, probabilities out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unrolled.models.classifier import Classifier
from unrolled.tasks.cells import find_cell
from unrolled.tasks.classify import config
from unrolled.tasks.classify.data import Classes
from unrolled.tasks.classify.inputs import Inputs

ROWS = 256  # items that are classified side by side
PLACES = 1 << 17  # steps in those rows at most, so that long items fit in memory


def build_model(settings: config.Model, inputs: Inputs, classes: Classes) -> Classifier:
    """Make the model that the settings describe, with fresh weights."""
    return Classifier(
        inputs.reader(settings),
        len(classes.names),
        cell=find_cell(settings.cell),
        hidden=settings.hidden,
        layers=settings.layers,
        bidirectional=settings.bidirectional,
        pooling=settings.pooling,
        dropout=settings.dropout,
    )


@dataclass(frozen=True)
class Labeller:
    """A trained model, what it reads and what it tells."""

    model: Classifier
    inputs: Inputs
    classes: Classes

    @torch.no_grad()
    def logits(self, sequences: Sequence[Any]) -> Tensor:
        """Score sequences, as the inputs encode contents.

        Returns:
            A logit for each class, (items, classes), on the CPU; an item of no steps gets one too.
        """
        self.model.eval()
        device = next(self.model.parameters()).device
        scores = torch.zeros(len(sequences), len(self.classes.names))
        for batch in _batches(sequences):
            steps, lengths = self.inputs.batch([sequences[i] for i in batch])
            scores[batch] = self.model(steps.to(device), lengths.to(device)).float().cpu()
        return scores

    def probabilities(self, sequences: Sequence[Any]) -> Tensor:
        """Give the probability of each class, (items, classes)."""
        return self.logits(sequences).softmax(-1)


def _batches(sequences: Sequence[Any]) -> Iterator[list[int]]:
    """Put sequences of like length together, as many as fit."""
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    while order:
        batch = order[:ROWS]
        while len(batch) > 1 and len(batch) * len(sequences[batch[-1]]) > PLACES:
            batch.pop()
        order = order[len(batch) :]
        yield batch

"""What a model reads: texts as symbols, series on one scale; as tensors, varied in training."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.errors import ConfigError, DataError
from unrolled.models.classifier import Reader, SeriesReader, SymbolReader
from unrolled.recurrence import padding
from unrolled.tasks.batches import pad
from unrolled.tasks.classify import config
from unrolled.tasks.scaling import Scaling
from unrolled.tasks.vocabulary import PAD, UNK, Vocabulary


class Inputs(ABC):
    """What turns contents of one kind into what a model reads."""

    @classmethod
    @abstractmethod
    def build(cls, contents: Sequence[Any], data: config.Data) -> "Inputs":
        """Measure what is to be learnt from."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what was measured into a run."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> "Inputs":
        """Read it from a run."""

    @abstractmethod
    def reader(self, model: config.Model) -> Reader:
        """Make the part of the model that reads these inputs."""

    @abstractmethod
    def encode(self, content: Any) -> Any:
        """Give a content as a sequence; raise DataError for one that this model cannot read."""

    @abstractmethod
    def batch(self, sequences: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Lay sequences side by side: (time, batch, ...) and lengths (batch,)."""

    @abstractmethod
    def vary(self, steps: Tensor, lengths: Tensor, how: config.Augmentation) -> Tensor:
        """Vary a batch for training, with torch's random numbers."""


class Texts(Inputs):
    """Texts as the ids of their symbols."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    @classmethod
    def build(cls, contents: Sequence[str], data: config.Data) -> "Texts":
        """Collect the symbols."""
        try:
            return cls(Vocabulary.build(contents, data.unit, size=data.size))
        except ConfigError as error:
            raise ConfigError(f"--size or --unit: {error}") from None

    def save(self, folder: Path) -> None:
        """Write the vocabulary."""
        self.vocabulary.save(folder / "vocabulary.json")

    @classmethod
    def load(cls, folder: Path) -> "Texts":
        """Read the vocabulary."""
        return cls(Vocabulary.load(folder / "vocabulary.json"))

    def reader(self, model: config.Model) -> Reader:
        """Embed symbols."""
        return SymbolReader(len(self.vocabulary), model.embedding)

    def encode(self, content: str) -> list[int]:
        """Give the ids."""
        return self.vocabulary.encode(content)

    def batch(self, sequences: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
        """Pad ids."""
        return pad(sequences, PAD)

    def vary(self, steps: Tensor, lengths: Tensor, how: config.Augmentation) -> Tensor:
        """Take some symbols for unknown ones."""
        if not how.forget:
            return steps
        forgotten = (torch.rand(steps.shape) < how.forget).to(steps.device) & (steps != PAD)
        return steps.masked_fill(forgotten, UNK)


class Series(Inputs):
    """Series, each feature brought to mean 0 and deviation 1 over all that is learnt from."""

    def __init__(self, scaling: Scaling) -> None:
        self.scaling = scaling

    @classmethod
    def build(cls, contents: Sequence[np.ndarray], data: config.Data) -> "Series":
        """Measure the scale."""
        features = contents[0].shape[1]
        for place, series in enumerate(contents):
            if series.shape[1] != features:
                raise DataError(
                    f"{data.train}: series {place} has {series.shape[1]} features and the first "
                    f"{features}; give all as many"
                )
        return cls(Scaling.of(list(contents)))

    def save(self, folder: Path) -> None:
        """Write the scale."""
        self.scaling.save(folder / "scaling.json")

    @classmethod
    def load(cls, folder: Path) -> "Series":
        """Read the scale."""
        return cls(Scaling.load(folder / "scaling.json"))

    def reader(self, model: config.Model) -> Reader:
        """Map each step with its neighbours."""
        return SeriesReader(len(self.scaling.mean), model.embedding, model.window)

    def encode(self, content: np.ndarray) -> Tensor:
        """Give the scaled series (time, features)."""
        if content.shape[1] != len(self.scaling.mean):
            raise DataError(
                f"has {content.shape[1]} features; the model learnt from series of "
                f"{len(self.scaling.mean)}"
            )
        return torch.from_numpy(self.scaling.scale(content).astype(np.float32))

    def batch(self, sequences: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Pad series with zeros."""
        lengths = torch.tensor([len(one) for one in sequences])
        return torch.nn.utils.rnn.pad_sequence(list(sequences)), lengths

    def vary(self, steps: Tensor, lengths: Tensor, how: config.Augmentation) -> Tensor:
        """Add noise, stretch values and roll steps, by amounts drawn for each series."""
        batch = steps.shape[1]
        if how.roll:
            steps = roll(steps, lengths, (torch.rand(batch) * 2 - 1).to(steps.device) * how.roll)
        if how.stretch:
            steps = steps * (1 + how.stretch * (torch.rand(batch, 1) * 2 - 1)).to(steps.device)
        if how.noise:
            steps = steps + how.noise * torch.randn(steps.shape).to(steps.device)
        return steps


def roll(steps: Tensor, lengths: Tensor, shares: Tensor) -> Tensor:
    """Roll each sequence by a share of its length; what leaves at one end comes in at the other.

    steps (time, batch, ...); lengths (batch,); shares (batch,), from -1 to 1, rounded to steps.

    >>> steps = torch.tensor([[1, 5], [2, 6], [3, 0], [4, 0]])
    >>> roll(steps, torch.tensor([4, 2]), torch.tensor([0.25, 0.5])).T.tolist()
    [[4, 1, 2, 3], [6, 5, 0, 0]]
    """
    time, batch = steps.shape[:2]
    places = torch.arange(time, device=steps.device)[:, None]
    rolled = (places - (shares * lengths).round().long()) % lengths.clamp(min=1)
    source = torch.where(padding(lengths, time), places, rolled)
    return steps[source, torch.arange(batch, device=steps.device)]

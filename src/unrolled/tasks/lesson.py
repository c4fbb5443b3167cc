"""What is learnt in a training: a model, its batches, its loss and its score."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from unrolled.inspect.texts import Read
from unrolled.tasks.progress import Progress
from unrolled.tasks.run import Run
from unrolled.tasks.standing import Standing

M = TypeVar("M", bound=nn.Module)


class Trainable(ABC, Generic[M]):
    """What the training loop needs to know of what it trains.

    Args:
        model: the module that is trained, on the device to train it on.
    """

    def __init__(self, model: M) -> None:
        self.model = model

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @abstractmethod
    def batches(self, epoch: int) -> Sequence[Sequence[int]]:
        """Give the epoch's batches as lists of items: the same for the same epoch, always."""

    @abstractmethod
    def loss(self, batch: Sequence[int], progress: float) -> tuple[Tensor, int]:
        """Give the mean loss over a batch's symbols and their number; progress goes 0 to 1."""

    @abstractmethod
    def score(self, model: M) -> dict[str, float]:
        """Score weights on the dev data; the first figure decides, and lower is better."""

    def position_losses(self, batch: Sequence[int]) -> tuple[Tensor, Tensor] | None:
        """Give the loss of each position, (time, batch), and how many each item has, (batch,).

        None where a loss is not a sum over positions.
        """
        return None

    def reads(self, batch: Sequence[int]) -> Sequence[Read]:
        """Give what recurrences read of a batch, as text, where it is text, for `inspect`."""
        return ()

    def carried(self) -> dict[str, Tensor]:
        """Give the tensors that live from one step to the next, such as a recurrence's state."""
        return {}

    def carry(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from tensors that `carried` gave."""


class Lesson(Trainable[M]):
    """What `unrolled train` needs to know of a task, apart from its training."""

    @abstractmethod
    def introduction(self) -> str:
        """Say what is learnt from and what is scored on, such as "900 pairs to learn from"."""

    def warnings(self) -> list[str]:
        """Say what a person should know before a long training, a line each."""
        return []

    @abstractmethod
    def fingerprints(self) -> dict[str, dict[str, str | int]]:
        """Give the file, the size and a digest of each set of data: a run goes on with the same."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what a model needs beside its weights, such as vocabularies, into a run."""

    def held_out(self) -> "Trainable[M] | None":
        """Give the same model with the dev data to learn from, for `inspect`; None: there is none.

        Without it, `inspect` looks at what is learnt from.
        """
        return None

    @abstractmethod
    def conclude(self, run: Run, settings: Any, standing: Standing, progress: Progress) -> None:
        """Score the best weights as they will be used, and write the run's report."""

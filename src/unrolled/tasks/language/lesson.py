"""What is learnt by a language model: a text in windows, its state carried from one to the next."""

import dataclasses
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unrolled.cell import State
from unrolled.errors import DataError
from unrolled.inspect.texts import Read
from unrolled.models.language import LanguageModel
from unrolled.tasks.language import report
from unrolled.tasks.language.coder import Coder
from unrolled.tasks.language.config import LanguageConfig
from unrolled.tasks.language.evaluation import evaluate, figures_of, surprisals
from unrolled.tasks.language.numbered import Numbered
from unrolled.tasks.lesson import Lesson
from unrolled.tasks.progress import Progress
from unrolled.tasks.reads import read
from unrolled.tasks.run import Run
from unrolled.tasks.scores import save_scores
from unrolled.tasks.standing import Standing
from unrolled.tasks.trained import load_best

HELD_OUT = Path("held out")  # what the text that was held out is called
VOCABULARY = "vocabulary.json"


class Windows(Sequence[Sequence[int]]):
    """The batches of an epoch, each one window of all streams: a list would grow with the text.

    An item is a stream in a window; they are counted on from window to window.

    >>> [list(items) for items in Windows(range(2), streams=3)]
    [[0, 1, 2], [3, 4, 5]]
    """

    def __init__(self, numbers: range, streams: int) -> None:
        self.numbers, self.streams = numbers, streams

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place):  # pyright: ignore  # an int or a slice, as in any sequence
        found, streams = self.numbers[place], self.streams
        if isinstance(found, range):
            return Windows(found, streams)
        return range(found * streams, (found + 1) * streams)


class LanguageLesson(Lesson[LanguageModel]):
    """A text, to be learnt by truncated backpropagation through time (Mikolov et al. 2010).

    The text is a ring that is cut into `batch` streams, in each epoch at other places. A step reads
    the next `steps` symbols of every stream; the state that they leave is where the next begins.

    Args:
        model: the model to train, on the device to train it on.
        coder: its symbols.
        texts: what is learnt from, "train", and what is scored on, "dev".
        settings: all of the run.

    Raises:
        DataError: the text is too short for the streams.
    """

    def __init__(
        self,
        model: LanguageModel,
        coder: Coder,
        texts: Mapping[str, Numbered],
        settings: LanguageConfig,
    ) -> None:
        super().__init__(model)
        self.coder, self.texts, self.settings = coder, texts, settings
        self.state: State | None = None
        training, symbols = settings.training, len(texts["train"].ids)
        self.windows = symbols // training.batch // training.steps
        if not self.windows:
            raise DataError(
                f"{texts['train'].file}: {symbols:,} symbols are too few to read in "
                f"{training.batch} places, {training.steps} symbols at a time; "
                "lower --batch or --steps"
            )

    def batches(self, epoch: int) -> Windows:
        """Give an epoch's windows, counted on from one epoch to the next."""
        numbers = range(epoch * self.windows, (epoch + 1) * self.windows)
        return Windows(numbers, self.settings.training.batch)

    def loss(self, batch: Sequence[int], progress: float) -> tuple[Tensor, int]:
        """Give the mean cross-entropy of a window's symbols, and their number; carry the state.

        The batch's streams are those of the last step, or the first ones of them.
        """
        ids, begins = self._window(batch)
        state = {} if begins else {n: rows[:, : len(batch)] for n, rows in self.carried().items()}
        candidates = self.settings.training.candidates
        losses, last = self.model.losses(ids[:-1], ids[1:], state or None, candidates=candidates)
        self.state = {name: tensor.detach() for name, tensor in last.items()}
        return losses.mean(), losses.numel()

    def reads(self, batch: Sequence[int]) -> list[Read]:
        """Give the symbols of a window's streams, each with what follows it."""
        ids = self._window(batch)[0].T.tolist()
        given, wanted = [row[:-1] for row in ids], [row[1:] for row in ids]
        return [read("recurrent", self.coder.vocabulary, given, wanted)]

    def position_losses(self, batch: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Give the cross-entropy of each symbol of a window that is read from an empty state."""
        ids, _ = self._window(batch)
        losses, _ = self.model.losses(ids[:-1], ids[1:])
        return losses, torch.full((len(batch),), len(losses))

    def held_out(self) -> "LanguageLesson | None":
        """Give the dev text to learn from, in as many streams as it is long enough for."""
        dev, training = self.texts["dev"], self.settings.training
        streams = min(training.batch, len(dev.ids) // training.steps)
        if not streams:
            return None
        settings = dataclasses.replace(
            self.settings, training=dataclasses.replace(training, batch=streams)
        )
        return LanguageLesson(self.model, self.coder, {"train": dev, "dev": dev}, settings)

    def _window(self, batch: Sequence[int]) -> tuple[Tensor, bool]:
        """Give ids (steps + 1, batch), what is read and one more, and whether an epoch begins."""
        training, ids = self.settings.training, self.texts["train"].ids
        epoch, window = divmod(batch[0] // training.batch, self.windows)
        cut = random.Random(training.seed * 1_000_003 + epoch).randrange(len(ids))
        streams = np.asarray(batch) % training.batch * (len(ids) // training.batch) + cut
        times = np.arange(training.steps + 1)[:, None] + window * training.steps
        found = torch.from_numpy(ids[(times + streams) % len(ids)].astype(np.int64))
        return found.to(self.device), window == 0

    def carried(self) -> dict[str, Tensor]:
        """Give the state that the last window left."""
        return dict(self.state or {})

    def carry(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from such a state."""
        self.state = {name: tensor.to(self.device) for name, tensor in tensors.items()} or None

    def score(self, model: LanguageModel) -> dict[str, float]:
        """Score the beginning of the dev text, in as many places at a time as are learnt from."""
        training = self.settings.training
        ids = self.texts["dev"].ids[: training.score_items]
        streams = min(training.batch, -(-len(ids) // training.steps))
        found = surprisals(model, ids, self.coder.start, streams=streams)
        loss = sum(float(losses.sum()) for _, losses in found) / len(ids)
        return figures_of(loss, self.settings.data.unit)

    def introduction(self) -> str:
        """Say how long the texts are."""
        unit = self.settings.data.unit
        train, dev = (f"{len(self.texts[side].ids):,}" for side in ("train", "dev"))
        kinds = f"{len(self.coder.vocabulary):,} different"
        return f"{train} {unit} to learn from, {dev} to score on, {kinds}"

    def warnings(self) -> list[str]:
        """Say which share of each text the vocabulary has no room for."""
        shares = {name: text.unknown / len(text.ids) for name, text in self.texts.items()}
        return [
            f"{share:.2%} of the symbols of the {name} text are unknown; raise --size if that is "
            "too much, or learn pieces"
            for name, share in shares.items()
            if share
        ]

    def fingerprints(self) -> dict[str, dict[str, str | int]]:
        """Give what tells the texts from others."""
        return {
            name: {"file": str(text.file), "items": len(text.ids), "sha256": text.sha256}
            for name, text in self.texts.items()
        }

    def save(self, folder: Path) -> None:
        """Write the vocabulary."""
        self.coder.vocabulary.save(folder / VOCABULARY)

    def conclude(
        self, run: Run, settings: LanguageConfig, standing: Standing, progress: Progress
    ) -> None:
        """Score the whole dev text with the best weights, and write the report."""
        model, text, unit = load_best(run, self.model), self.texts["dev"], settings.data.unit
        evaluation = evaluate(model, text, self.coder.start, unit, progress=progress)
        save_scores(run, "dev", settings.data.dev or HELD_OUT, evaluation.record())
        report.write_report(run, settings, standing, model, self.coder, text, evaluation)

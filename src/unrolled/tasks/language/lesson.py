"""What is learnt by a language model: a text in windows, its state carried from one to the next."""

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
    """The batches of an epoch, each one window: a list of them would grow with the text."""

    def __init__(self, numbers: range) -> None:
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place):  # pyright: ignore  # an int or a slice, as in any sequence
        found = self.numbers[place]
        return Windows(found) if isinstance(found, range) else (found,)


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
        """Give the numbers of an epoch's windows, counted on from one epoch to the next."""
        return Windows(range(epoch * self.windows, (epoch + 1) * self.windows))

    def loss(self, batch: Sequence[int], progress: float) -> tuple[Tensor, int]:
        """Give the mean cross-entropy of a window's symbols, and their number; carry the state."""
        epoch, window = divmod(batch[0], self.windows)
        ids = self._window(epoch, window).to(self.device)
        losses, state = self.model.losses(ids[:-1], ids[1:], self.state if window else None)
        self.state = {name: tensor.detach() for name, tensor in state.items()}
        return losses.mean(), losses.numel()

    def reads(self, batch: Sequence[int]) -> list[Read]:
        """Give the symbols of a window's streams, each with what follows it."""
        ids = self._window(*divmod(batch[0], self.windows)).T.tolist()
        given, wanted = [row[:-1] for row in ids], [row[1:] for row in ids]
        return [read("recurrent", self.coder.vocabulary, given, wanted)]

    def _window(self, epoch: int, window: int) -> Tensor:
        """Give the ids (steps + 1, batch) of a window: what is read, and one more."""
        training, ids = self.settings.training, self.texts["train"].ids
        cut = random.Random(training.seed * 1_000_003 + epoch).randrange(len(ids))
        streams = np.arange(training.batch) * (len(ids) // training.batch) + cut
        times = np.arange(training.steps + 1)[:, None] + window * training.steps
        return torch.from_numpy(ids[(times + streams) % len(ids)].astype(np.int64))

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

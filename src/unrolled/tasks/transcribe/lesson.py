"""What is learnt in speech to text: from recordings to a trained model and its report."""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from unrolled.models.transcriber import Transcriber
from unrolled.tasks.batches import bucketed
from unrolled.tasks.lesson import Lesson
from unrolled.tasks.progress import Progress
from unrolled.tasks.run import Run
from unrolled.tasks.scores import save_scores
from unrolled.tasks.standing import Standing
from unrolled.tasks.trained import load_best
from unrolled.tasks.transcribe import config, report
from unrolled.tasks.transcribe.alphabet import Alphabet, learn_language, save_transcripts
from unrolled.tasks.transcribe.augment import augment
from unrolled.tasks.transcribe.corpus import Corpus
from unrolled.tasks.transcribe.evaluation import evaluate, rates
from unrolled.tasks.transcribe.recogniser import Recogniser, pad_frames
from unrolled.tasks.transcribe.tuning import save_search, tune

HELD_OUT = Path("held out")  # what dev recordings without a manifest are called


class TranscribeLesson(Lesson[Transcriber]):
    """Speech to text, to be learnt from recordings and their transcripts.

    Args:
        model: the model to train, on the device to train it on.
        alphabet: its symbols.
        train: the recordings to learn from.
        dev: the recordings to choose the best weights by; the best path decides.
        settings: all of the run.
        left_out: what to say about recordings that were not used.
    """

    def __init__(
        self,
        model: Transcriber,
        alphabet: Alphabet,
        train: Corpus,
        dev: Corpus,
        settings: config.TranscribeConfig,
        left_out: str = "",
    ) -> None:
        super().__init__(model)
        self.alphabet, self.settings, self.left_out = alphabet, settings, left_out
        self.train, self.dev = train, dev
        self.targets = [alphabet.encode(entry.transcript) for entry in train.entries]
        items = list(range(len(dev)))
        random.Random(settings.training.seed).shuffle(items)
        self.scored = items[: settings.training.score_items]

    def batches(self, epoch: int) -> list[list[int]]:
        """Give an epoch's batches, recordings of like length together."""
        training = self.settings.training
        seed = training.seed * 1_000_003 + epoch
        return bucketed(self.train.lengths, training.batch, seed=seed, window=20)

    def loss(self, batch: Sequence[int], progress: float) -> tuple[Tensor, int]:
        """Give the head's loss over the batch's symbols, and their number."""
        blocks = 1 + self.settings.data.deltas
        changed = [
            augment(torch.from_numpy(self.train[i]), self.settings.augment, blocks) for i in batch
        ]
        frames, lengths = pad_frames(changed)
        targets = [torch.tensor(self.targets[i], dtype=torch.long) for i in batch]
        sizes = torch.tensor([len(target) for target in targets])
        padded = torch.nn.utils.rnn.pad_sequence(targets, batch_first=True).to(self.device)
        heard, steps, _ = self.model(frames.to(self.device), lengths.to(self.device))
        smoothing = self.settings.training.smoothing
        loss = self.model.head.loss(heard, steps, padded, sizes.to(self.device), smoothing)
        symbols = max(1, int(sizes.sum()))
        return loss / symbols, symbols

    def score(self, model: Transcriber) -> dict[str, float]:
        """Take the best path through dev recordings: which share of characters, and of words."""
        greedy, seconds = config.Search(width=1), self.settings.data.frame_seconds
        recogniser = Recogniser(model, self.alphabet, greedy, None, seconds)
        heard = recogniser.listen([self.dev[i] for i in self.scored])
        found = [recogniser.transcribe(one)[0].text for one in heard]
        expected = [self.dev.entries[i].transcript for i in self.scored]
        words, characters = rates(expected, found)
        return {
            "character_error_rate": characters.symbol_error_rate,
            "word_error_rate": words.symbol_error_rate,
        }

    def introduction(self) -> str:
        """Say how many recordings there are, and how long they last."""
        minutes = sum(self.train.lengths) * self.settings.data.frame_seconds / 60
        return (
            f"{len(self.train):,} recordings ({minutes:,.1f} minutes) to learn from, "
            f"{len(self.dev):,} to score on, {len(self.alphabet) - 1} symbols"
        )

    def warnings(self) -> list[str]:
        """Say what was left out, and what cannot be learnt from."""
        stack = self.settings.model.stack
        short = sum(
            self.model.head.least_steps(target) > -(-length // stack)
            for target, length in zip(self.targets, self.train.lengths, strict=True)
        )
        text = (
            f"{short:,} recordings are too short for their transcripts at --stack {stack}: "
            "nothing is learnt from them; lower it if they are many"
        )
        return [line for line in (self.left_out, text if short else "") if line]

    def fingerprints(self) -> dict[str, dict[str, str | int]]:
        """Give what tells the recordings of each side from others."""
        data = self.settings.data
        files = {"train": data.train, "dev": data.dev or data.train}
        return {
            side: {"file": str(files[side]), "recordings": len(some), "sha256": some.digest}
            for side, some in (("train", self.train), ("dev", self.dev))
        }

    def save(self, folder: Path) -> None:
        """Write the symbols, the transcripts, and what all recordings have in common."""
        self.alphabet.vocabulary.save(folder / "symbols.json")
        self.train.format.save(folder)
        save_transcripts(folder, (entry.transcript for entry in self.train.entries))

    def conclude(
        self, run: Run, settings: config.TranscribeConfig, standing: Standing, progress: Progress
    ) -> None:
        """Settle the search, transcribe all dev recordings as predictions will be, and report."""
        model = load_best(run, self.model)
        transcripts = (entry.transcript for entry in self.train.entries)
        language = learn_language(self.alphabet, transcripts, settings.search)
        seconds = settings.data.frame_seconds
        recogniser = Recogniser(model, self.alphabet, settings.search, language, seconds)
        if settings.search.tune:
            recogniser = tune(recogniser, self.dev, progress)
            save_search(run.path, recogniser.search)
        evaluation = evaluate(recogniser, self.dev, progress)
        save_scores(run, "dev", settings.data.dev or HELD_OUT, evaluation.record(recogniser.search))
        report.write_report(run, settings, standing, evaluation, recogniser, self.dev)

"""What is learnt in sequence to sequence: from pairs of texts to a trained model and its report."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.inspect.texts import Read
from unrolled.models.seq2seq import Seq2Seq
from unrolled.tasks.batches import bucketed, pad
from unrolled.tasks.lesson import Lesson
from unrolled.tasks.progress import Progress
from unrolled.tasks.reads import read
from unrolled.tasks.run import Run
from unrolled.tasks.scores import save_scores
from unrolled.tasks.seq2seq import config, report
from unrolled.tasks.seq2seq.data import HELD_OUT, Vocabularies, fingerprint
from unrolled.tasks.seq2seq.evaluation import evaluate
from unrolled.tasks.seq2seq.pairs import Pair, group_references
from unrolled.tasks.seq2seq.translator import Translator
from unrolled.tasks.standing import Standing
from unrolled.tasks.trained import load_best
from unrolled.tasks.vocabulary import BOS, EOS, PAD, UNK


class Seq2SeqLesson(Lesson[Seq2Seq]):
    """Sequence to sequence, to be learnt from pairs of texts.

    Args:
        model: the model to train, on the device to train it on.
        vocabularies: its symbols.
        train: the pairs to learn from.
        dev: the pairs to choose the best weights by; they are decoded greedily.
        settings: all of the run.
    """

    def __init__(
        self,
        model: Seq2Seq,
        vocabularies: Vocabularies,
        train: Sequence[Pair],
        dev: Sequence[Pair],
        settings: config.Seq2SeqConfig,
    ) -> None:
        super().__init__(model)
        self.vocabularies, self.settings = vocabularies, settings
        self.sides = {"train": train, "dev": dev}
        self.sources = [vocabularies.source.encode(p.source) for p in train]
        self.targets = [[BOS, *vocabularies.target.encode(p.target), EOS] for p in train]
        examples = group_references(dev)
        random.Random(settings.training.seed).shuffle(examples)
        self.dev = examples[: settings.training.score_items]

    def batches(self, epoch: int) -> list[list[int]]:
        """Give an epoch's batches, pairs of like length together."""
        training = self.settings.training
        lengths = [(len(s), len(t)) for s, t in zip(self.sources, self.targets, strict=True)]
        return bucketed(lengths, training.batch, seed=training.seed * 1_000_003 + epoch)

    def loss(self, batch: Sequence[int], progress: float) -> tuple[Tensor, int]:
        """Give the mean cross-entropy over the batch's target symbols, and their number."""
        scores, expected = self._scored(batch, self.settings.training.sampling * progress)
        loss = F.cross_entropy(
            scores.flatten(0, 1),
            expected.flatten(),
            ignore_index=PAD,
            label_smoothing=self.settings.training.smoothing,
        )
        return loss, int((expected != PAD).sum())

    def position_losses(self, batch: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Give the cross-entropy of each target symbol, the right ones before it."""
        scores, expected = self._scored(batch, 0.0)
        found = F.cross_entropy(scores.flatten(0, 1), expected.flatten(), reduction="none")
        return found.unflatten(0, expected.shape), (expected != PAD).sum(0)

    def reads(self, batch: Sequence[int]) -> list[Read]:
        """Give the source's symbols, and the target's with what follows each."""
        sources, targets = [self.sources[i] for i in batch], [self.targets[i] for i in batch]
        given, wanted = [t[:-1] for t in targets], [t[1:] for t in targets]
        return [
            read("encoder", self.vocabularies.source, sources),
            read("decoder", self.vocabularies.target, given, wanted),
        ]

    def _scored(self, batch: Sequence[int], sampling: float) -> tuple[Tensor, Tensor]:
        """Score the target symbols: (time, batch, symbols), and the symbols themselves."""
        source, lengths = (t.to(self.device) for t in pad([self.sources[i] for i in batch], PAD))
        target = pad([self.targets[i] for i in batch], PAD)[0].to(self.device)
        return self.model(source, lengths, target[:-1], sampling=sampling), target[1:]

    def score(self, model: Seq2Seq) -> dict[str, float]:
        """Decode the dev sources greedily; where quality is what counts, the loss decides.

        The loss is steadier than BLEU or ROUGE, and needs no direction of its own.
        """
        search = self.settings.search
        greedy = replace(search, width=1, length_penalty=0.0)
        found = evaluate(Translator(model, self.vocabularies, greedy), self.dev, weights=False)
        if found.quality is None:
            rates = found.rates
            return {
                "symbol_error_rate": rates.symbol_error_rate,
                "word_error_rate": rates.word_error_rate,
            }
        return {"loss": self._dev_loss(model), **found.quality.figures}

    @torch.no_grad()
    def _dev_loss(self, model: Seq2Seq) -> float:
        """Give the cross-entropy of the dev targets, each the first of its source."""
        encode = self.vocabularies.source.encode, self.vocabularies.target.encode
        pairs = [(encode[0](e.source), [BOS, *encode[1](e.targets[0]), EOS]) for e in self.dev]
        total = symbols = 0
        for batch in bucketed([len(s) for s, _ in pairs], self.settings.training.batch, seed=0):
            source, lengths = pad([pairs[i][0] for i in batch], PAD)
            target, _ = (ids.to(self.device) for ids in pad([pairs[i][1] for i in batch], PAD))
            scores = model(source.to(self.device), lengths.to(self.device), target[:-1])
            wanted = target[1:].flatten()
            loss = F.cross_entropy(scores.flatten(0, 1), wanted, ignore_index=PAD, reduction="sum")
            total, symbols = total + loss.item(), symbols + int((wanted != PAD).sum())
        return total / symbols

    def held_out(self) -> "Seq2SeqLesson":
        """Give the dev pairs to learn from."""
        dev = self.sides["dev"]
        return Seq2SeqLesson(self.model, self.vocabularies, dev, dev, self.settings)

    def introduction(self) -> str:
        """Say how many pairs there are."""
        train, dev = (f"{len(side):,}" for side in self.sides.values())
        return f"{train} pairs to learn from, {dev} to score on"

    def warnings(self) -> list[str]:
        """Say which share of each side's symbols the vocabulary has no room for."""
        symbols = {"source": self.sources, "target": self.targets}
        shares = {
            side: sum(ids.count(UNK) for ids in some) / max(1, sum(map(len, some)))
            for side, some in symbols.items()
        }
        return [
            f"{share:.2%} of the {side}'s symbols have no room in --{side}-size and are "
            "learnt as unknown; raise it if that is too much"
            for side, share in shares.items()
            if share
        ]

    def fingerprints(self) -> dict[str, dict[str, str | int]]:
        """Give what tells the pairs of each side from others."""
        data = self.settings.data
        files = {"train": data.train, "dev": data.dev or data.train}
        return {side: fingerprint(files[side], pairs) for side, pairs in self.sides.items()}

    def save(self, folder: Path) -> None:
        """Write the vocabularies."""
        self.vocabularies.save(folder)

    def conclude(
        self, run: Run, settings: config.Seq2SeqConfig, standing: Standing, progress: Progress
    ) -> None:
        """Decode all dev sources with the beam that predictions will have, and write the report."""
        model = load_best(run, self.model)
        translator = Translator(model, self.vocabularies, settings.search)
        evaluation = evaluate(translator, group_references(self.sides["dev"]), progress)
        figures = {"width": settings.search.width, **evaluation.record()}
        save_scores(run, "dev", settings.data.dev or HELD_OUT, figures)
        report.write_report(run, settings, standing, evaluation, {})

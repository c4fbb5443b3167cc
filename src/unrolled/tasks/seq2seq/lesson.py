"""What is learnt in sequence to sequence: from pairs of texts to a trained model and its report."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from unrolled.inspect.texts import Read
from unrolled.layers.coverage import coverage_loss
from unrolled.models.pointer import Decoded
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
from unrolled.tasks.seq2seq.numbering import Numbering, Source
from unrolled.tasks.seq2seq.pairs import Pair, group_references
from unrolled.tasks.seq2seq.translator import Translator
from unrolled.tasks.standing import Standing
from unrolled.tasks.trained import load_best
from unrolled.tasks.vocabulary import EOS, PAD, UNK


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
        self.numbering = Numbering.of(vocabularies, settings)
        self.sources = [self.numbering.source(p.source) for p in train]
        self.targets = [
            self.numbering.target(p.target, source)
            for p, source in zip(train, self.sources, strict=True)
        ]
        examples = group_references(dev)
        random.Random(settings.training.seed).shuffle(examples)
        self.dev = examples[: settings.training.score_items]

    def batches(self, epoch: int) -> list[list[int]]:
        """Give an epoch's batches, pairs of like length together."""
        training = self.settings.training
        lengths = [(len(s.ids), len(t)) for s, t in zip(self.sources, self.targets, strict=True)]
        return bucketed(lengths, training.batch, seed=training.seed * 1_000_003 + epoch)

    def loss(self, batch: Sequence[int], progress: float) -> tuple[Tensor, int]:
        """Give the mean cross-entropy over the batch's target symbols, and their number.

        Where attention is covered, that of the coverage loss is added, with its weight.
        """
        settings = self.settings
        items = [(self.sources[i], self.targets[i]) for i in batch]
        decoded, expected = self._decoded(self.model, items, settings.training.sampling * progress)
        losses = decoded.losses(expected, settings.training.smoothing)
        there = expected != PAD
        if settings.model.coverage and decoded.weights is not None:
            losses = losses + settings.model.coverage * coverage_loss(decoded.weights) * there
        symbols = int(there.sum())
        return losses.sum() / symbols, symbols

    def position_losses(self, batch: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Give the cross-entropy of each target symbol, the right ones before it."""
        items = [(self.sources[i], self.targets[i]) for i in batch]
        decoded, expected = self._decoded(self.model, items, 0.0)
        return decoded.losses(expected), (expected != PAD).sum(0)

    def reads(self, batch: Sequence[int]) -> list[Read]:
        """Give the source's symbols, and the target's with what follows each.

        Symbols that can only be copied stand there as unknown.
        """
        known = len(self.vocabularies.target)
        targets = [[id if id < known else UNK for id in self.targets[i]] for i in batch]
        given, wanted = [t[:-1] for t in targets], [t[1:] for t in targets]
        return [
            read("encoder", self.vocabularies.source, [self.sources[i].ids for i in batch]),
            read("decoder", self.vocabularies.target, given, wanted),
        ]

    def _decoded(
        self, model: Seq2Seq, items: Sequence[tuple[Source, list[int]]], sampling: float
    ) -> tuple[Decoded, Tensor]:
        """Decode targets of sources: what is said of their symbols, and the symbols themselves."""
        source, lengths, copies = self.numbering.laid_out([s for s, _ in items], self.device)
        target = pad([t for _, t in items], PAD)[0].to(self.device)
        covered = self.settings.model.coverage > 0
        decoded = model.decode(
            source, lengths, target[:-1], copies=copies, sampling=sampling, weights=covered
        )
        return decoded, target[1:]

    def score(self, model: Seq2Seq) -> dict[str, float]:
        """Decode the dev sources greedily; where quality is what counts, the loss decides.

        The loss is steadier than BLEU or ROUGE, and needs no direction of its own.
        """
        search = self.settings.search
        greedy = replace(search, width=1, length_penalty=0.0)
        found = evaluate(Translator(model, self.numbering, greedy), self.dev, weights=False)
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
        sources = [self.numbering.source(e.source) for e in self.dev]
        targets = [e.targets[0] for e in self.dev]
        items = [(s, self.numbering.target(t, s)) for s, t in zip(sources, targets, strict=True)]
        total = symbols = 0
        for batch in bucketed([len(s.ids) for s in sources], self.settings.training.batch, seed=0):
            decoded, expected = self._decoded(model, [items[i] for i in batch], 0.0)
            total += decoded.losses(expected).sum().item()
            symbols += int((expected != PAD).sum())
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
        """Say which share of the symbols the vocabularies lack, and how many texts are cut."""
        settings, lines = self.settings.data, []
        symbols = {"source": [s.ids for s in self.sources], "target": self.targets}
        cut = {
            "source": sum(len(s.ids) < s.symbols for s in self.sources),
            "target": sum(t[-1] != EOS for t in self.targets),
        }
        for side, some in symbols.items():
            if share := sum(ids.count(UNK) for ids in some) / max(1, sum(map(len, some))):
                size = "source" if settings.joint else side
                lines.append(
                    f"{share:.2%} of the {side}'s symbols have no room in --{size}-size and are "
                    "learnt as unknown; raise it if that is too much"
                )
            if cut[side]:
                limit = getattr(settings, f"{side}_limit")
                lines.append(
                    f"{cut[side]:,} of {len(some):,} {side}s are cut to their first {limit:,} "
                    f"symbols (--{side}-limit)"
                )
        return lines

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
        translator = Translator(model, self.numbering, settings.search)
        evaluation = evaluate(translator, group_references(self.sides["dev"]), progress)
        figures = {"width": settings.search.width, **evaluation.record()}
        save_scores(run, "dev", settings.data.dev or HELD_OUT, figures)
        report.write_report(run, settings, standing, evaluation, {})

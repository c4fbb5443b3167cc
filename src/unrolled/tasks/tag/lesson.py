"""What is learnt when a tagger is trained."""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from unrolled.inspect.texts import Read
from unrolled.models.tagger import Tagger
from unrolled.tasks.batches import bucketed
from unrolled.tasks.lesson import Lesson
from unrolled.tasks.progress import Progress
from unrolled.tasks.run import Run
from unrolled.tasks.scores import save_scores
from unrolled.tasks.standing import Standing
from unrolled.tasks.tag import report
from unrolled.tasks.tag.annotator import Annotator
from unrolled.tasks.tag.config import TagConfig
from unrolled.tasks.tag.data import fingerprint
from unrolled.tasks.tag.evaluation import evaluate, scored_as_spans
from unrolled.tasks.tag.lexicon import Lexicon, Speller
from unrolled.tasks.tag.sentences import Sentence
from unrolled.tasks.tag.spans import count_spans, keep_rules, rules, together
from unrolled.tasks.trained import load_best

NO_TAG = -100  # what a loss leaves out


class TagLesson(Lesson[Tagger]):
    """Tagged sentences.

    Args:
        model: the model to train, on the device to train it on.
        lexicon: of the sentences to learn from.
        train: those.
        dev: the sentences to choose the best weights by.
        settings: of the run.
    """

    def __init__(
        self,
        model: Tagger,
        lexicon: Lexicon,
        train: Sequence[Sentence],
        dev: Sequence[Sentence],
        settings: TagConfig,
    ) -> None:
        super().__init__(model)
        self.lexicon, self.settings = lexicon, settings
        self.train, self.dev = train, dev
        self.speller = Speller(lexicon, settings.data.most_letters)
        ids = [{tag: id for id, tag in enumerate(tags)} for tags in lexicon.tags.values()]
        self.tags = [
            torch.tensor([[of[t] for of, t in zip(ids, tags, strict=True)] for tags in s.tags])
            for s in train
        ]
        self.spans = scored_as_spans(settings.data.spans, lexicon)
        self.scored = list(dev)
        random.Random(settings.training.seed).shuffle(self.scored)
        self.scored = self.scored[: settings.training.score_items]
        first = next(iter(lexicon.tags.values()))
        if model.crf is not None and self.spans and all(keep_rules(_first(s)) for s in train):
            begins, follows = rules(first)
            model.crf.begins.copy_(begins)
            model.crf.follows.copy_(follows)

    def batches(self, epoch: int) -> list[list[int]]:
        """Give an epoch's batches, sentences of like length together."""
        training = self.settings.training
        lengths = [len(sentence.words) for sentence in self.train]
        return bucketed(lengths, training.batch, seed=training.seed * 1_000_003 + epoch)

    def loss(self, batch: Sequence[int], progress: float) -> tuple[Tensor, int]:
        """Give the mean loss over the batch's words, and their number."""
        sentences = self.speller.batch([self.train[i].words for i in batch]).to(self.device)
        tags = torch.nn.utils.rnn.pad_sequence(
            [self.tags[i] for i in batch], padding_value=NO_TAG
        ).to(self.device)
        training = self.settings.training
        loss = self.model.loss(
            sentences, tags.unbind(-1), beside=training.beside, smoothing=training.smoothing
        )
        return loss, int(sentences.lengths.sum())

    def reads(self, batch: Sequence[int]) -> list[Read]:
        """Give the sentences' words."""
        return [Read("recurrent", [self.train[i].words for i in batch], " ")]

    def score(self, model: Tagger) -> dict[str, float]:
        """Tag the dev sentences: which share of spans, if there are any, and of words is wrong."""
        expected = [_first(sentence) for sentence in self.scored]
        annotator = Annotator(model, self.lexicon, self.speller)
        found = annotator.tag([sentence.words for sentence in self.scored])
        pairs = [p for e, f in zip(expected, found, strict=True) for p in zip(e, f, strict=True)]
        figures = {"tag_error_rate": sum(e != f for e, f in pairs) / len(pairs)}
        if self.spans:
            counts = together(count_spans(expected, found).values())
            figures = {"span_error_rate": 1 - counts.f1, **figures}
        return figures

    def introduction(self) -> str:
        """Say what is learnt from and what is scored on."""
        words = sum(len(sentence.words) for sentence in self.train)
        column, tags = next(iter(self.lexicon.tags.items()))
        also = "".join(f", beside {name}" for name in [*self.lexicon.tags][1:])
        return (
            f"{len(self.train):,} sentences of {words:,} words to learn {len(tags)} tags from "
            f"({column}{also}), {len(self.dev):,} sentences to score on"
        )

    def fingerprints(self) -> dict[str, dict[str, str | int]]:
        """Give what tells these sentences from others."""
        data = self.settings.data
        return {
            "train": fingerprint(data.train, self.train),
            "dev": fingerprint(data.dev or data.train, self.dev),
        }

    def save(self, folder: Path) -> None:
        """Write the lexicon into a run."""
        self.lexicon.save(folder / "lexicon.json")

    def conclude(
        self, run: Run, settings: TagConfig, standing: Standing, progress: Progress
    ) -> None:
        """Score the best weights on all dev sentences, and write the report."""
        annotator = Annotator(load_best(run, self.model), self.lexicon, self.speller)
        evaluation = evaluate(annotator, self.dev, spans=self.spans)
        save_scores(run, "dev", settings.data.dev or Path("held out"), evaluation.record())
        report.write_report(run, settings, standing, evaluation)


def _first(sentence: Sentence) -> list[str]:
    """Give the tags of the wanted column."""
    return [tags[0] for tags in sentence.tags]

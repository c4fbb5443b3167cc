"""The sequence-to-sequence task: pairs of texts in, a trained model and its predictions out."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.errors import DataError
from unrolled.models import search
from unrolled.models.seq2seq import Seq2Seq
from unrolled.tasks import config
from unrolled.tasks.batches import bucketed, pad
from unrolled.tasks.cells import find_cell
from unrolled.tasks.data import (
    Pair,
    group_references,
    normalize,
    read_pairs,
    split_by_source,
)
from unrolled.tasks.metrics import error_rates
from unrolled.tasks.vocabulary import BOS, EOS, PAD, Vocabulary

SCORE_ROWS = 512  # sources that are decoded side by side
HELD_OUT = 0.05  # of the sources, where there is no dev file


@dataclass(frozen=True)
class Vocabularies:
    """The symbols of both sides."""

    source: Vocabulary
    target: Vocabulary

    @classmethod
    def build(cls, pairs: Sequence[Pair], data: config.Data) -> "Vocabularies":
        """Collect the symbols of the pairs to learn from."""
        return cls(
            Vocabulary.build((p.source for p in pairs), data.source_unit, size=data.source_size),
            Vocabulary.build((p.target for p in pairs), data.target_unit, size=data.target_size),
        )

    def save(self, folder: Path) -> None:
        """Write both into a run."""
        self.source.save(folder / "source.json")
        self.target.save(folder / "target.json")

    @classmethod
    def load(cls, folder: Path) -> "Vocabularies":
        """Read both from a run."""
        return cls(Vocabulary.load(folder / "source.json"), Vocabulary.load(folder / "target.json"))


def build_model(settings: config.Model, vocabularies: Vocabularies) -> Seq2Seq:
    """Make the model that the settings describe, with fresh weights."""
    return Seq2Seq(
        len(vocabularies.source),
        len(vocabularies.target),
        encoder_cell=find_cell(settings.cell),
        decoder_cell=find_cell(settings.decoder_cell or settings.cell),
        embedding=settings.embedding,
        hidden=settings.hidden,
        encoder_layers=settings.encoder_layers,
        decoder_layers=settings.decoder_layers,
        attention=settings.attention,
        score=settings.score,
        dropout=settings.dropout,
    )


def load_pairs(path: Path, data: config.Data) -> list[Pair]:
    """Read a file of pairs, in the Unicode form that the settings ask for."""
    fields = {"source_field": data.source_field, "target_field": data.target_field}
    pairs = read_pairs(path, max_line=data.max_line, **fields)
    return [
        Pair(normalize(p.source, data.normalize), normalize(p.target, data.normalize), p.line)
        for p in pairs
    ]


def load_data(data: config.Data, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Read the pairs to learn from and the dev pairs, held out where there is no file for them."""
    if data.train is None:
        raise DataError("there is nothing to learn from: name a file of pairs with --train")
    train = load_pairs(data.train, data)
    if data.dev is not None:
        return train, load_pairs(data.dev, data)
    train, dev, _ = split_by_source(train, shares=(1 - HELD_OUT, HELD_OUT, 0.0), seed=seed)
    if not dev or not train:
        raise DataError(
            f"{data.train} has too few sources to hold some out: name a file with --dev"
        )
    return train, dev


class Seq2SeqTask:
    """What the training loop needs to know of sequence to sequence."""

    def __init__(
        self,
        model: Seq2Seq,
        vocabularies: Vocabularies,
        train: Sequence[Pair],
        dev: Sequence[Pair],
        settings: config.Training,
        decoding: config.Search,
    ) -> None:
        self.model = model
        self.vocabularies, self.settings, self.decoding = vocabularies, settings, decoding
        self.device = next(model.parameters()).device
        self.sources = [vocabularies.source.encode(p.source) for p in train]
        self.targets = [[BOS, *vocabularies.target.encode(p.target), EOS] for p in train]
        examples = group_references(dev)
        random.Random(settings.seed).shuffle(examples)
        self.dev = examples[: settings.score_items]

    def batches(self, epoch: int) -> list[list[int]]:
        """Give an epoch's batches, pairs of like length together."""
        lengths = [(len(s), len(t)) for s, t in zip(self.sources, self.targets, strict=True)]
        return bucketed(lengths, self.settings.batch, seed=self.settings.seed * 1_000_003 + epoch)

    def loss(self, batch: Sequence[int], progress: float) -> tuple[Tensor, int]:
        """Give the mean cross-entropy over the batch's target symbols, and their number."""
        source, lengths = pad([self.sources[i] for i in batch], PAD)
        target, _ = pad([self.targets[i] for i in batch], PAD)
        symbols = int((target[1:] != PAD).sum())
        target = target.to(self.device)
        scores = self.model(
            source.to(self.device),
            lengths.to(self.device),
            target[:-1],
            sampling=self.settings.sampling * progress,
        )
        loss = F.cross_entropy(
            scores.flatten(0, 1),
            target[1:].flatten(),
            ignore_index=PAD,
            label_smoothing=self.settings.smoothing,
        )
        return loss, symbols

    def score(self, model: nn.Module) -> dict[str, float]:
        """Decode the dev sources greedily: which share of symbols, and of sequences, is wrong."""
        assert isinstance(model, Seq2Seq)
        greedy = config.Search(1, 0.0, self.decoding.length_ratio)
        translator = Translator(model, self.vocabularies, greedy)
        found = translator.translate([e.source for e in self.dev])
        target = self.vocabularies.target
        rates = error_rates(
            [[target.symbols(t) for t in e.targets] for e in self.dev],
            [best.symbols for best, *_ in found],
        )
        return {
            "symbol_error_rate": rates.symbol_error_rate,
            "word_error_rate": rates.word_error_rate,
        }


@dataclass(frozen=True)
class Prediction:
    """One way to render a source."""

    source: tuple[str, ...]  # its symbols
    symbols: tuple[str, ...]  # of the prediction
    text: str
    score: float  # log-probability over the length penalty
    finished: bool  # False: cut off at the longest length allowed
    weights: Tensor | None  # (symbols, source): where attention looked


@dataclass(frozen=True)
class Translator:
    """A trained model with its vocabularies: texts in, predictions out."""

    model: Seq2Seq
    vocabularies: Vocabularies
    decoding: config.Search

    def translate(self, texts: Sequence[str], best: int = 1) -> list[list[Prediction]]:
        """Predict for each text, the best first; texts of like length are decoded together."""
        ids = [self.vocabularies.source.encode(text) for text in texts]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        found: list[list[Prediction]] = [[] for _ in texts]
        rows = max(1, SCORE_ROWS // self.decoding.width)
        for start in range(0, len(order), rows):
            batch = order[start : start + rows]
            for i, hypotheses in zip(
                batch, self._search([ids[i] for i in batch], best), strict=True
            ):
                found[i] = [self._prediction(texts[i], h) for h in hypotheses]
        return found

    @torch.no_grad()
    def _search(self, ids: Sequence[Sequence[int]], best: int) -> list[list[search.Hypothesis]]:
        self.model.eval()
        device = next(self.model.parameters()).device
        source, lengths = pad(ids, PAD)
        state, memory = self.model.start(source.to(device), lengths.to(device))
        return search.beam(
            self.model.step,  # pyright: ignore[reportArgumentType]
            state,
            constants=dict(memory),  # pyright: ignore[reportArgumentType]
            rows=len(ids),
            bos=BOS,
            eos=EOS,
            max_steps=(lengths * self.decoding.length_ratio).long() + 10,
            width=max(self.decoding.width, best),
            best=best,
            length_penalty=self.decoding.length_penalty,
        )

    def _prediction(self, text: str, hypothesis: search.Hypothesis) -> Prediction:
        source, target = self.vocabularies.source, self.vocabularies.target
        symbols, weights = tuple(source.symbols(text)), hypothesis.weights
        return Prediction(
            source=symbols,
            symbols=tuple(target.symbol(id) for id in hypothesis.tokens),
            text=target.decode(hypothesis.tokens),
            score=hypothesis.normalised,
            finished=hypothesis.finished,
            weights=None if weights is None else weights[: len(hypothesis.tokens), : len(symbols)],
        )

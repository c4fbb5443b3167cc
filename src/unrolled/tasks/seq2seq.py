"""The sequence-to-sequence task: pairs of texts in, a trained model and its predictions out."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.errors import ConfigError, DataError
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
from unrolled.tasks.vocabulary import BOS, EOS, PAD, UNK, Vocabulary

ROWS = 512  # rows that are decoded side by side, a source having as many as the beam is wide
PLACES = 1 << 16  # symbols of the source in those rows at most, so that long lines fit in memory
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
            _vocabulary([p.source for p in pairs], data.source_unit, data.source_size, "source"),
            _vocabulary([p.target for p in pairs], data.target_unit, data.target_size, "target"),
        )

    def save(self, folder: Path) -> None:
        """Write both into a run."""
        self.source.save(folder / "source.json")
        self.target.save(folder / "target.json")

    @classmethod
    def load(cls, folder: Path) -> "Vocabularies":
        """Read both from a run."""
        return cls(Vocabulary.load(folder / "source.json"), Vocabulary.load(folder / "target.json"))


def _vocabulary(texts: Sequence[str], unit: str, size: int, side: str) -> Vocabulary:
    try:
        return Vocabulary.build(texts, unit, size=size)
    except ConfigError as error:
        raise ConfigError(f"--{side}-size or --{side}-unit: {error}") from None


def build_model(settings: config.Model, vocabularies: Vocabularies) -> Seq2Seq:
    """Make the model that the settings describe, with fresh weights."""
    return Seq2Seq(
        len(vocabularies.source),
        len(vocabularies.target),
        encoder_cell=find_cell(settings.cell),
        decoder_cell=find_cell(settings.decoder_cell or settings.cell),
        embedding=settings.embedding,
        hidden=settings.hidden,
        encoder_hidden=settings.encoder_hidden,
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
        raise DataError("there is nothing to learn from; name a file of pairs with --train")
    train = load_pairs(data.train, data)
    if data.dev is not None:
        return train, load_pairs(data.dev, data)
    train, dev, _ = split_by_source(train, shares=(1 - HELD_OUT, HELD_OUT, 0.0), seed=seed)
    if not dev:
        raise DataError(
            f"{data.train}: has too few sources to hold some out; name a file of others with --dev"
        )
    return train, dev


class Seq2SeqTask:
    """What the training loop needs to know of sequence to sequence.

    Args:
        model: the model to train, on the device to train it on.
        vocabularies: its symbols.
        train: the pairs to learn from.
        dev: the pairs to choose the best weights by.
        settings: of the training.
        decoding: how predictions are looked for; the dev sources are decoded greedily.
    """

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

    def rare(self) -> dict[str, float]:
        """Give the share of symbols, of each side, that the vocabulary has no room for."""
        sides = {"source": self.sources, "target": self.targets}
        return {
            name: sum(ids.count(UNK) for ids in side) / max(1, sum(map(len, side)))
            for name, side in sides.items()
        }

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
        greedy = config.Search(1, 0.0, self.decoding.length_ratio)
        translator = Translator(cast(Seq2Seq, model), self.vocabularies, greedy)
        found = translator.translate([e.source for e in self.dev], weights=False)
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

    def translate(
        self, texts: Sequence[str], best: int = 1, *, weights: bool = True
    ) -> list[list[Prediction]]:
        """Predict for each text.

        Args:
            texts: any number, in the Unicode form that the model learnt.
            best: predictions wanted for each; a beam narrower than this is widened.
            weights: also keep where attention looked, a number for each pair of symbols.

        Returns:
            For each text one prediction or more, the best first.
        """
        ids = [self.vocabularies.source.encode(text) for text in texts]
        found: list[list[Prediction]] = [[] for _ in texts]
        for batch in self._batches(ids, max(self.decoding.width, best)):
            for i, hypotheses in zip(
                batch, self._search([ids[i] for i in batch], best, weights), strict=True
            ):
                found[i] = [self._prediction(texts[i], h) for h in hypotheses]
        return found

    def _batches(self, ids: Sequence[Sequence[int]], width: int) -> Iterator[list[int]]:
        """Put sources of like length together, as many as fit."""
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        while order:
            batch = order[: max(1, ROWS // width)]
            while len(batch) > 1 and len(batch) * width * len(ids[batch[-1]]) > PLACES:
                batch.pop()
            order = order[len(batch) :]
            yield batch

    @torch.no_grad()
    def _search(
        self, ids: Sequence[Sequence[int]], best: int, weights: bool
    ) -> list[list[search.Hypothesis]]:
        def step(
            tokens: Tensor, state: search.State, constants: search.State
        ) -> tuple[Tensor, search.State, Tensor | None]:
            log_probs, state, looked = self.model.step(tokens, dict(state), constants)
            return log_probs, state, looked if weights else None

        self.model.eval()
        device = next(self.model.parameters()).device
        source, lengths = pad(ids, PAD)
        state, memory = self.model.start(source.to(device), lengths.to(device))
        return search.beam(
            step,
            state,
            constants=memory,
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

"""A trained model of sequence to sequence: texts in, predictions out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.models import search
from unrolled.models.seq2seq import Seq2Seq
from unrolled.tasks.cells import find_cell
from unrolled.tasks.seq2seq import config
from unrolled.tasks.seq2seq.data import Vocabularies
from unrolled.tasks.seq2seq.numbering import Numbering, Source
from unrolled.tasks.vocabulary import BOS, EOS, PAD, UNK

ROWS = 512  # rows that are decoded side by side, a source having as many as the beam is wide
PLACES = 1 << 16  # symbols of the source in those rows at most, so that long lines fit in memory


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
        copy=settings.copy,
        coverage=settings.coverage > 0,
        unknown=UNK,
        tied=settings.tied,
    )


@dataclass(frozen=True)
class Prediction:
    """One way to render a source."""

    source: tuple[str, ...]  # its symbols, as far as it was read
    symbols: tuple[str, ...]  # of the prediction
    text: str
    score: float  # log-probability over the length penalty
    finished: bool  # False: cut off at the longest length allowed
    weights: Tensor | None  # (symbols, source): where attention looked
    copied: tuple[str, ...] = ()  # symbols that only copying could give
    unread: int = 0  # symbols of the source beyond the limit


@dataclass(frozen=True)
class Translator:
    """A trained model and how it numbers texts: texts in, predictions out."""

    model: Seq2Seq
    numbering: Numbering
    decoding: config.Search

    @property
    def vocabularies(self) -> Vocabularies:
        """The symbols of both sides."""
        return self.numbering.vocabularies

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
        sources = [self.numbering.source(text) for text in texts]
        found: list[list[Prediction]] = [[] for _ in texts]
        for batch in self._batches(sources, max(self.decoding.width, best)):
            some = [sources[i] for i in batch]
            for i, hypotheses in zip(batch, self._search(some, best, weights), strict=True):
                found[i] = [self._prediction(texts[i], sources[i], h) for h in hypotheses]
        return found

    def _batches(self, sources: Sequence[Source], width: int) -> Iterator[list[int]]:
        """Put sources of like length together, as many as fit."""
        lengths = [len(source.ids) for source in sources]
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        while order:
            batch = order[: max(1, ROWS // width)]
            while len(batch) > 1 and len(batch) * width * lengths[batch[-1]] > PLACES:
                batch.pop()
            order = order[len(batch) :]
            yield batch

    @torch.no_grad()
    def _search(
        self, sources: Sequence[Source], best: int, weights: bool
    ) -> list[list[search.Hypothesis]]:
        def step(
            tokens: Tensor, state: search.State, constants: search.State
        ) -> tuple[Tensor, search.State, Tensor | None]:
            log_probs, state, looked = self.model.step(tokens, dict(state), constants)
            return log_probs, state, looked if weights else None

        self.model.eval()
        device = next(self.model.parameters()).device
        ids, lengths, copies = self.numbering.laid_out(sources, device)
        state, memory = self.model.start(ids, lengths, copies)
        limits = (lengths * self.decoding.length_ratio).long() + 10
        if self.numbering.target_limit:
            limits = limits.clamp(max=self.numbering.target_limit + 1)  # the last may end it
        return search.beam(
            step,
            state,
            constants=memory,
            rows=len(sources),
            bos=BOS,
            eos=EOS,
            max_steps=limits,
            width=max(self.decoding.width, best),
            best=best,
            length_penalty=self.decoding.length_penalty,
        )

    def _prediction(self, text: str, source: Source, hypothesis: search.Hypothesis) -> Prediction:
        own, tokens = self.vocabularies, hypothesis.tokens
        read = tuple(own.source.symbols(text)[: len(source.ids)])
        symbols = tuple(self.numbering.symbol(id, source) for id in tokens)
        shown = [s for s, id in zip(symbols, tokens, strict=True) if id not in (PAD, BOS)]
        weights = hypothesis.weights
        return Prediction(
            source=read,
            symbols=symbols,
            text=own.target.join(shown),
            score=hypothesis.normalised,
            finished=hypothesis.finished,
            weights=None if weights is None else weights[: len(tokens), : len(read)],
            copied=tuple(s for s, id in zip(symbols, tokens, strict=True) if id >= len(own.target)),
            unread=source.symbols - len(source.ids),
        )

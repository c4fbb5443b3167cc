"""A trained model of sequence to sequence: texts in, predictions out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.models import search
from unrolled.models.seq2seq import Seq2Seq
from unrolled.tasks.batches import pad
from unrolled.tasks.cells import find_cell
from unrolled.tasks.seq2seq import config
from unrolled.tasks.seq2seq.data import Vocabularies
from unrolled.tasks.vocabulary import BOS, EOS, PAD

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
    )


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

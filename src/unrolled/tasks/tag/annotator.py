"""A trained tagger with its lexicon: words in, tags out."""

from collections.abc import Iterator, Sequence

import torch

from unrolled.models.tagger import Tagger
from unrolled.tasks.cells import find_cell
from unrolled.tasks.tag import config
from unrolled.tasks.tag.lexicon import Lexicon, Speller

ROWS = 128  # sentences that are tagged side by side at most
PLACES = 1 << 13  # words in those, padding included, so that long ones fit in memory


def build_model(settings: config.Model, lexicon: Lexicon) -> Tagger:
    """Make the tagger that the settings describe, with fresh weights."""
    return Tagger(
        lexicon.counts(),
        lexicon.size,
        [len(tags) for tags in lexicon.tags.values()],
        cell=find_cell(settings.cell),
        letter_cell=find_cell(settings.letter_cell or settings.cell),
        features=lexicon.feature_size if settings.feature_embedding else 0,
        embedding=settings.embedding,
        letter_embedding=settings.letter_embedding,
        letter_hidden=settings.letter_hidden,
        feature_embedding=settings.feature_embedding,
        hidden=settings.hidden,
        layers=settings.layers,
        dropout=settings.dropout,
        word_dropout=settings.word_dropout,
        crf=settings.crf,
    )


class Annotator:
    """Tags sentences.

    Args:
        model: trained; it is put into evaluation.
        lexicon: of what it learnt from; the tags of its first column are given.
        speller: makes its batches.
    """

    def __init__(self, model: Tagger, lexicon: Lexicon, speller: Speller) -> None:
        self.model, self.lexicon, self.speller = model.eval(), lexicon, speller
        self.column, self.tags = next(iter(lexicon.tags.items()))

    @torch.no_grad()
    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """Give a tag for each word of sentences, each of one word or more."""
        device = next(self.model.parameters()).device
        found: list[list[str]] = [[] for _ in sentences]
        for batch in _batches([len(sentence) for sentence in sentences]):
            inputs = self.speller.batch([sentences[i] for i in batch]).to(device)
            for i, ids in zip(batch, self.model.decode(inputs).T.tolist(), strict=True):
                found[i] = [self.tags[id] for id in ids[: len(sentences[i])]]
        return found


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Put sentences of like length together, as many as fit."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    while order:
        count = min(ROWS, max(1, PLACES // lengths[order[0]]))
        yield order[:count]
        order = order[count:]

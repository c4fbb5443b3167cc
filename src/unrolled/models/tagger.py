"""The tagger: sentences in, scores of tags for each of their words out."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.cell import CellFactory
from unrolled.layers.dropout import SharedDropout
from unrolled.layers.recurrent import Recurrent
from unrolled.models.crf import CRF
from unrolled.models.spelling import Letters, Spelling

UNKNOWN = 1  # the id of a word that the model does not know; 0 is padding


@dataclass(frozen=True)
class Sentences:
    """A batch of sentences whose distinct words are spelt once.

    ids: (time, batch) words as the model knows them; 0 is padding, 1 an unknown word.
    lengths: (batch,) words of each sentence, at least 1.
    places: (time, batch) which of the distinct words each is; any behind a sentence's end.
    letters: of the distinct words. features: (distinct, kinds) further ids of each, or None.
    """

    ids: Tensor
    lengths: Tensor
    places: Tensor
    letters: Letters
    features: Tensor | None = None

    def to(self, device: torch.device) -> "Sentences":
        """Give the same on a device."""
        features = None if self.features is None else self.features.to(device)
        ids, lengths, places = (x.to(device) for x in (self.ids, self.lengths, self.places))
        return Sentences(ids, lengths, places, self.letters.to(device), features)


class WordDropout(nn.Module):
    """In training, words become unknown at random, rare ones most often.

    A word that was seen n times is dropped with probability ``strength / (strength + n)``, so that
    the unknown word is learnt where it will be met. Kiperwasser & Goldberg 2016, arXiv:1603.04351,
    who take 0.25.

    Args:
        counts: (words,) how often each was seen; the first two, padding and unknown, do not matter.
        strength: 0 drops nothing.

    Example:
        >>> ids = WordDropout(torch.tensor([0, 0, 1, 10**9]), 1e6)(torch.tensor([2] * 3 + [3] * 3))
        >>> ids.tolist()
        [1, 1, 1, 3, 3, 3]
    """

    rates: Tensor

    def __init__(self, counts: Tensor, strength: float) -> None:
        super().__init__()
        rates = strength / (strength + counts.float().clamp(min=1))
        rates[:2] = 0
        self.register_buffer("rates", rates, persistent=False)
        self.strength = strength

    def forward(self, ids: Tensor) -> Tensor:
        """Drop words of any shape."""
        if not self.training or self.strength == 0:
            return ids
        return ids.masked_fill(torch.rand(ids.shape, device=ids.device) < self.rates[ids], UNKNOWN)


class Tagger(nn.Module):
    """Bidirectional layers over words, which are known by themselves and by their letters.

    A word is the embeddings of its id, of what its letters give (`Spelling`), and the sum of the
    embeddings of its features, such as its ending; over these run the layers, and linear maps to
    the tags of one or more columns. Plank et al. 2016, arXiv:1604.05529; with a CRF over the first
    column Lample et al. 2016, arXiv:1603.01360.

    Args:
        counts: (words,) how often each was seen, see `WordDropout`.
        letters: how many there are, see `Spelling`.
        tags: the tags of each column; the first is what is wanted, others are learnt beside it.
        features: how many ids the features have, all kinds together; 0 is none.
        cell: what makes the cells of the words.
        letter_cell: what makes those of the letters; by default the same.
        embedding: features of a word.
        letter_embedding: features of a letter.
        letter_hidden: units over the letters, in each direction.
        feature_embedding: width of the sum of the features' embeddings.
        hidden: units over the words, in each direction.
        layers: over the words.
        dropout: share of features dropped from the words, between layers and from the outputs, the
            same at all times (`SharedDropout`).
        word_dropout: strength of `WordDropout`.
        crf: whether tags of the first column depend on their neighbours.

    Example:
        >>> from unrolled import zoo
        >>> from unrolled.models.spelling import end_to_end
        >>> tagger = Tagger(torch.ones(9), 30, [4], cell=zoo.GRU, hidden=8)
        >>> letters = end_to_end([[3, 4], [5], [6, 7, 8]])
        >>> ids, places = torch.tensor([[2, 3], [4, 0]]), torch.tensor([[0, 1], [2, 0]])
        >>> batch = Sentences(ids, torch.tensor([2, 1]), places, letters)
        >>> tagger(batch)[0].shape, tagger.decode(batch).shape
        (torch.Size([2, 2, 4]), torch.Size([2, 2]))
    """

    def __init__(
        self,
        counts: Tensor,
        letters: int,
        tags: Sequence[int],
        *,
        cell: CellFactory,
        letter_cell: CellFactory | None = None,
        features: int = 0,
        embedding: int = 100,
        letter_embedding: int = 32,
        letter_hidden: int = 64,
        feature_embedding: int = 64,
        hidden: int = 128,
        layers: int = 1,
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        crf: bool = False,
    ) -> None:
        super().__init__()
        self.tags = list(tags)
        self.embedding = nn.Embedding(len(counts), embedding, padding_idx=0)
        self.word_dropout = WordDropout(counts, word_dropout)
        self.spelling = Spelling(
            letters, embedding=letter_embedding, hidden=letter_hidden, cell=letter_cell or cell
        )
        self.features = (
            nn.EmbeddingBag(features, feature_embedding, mode="sum") if features else None
        )
        inputs = embedding + self.spelling.outputs + (feature_embedding if features else 0)
        self.recurrent = Recurrent(
            cell, inputs, hidden, layers=layers, bidirectional=True, dropout=dropout
        )
        self.dropout = SharedDropout(dropout)
        self.head = nn.Linear(self.recurrent.outputs, sum(self.tags))
        self.crf = CRF(self.tags[0]) if crf else None
        for table in (self.embedding, self.features, self.spelling.embedding):
            if table is not None:  # norms near 1: beside N(0, 1) what letters say would be drowned
                nn.init.normal_(table.weight, std=table.embedding_dim**-0.5)

    def forward(self, sentences: Sentences) -> list[Tensor]:
        """Score the tags of every word: (time, batch, tags) for each column."""
        known = [self.spelling(sentences.letters)]
        if self.features is not None and sentences.features is not None:
            known.append(self.features(sentences.features))
        spelt = F.embedding(sentences.places, torch.cat(known, -1))
        words = self.embedding(self.word_dropout(sentences.ids))
        xs = self.dropout(torch.cat([words, spelt], -1))
        ys, _ = self.recurrent(xs, lengths=sentences.lengths)
        return list(self.head(self.dropout(ys)).split(self.tags, -1))

    def loss(
        self, sentences: Sentences, tags: Sequence[Tensor], *, beside: float, smoothing: float = 0.0
    ) -> Tensor:
        """Give the mean loss over the words of a batch.

        Args:
            sentences: the batch.
            tags: (time, batch) of each column; -100 where there is none to learn.
            beside: weight of the columns that are learnt beside the first.
            smoothing: probability spread over all tags, but not by a CRF.
        """
        first, *others = self(sentences)
        if self.crf is None:
            loss = _cross_entropy(first, tags[0], smoothing)
        else:
            found = self.crf(first, tags[0], sentences.lengths)
            loss = -found.sum() / sentences.lengths.sum()
        for scores, wanted in zip(others, tags[1:], strict=True):
            loss = loss + beside * _cross_entropy(scores, wanted, smoothing)
        return loss

    @torch.no_grad()
    def decode(self, sentences: Sentences) -> Tensor:
        """Give the best tags of the first column, (time, batch), any behind a sentence's end."""
        scores = self(sentences)[0]
        return (
            scores.argmax(-1) if self.crf is None else self.crf.decode(scores, sentences.lengths)[0]
        )


def _cross_entropy(scores: Tensor, wanted: Tensor, smoothing: float) -> Tensor:
    return F.cross_entropy(scores.flatten(0, 1), wanted.flatten(), label_smoothing=smoothing)

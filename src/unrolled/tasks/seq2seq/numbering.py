"""Texts become numbers: as many symbols as are read, and what of them can be copied."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.tasks.batches import pad
from unrolled.tasks.seq2seq.config import Seq2SeqConfig
from unrolled.tasks.seq2seq.data import Vocabularies
from unrolled.tasks.vocabulary import BOS, EOS, PAD, UNK


@dataclass(frozen=True)
class Source:
    """The numbers of a source, as far as it is read.

    ids: in the source's vocabulary. copies: in the target's, where symbols that it lacks go on
    from its end in the order of `unknown`; empty if nothing is copied. symbols: how many the text
    has, those that are not read included.
    """

    ids: list[int]
    copies: list[int]
    unknown: tuple[str, ...]
    symbols: int


@dataclass(frozen=True)
class Numbering:
    """How the texts of both sides become numbers.

    source_limit, target_limit: symbols that are read of each at most; 0 reads all. copy: whether
    symbols of the source can be copied, those too that the target's vocabulary lacks.

    >>> from unrolled.tasks.vocabulary import Vocabulary
    >>> numbering = Numbering(Vocabularies(*[Vocabulary("tokens", ("a", "b"))] * 2), 3, 0, True)
    >>> source = numbering.source("b x b y")
    >>> source
    Source(ids=[5, 3, 5], copies=[5, 6, 5], unknown=('x',), symbols=4)
    >>> numbering.target("x y a", source), numbering.symbol(6, source)
    ([1, 6, 3, 4, 2], 'x')
    """

    vocabularies: Vocabularies
    source_limit: int = 0
    target_limit: int = 0
    copy: bool = False

    @classmethod
    def of(cls, vocabularies: Vocabularies, settings: Seq2SeqConfig) -> "Numbering":
        """Number texts as the settings of a run say."""
        data = settings.data
        return cls(vocabularies, data.source_limit, data.target_limit, settings.model.copy)

    def source(self, text: str) -> Source:
        """Number a source."""
        vocabularies = self.vocabularies
        symbols = vocabularies.source.symbols(text)
        read = symbols[: self.source_limit or None]
        ids = vocabularies.source.ids(read)
        if not self.copy:
            return Source(ids, [], (), len(symbols))
        own = vocabularies.target.ids(read)
        unknown = dict.fromkeys(s for s, id in zip(read, own, strict=True) if id == UNK)
        places = {symbol: place for place, symbol in enumerate(unknown, len(vocabularies.target))}
        copies = [places.get(s, id) for s, id in zip(read, own, strict=True)]
        return Source(ids, copies, tuple(unknown), len(symbols))

    def target(self, text: str, source: Source) -> list[int]:
        """Number a target of a source, between BOS and EOS; one that is cut has no EOS."""
        vocabulary = self.vocabularies.target
        symbols = vocabulary.symbols(text)
        read = symbols[: self.target_limit or None]
        places = {symbol: place for place, symbol in enumerate(source.unknown, len(vocabulary))}
        ids = [places.get(s, id) for s, id in zip(read, vocabulary.ids(read), strict=True)]
        return [BOS, *ids, *[EOS] * (len(read) == len(symbols))]

    def symbol(self, id: int, source: Source) -> str:
        """Give the symbol of a prediction's number."""
        known = len(self.vocabularies.target)
        return self.vocabularies.target.symbol(id) if id < known else source.unknown[id - known]

    def laid_out(
        self, sources: Sequence[Source], device: torch.device
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Give what the model reads of sources: ids (time, batch), lengths (batch,), copies."""
        ids, lengths = pad([s.ids for s in sources], PAD)
        copies = pad([s.copies for s in sources], PAD)[0].to(device) if self.copy else None
        return ids.to(device), lengths.to(device), copies

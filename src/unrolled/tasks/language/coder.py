"""From text to the ids of its symbols and back: characters, tokens or pieces, and line ends."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import ConfigError, DataError
from unrolled.tasks.language.config import Data
from unrolled.tasks.language.text import Part
from unrolled.tasks.vocabulary import BOS, EOS, PAD, SPECIALS, UNK, Vocabulary

MANY = 2_000_000  # different tokens that are counted at a time: of more, the rarer half is dropped
SAMPLE = 20_000_000  # characters that pieces are learnt from, lines from all over the text
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # what sentencepiece writes for a space


@dataclass(frozen=True)
class Coder:
    r"""A vocabulary, and what a text is in its symbols: tokens and pieces end a line with EOS.

    >>> coder = Coder(Vocabulary("tokens", ("the", "cat")))
    >>> coder.encode("the cat\nthe").tolist(), "".join(coder.texts([4, 5, 2, 4]))
    ([4, 5, 2, 4], 'the cat\nthe')
    """

    vocabulary: Vocabulary

    @property
    def start(self) -> int:
        """The id that is read before a text: what ends a line, if there is such a symbol."""
        if self.vocabulary.unit != "characters":
            return EOS
        entries = self.vocabulary.entries
        return len(SPECIALS) + (entries.index("\n") if "\n" in entries else 0)

    @property
    def never(self) -> tuple[int, ...]:
        """The ids that no text has."""
        return (PAD, BOS, UNK, EOS) if self.vocabulary.unit == "characters" else (PAD, BOS, UNK)

    @property
    def small(self) -> np.dtype:
        """The smallest type of integers that holds every id."""
        size = len(self.vocabulary)
        return np.dtype("uint8" if size <= 1 << 8 else "uint16" if size <= 1 << 16 else "int32")

    def encode(self, text: str) -> NDArray[np.int32]:
        """Give the ids of a text's symbols, with UNK for those not known."""
        if self.vocabulary.unit == "characters":
            return self._table[np.minimum(_codes(text), len(self._table) - 1)]
        *lines, last = text.split("\n")
        ids: list[int] = []
        for line in lines:
            ids += self.vocabulary.encode(line)
            ids.append(EOS)
        return np.array([*ids, *self.vocabulary.encode(last)], dtype=np.int32)

    def encoded(self, blocks: Iterable[str]) -> Iterator[NDArray[np.int32]]:
        """Give the ids of a whole text, block by block; its last line ends too."""
        ended = True
        for block in blocks:
            yield self.encode(block)
            ended = block.endswith("\n")
        if not ended and self.vocabulary.unit != "characters":
            yield np.array([EOS], dtype=np.int32)

    def texts(self, ids: Iterable[int], before: str = "") -> Iterator[str]:
        """Give the text of each id, as it comes; `before` is the text that stands before them."""
        write = WRITTEN[self.vocabulary.unit]
        fresh = not before or before.endswith("\n")
        for id in ids:
            text = "\n" if id == EOS else write(self.vocabulary.symbol(id), fresh)
            fresh = text == "\n"
            yield text

    def name(self, id: int) -> str:
        """Name a symbol so that it can be seen."""
        return "\n" if id == EOS else self.vocabulary.symbol(id).replace(SPACE, " ")

    @cached_property
    def _table(self) -> NDArray[np.int32]:
        """The id of each code of Unicode up to the last that is known, and UNK for those behind."""
        codes = [ord(entry) for entry in self.vocabulary.entries]
        table = np.full(max(codes) + 2, UNK, dtype=np.int32)
        table[codes] = len(SPECIALS) + np.arange(len(codes))
        return table


def build_coder(part: Part, data: Data) -> Coder:
    """Collect the symbols of a text, the most frequent first, in bounded memory.

    Raises:
        DataError: there is no text.
        ConfigError: the size is too small for pieces, or sentencepiece is not there.
    """
    try:
        return Coder(BUILD[data.unit](part, data.size))
    except ConfigError as error:
        raise ConfigError(f"--size or --unit: {error}") from None
    except DataError as error:
        if str(part.file) in str(error):
            raise
        raise DataError(f"{part.file}: has no text to learn from") from None


def _characters(part: Part, size: int) -> Vocabulary:
    counts = np.zeros(1, dtype=np.int64)
    for block in part.blocks():
        found = np.bincount(_codes(block), minlength=len(counts))
        found[: len(counts)] += counts
        counts = found
    return _most({chr(code): int(counts[code]) for code in counts.nonzero()[0]}, "characters", size)


def _tokens(part: Part, size: int) -> Vocabulary:
    counts: Counter[str] = Counter()
    for block in part.blocks():
        counts.update(block.split())
        if len(counts) > MANY:
            counts = Counter(dict(counts.most_common(MANY // 2)))
    return _most(counts, "tokens", size)


def _pieces(part: Part, size: int) -> Vocabulary:
    every = max(1, sum(map(len, part.blocks())) // SAMPLE)
    lines = (line for block in part.blocks() for line in block.split("\n") if line.strip())
    return Vocabulary.build(
        (line for i, line in enumerate(lines) if i % every == 0), "pieces", size=size
    )


def _most(counts: dict[str, int], unit: str, size: int) -> Vocabulary:
    """Take the most frequent symbols, of equals by alphabet, as `Vocabulary.build` does."""
    if not counts:
        raise DataError("there is no text")
    ranked = sorted(counts, key=lambda symbol: (-counts[symbol], symbol))
    return Vocabulary(unit, tuple(ranked[: size - len(SPECIALS)]))


def _codes(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _piece(symbol: str, fresh: bool) -> str:
    text = symbol.replace(SPACE, " ")
    return text.removeprefix(" ") if fresh else text


BUILD: dict[str, Callable[[Part, int], Vocabulary]] = {
    "characters": _characters,
    "tokens": _tokens,
    "pieces": _pieces,
}
WRITTEN: dict[str, Callable[[str, bool], str]] = {  # a symbol, and whether it begins a line
    "characters": lambda symbol, fresh: symbol,
    "tokens": lambda symbol, fresh: symbol if fresh else f" {symbol}",
    "pieces": _piece,
}

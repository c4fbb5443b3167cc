"""The symbols of transcripts as a model counts them: 0 is the blank, and no symbol is special."""

import gzip
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from unrolled.errors import DataError
from unrolled.files import write_atomically
from unrolled.models.ngram import NGram, WordModel
from unrolled.models.prefixes import END, Fusion
from unrolled.tasks.transcribe.config import Search
from unrolled.tasks.vocabulary import UNK, Vocabulary


@dataclass(frozen=True)
class Alphabet:
    """A vocabulary without its special symbols, behind the blank.

    >>> alphabet = Alphabet(Vocabulary.build(["ab a"], "characters"))
    >>> alphabet.encode("a ba?"), alphabet.decode([1, 3])
    ([1, 2, 3, 1], 'ab')
    """

    vocabulary: Vocabulary

    def __len__(self) -> int:
        return len(self.vocabulary) - UNK

    def encode(self, text: str) -> list[int]:
        """Give the numbers of a text's symbols; those that are not known are left out."""
        return [id - UNK for id in self.vocabulary.encode(text) if id != UNK]

    def decode(self, symbols: Iterable[int]) -> str:
        """Give the text of symbols."""
        return self.vocabulary.decode([symbol + UNK for symbol in symbols])

    @property
    def space(self) -> int | None:
        """The symbol between words, if there is one: tokens are words themselves."""
        known = self.vocabulary.unit == "characters" and " " in self.vocabulary.entries
        return self.encode(" ")[0] if known else None

    def words(self, symbols: Sequence[int]) -> list[list[int]]:
        """Part the places of a text's symbols into words.

        >>> Alphabet(Vocabulary("characters", ("a", " "))).words([1, 1, 2, 1])
        [[0, 1], [3]]
        """
        if self.vocabulary.unit != "characters":
            return [[place] for place in range(len(symbols))]
        words: list[list[int]] = [[]]
        for place, symbol in enumerate(symbols):
            if symbol == self.space:
                words.append([])
            else:
                words[-1].append(place)
        return [word for word in words if word]


def learn_language(
    alphabet: Alphabet, transcripts: Iterable[str], settings: Search
) -> Fusion | None:
    """Learn the language model that settings ask for from transcripts; None without one."""
    if settings.language == "none" or settings.width == 1:
        return None
    texts = [alphabet.encode(text) for text in transcripts]
    if settings.language == "words" and alphabet.vocabulary.unit == "characters":
        space = alphabet.space
        # without a space a text is one word: it ends where the word ends
        model = WordModel(
            texts, len(alphabet), space=END if space is None else space, order=settings.order
        )
    else:
        model = NGram.learn(texts, len(alphabet), settings.order)
    return Fusion(model, settings.weight, settings.bonus)


def save_transcripts(folder: Path, transcripts: Iterable[str]) -> None:
    """Write the transcripts that were learnt from into a run: language models come from them."""
    text = "".join(f"{transcript}\n" for transcript in transcripts)
    write_atomically(folder / "transcripts.txt.gz", gzip.compress(text.encode(), mtime=0))


def load_transcripts(folder: Path) -> list[str]:
    """Read the transcripts of a run; raise DataError if they are missing or damaged."""
    path = folder / "transcripts.txt.gz"
    try:
        return gzip.decompress(path.read_bytes()).decode().splitlines()
    except (OSError, EOFError, ValueError):
        raise DataError(f"{path}: is missing or damaged; put the run's own back") from None

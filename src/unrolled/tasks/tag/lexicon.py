"""What a tagger knows of words: by themselves, by their letters and by what they look like."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor

from unrolled.errors import DataError
from unrolled.files import write_atomically
from unrolled.models.spelling import end_to_end
from unrolled.models.tagger import UNKNOWN, Sentences
from unrolled.tasks.batches import integers, pad

FORMAT = ("unrolled-lexicon", 1)  # name and version of the file
DISTINCT = 1 << 17  # words whose ids are kept at hand
LEAST_WORDS = 2  # distinct words that a feature has: with one it would be that word's second name
SEPARATORS = re.compile(r"[\s_/'’-]+")
DIGIT = re.compile(r"\d")


def key(word: str) -> str:
    """Give what words are taken for the same by: case and digits do not matter.

    >>> key("Route-66")
    'route-00'
    """
    return DIGIT.sub("0", unicodedata.normalize("NFC", word).lower())


def shape(word: str) -> str:
    """Give a word's shape: runs of capitals, of other letters, of digits; the rest as it is.

    >>> shape("McDonald's"), shape("F-16s"), shape("AP")
    ("XxXx'x", 'X-0x', 'X')
    """
    return "".join(sign for sign, _ in groupby(map(_sign, word)))


def _sign(letter: str) -> str:
    if letter.isalpha():
        return "X" if letter.isupper() else "x"
    return "0" if letter.isdigit() else letter


KINDS: dict[str, Callable[[str, str], str]] = {  # of features: (word, its key) -> what it has
    "shape": lambda word, known: shape(word),
    "first two": lambda word, known: known[:2],
    "first three": lambda word, known: known[:3],
    "last one": lambda word, known: known[-1:],
    "last two": lambda word, known: known[-2:],
    "last three": lambda word, known: known[-3:],
    "last four": lambda word, known: known[-4:],
    "first part": lambda word, known: SEPARATORS.split(known)[0],
    "last part": lambda word, known: SEPARATORS.split(known)[-1],
}


@dataclass(frozen=True)
class Entry:
    """A word as numbers."""

    id: int
    letters: list[int]
    features: list[int]


@dataclass(frozen=True)
class Lexicon:
    """The words, letters, features and tags of the sentences that a tagger learnt from.

    words: how often each was seen, by its `key`; their ids are 2 and up in this order.
    letters: ids from 2. features: of each kind, ids from the kind's number and then on.
    tags: of each column, the wanted one first.

    >>> lexicon = Lexicon.build([["They", "buy", "books"]], {"upos": [["PRON", "VERB", "NOUN"]]})
    >>> lexicon.entry("buy").id, lexicon.entry("sell").id, lexicon.tags["upos"]
    (3, 1, ('NOUN', 'PRON', 'VERB'))
    """

    words: dict[str, int]
    letters: tuple[str, ...]
    features: dict[str, tuple[str, ...]]
    tags: dict[str, tuple[str, ...]]

    @classmethod
    def build(
        cls,
        sentences: Sequence[Sequence[str]],
        tags: Mapping[str, Iterable[Sequence[str]]],
        *,
        least_count: int = 1,
    ) -> "Lexicon":
        """Collect what is in sentences.

        sentences: their words. tags: of each column, the words' tags.
        least_count: how often a word is seen at least to have an id.
        """
        forms = Counter(word for sentence in sentences for word in sentence)
        words: Counter[str] = Counter()
        letters: Counter[str] = Counter()
        for form, count in forms.items():
            words[key(form)] += count
            letters.update(unicodedata.normalize("NFC", form))
        features: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
        for form in forms:
            for kind, feature in _features(form).items():
                features[kind][feature] += 1
        return cls(
            {word: n for word, n in _ranked(words) if n >= least_count},
            tuple(letter for letter, _ in _ranked(letters)),
            {
                kind: tuple(feature for feature, n in _ranked(some) if n >= LEAST_WORDS)
                for kind, some in features.items()
            },
            {
                column: tuple(tag for tag, _ in _ranked(Counter(t for s in some for t in s)))
                for column, some in tags.items()
            },
        )

    @property
    def size(self) -> int:
        """How many ids letters have."""
        return 2 + len(self.letters)

    @property
    def feature_size(self) -> int:
        """How many ids features have, all kinds together."""
        return len(self.features) + sum(map(len, self.features.values()))

    def counts(self) -> Tensor:
        """Give how often the word of each id was seen; padding and the unknown word never were."""
        return torch.tensor([0, 0, *self.words.values()])

    def knows(self, word: str) -> bool:
        """Tell whether a word has an id of its own."""
        return key(word) in self._ids

    def entry(self, word: str, most_letters: int = 24) -> Entry:
        """Give a word as numbers; of one with more letters, the first and the last of them."""
        text = unicodedata.normalize("NFC", word)
        if len(text) > most_letters:
            text = text[: most_letters // 2] + text[-(most_letters - most_letters // 2) :]
        ids = self._feature_ids
        features = [
            ids.get((kind, feature), number)
            for number, (kind, feature) in enumerate(_features(word).items())
        ]
        letters = [self._letter_ids.get(letter, UNKNOWN) for letter in text]
        return Entry(self._ids.get(key(word), UNKNOWN), letters, features)

    def save(self, path: Path) -> None:
        """Write it as JSON, for `load`; raise RunError if that fails."""
        record = {"format": FORMAT[0], "version": FORMAT[1], **vars(self)}
        names = ("format", "version", *self.__annotations__)
        text = json.dumps({name: record[name] for name in names}, ensure_ascii=False, indent=1)
        write_atomically(path, text.encode())

    @classmethod
    def load(cls, path: Path) -> "Lexicon":
        """Read what `save` wrote; raise DataError for a file that cannot be read or is damaged."""
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{path}: is no lexicon ({error}); copy or build it anew") from None
        match record:
            case {"format": name, "version": version} if (name, version) == FORMAT:
                pass
            case _:
                raise DataError(f"{path}: is no {FORMAT[0]} version {FORMAT[1]}; train anew")
        match record:
            case {
                "words": dict(words),
                "letters": [*letters],
                "features": dict(features),
                "tags": dict(tags),
            } if (
                all(type(count) is int for count in words.values())
                and tuple(features) == tuple(KINDS)
                and tags
                and all(map(_are_texts, (letters, *features.values(), *tags.values())))
            ):
                return cls(words, tuple(letters), _tuples(features), _tuples(tags))
            case _:
                raise DataError(f"{path}: is damaged; put a good copy there, or train anew")

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: id for id, word in enumerate(self.words, UNKNOWN + 1)}

    @cached_property
    def _letter_ids(self) -> dict[str, int]:
        return {letter: id for id, letter in enumerate(self.letters, UNKNOWN + 1)}

    @cached_property
    def _feature_ids(self) -> dict[tuple[str, str], int]:
        pairs = ((kind, feature) for kind, some in self.features.items() for feature in some)
        return {pair: id for id, pair in enumerate(pairs, len(self.features))}


class Speller:
    """Makes batches of sentences of words.

    Args:
        lexicon: what is known of words.
        most_letters: of a word that are read, see `Lexicon.entry`.

    Example:
        >>> lexicon = Lexicon.build([["They", "buy"]], {"upos": [["PRON", "VERB"]]})
        >>> batch = Speller(lexicon, 24).batch([["buy", "they", "Buy"], ["buy"]])
        >>> batch.ids.tolist(), batch.places.tolist()
        ([[2, 2], [3, 0], [2, 0]], [[0, 0], [1, 0], [2, 0]])
    """

    def __init__(self, lexicon: Lexicon, most_letters: int) -> None:
        self.lexicon = lexicon
        self._entry = lru_cache(DISTINCT)(lambda word: lexicon.entry(word, most_letters))

    def batch(self, sentences: Sequence[Sequence[str]]) -> Sentences:
        """Lay sentences, each of one word or more, side by side and spell each word once."""
        distinct: dict[str, int] = {}
        rows = [[distinct.setdefault(word, len(distinct)) for word in s] for s in sentences]
        places, lengths = pad(rows, 0)
        entries = [self._entry(word) for word in distinct]
        behind = torch.arange(len(places))[:, None] >= lengths
        ids = integers([entry.id for entry in entries])[places].masked_fill(behind, 0)
        features = integers([entry.features for entry in entries])
        letters = end_to_end([entry.letters for entry in entries])
        return Sentences(ids, lengths, places, letters, features)


def _features(word: str) -> dict[str, str]:
    known = key(word)
    return {kind: of(word, known) for kind, of in KINDS.items()}


def _ranked(counts: Counter[str]) -> list[tuple[str, int]]:
    """The most frequent first, then by alphabet."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _are_texts(values: object) -> bool:
    return isinstance(values, list | tuple) and all(isinstance(value, str) for value in values)


def _tuples(lists: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(some) for name, some in lists.items()}

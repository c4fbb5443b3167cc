"""The symbols of a model's text and their ids: characters, tokens or learned pieces."""

import base64
import io
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

from unrolled.errors import ConfigError, DataError
from unrolled.files import write_atomically

PAD, BOS, EOS, UNK = 0, 1, 2, 3
SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")

_FORMAT = ("unrolled-vocabulary", 1)  # name and version of the file


@dataclass(frozen=True)
class _Unit:
    """How a text becomes symbols, and symbols a text."""

    split: Callable[[str], list[str]]
    join: Callable[[Sequence[str]], str]


@dataclass(frozen=True)
class Vocabulary:
    """The symbols that a model knows, in the order of their ids; made by `build` or `load`.

    unit: what a symbol is, a row of `UNITS`: each character, each token between white space, each
    word or mark (marks within a word belong to it), or each piece of a trained sentencepiece model.
    entries: the symbols from id 4 on. Ids 0 to 3 are PAD, BOS, EOS and UNK; these are no texts, so
    a symbol of the data that reads "<pad>" has an id of its own.
    model: the serialized sentencepiece model; empty for other units.

    >>> vocabulary = Vocabulary.build(["K AE T", "K IH T"], "tokens")
    >>> vocabulary.entries, vocabulary.encode("K AE Z")
    (('K', 'T', 'AE', 'IH'), [4, 6, 3])
    """

    unit: str
    entries: tuple[str, ...]
    model: bytes = b""

    @classmethod
    def build(
        cls, texts: Iterable[str], unit: str, *, size: int | None = None, min_count: int = 1
    ) -> Self:
        """Count the symbols of texts and number them, the most frequent first, then by alphabet.

        unit: "characters", "tokens", "words" or "pieces"; pieces are learned by byte pair encoding
        (Sennrich et al. 2016, arXiv:1508.07909) and need the extra unrolled[text] and a size.
        size: the most ids, the 4 special ones included; at least 5. min_count: leave out symbols
        seen less often; pieces do not count.
        Raises ConfigError for other settings or without sentencepiece, DataError for no text.

        >>> len(Vocabulary.build(["banana"], "characters", min_count=2))
        6
        """
        if unit not in UNITS:
            raise ConfigError(f"the unit {unit!r} is unknown; choose one of {', '.join(UNITS)}")
        if (size is not None and size <= len(SPECIALS)) or min_count < 1:
            raise ConfigError(f"size {size} and min_count {min_count}; need above 4 and at least 1")
        if unit == "pieces":
            if size is None or min_count != 1:
                raise ConfigError("the unit pieces needs a size, such as 8000, and no min_count")
            model = _train_pieces(texts, size)
            return cls(unit, _pieces_of(model), model)
        split = UNITS[unit](b"").split
        counts = Counter(symbol for text in texts for symbol in split(text))
        ranked = sorted(counts, key=lambda symbol: (-counts[symbol], symbol))
        known = [symbol for symbol in ranked if counts[symbol] >= min_count]
        if not known:
            raise DataError(f"no {unit} to build a vocabulary from; give text, or lower min_count")
        return cls(unit, tuple(known[: None if size is None else size - len(SPECIALS)]))

    def __len__(self) -> int:
        return len(SPECIALS) + len(self.entries)

    def symbols(self, text: str) -> list[str]:
        """Split a text into its symbols, known or not.

        >>> Vocabulary("tokens", ("a",)).symbols("a  b")
        ['a', 'b']
        """
        return self._unit.split(text)

    def encode(self, text: str) -> list[int]:
        """Give the ids of a text's symbols, UNK for those not known, without BOS and EOS.

        >>> Vocabulary("characters", ("a", "b")).encode("abc")
        [4, 5, 3]
        """
        return self.ids(self.symbols(text))

    def ids(self, symbols: Iterable[str]) -> list[int]:
        """Give the ids of symbols, UNK for those not known.

        >>> Vocabulary("tokens", ("a", "b")).ids(["b", "c"])
        [5, 3]
        """
        return [self._ids.get(symbol, UNK) for symbol in symbols]

    def join(self, symbols: Sequence[str]) -> str:
        """Give the text of symbols, known or not.

        >>> Vocabulary("words", ("a",)).join(["(", "as", "said", ")", ":", "10:30", "!"])
        '(as said): 10:30!'
        """
        return self._unit.join(symbols)

    def decode(self, ids: Iterable[int]) -> str:
        """Give the text of ids: up to the first EOS, without PAD and BOS, UNK as "<unk>".

        Raises DataError for an id outside of the vocabulary.

        >>> Vocabulary("characters", ("a", "b")).decode([BOS, 4, 5, EOS, 4])
        'ab'
        """
        kept = []
        for id in ids:
            if id == EOS:
                break
            if id not in (PAD, BOS):
                kept.append(self.symbol(id))
        return self.join(kept)

    def symbol(self, id: int) -> str:
        """Give the symbol of one id, 0 to len - 1; raise DataError for another.

        >>> Vocabulary("characters", ("a", "b")).symbol(5)
        'b'
        """
        if not 0 <= id < len(self):
            raise DataError(f"id {id} in a vocabulary of {len(self)}; use the model's own")
        return SPECIALS[id] if id < len(SPECIALS) else self.entries[id - len(SPECIALS)]

    def unknown(self, text: str) -> list[str]:
        """Give the symbols of a text that have no id, each once, in their order.

        >>> Vocabulary("characters", ("a", "b")).unknown("abcxc")
        ['c', 'x']
        """
        return [symbol for symbol in dict.fromkeys(self.symbols(text)) if symbol not in self._ids]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the vocabulary as a JSON file, for `load`; raise RunError if that fails."""
        record = {
            "format": _FORMAT[0],
            "version": _FORMAT[1],
            "unit": self.unit,
            "symbols": self.entries,
            "model": base64.b64encode(self.model).decode(),
        }
        write_atomically(Path(path), json.dumps(record, ensure_ascii=False, indent=1).encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a vocabulary that `save` wrote, and check all of it.

        Raises DataError for a file that cannot be read, is damaged or is something else, and
        ConfigError for pieces without sentencepiece.
        """
        try:
            return cls(*_checked(json.loads(Path(path).read_text(encoding="utf-8"))))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise DataError(f"{path}: {reason}; name a vocabulary that can be read") from error
        except ConfigError:
            raise  # it is a ValueError too, but sentencepiece is missing: the file is good
        except (ValueError, RecursionError) as fault:
            raise DataError(f"{path}: is no vocabulary ({fault}); copy or build it anew") from fault

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: id for id, symbol in enumerate(self.entries, len(SPECIALS))}

    @cached_property
    def _unit(self) -> _Unit:
        return UNITS[self.unit](self.model)


def _checked(record: object) -> tuple[str, tuple[str, ...], bytes]:
    """Give the unit, the symbols and the model in a file's record, or the fact that is wrong."""
    match record:
        case {"format": name, "version": version} if (name, version) != _FORMAT:
            raise DataError(f"{name} version {version}, not {_FORMAT[0]} version {_FORMAT[1]}")
        case {
            "format": _,
            "version": _,
            "unit": unit,
            "symbols": [*symbols],
            "model": str(text),
        } if unit in tuple(UNITS) and all(isinstance(symbol, str) for symbol in symbols):
            model = base64.b64decode(text, validate=True)
        case _:
            raise DataError("format, version, unit, symbols or model is missing or of no use")
    if unit == "pieces":
        whole = tuple(symbols) == _pieces_of(model)
    else:
        split = UNITS[unit](b"").split
        known = len(set(symbols)) == len(symbols) > 0 and not model
        whole = known and all(split(symbol) == [symbol] for symbol in symbols)
    if not whole:
        raise DataError(f"its symbols are not the {unit} of one vocabulary")
    return unit, tuple(symbols), model


def _train_pieces(texts: Iterable[str], size: int) -> bytes:
    sentencepiece = _sentencepiece()
    sentences = list(texts)  # an error in an iterator would come out of the trainer unrecognisable
    if not any(text.strip() for text in sentences):
        raise DataError("no text to build a vocabulary of pieces from; give some")
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type="bpe",
            vocab_size=size,
            hard_vocab_limit=False,  # little text gives fewer pieces, not an error
            character_coverage=1.0,
            normalization_rule_name="identity",
            max_sentence_length=2**30,  # bytes; longer ones would be dropped without a word
            num_threads=1,  # the model depends on their number
            minloglevel=2,
            pad_id=PAD,
            bos_id=BOS,
            eos_id=EOS,
            unk_id=UNK,
            pad_piece=SPECIALS[PAD] + " ",  # no piece has a space, so none of the text is equal
            bos_piece=SPECIALS[BOS] + " ",
            eos_piece=SPECIALS[EOS] + " ",
            unk_piece=SPECIALS[UNK] + " ",
        )
    except RuntimeError as error:
        characters = len(set().union(*sentences))
        raise ConfigError(
            f"size {size} is too small for a text of {characters} characters; give a larger size"
        ) from error
    return model.getvalue()


def _pieces_of(model: bytes) -> tuple[str, ...]:
    try:
        pieces = _processor(model)
    except RuntimeError as error:
        raise DataError("its sentencepiece model is damaged") from error
    if (pieces.pad_id(), pieces.bos_id(), pieces.eos_id(), pieces.unk_id()) != (PAD, BOS, EOS, UNK):
        raise DataError("its sentencepiece model has other special ids")
    return tuple(map(pieces.id_to_piece, range(len(SPECIALS), len(pieces))))


def _processor(model: bytes) -> Any:
    return _sentencepiece().SentencePieceProcessor(model_proto=model)


def _sentencepiece() -> Any:
    try:
        import sentencepiece
    except ImportError as error:
        raise ConfigError(
            "the unit pieces needs sentencepiece; run pip install 'unrolled[text]'"
        ) from error
    return sentencepiece


def _pieces(model: bytes) -> _Unit:
    processor = _processor(model)
    return _Unit(partial(processor.encode, out_type=str), processor.decode_pieces)


_WORD = re.compile(r"\w+(?:[^\w\s]+\w+)*|[^\w\s]")
_APART = re.compile(r" (?=[.,;:!?)\]}%])|(?<=[(\[{$#]) ")  # spaces that nobody writes


def _join_words(symbols: Sequence[str]) -> str:
    return _APART.sub("", " ".join(symbols))


UNITS: dict[str, Callable[[bytes], _Unit]] = {  # serialized model -> how to split and join
    "characters": lambda model: _Unit(list, "".join),
    "tokens": lambda model: _Unit(str.split, " ".join),
    "words": lambda model: _Unit(_WORD.findall, _join_words),
    "pieces": _pieces,
}

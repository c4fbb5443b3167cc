"""What sequence to sequence learns from: pairs of texts, and the symbols of both sides."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unrolled.errors import ConfigError, DataError
from unrolled.tasks.lines import normalize
from unrolled.tasks.seq2seq import config
from unrolled.tasks.seq2seq.pairs import Pair, read_pairs, split_by_source
from unrolled.tasks.vocabulary import Vocabulary

SHARE = 0.05  # of the sources that is held out, where there is no dev file
HELD_OUT = Path("held out")  # what the pairs that were held out are called


@dataclass(frozen=True)
class Vocabularies:
    """The symbols of both sides."""

    source: Vocabulary
    target: Vocabulary

    @classmethod
    def build(cls, pairs: Sequence[Pair], data: config.Data) -> "Vocabularies":
        """Collect the symbols of the pairs to learn from."""
        if data.joint:
            texts = [text for p in pairs for text in (p.source, p.target)]
            both = _vocabulary(texts, data.source_unit, data.source_size, "source")
            return cls(both, both)
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
    train, dev, _ = split_by_source(train, shares=(1 - SHARE, SHARE, 0.0), seed=seed)
    if not dev:
        raise DataError(
            f"{data.train}: has too few sources to hold some out; name a file of others with --dev"
        )
    return train, dev


def fingerprint(file: Path | None, pairs: Sequence[Pair]) -> dict[str, str | int]:
    """Give what tells these pairs from others: the file's name, their number and a digest."""
    text = "\n".join(f"{pair.source}\t{pair.target}" for pair in pairs)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"file": str(file), "items": len(pairs), "sha256": digest}

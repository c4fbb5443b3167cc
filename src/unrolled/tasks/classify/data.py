"""What classification learns from: its items, and those that are held out."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unrolled.errors import DataError
from unrolled.files import write_atomically
from unrolled.tasks.classify import config
from unrolled.tasks.classify.inputs import Inputs, Series, Texts
from unrolled.tasks.classify.items import Item, holds_series, read_items
from unrolled.tasks.faults import Faults

HELD_OUT = Path("held out")  # what dev items without a file are called


@dataclass(frozen=True)
class Classes:
    """The names of the classes, in the order of their numbers.

    >>> classes = Classes.of([Item("", "a", "dog"), Item("", "b", "cat"), Item("", "c", "dog")])
    >>> classes.names
    ('cat', 'dog')
    """

    names: tuple[str, ...]

    @classmethod
    def of(cls, items: Sequence[Item]) -> "Classes":
        """Collect the labels of items, numbers in the order of their values."""
        names = {str(item.label) for item in items}
        whole = all(name.removeprefix("-").isdecimal() for name in names)
        return cls(tuple(sorted(names, key=int if whole else str)))

    def number(self, item: Item) -> int:
        """Give the number of an item's class; raise DataError for one that is not among these."""
        if item.label not in self.names:
            raise DataError(
                f"{item.where}: the label {item.label!r} is none of the {len(self.names)} that are "
                "learnt from; correct it, add such items there, or leave it out with --skip-bad"
            )
        return self.names.index(item.label)

    def save(self, folder: Path) -> None:
        """Write the names into a run."""
        text = json.dumps(self.names, ensure_ascii=False, indent=1)
        write_atomically(folder / "classes.json", text.encode())

    @classmethod
    def load(cls, folder: Path) -> "Classes":
        """Read the names from a run."""
        path = folder / "classes.json"
        try:
            names = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read ({error}); put a good copy there") from None
        if not (isinstance(names, list) and names and all(isinstance(n, str) for n in names)):
            raise DataError(f"{path}: is no list of names; put a good copy there")
        return cls(tuple(names))


def inputs_kind(path: Path | None) -> type[Inputs]:
    """Tell by its name what a model reads that learns from a file."""
    return Series if path is not None and holds_series(path) else Texts


def load_data(data: config.Data, seed: int, faults: Faults) -> tuple[list[Item], list[Item]]:
    """Read the items to learn from and the dev items, held out where there is no file for them."""
    if data.train is None:
        raise DataError("there is nothing to learn from; name a file of items with --train")
    train = read_items(data.train, data.fields, faults)
    if len(Classes.of(train).names) < 2:
        raise DataError(
            f"{data.train}: all labels are {train[0].label!r}; give two classes or more"
        )
    if data.dev is None:
        train, dev = split(train, data.held_out, seed)
        if not dev:
            raise DataError(
                f"{data.train}: has too few items to hold some out; name others with --dev"
            )
        return train, dev
    if holds_series(data.train) != holds_series(data.dev):
        raise DataError(f"{data.dev}: {data.train} holds other things: both texts, or both series")
    return train, known(read_items(data.dev, data.fields, faults), Classes.of(train), faults)


def known(items: Sequence[Item], classes: Classes, faults: Faults) -> list[Item]:
    """Keep the items whose class was learnt; the others are faults."""
    kept = []
    for item in items:
        try:
            classes.number(item)
        except DataError as fault:
            faults.found(*str(fault).split(": ", 1))
        else:
            kept.append(item)
    return kept


def split(items: Sequence[Item], share: float, seed: int) -> tuple[list[Item], list[Item]]:
    """Hold out a share of each class, rounded to whole items; equal items stay on one side.

    Which side an item is on depends on the seed and on the items, not on their order.

    >>> items = [Item("", f"{label}{i}", label) for label in "ab" for i in range(10)]
    >>> train, dev = split(items, 0.2, seed=0)
    >>> len(train), [item.label for item in dev]
    (16, ['a', 'a', 'b', 'b'])
    """
    classes: dict[str | None, dict[bytes, None]] = {}
    for item in items:
        classes.setdefault(item.label, {})[_digest(item, seed)] = None
    held_out = {
        digest
        for digests in classes.values()
        for digest in sorted(digests)[: round(share * len(digests))]
    }
    sides: tuple[list[Item], list[Item]] = ([], [])
    for item in items:
        sides[_digest(item, seed) in held_out].append(item)
    return sides


def _digest(item: Item, seed: int) -> bytes:
    content = item.content
    data = content.encode() if isinstance(content, str) else content.tobytes()
    return hashlib.blake2b(data, key=str(seed).encode(), digest_size=16).digest()

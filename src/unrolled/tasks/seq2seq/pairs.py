"""Files of text pairs, read strictly and line by line; grouped and split."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from unrolled.errors import ConfigError, DataError
from unrolled.tasks.lines import is_json, json_fields, opened, records, refuse_empty, shown


@dataclass(frozen=True)
class Pair:
    """A source text and its target text, with the number of the line they were read from."""

    source: str
    target: str
    line: int


@dataclass(frozen=True)
class Example:
    """A source text and every target that its pairs allow, none twice."""

    source: str
    targets: tuple[str, ...]


def read_pairs(
    path: str | os.PathLike[str],
    *,
    source_field: str = "source",
    target_field: str = "target",
    max_line: int = 20_000,
) -> Iterator[Pair]:
    r"""Read the pairs of a file one by one, in the order of its lines.

    A name that ends in .jsonl or .json means one JSON object per line, any other name two columns
    with one tab between them; a further .gz means compressed. The text is UTF-8, a byte order mark
    and CRLF line ends are dropped, blank lines are skipped, and nothing else is changed.

    path: the file. source_field, target_field: the fields of a JSON object, both strings.
    max_line: the most characters of a line, at least 1.
    Gives an iterator that holds one line in memory; errors come when it gets to them.
    Raises DataError, with the file and the line: for a file that cannot be read or has no pairs,
    text that is not UTF-8, a line too long, not two columns or fields, or with an empty side.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "words.tsv")
    ...     _ = path.write_text("cat\tK AE T\n")
    ...     list(read_pairs(path))
    [Pair(source='cat', target='K AE T', line=1)]
    """
    path = Path(path)
    fields = (source_field, target_field)
    parse = partial(json_fields, fields=fields) if is_json(path) else _two_columns
    empty = True
    with opened(path) as stream:
        for line, (source, target) in records(stream, str(path), parse, max_line):
            empty = False
            yield Pair(source, target, line)
    if empty:
        raise DataError(f"{path}: has no pairs; write one a line: a source, a tab, its target")


def read_sources(
    source: BinaryIO | str | os.PathLike[str],
    *,
    source_field: str = "source",
    name: str = "stdin",
    max_line: int = 20_000,
) -> Iterator[tuple[int, str]]:
    r"""Read what to predict from, line by line, as soon as each line is there.

    source: a binary stream such as sys.stdin.buffer, which stays open, or a file, whose name
    decides as for `read_pairs`. A line of plain text is one source, up to its first tab if it has
    one; blank lines are skipped, so the line numbers tell which answer belongs to which line.
    source_field: the field of a JSON object. name: what errors call a stream.
    max_line: the most characters of a line, at least 1.
    Gives (line number from 1, text). An empty input gives nothing and is no error.
    Raises DataError, with the name and the line, as `read_pairs` does.

    >>> import io
    >>> list(read_sources(io.BytesIO(b"cat\ndog\tD AO G\n")))
    [(1, 'cat'), (2, 'dog')]
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        parse = partial(json_fields, fields=(source_field,)) if is_json(path) else first_column
        with opened(path) as stream:
            for line, (text,) in records(stream, str(path), parse, max_line):
                yield line, text
    else:
        for line, (text,) in records(source, name, first_column, max_line):
            yield line, text


def group_references(pairs: Iterable[Pair]) -> list[Example]:
    """Join the pairs of the same source: a word with several pronunciations becomes one example.

    Gives the examples in the order in which their sources were first seen, and so their targets.

    >>> group_references([Pair("a", "AH", 1), Pair("b", "B IY", 2), Pair("a", "EY", 3)])
    [Example(source='a', targets=('AH', 'EY')), Example(source='b', targets=('B IY',))]
    """
    targets: dict[str, dict[str, None]] = {}
    for pair in pairs:
        targets.setdefault(pair.source, {})[pair.target] = None
    return [Example(source, tuple(allowed)) for source, allowed in targets.items()]


def split_by_source(
    pairs: Iterable[Pair], *, shares: tuple[float, float, float] = (0.9, 0.05, 0.05), seed: int
) -> tuple[list[Pair], list[Pair], list[Pair]]:
    """Split pairs into train, dev and test so that no source is on two sides.

    shares: the parts of the distinct sources, each 0 to 1, together 1; rounded to whole sources.
    seed: another seed gives another split. Which side a source is on depends on the seed and on
    the set of sources, not on their order; each side keeps the order of the pairs.
    Raises ConfigError for other shares.

    >>> pairs = [Pair(source, source.upper(), 1) for source in "abcdefghij"]
    >>> [len(side) for side in split_by_source(pairs, shares=(0.8, 0.1, 0.1), seed=0)]
    [8, 1, 1]
    """
    if len(shares) != 3 or not (min(shares) >= 0 and abs(sum(shares) - 1) < 1e-6):
        raise ConfigError(f"shares are {shares}; give three from 0 to 1 that add up to 1")
    pairs = list(pairs)
    # hash() differs from one Python process to the next; a split has to stay
    digests = {
        pair.source: hashlib.blake2b(f"{seed}:{pair.source}".encode()).digest() for pair in pairs
    }
    sources = sorted(digests, key=digests.__getitem__)
    dev = round(shares[0] * len(sources))
    test = round((shares[0] + shares[1]) * len(sources))
    side = {source: (rank >= dev) + (rank >= test) for rank, source in enumerate(sources)}
    split: tuple[list[Pair], list[Pair], list[Pair]] = ([], [], [])
    for pair in pairs:
        split[side[pair.source]].append(pair)
    return split


def _two_columns(text: str) -> Sequence[str]:
    columns = text.split("\t")
    if len(columns) != 2:
        raise DataError(
            f"columns: {len(columns)}, in {shown(text)}; write two: a source, one tab, its target"
        )
    for column, side in zip(columns, ("source", "target"), strict=True):
        refuse_empty(column, side)
    return columns


def first_column(text: str) -> Sequence[str]:
    r"""Give the source in a line of plain text, which is all of it up to its first tab.

    >>> first_column("cat\tK AE T")
    ('cat',)
    """
    column = text.split("\t", 1)[0]
    refuse_empty(column, "source")
    return (column,)

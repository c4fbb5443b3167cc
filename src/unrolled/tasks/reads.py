"""What a model reads of a batch, as text, for an inspection of its states."""

from collections.abc import Iterable, Sequence

from unrolled.inspect.texts import Read
from unrolled.tasks.vocabulary import Vocabulary

SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # what sentencepiece writes for a space


def read(
    part: str,
    vocabulary: Vocabulary,
    rows: Iterable[Sequence[int]],
    writes: Iterable[Sequence[int]] = (),
) -> Read:
    """Write the ids that a part of a model reads, and those that it is to write, as their symbols.

    >>> found = read("encoder", Vocabulary("tokens", ("to", "be")), [[4, 5]])
    >>> found.context(1, 0)
    'to be'
    """

    def named(some: Iterable[Sequence[int]]) -> list[list[str]]:
        return [[vocabulary.symbol(id).replace(SPACE, " ") for id in ids] for ids in some]

    between = " " if vocabulary.unit == "tokens" else ""
    return Read(part, named(rows), between, named(writes))

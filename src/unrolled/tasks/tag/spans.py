"""Tags that mark spans, such as names: B-person begins one, I-person goes on, O is outside."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True)
class Span:
    """Words start to end - 1 of a sentence, and what kind of thing they name."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True)
class SpanCounts:
    """How many spans are expected, found, and both: of the same kind, start and end.

    >>> counts = SpanCounts(expected=4, found=5, right=3)
    >>> counts.precision, counts.recall, round(counts.f1, 3)
    (0.6, 0.75, 0.667)
    """

    expected: int = 0
    found: int = 0
    right: int = 0

    @property
    def precision(self) -> float:
        """The share of the spans found that is right; 0 where none is found."""
        return self.right / max(self.found, 1)

    @property
    def recall(self) -> float:
        """The share of the spans expected that is found; 0 where none is expected."""
        return self.right / max(self.expected, 1)

    @property
    def f1(self) -> float:
        """The harmonic mean of both, 0 to 1."""
        return 2 * self.right / max(self.found + self.expected, 1)


def are_spans(tags: Iterable[str]) -> bool:
    """Tell whether tags look like spans: nothing but O, B-kind and I-kind, and some of the last.

    >>> are_spans(["O", "B-person", "I-person"]), are_spans(["O", "NOUN"])
    (True, False)
    """
    tags = set(tags)
    marks = {tag for tag in tags if tag[:2] in ("B-", "I-") and len(tag) > 2}
    return bool(marks) and tags - marks <= {"O"}


def spans(tags: Sequence[str]) -> list[Span]:
    """Find the spans that a sentence's tags mark.

    An I- that does not go on with a span of its kind begins one, as in the CoNLL shared tasks'
    scoring (Tjong Kim Sang & De Meulder 2003, arXiv:cs/0306050).

    >>> spans(["B-place", "I-place", "O", "I-person"])
    [Span(kind='place', start=0, end=2), Span(kind='person', start=3, end=4)]
    """
    return list(_spans(tags))


def _spans(tags: Sequence[str]) -> Iterator[Span]:
    kind, start = "", 0
    for i, tag in enumerate([*tags, "O"]):
        mark, named = tag[:2], tag[2:]
        if kind and not (mark == "I-" and named == kind):
            yield Span(kind, start, i)
            kind = ""
        if not kind and mark in ("B-", "I-"):
            kind, start = named, i


def count_spans(
    expected: Iterable[Sequence[str]], found: Iterable[Sequence[str]]
) -> dict[str, SpanCounts]:
    """Count the spans of sentences, expected and found, for each kind, in alphabetical order.

    >>> count_spans([["B-a", "O", "B-b"]], [["B-a", "O", "B-a"]])["a"]
    SpanCounts(expected=1, found=2, right=1)
    """
    sides: tuple[Counter[str], ...] = (Counter(), Counter(), Counter())
    for one, other in zip(expected, found, strict=True):
        wanted, given = set(spans(one)), set(spans(other))
        for side, some in zip(sides, (wanted, given, wanted & given), strict=True):
            side.update(span.kind for span in some)
    kinds = sorted(set().union(*sides))
    return {kind: SpanCounts(*(side[kind] for side in sides)) for kind in kinds}


def together(counts: Iterable[SpanCounts]) -> SpanCounts:
    """Add up the counts of all kinds.

    >>> together([SpanCounts(1, 2, 1), SpanCounts(2, 0, 0)])
    SpanCounts(expected=3, found=2, right=1)
    """
    kinds = list(counts)
    return SpanCounts(*(sum(getattr(c, n) for c in kinds) for n in SpanCounts.__annotations__))


def rules(tags: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Give which tags a sentence may begin with, and which may follow which: no I- out of nothing.

    Gives bools (tags,) and (tags, tags), as `CRF.decode` takes them.

    >>> begins, follows = rules(["O", "B-a", "I-a"])
    >>> begins.tolist(), follows.int().tolist()
    ([True, True, False], [[1, 1, 0], [1, 1, 1], [1, 1, 1]])
    """
    follows = [[_may_follow(one, other) for other in tags] for one in tags]
    return torch.tensor([_may_follow("O", tag) for tag in tags]), torch.tensor(follows)


def _may_follow(before: str, tag: str) -> bool:
    return not tag.startswith("I-") or before[2:] == tag[2:]


def keep_rules(tags: Sequence[str]) -> bool:
    """Tell whether a sentence's tags keep to `rules`, as IOB2 does; older forms begin with I-.

    >>> keep_rules(["O", "B-a", "I-a"]), keep_rules(["O", "I-a"])
    (True, False)
    """
    return all(_may_follow(one, other) for one, other in pairwise(["O", *tags]))

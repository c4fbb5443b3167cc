"""Scoring a trained tagger on sentences it has not seen."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unrolled.files import write_atomically
from unrolled.tasks.metrics import wilson
from unrolled.tasks.tag.annotator import Annotator
from unrolled.tasks.tag.lexicon import Lexicon
from unrolled.tasks.tag.sentences import Form, Sentence, write_sentence
from unrolled.tasks.tag.spans import SpanCounts, are_spans, count_spans, together

NAMED = 8  # tags that are named


@dataclass(frozen=True)
class Evaluation:
    """What a tagger made of sentences.

    predictions: the tags of each sentence. confusions: how often each (expected, found) came, right
    ones included. unknown: how many words were not seen in training, by `key`, and how many of
    those are wrong. unseen: words whose tag is none that training had. spans: of each kind; None
    where tags are no spans.
    """

    sentences: tuple[Sentence, ...]
    predictions: tuple[tuple[str, ...], ...]
    confusions: Counter[tuple[str, str]]
    unknown: tuple[int, int]
    unseen: Counter[str]
    spans: dict[str, SpanCounts] | None
    seconds: float

    @property
    def words(self) -> int:
        """How many words were tagged."""
        return self.confusions.total()

    @property
    def wrong(self) -> int:
        """How many of their tags are wrong."""
        return sum(n for (expected, found), n in self.confusions.items() if expected != found)

    @property
    def accuracy(self) -> float:
        """The share of words whose tag is right."""
        return 1 - self.wrong / self.words

    def lines(self) -> list[str]:
        """Say it in words."""
        low, high = wilson(self.words - self.wrong, self.words)
        lines = [
            f"accuracy       {self.accuracy:7.2%}  ({self.wrong:,} of {self.words:,} words wrong; "
            f"95 % interval {low:.2%} to {high:.2%})"
        ]
        words, wrong = self.unknown
        if words:
            lines.append(
                f"unknown words  {1 - wrong / words:7.2%}  ({wrong:,} of {words:,} wrong: words "
                "that the lexicon lacks, whatever their case and digits)"
            )
        if self.spans is not None:
            lines += _span_lines(self.spans)
        if self.unseen:
            names = ", ".join(tag for tag, _ in self.unseen.most_common(NAMED))
            lines.append(
                f"unseen tags    {self.unseen.total():7,}  words have tags that training never "
                f"had, so they are wrong: {names}{', ...' if len(self.unseen) > NAMED else ''}"
            )
        speed = self.words / max(self.seconds, 1e-9)
        return [*lines, f"time           {self.seconds:5.1f} s  ({speed:,.0f} words a second)"]

    def record(self) -> dict[str, Any]:
        """Give the figures as JSON."""
        words, wrong = self.unknown
        record: dict[str, Any] = {
            "tag_error_rate": self.wrong / self.words,
            "accuracy": self.accuracy,
            "words": self.words,
            "wrong_words": self.wrong,
            "unknown_words": words,
            "wrong_unknown_words": wrong,
            "unseen_tags": dict(self.unseen),
            "seconds": round(self.seconds, 2),
        }
        if self.spans is not None:
            kinds = {"all": together(self.spans.values()), **self.spans}
            record["spans"] = {
                kind: {**vars(c), "precision": c.precision, "recall": c.recall, "f1": c.f1}
                for kind, c in kinds.items()
            }
            record = {"span_error_rate": 1 - kinds["all"].f1, **record}
        return record

    def write(self, path: Path, form: Form) -> None:
        """Write the sentences with the predicted tags, in the form they came in."""
        pairs = zip(self.sentences, self.predictions, strict=True)
        write_atomically(path, "".join(write_sentence(s, form, p) for s, p in pairs).encode())


def evaluate(annotator: Annotator, sentences: Sequence[Sentence], *, spans: bool) -> Evaluation:
    """Tag sentences, one or more, and compare with the tags they have.

    spans: whether the tags mark spans that are scored as wholes.
    """
    before = time.monotonic()
    found = annotator.tag([sentence.words for sentence in sentences])
    seconds = time.monotonic() - before
    expected = [[tags[0] for tags in sentence.tags] for sentence in sentences]
    confusions: Counter[tuple[str, str]] = Counter()
    for wanted, given in zip(expected, found, strict=True):
        confusions.update(zip(wanted, given, strict=True))
    known = annotator.lexicon.knows
    unknown = [
        wanted != given
        for sentence, one, other in zip(sentences, expected, found, strict=True)
        for word, wanted, given in zip(sentence.words, one, other, strict=True)
        if not known(word)
    ]
    tags = set(annotator.tags)
    unseen = Counter(tag for some in expected for tag in some if tag not in tags)
    return Evaluation(
        tuple(sentences),
        tuple(map(tuple, found)),
        confusions,
        (len(unknown), sum(unknown)),
        unseen,
        count_spans(expected, found) if spans else None,
        seconds,
    )


def scored_as_spans(wanted: str, lexicon: Lexicon) -> bool:
    """Tell whether the tags of a lexicon's first column are scored as spans."""
    tags = next(iter(lexicon.tags.values()))
    return are_spans(tags) if wanted == "auto" else wanted == "yes"


def _span_lines(spans: dict[str, SpanCounts]) -> list[str]:
    rows = {"all spans": together(spans.values()), **spans}
    return [
        f"{name:14} {c.f1:7.2%}  F1: precision {c.precision:.2%}, recall {c.recall:.2%}; "
        f"{c.right:,} of {c.expected:,} found, {c.found - c.right:,} too many"
        for name, c in rows.items()
    ]

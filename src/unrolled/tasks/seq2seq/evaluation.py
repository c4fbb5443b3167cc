"""Scoring a trained model on pairs it has not seen."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from unrolled.files import write_atomically
from unrolled.tasks.metrics import ErrorRates, error_rates, wilson
from unrolled.tasks.progress import Progress
from unrolled.tasks.seq2seq.pairs import Example
from unrolled.tasks.seq2seq.quality import METRICS, Quality
from unrolled.tasks.seq2seq.translator import Prediction, Translator

ESCAPED = str.maketrans({"\t": "\\t", "\n": "\\n", "\r": "\\r"})  # would end a line or a column
CHUNK = 2048  # sources between two reports of progress


@dataclass(frozen=True)
class Evaluation:
    """What a model made of a set of examples."""

    examples: tuple[Example, ...]
    predictions: tuple[Prediction, ...]  # the best for each
    references: tuple[tuple[list[str], ...], ...]  # the symbols of each target of each
    rates: ErrorRates
    quality: Quality | None  # of the texts, where the settings name a metric
    seconds: float

    def lines(self) -> list[str]:
        """Say it in words."""
        cut = sum(p.unread > 0 for p in self.predictions)
        low, high = wilson(self.rates.wrong_words, self.rates.words)
        quality = self.quality or Quality({}, "")
        return [
            *(f"{name.replace('_', ' '):<19}{v:6.2f}" for name, v in quality.figures.items()),
            *([f"computed as        {quality.signature}"] if quality.signature else []),
            f"word error rate    {self.rates.word_error_rate:7.2%}  "
            f"({self.rates.wrong_words:,} of {self.rates.words:,} sequences wrong; "
            f"95 % interval {low:.2%} to {high:.2%})",
            f"symbol error rate  {self.rates.symbol_error_rate:7.2%}  "
            f"({self.rates.symbol_edits:,} edits in {self.rates.symbols:,} symbols)",
            *([f"sources cut        {cut:,} of {len(self.predictions):,}"] if cut else []),
            f"time               {self.seconds:5.1f} s  "
            f"({self.rates.words / max(self.seconds, 1e-9):,.0f} sequences a second)",
        ]

    def record(self) -> dict[str, float | str]:
        """Give the figures as JSON."""
        quality = self.quality or Quality({}, "")
        return {
            **quality.figures,
            **({"signature": quality.signature} if quality.signature else {}),
            "word_error_rate": self.rates.word_error_rate,
            "symbol_error_rate": self.rates.symbol_error_rate,
            **asdict(self.rates),
            "sources_cut": sum(p.unread > 0 for p in self.predictions),
            "seconds": round(self.seconds, 2),
        }

    def write(self, path: Path) -> None:
        """Write source, prediction and references, one line for each source."""
        lines = (
            "\t".join(
                text.translate(ESCAPED) for text in (example.source, found.text, *example.targets)
            )
            + "\n"
            for example, found in zip(self.examples, self.predictions, strict=True)
        )
        write_atomically(path, "".join(lines).encode())


def evaluate(
    translator: Translator,
    examples: Sequence[Example],
    progress: Progress | None = None,
    *,
    weights: bool = True,
) -> Evaluation:
    """Predict every source and compare with its references.

    A source with several references is right if it equals any of them.

    Args:
        translator: the trained model.
        examples: at least one.
        progress: where to say how far it is; by default nowhere.
        weights: also keep where attention looked.

    Returns:
        The predictions, their error rates, and how long it took.

    Raises:
        DataError: there are no examples.
    """
    before = time.monotonic()
    predictions: list[Prediction] = []
    for start in range(0, len(examples), CHUNK):
        if progress:
            progress.note(f"decoding source {start + 1:,} of {len(examples):,} ...")
        sources = [e.source for e in examples[start : start + CHUNK]]
        found = translator.translate(sources, weights=weights)
        predictions += [best for best, *_ in found]
    target = translator.vocabularies.target
    references = tuple(tuple(map(target.symbols, e.targets)) for e in examples)
    rates = error_rates(references, [p.symbols for p in predictions])
    metric = METRICS.get(translator.decoding.metric)
    texts = [p.text for p in predictions], [e.targets for e in examples]
    quality = metric(*texts) if metric else None
    seconds = time.monotonic() - before
    return Evaluation(tuple(examples), tuple(predictions), references, rates, quality, seconds)

"""How good whole texts are, where many are right: BLEU for translations, ROUGE for summaries."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from unrolled.errors import ConfigError

_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Quality:
    """Figures from 0 to 100, higher is better, and how exactly they were computed."""

    figures: dict[str, float]
    signature: str


def bleu(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Quality:
    """Compare translations: BLEU (Papineni et al. 2002) and chrF (Popović 2015), by sacrebleu.

    Args:
        predictions: one text each, as people write it: sacrebleu cuts it into words itself.
        references: one text or more for each; those that have fewer than others are scored on
            the ones they have.

    Raises:
        ConfigError: sacrebleu is not installed.
    """
    try:
        import sacrebleu
    except ImportError as error:
        raise ConfigError("BLEU needs sacrebleu; run pip install 'unrolled[text]'") from error
    most = max(map(len, references))
    columns: Sequence[Any] = [
        [texts[i] if i < len(texts) else None for texts in references] for i in range(most)
    ]
    measures = {"bleu": sacrebleu.BLEU(), "chrf": sacrebleu.CHRF()}
    scores = {
        name: measure.corpus_score(list(predictions), columns).score
        for name, measure in measures.items()
    }
    return Quality(scores, str(measures["bleu"].get_signature()))


def rouge(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Quality:
    """Compare summaries: ROUGE-1, ROUGE-2 and ROUGE-L, F1 (Lin 2004, aclanthology W04-1013).

    Words are runs of letters and digits in lower case, not stemmed. A summary with several
    references counts the one it is most like. The mean over all summaries is given.

    Args:
        predictions: one text each.
        references: one text or more for each.

    Example:
        >>> found = rouge(["the cat sat"], [["the cat sat down"]]).figures
        >>> {name: round(value, 1) for name, value in found.items()}
        {'rouge_1': 85.7, 'rouge_2': 80.0, 'rouge_l': 85.7}
    """

    def of(name: str) -> float:
        return 100 * fmean(
            max(ROUGE[name](_words(prediction), _words(text)) for text in texts)
            for prediction, texts in zip(predictions, references, strict=True)
        )

    return Quality({name: of(name) for name in ROUGE}, "F1|case:lower|stem:no|refs:max")


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _f1(common: int, found: int, wanted: int) -> float:
    return 2 * common / (found + wanted) if found + wanted else 0.0


def _shared_runs(found: list[str], wanted: list[str], size: int) -> float:
    """F1 of the runs of `size` words that both texts have."""
    a, b = (
        Counter(tuple(words[i : i + size]) for i in range(len(words) - size + 1))
        for words in (found, wanted)
    )
    return _f1((a & b).total(), a.total(), b.total())


def _longest_common(found: list[str], wanted: list[str]) -> float:
    """F1 of the longest sequence of words that both texts have, in order, gaps allowed."""
    row = [0] * (len(wanted) + 1)
    for word in found:
        diagonal = 0
        for j, other in enumerate(wanted, 1):
            best = diagonal + 1 if word == other else max(row[j], row[j - 1])
            diagonal, row[j] = row[j], best
    return _f1(row[-1], len(found), len(wanted))


ROUGE: dict[str, Callable[[list[str], list[str]], float]] = {
    "rouge_1": lambda found, wanted: _shared_runs(found, wanted, 1),
    "rouge_2": lambda found, wanted: _shared_runs(found, wanted, 2),
    "rouge_l": _longest_common,
}

METRICS: dict[str, Callable[[Sequence[str], Sequence[Sequence[str]]], Quality]] = {
    "bleu": bleu,
    "rouge": rouge,
}

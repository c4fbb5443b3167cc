"""Figures: how people read them, and how a run keeps them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unrolled.errors import RunError
from unrolled.files import write_atomically
from unrolled.tasks.run import Run

NOT_FIGURES = {"step", "epoch", "seconds", "learning_rate", "train_loss"}  # what leads to a score
SHARES = ("rate", "accuracy", "f1", "precision", "recall", "coverage")  # shown in per cent


def figures_of(record: Mapping[str, float]) -> dict[str, float]:
    """Take the scores out of a record of a run's metrics.

    >>> figures_of({"step": 10, "epoch": 0.5, "perplexity": 12.5})
    {'perplexity': 12.5}
    """
    return {name: value for name, value in record.items() if name not in NOT_FIGURES}


def in_words(figures: Mapping[str, float], between: str = "  ") -> str:
    """Write figures as people read them; shares, which their names tell, in per cent.

    >>> in_words({"word_error_rate": 0.25, "perplexity": 12.5})
    'word error rate 25.00%  perplexity 12.5'
    """
    return between.join(
        f"{name.replace('_', ' ')} " + (f"{value:.2%}" if is_share(name) else f"{value:.4g}")
        for name, value in figures.items()
    )


def is_share(name: str) -> bool:
    """Tell by its name whether a figure is a share, 0 to 1.

    >>> is_share("entity_f1"), is_share("perplexity")
    (True, False)
    """
    return any(word in SHARES for word in name.split("_"))


def save_scores(run: Run, name: str, data: Path, figures: Mapping[str, Any]) -> None:
    """Write `scores-NAME.json` into a run: what was scored on, and the figures, the first first.

    Raises:
        RunError: it cannot be written.
    """
    text = json.dumps({"data": str(data), **figures}, indent=2) + "\n"
    write_atomically(run.path / f"scores-{name}.json", text.encode())


def load_scores(run: Run) -> dict[str, dict[str, Any]]:
    """Read all that `save_scores` wrote into a run, by name.

    Raises:
        RunError: a file is damaged.
    """
    found = {}
    for file in sorted(run.path.glob("scores-*.json")):
        try:
            record = dict(json.loads(file.read_bytes()))
            record["data"]
        except (ValueError, KeyError, TypeError):
            raise RunError(f"{file}: holds no scores; delete it, and evaluate again") from None
        found[file.stem.removeprefix("scores-")] = record
    return found

"""Settings that every task has: how to train. Those of its own stand in the task's folder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Literal

from unrolled.errors import ConfigError

Range = tuple[str, Callable[[float], bool]]  # in words, and the test; NaN and infinity fail all
POSITIVE: Range = ("above 0", lambda value: 0 < value < inf)
FROM_ZERO: Range = ("at least 0", lambda value: 0 <= value < inf)
FROM_ONE: Range = ("at least 1", lambda value: 1 <= value < inf)
SHARE: Range = ("at least 0 and below 1", lambda value: 0 <= value < 1)
SIZE: Range = ("at least 5: four symbols are special", lambda value: 5 <= value < inf)
SEED: Range = ("from 0 to 4294967295", lambda value: 0 <= value < 2**32)
THREADS: Range = ("from 0 to 1024", lambda value: 0 <= value <= 1024)


def check(settings: object, ranges: Mapping[str, Range]) -> None:
    """Raise a ConfigError that names the first setting outside of its range.

    Example:
        >>> check(Training(batch=8), {"batch": FROM_ONE})
        >>> Training(batch=0)
        Traceback (most recent call last):
        unrolled.errors.ConfigError: batch is 0; give a number at least 1
    """
    for name, (words, holds) in ranges.items():
        value = getattr(settings, name)
        if not holds(value):
            raise ConfigError(f"{name.replace('_', '-')} is {value}; give a number {words}")


@dataclass(frozen=True)
class Training:
    """The training loop."""

    epochs: float = 10.0
    """Times that all that is learnt from is seen."""
    least_steps: int = 0
    """Steps at least, however short an epoch is."""
    minutes: float = 0.0
    """Plan for at most this long, anew after every scoring; 0 is no limit."""
    batch: int = 256
    """Items in a step."""
    learning_rate: float = 2e-3
    """Highest learning rate of AdamW."""
    warmup: int = 300
    """Steps over which the learning rate rises; it then falls along a cosine."""
    final_rate: float = 0.02
    """Where the learning rate ends, as a share of the highest."""
    weight_decay: float = 0.01
    """AdamW's weight decay, of matrices only."""
    clip: float = 1.0
    """Norm that the gradient is clipped to."""
    smoothing: float = 0.1
    """Label smoothing: probability spread over all symbols."""
    average: float = 0.998
    """Decay of the average of weights that is scored and kept; 0 keeps the last weights."""
    patience: int = 0
    """Scorings without a better one before training stops; 0 never stops early."""
    score_every: float = 1.0
    """Epochs between scorings of the dev data."""
    score_steps: int = 200
    """Steps between scorings at least."""
    score_items: int = 2000
    """Dev items that are scored at most."""
    keep_every: float = 30.0
    """Seconds between checkpoints."""
    keep: int = 3
    """Checkpoints that are kept."""
    seed: int = 1
    """Seed of weights, order and dropout."""
    threads: int = 0
    """Threads of the processor; 0 takes torch's choice."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ...; auto takes a GPU where there is one."""
    precision: Literal["auto", "float32", "high", "bfloat16"] = "auto"
    """bfloat16 is mixed precision, auto where it is fast; high: products in 16 bits, or TF32."""
    tensorboard: bool = False
    """Also write curves for TensorBoard into the run."""
    watch: bool = False
    """Let a doctor look at a batch now and then, and note what is wrong."""

    def __post_init__(self) -> None:
        check(
            self,
            {
                "epochs": POSITIVE,
                "least_steps": FROM_ZERO,
                "minutes": FROM_ZERO,
                "batch": FROM_ONE,
                "learning_rate": POSITIVE,
                "warmup": FROM_ZERO,
                "final_rate": SHARE,
                "weight_decay": FROM_ZERO,
                "clip": POSITIVE,
                "smoothing": SHARE,
                "average": SHARE,
                "patience": FROM_ZERO,
                "score_every": POSITIVE,
                "score_steps": FROM_ONE,
                "score_items": FROM_ONE,
                "keep_every": FROM_ZERO,
                "keep": FROM_ONE,
                "seed": SEED,
                "threads": THREADS,
            },
        )


@dataclass(frozen=True)
class InspectConfig:
    """Look inside a run: what is wrong through time, on a page with pictures."""

    rows: int = 32
    """Items of the batch that is looked at."""
    lag: int = 0
    """Steps over which the task is known to need memory; 0: not known."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ...; auto takes a GPU where there is one."""

    def __post_init__(self) -> None:
        check(self, {"rows": FROM_ONE, "lag": FROM_ZERO})

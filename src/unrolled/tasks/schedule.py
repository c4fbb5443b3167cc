"""The learning rate over a training."""

import math

from unrolled.tasks.config import Training


def learning_rate(settings: Training, step: int, steps: int) -> float:
    """Give the learning rate of a step: a linear rise, then half a cosine down.

    Args:
        settings: highest and last rate, and the steps of the rise.
        step: the updates done before, from 0.
        steps: those of the whole training, at least 1.

    Example:
        >>> settings = Training(learning_rate=1.0, warmup=10, final_rate=0.0)
        >>> [round(learning_rate(settings, step, 100), 2) for step in (0, 9, 50, 100)]
        [0.1, 0.98, 0.5, 0.0]
    """
    rise = min(1.0, (step + 1) / max(1, settings.warmup))
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
    return settings.learning_rate * rise * (settings.final_rate + (1 - settings.final_rate) * fall)

"""Numbers with their 95 % intervals."""

import math
from dataclasses import dataclass
from statistics import NormalDist

from torch import Tensor

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A value, and the interval that holds it with a confidence of 95 %."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


def interval(samples: Tensor) -> Interval:
    """Give the mean of independent samples; nothing is known of its spread from a single one.

    Example:
        >>> import torch
        >>> str(interval(torch.tensor([1.0, 2.0, 3.0, 2.0])))
        '2 (1.2 to 2.8)'
    """
    values = samples.double().flatten()
    mean, count = float(values.mean()), len(values)
    if count < 2:
        return Interval(mean, -math.inf, math.inf)
    half = float(values.std()) / math.sqrt(count) * NormalDist().inv_cdf((1 + LEVEL) / 2)
    return Interval(mean, mean - half, mean + half)


def median(samples: Tensor) -> Interval:
    """Give the median of independent samples; its interval needs nothing known of how they lie.

    The interval's ends are order statistics: the number of samples below the median is binomial.
    Infinite samples (larger than could be measured) have their place like any other.

    Example:
        >>> import torch
        >>> str(median(torch.arange(1.0, 12.0)))
        '6 (2 to 10)'
    """
    values = samples.double().flatten().sort().values
    count = len(values)
    middle = (float(values[(count - 1) // 2]), float(values[count // 2]))
    value = middle[0] if middle[0] == middle[1] else sum(middle) / 2
    known = [k for k in range(count // 2) if _at_most(k, count) <= (1 - LEVEL) / 2]
    if not known:
        return Interval(value, -math.inf, math.inf)
    return Interval(value, float(values[known[-1]]), float(values[count - 1 - known[-1]]))


def _at_most(successes: int, trials: int) -> float:
    """Give the probability of at most so many heads in that many tosses of a coin."""
    return sum(math.comb(trials, k) for k in range(successes + 1)) / 2**trials

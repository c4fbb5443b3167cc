"""Sequences made by rule, on which memory is measured: the adding problem and copy memory."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

SYMBOLS = 8  # that copy memory may be asked to recall
ADDING_GUESS = 1 / 6  # mean squared error of always answering 1: the variance of the sum


@dataclass(frozen=True)
class Batch:
    """Sequences, and what is asked of a model that has read them."""

    xs: Tensor  # (time, batch, features)
    targets: Tensor  # adding: (batch,) sums; copy: (recalled, batch) symbols


def adding(lag: int, batch: int) -> Batch:
    """Draw the adding problem: the sum of two marked numbers, asked for at the end.

    Each step gives a number from 0 to 1 and a mark, which is 1 at two steps: one of the first
    tenth, one of the second half. Hochreiter & Schmidhuber 1997, section 5.4,
    doi:10.1162/neco.1997.9.8.1735; departs from it in: all sequences are `lag` long, numbers are
    from 0, and the first mark comes early, so that its number must be kept for most of them.

    Args:
        lag: steps of a sequence, at least 2.
        batch: sequences.

    Example:
        >>> found = adding(40, 3)
        >>> found.xs.shape, found.targets.shape, found.xs[..., 1].sum(0).tolist()
        (torch.Size([40, 3, 2]), torch.Size([3]), [2.0, 2.0, 2.0])
    """
    numbers, marks = torch.rand(lag, batch), torch.zeros(lag, batch)
    rows = torch.arange(batch)
    marks[torch.randint(0, max(1, lag // 10), (batch,)), rows] = 1
    marks[torch.randint(lag // 2, lag, (batch,)), rows] = 1
    return Batch(torch.stack([numbers, marks], -1), (numbers * marks).sum(0))


def copy_memory(lag: int, batch: int, recalled: int) -> Batch:
    """Draw copy memory: some symbols, then `lag` blanks, then they are asked for in their order.

    Hochreiter & Schmidhuber 1997; in this form Arjovsky, Shah & Bengio 2016, arXiv:1511.06464,
    section 5.1, with 10 symbols to recall.

    Args:
        lag: blanks between the last symbol and the sign to begin.
        batch: sequences.
        recalled: symbols to recall.

    Example:
        >>> found = copy_memory(20, 3, recalled=2)  # 2 symbols, 20 blanks, the sign, a blank
        >>> found.xs.shape, found.targets.shape
        (torch.Size([24, 3, 10]), torch.Size([2, 3]))
    """
    blank, sign = SYMBOLS, SYMBOLS + 1
    targets = torch.randint(0, SYMBOLS, (recalled, batch))
    ids = torch.full((lag + 2 * recalled, batch), blank)
    ids[:recalled] = targets
    ids[recalled + lag] = sign
    return Batch(F.one_hot(ids, SYMBOLS + 2).float(), targets)

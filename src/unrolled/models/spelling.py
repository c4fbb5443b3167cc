"""Words from their letters: many short sequences laid end to end, so that none is padded."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn

from unrolled.cell import CellFactory
from unrolled.layers.recurrent import Recurrent

LEAST_STEPS = 16  # of a row: very short rows are many, and little is gained by them


@dataclass(frozen=True)
class Letters:
    """Words as rows of letters, each row several words end to end.

    ids: (steps, rows) letters; 0 fills a row up. begins: (steps, rows) bool, where a word begins,
    and where the filling does. first, last: (words,) the places of each word's first and last
    letter among the steps * rows places, row by row of a step.
    """

    ids: Tensor
    begins: Tensor
    first: Tensor
    last: Tensor

    def to(self, device: torch.device) -> "Letters":
        """Give the same on a device."""
        return Letters(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def end_to_end(words: Sequence[Sequence[int]]) -> Letters:
    """Lay words of letters end to end in rows of one length, with as little filling as may be.

    Each row takes the longest word that it still has room for (first fit, decreasing). Read with
    `begins` as resets, that is every word by itself: a recurrence over 2,000 letters of 350 words
    takes 16 steps of 125 rows, where padding to the longest word would have it take 5,000 letters.

    Args:
        words: one or more, each one letter or more.

    Example:
        >>> letters = end_to_end([[1] * 9, [2] * 16, [3] * 7])
        >>> letters.ids.shape, letters.first.tolist(), letters.last.tolist()
        (torch.Size([16, 2]), [1, 0, 19], [17, 30, 31])
    """
    waiting: dict[int, list[int]] = {}
    for i, word in enumerate(words):
        waiting.setdefault(len(word), []).append(i)
    steps, sizes, rows = max(LEAST_STEPS, *waiting), sorted(waiting, reverse=True), 0
    laid: list[int] = []  # words
    row, step, size = (list[int]() for _ in range(3))  # where each begins, and its letters
    filling: list[tuple[int, int]] = []  # the row and the step at which it begins
    while sizes:
        taken, room = [], steps  # what the next row takes of each size
        for long in sizes:
            if count := min(room // long, len(waiting[long])):
                taken.append((long, count, steps - room))
                room -= count * long
        alike = min(len(waiting[long]) // count for long, count, _ in taken)  # rows that take that
        for long, count, first in taken:
            here = waiting[long]
            laid += here[: -count * alike - 1 : -1]
            del here[-count * alike :]
            size += [long] * (count * alike)
            row += [rows + i for i in range(alike) for _ in range(count)]
            step += list(range(first, first + count * long, long)) * alike
        if room:
            filling += [(rows + i, steps - room) for i in range(alike)]
        sizes = [long for long in sizes if waiting[long]]
        rows += alike

    which, lengths = _tensor(laid), _tensor(size)
    first = _tensor(step) * rows + _tensor(row)
    letters = _tensor(list(chain.from_iterable(words[i] for i in laid)))
    before = torch.repeat_interleave(lengths.cumsum(0) - lengths, lengths)
    numbers = torch.arange(len(letters)) - before  # of each letter in its word
    ids = torch.zeros(steps * rows, dtype=torch.long)
    ids[torch.repeat_interleave(first, lengths) + numbers * rows] = letters
    begins = torch.zeros(steps * rows, dtype=torch.bool)
    begins[first] = True
    begins[[place * rows + line for line, place in filling]] = True
    own = torch.empty_like(which)
    own[which] = torch.arange(len(words))
    last = first + (lengths - 1) * rows
    shape = (steps, rows)
    return Letters(ids.view(shape), begins.view(shape), first[own], last[own])


def _tensor(numbers: Sequence[int]) -> Tensor:
    """Give integers as a tensor; NumPy reads a list in a quarter of PyTorch's time."""
    return torch.from_numpy(np.array(numbers, dtype=np.int64))


class Spelling(nn.Module):
    """A vector for each word from its letters: a recurrence over them, in both directions.

    Ling et al. 2015, arXiv:1508.02096; Lample et al. 2016, arXiv:1603.01360.

    Args:
        letters: how many there are; 0 is filling.
        embedding: features of a letter.
        hidden: units in each direction.
        cell: what makes the cells.

    Example:
        >>> from unrolled import zoo
        >>> spelling = Spelling(30, embedding=8, hidden=16, cell=zoo.GRU)
        >>> spelling(end_to_end([[3, 4], [5], [6, 7, 8]])).shape
        torch.Size([3, 32])
    """

    def __init__(self, letters: int, *, embedding: int, hidden: int, cell: CellFactory) -> None:
        super().__init__()
        self.embedding = nn.Embedding(letters, embedding, padding_idx=0)
        self.recurrent = Recurrent(cell, embedding, hidden, bidirectional=True)
        self.outputs = self.recurrent.outputs

    def forward(self, letters: Letters) -> Tensor:
        """Give what each direction has after its last letter of each word, (words, outputs)."""
        ys, _ = self.recurrent(self.embedding(letters.ids), resets=letters.begins)
        forwards, backwards = ys.flatten(0, 1).chunk(2, -1)
        return torch.cat([forwards[letters.last], backwards[letters.first]], -1)

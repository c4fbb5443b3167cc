"""What recurrences read, as text: the contexts behind states, the names of what is looked at."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.inspect.figures import shown
from unrolled.inspect.recording import Recurrence

CONTEXT = 32  # characters of a context that are shown, the last ones
CUT = "\N{HORIZONTAL ELLIPSIS}"


@dataclass(frozen=True)
class Read:
    """The symbols that the recurrences of one part of a model read, row by row."""

    part: str  # the part's place in the model: names of its recurrences begin with it
    rows: Sequence[Sequence[str]]  # in their own order, one for each step
    between: str = ""  # what stands between two symbols of a text
    writes: Sequence[Sequence[str]] = ()  # what each step was to write, where that is symbols too

    def covers(self, name: str) -> bool:
        """Say whether something of that name is in this part."""
        return f"{name} ".startswith((f"{self.part} ", f"{self.part}."))

    def ids(self, recurrence: Recurrence) -> Tensor | None:
        """Number the symbols (time, batch), -1 behind a row's end; None where they do not fit."""
        time, batch = recurrence.active.shape
        if len(self.rows) != batch or max(map(len, self.rows), default=0) > time:
            return None
        numbers: dict[str, int] = {}
        ids = torch.full((batch, time), -1)
        for place, row in enumerate(self.rows):
            found = [numbers.setdefault(symbol, len(numbers)) for symbol in row]
            ids[place, : len(row)] = torch.tensor(found, dtype=torch.long)
        return ids.T

    def context(self, step: int, row: int) -> str:
        """Give what stands up to a step of a row, its end if it is long.

        Example:
            >>> Read("encoder", [list("a long sentence about nothing at all")]).context(34, 0)
            '…ong sentence about nothing at al'
        """
        text = self.between.join(self.rows[row][: step + 1])
        ended = text[-1:].replace(" ", "\N{OPEN BOX}")  # what could not be seen
        text = text[:-1] + ended
        return shown(text if len(text) <= CONTEXT else CUT + text[-CONTEXT:])

"""What the doctor looks at, and what it says."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from unrolled.cell import State
from unrolled.inspect.recording import Recurrence
from unrolled.inspect.through_time import steps_above

SHORTEST = 8  # steps back; of shorter sequences no reach is judged


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong."""

    illness: str  # its row in the table
    title: str  # one line
    text: str  # what it means, in plain words
    change: str  # what to do
    evidence: Mapping[str, float] = field(default_factory=dict)  # measured, by what it is
    where: str = ""  # the recurrence, and its gate where it is one's; none: the training


@dataclass(frozen=True)
class Examined:
    """One recurrence of a run."""

    recurrence: Recurrence
    back: Tensor | None  # (time, batch) gradient of its last state, from its last step back
    by_loss: Tensor | None  # (time,) gradient of the loss by its states, averaged over rows
    by_state: State  # (time,) the same by each state alone; none where no gradient was followed

    @property
    def name(self) -> str:
        """Its place in the model."""
        return self.recurrence.name

    @property
    def judged(self) -> bool:
        """Whether its sequences are long enough, and whole, to tell how far it reaches back."""
        long = self.recurrence.spans > SHORTEST
        return self.back is not None and self.recurrence.trouble is None and bool(long.any())

    def grown(self) -> tuple[Tensor, int]:
        """Give the gradient back through time, over that at the last step; it must be `judged`.

        Returns:
            Its median over rows, (steps + 1,), and the steps back that the median row has.
        """
        back, steps = self._rows()
        middle = int(steps.median())
        runs = torch.arange(middle + 1, device=back.device)[:, None] <= steps
        grown = torch.where(runs, back[: middle + 1], math.nan)
        return grown.nanmedian(1).values, middle

    def reach(self, fraction: float) -> tuple[float, float]:
        """Tell how far the last state reaches back, and how far it could; it must be `judged`.

        Args:
            fraction: of the gradient at the last step, below which it is lost.

        Returns:
            The median over rows of the steps, and of the steps that there are.
        """
        back, steps = self._rows()
        return float(steps_above(back, fraction).median()), float(steps.median())

    def _rows(self) -> tuple[Tensor, Tensor]:
        """Give (time, rows) for the rows that are long enough, and the steps back of each."""
        assert self.back is not None
        steps = self.recurrence.spans - 1
        long = steps >= SHORTEST
        back = self.back[:, long]
        return back / back[0].clamp_min(torch.finfo(back.dtype).tiny), steps[long]


@dataclass(frozen=True)
class Examination:
    """All that the doctor looks at."""

    recurrences: tuple[Examined, ...]
    loss: float
    gradient_norm: float | None  # of the loss by all parameters together
    metrics: tuple[Mapping[str, float], ...]
    lag: int | None

"""What the doctor looks at, and what it says."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from unrolled.inspect.recording import Recurrence


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong."""

    illness: str  # its row in the table
    title: str  # one line
    text: str  # what it means, in plain words
    change: str  # what to do
    evidence: Mapping[str, float] = field(default_factory=dict)  # measured, by what it is


@dataclass(frozen=True)
class Examined:
    """One recurrence of a run."""

    recurrence: Recurrence
    back: Tensor | None  # (time, batch) gradient of its last state, from its last step back
    by_loss: Tensor | None  # (time,) gradient of the loss by its states, averaged over rows

    @property
    def name(self) -> str:
        """Its place in the model."""
        return self.recurrence.name


@dataclass(frozen=True)
class Examination:
    """All that the doctor looks at."""

    recurrences: tuple[Examined, ...]
    loss: float
    gradient_norm: float | None  # of the loss by all parameters together
    metrics: tuple[Mapping[str, float], ...]
    lag: int | None

"""Progress of long work: a bar at a terminal, a line now and then elsewhere, always on stderr."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

LINE_EVERY = 20.0  # seconds between lines where there is no terminal
SMOOTH = 0.95  # of the speed and the loss that are shown


class Progress:
    """Show a training's loss, speed and time left, and each scoring.

    Args:
        console: where to; by default stderr.

    Example:
        >>> import sys
        >>> progress = Progress(Console(file=sys.stdout, width=70))
        >>> progress.note("reads 3 pairs")
        reads 3 pairs
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        columns = (BarColumn(24), TextColumn("{task.description}"))
        self.bar = Bar(*columns, console=self.console, transient=True)
        self.shown: TaskID | None = None
        self.loss = self.rate = self.pace = 0.0
        self.steps = 0
        self.last = self.said = time.monotonic()

    def start(self, step: int, steps: int) -> None:
        """Begin at `step` of `steps`."""
        self.steps = steps
        self.last = self.said = time.monotonic()
        if self.console.is_terminal:
            self.shown = self.bar.add_task("", total=steps, completed=step)

    def __enter__(self) -> Self:
        """Show the bar."""
        if self.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away; what was said stays."""
        self.bar.stop()

    def update(self, step: int, steps: int, loss: float, symbols: int) -> None:
        """Count a step: its loss and how many symbols it had."""
        now = time.monotonic()
        took, self.last = max(now - self.last, 1e-6), now
        keep = SMOOTH if self.pace else 0.0
        self.loss = keep * self.loss + (1 - keep) * loss
        self.pace = keep * self.pace + (1 - keep) * took
        self.rate = keep * self.rate + (1 - keep) * symbols
        text = (
            f"step {step:,} of {steps:,}  loss {self.loss:.3f}  "
            f"{self.rate / self.pace:,.0f} tokens/s  {clock(self.pace * (steps - step))} left"
        )
        if self.shown is not None:
            self.bar.update(self.shown, completed=step, total=steps, description=text)
        elif now - self.said > LINE_EVERY:
            self.note(text)
            self.said = now

    def scored(self, record: Mapping[str, float], better: bool) -> None:
        """Say what a scoring gave."""
        hidden = {"step", "epoch", "seconds", "learning_rate", "train_loss"}
        figures = "  ".join(
            f"{name.replace('_', ' ')} {value:.4f}"
            for name, value in record.items()
            if name not in hidden
        )
        self.note(
            f"epoch {record['epoch']:6.2f}  {clock(record['seconds']):>6}  "
            f"loss {record['train_loss']:.3f}  {figures}{'  best' if better else ''}"
        )
        self.last = time.monotonic()  # scoring is not training: keep it out of the speed

    def note(self, text: str) -> None:
        """Say one line."""
        self.console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """Say one line of warning."""
        self.console.print(f"warning: {text}", markup=False, style="yellow")


def clock(seconds: float) -> str:
    """Write a time as people read it.

    Example:
        >>> clock(75), clock(3675)
        ('1:15', '1:01:15')
    """
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"

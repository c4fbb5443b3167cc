"""Progress of long work: a bar at a terminal, a line now and then elsewhere, always on stderr."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from unrolled.tasks.scores import figures_of, in_words

LINE_EVERY = 20.0  # seconds between lines where there is no terminal
SMOOTH = 0.95  # of the loss and the speed that are shown


class Progress:
    """Show a training's loss, speed and time left, and each scoring.

    Args:
        console: where to; by default stderr.

    Example:
        >>> import sys
        >>> progress = Progress(Console(file=sys.stdout, width=70))
        >>> progress.note("reading words.tsv")
        reading words.tsv
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self.bar = Bar(
            BarColumn(24),
            TextColumn("{task.description}", markup=False),
            console=self.console,
            transient=True,
        )
        self.task = self.bar.add_task("", visible=False)
        self.start(0, 1)

    def start(self, step: int, steps: int) -> None:
        """Begin at `step` of `steps`."""
        self.first, self.begun = step, time.monotonic()
        self.last = self.said = self.begun
        self.loss = self.symbols = self.pace = 0.0
        self.bar.update(self.task, completed=step, total=steps, description="", visible=True)

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
        if self.console.is_terminal:
            self.bar.stop()

    def update(self, step: int, steps: int, loss: float, symbols: int) -> None:
        """Count a step: its loss, and how many symbols it had."""
        now = time.monotonic()
        keep = SMOOTH if self.pace else 0.0
        self.loss = keep * self.loss + (1 - keep) * loss
        self.symbols = keep * self.symbols + (1 - keep) * symbols
        self.pace = keep * self.pace + (1 - keep) * max(now - self.last, 1e-6)
        self.last = now
        # What is left will be scored and saved as often as what was done, so all time counts.
        left = (now - self.begun) / (step - self.first) * (steps - step)
        text = (
            f"step {step:,} of {steps:,}  loss {self.loss:.3f}  "
            f"{self.symbols / self.pace:,.0f} tokens/s  {clock(left)} left"
        )
        self.bar.update(self.task, completed=step, total=steps, description=text)
        if not self.console.is_terminal and now - self.said > LINE_EVERY:
            self.note(text)

    def scored(self, record: Mapping[str, float], better: bool) -> None:
        """Say what a scoring gave."""
        figures = in_words(figures_of(record))
        self.note(
            f"step {record['step']:,}  epoch {record['epoch']:.1f}  {clock(record['seconds'])}  "
            f"loss {record['train_loss']:.3f}  {figures}{'  (best so far)' if better else ''}"
        )
        self.last = time.monotonic()  # scoring is not training: keep it out of the speed

    def note(self, text: str) -> None:
        """Say one line."""
        self._say(Text(text))

    def warn(self, text: str) -> None:
        """Say one line of warning."""
        self._say(Text(f"warning: {text}", style="yellow"))

    def _say(self, line: Text) -> None:
        self.console.print(line, soft_wrap=True)  # a line stays one line in a log
        self.said = time.monotonic()


def clock(seconds: float) -> str:
    """Write a time as people read it.

    Example:
        >>> clock(75), clock(3675)
        ('1:15', '1:01:15')
    """
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"

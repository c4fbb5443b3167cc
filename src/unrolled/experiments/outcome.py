"""What an experiment found, and how it is shown: a table in a terminal, a page in a browser."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from unrolled.inspect import page
from unrolled.inspect.doctor import no_subnormals

Say = Callable[[str], None]
"""Is told what is being done, a line at a time."""


@dataclass(frozen=True)
class Outcome:
    """What an experiment found."""

    title: str
    lead: str  # the claim, with the numbers that were measured
    facts: Mapping[str, str]  # the settings, by their names
    table: page.Table
    figures: Sequence[page.Figure]
    method: str  # how it was measured, and after whom
    numbers: Mapping[str, float]  # what the claim rests on

    def show(self, console: Console) -> None:
        """Print the claim and the table."""
        drawn = Table(title=self.table.caption, title_justify="left")
        for column in self.table.columns:
            drawn.add_column(column, justify="right" if column in self.table.numeric else "left")
        for row in self.table.rows:
            drawn.add_row(*row)
        console.print(f"{self.title}\n{self.lead}\n")
        console.print(drawn)

    def write(self, path: Path) -> None:
        """Write the page.

        Raises:
            RunError: it cannot be written.
        """
        sections = [
            page.Section("What was measured", [self.table]),
            page.Section("What to see", list(self.figures)),
            page.Section("How", [page.Prose(self.method)]),
        ]
        page.write(page.Page(self.title, self.lead, self.facts, sections), path)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw the same random numbers inside, whatever was drawn before; outside nothing changes."""
    with torch.random.fork_rng(devices=[]), no_subnormals():
        torch.manual_seed(seed)
        yield


def times(value: float) -> str:
    """Write a factor.

    Example:
        >>> times(1.5), times(0.0004), times(250000.0), times(0.0)
        ('1.5', '4.0e-04', '2.5e+05', '0')
    """
    return f"{value:.3g}" if 1e-3 <= value < 1e4 or not value else f"{value:.1e}"

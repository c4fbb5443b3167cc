"""Progress is a bar at a terminal, and lines elsewhere."""

from io import StringIO

import pytest
from rich.console import Console

from unrolled.tasks import progress as module
from unrolled.tasks.progress import Progress

RECORD = {
    "step": 1200, "epoch": 2.5, "seconds": 75.0, "learning_rate": 0.001, "train_loss": 1.25,
    "symbol_error_rate": 0.0631, "perplexity": 12.5,
}  # fmt: skip


class Clock:
    """A time that passes only where the test says so."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def said() -> StringIO:
    return StringIO()


def test_elsewhere_there_is_a_line_every_20_seconds(clock: Clock, said: StringIO) -> None:
    progress = Progress(Console(file=said, width=40))
    progress.start(0, 100)
    with progress:
        for step in range(1, 51):
            clock.now += 1.0
            progress.update(step, 100, loss=2.0, symbols=50)
    lines = said.getvalue().splitlines()
    assert lines == [
        "step 21 of 100  loss 2.000  50 tokens/s  1:19 left",
        "step 42 of 100  loss 2.000  50 tokens/s  0:58 left",
    ]


def test_the_time_left_counts_scorings_and_the_speed_does_not(clock: Clock, said: StringIO) -> None:
    progress = Progress(Console(file=said, width=40))
    progress.start(100, 120)  # it goes on from step 100
    for step in (101, 102):
        clock.now += 1.0
        progress.update(step, 120, loss=1.0, symbols=10)
    clock.now += 58.0
    progress.scored(RECORD, better=False)
    clock.now += 21.0
    progress.last = clock.now - 1.0
    progress.update(103, 120, loss=1.0, symbols=10)
    assert said.getvalue().splitlines()[-1] == (
        "step 103 of 120  loss 1.000  10 tokens/s  7:39 left"
    )


def test_a_scoring_is_one_line(said: StringIO) -> None:
    progress = Progress(Console(file=said, width=40))
    progress.scored(RECORD, better=True)
    assert said.getvalue() == (
        "step 1,200  epoch 2.5  1:15  loss 1.250  symbol error rate 6.31%  perplexity 12.5"
        "  (best so far)\n"
    )


def test_a_terminal_has_a_bar(clock: Clock, said: StringIO) -> None:
    progress = Progress(Console(file=said, force_terminal=True, width=100))
    progress.start(0, 10)
    with progress:
        clock.now += 2.0
        progress.update(5, 10, loss=0.5, symbols=100)
        progress.note("scored")
    assert "step 5 of 10  loss 0.500  50 tokens/s  0:02 left" in said.getvalue()
    assert "━" in said.getvalue()


def test_names_are_written_as_they_are(said: StringIO) -> None:
    progress = Progress(Console(file=said, width=40))
    progress.note("reading [red]/data/:smile:.tsv " + 50 * "x")
    progress.warn("[/] is odd")
    assert said.getvalue() == (
        "reading [red]/data/:smile:.tsv " + 50 * "x" + "\nwarning: [/] is odd\n"
    )

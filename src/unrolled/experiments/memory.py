"""RNN, LSTM and GRU on the adding problem and on copy memory, at growing lags."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled import zoo
from unrolled.cell import CellFactory
from unrolled.experiments.outcome import Outcome, Say, seeded
from unrolled.experiments.sequences import ADDING_GUESS, SYMBOLS, Batch, adding, copy_memory
from unrolled.experiments.training import Learnt, Reader, smoothed, train
from unrolled.inspect import figures, page

CELLS: dict[str, CellFactory] = {"RNN": zoo.Elman, "LSTM": zoo.LSTM, "GRU": zoo.GRU}
LEARNT = 0.2  # of the loss of guessing: a task with less of it left counts as learnt

METHOD = """
Every model is one layer and a linear map, and learns for the same number of steps on fresh
sequences with Adam, its gradient clipped at a norm of 1. The RNN is tanh with an orthogonal
recurrent matrix, the LSTM's forget gate starts with a bias of 1. What is shown is the mean over
the last twentieth of the steps, on sequences that were never seen before: there are no others. The
share left is the loss over that of guessing, which is a mean squared error of 1/6 for the adding
problem and log 8 nats a symbol for copy memory; a task counts as learnt below a fifth.

What is out of reach here is so for this many steps: more steps, larger models and slower starts
(chrono initialisation, Tallec & Ollivier 2018) move the limits.
"""


@dataclass(frozen=True)
class Task:
    """What is learnt."""

    name: str
    inputs: int
    outputs: int
    guess: float  # loss of guessing
    rate: float  # learning rate
    draw: Callable[[int, int], Batch]
    loss: Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Settings:
    """How large the experiment is."""

    hidden: int = 32
    batch: int = 32
    steps: int = 700
    recalled: int = 2  # symbols of copy memory
    adding_lags: tuple[int, ...] = (10, 30, 60)
    copy_lags: tuple[int, ...] = (5, 15, 30)
    cells: tuple[str, ...] = tuple(CELLS)
    seed: int = 1
    backend: str = "auto"


Results = Mapping[tuple[str, int], Learnt]
"""By cell and lag."""


def run(settings: Settings = Settings(), say: Say = print) -> Outcome:
    """Train every cell at every lag.

    Args:
        settings: how large it is.
        say: is told what is being done.
    """
    lags = {_adding(): settings.adding_lags, _copy(settings.recalled): settings.copy_lags}
    tasks = {task: some for task, some in lags.items() if some}
    found = {task: _results(task, lags, settings, say) for task, lags in tasks.items()}
    reach = {
        (task.name, cell): max(
            (lag for c, lag in some if c == cell and _solved(task, some[c, lag])), default=0
        )
        for task, some in found.items()
        for cell in settings.cells
    }
    lead = "; ".join(
        f"{task.name}, "
        + ", ".join(f"{cell} up to {reach[task.name, cell]} steps" for cell in settings.cells)
        for task in tasks
    )
    return Outcome(
        title="What RNN, LSTM and GRU remember",
        lead=f"The longest lags that were learnt in {settings.steps} steps: {lead}.",
        facts={
            "units": str(settings.hidden),
            "steps": str(settings.steps),
            "sequences a step": str(settings.batch),
            "symbols to copy": str(settings.recalled),
        },
        table=_table(found, settings.cells),
        figures=[f for task, some in found.items() for f in _figures(task, some, settings.cells)],
        method=METHOD,
        numbers={
            f"{task.name} {cell} {lag}": learnt.last / task.guess
            for task, some in found.items()
            for (cell, lag), learnt in some.items()
        },
    )


def _adding() -> Task:
    def loss(ys: Tensor, sums: Tensor) -> Tensor:
        return F.mse_loss(ys[-1, :, 0], sums)

    return Task("adding problem", 2, 1, ADDING_GUESS, 5e-3, adding, loss)


def _copy(recalled: int) -> Task:
    def draw(lag: int, batch: int) -> Batch:
        return copy_memory(lag, batch, recalled)

    def loss(ys: Tensor, symbols: Tensor) -> Tensor:
        return F.cross_entropy(ys[-recalled:].flatten(0, 1), symbols.flatten())

    guess = math.log(SYMBOLS)
    return Task("copy memory", SYMBOLS + 2, SYMBOLS, guess, 1e-2, draw, loss)


def _results(task: Task, lags: Sequence[int], settings: Settings, say: Say) -> Results:
    return {
        (cell, lag): _learnt(task, cell, lag, settings, say)
        for lag in lags
        for cell in settings.cells
    }


def _learnt(task: Task, cell: str, lag: int, settings: Settings, say: Say) -> Learnt:
    begun = time.monotonic()
    with seeded(settings.seed):
        model = Reader(CELLS[cell], task.inputs, settings.hidden, task.outputs, settings.backend)
        optimizer = torch.optim.Adam(model.parameters(), lr=task.rate)

        def loss(_: float) -> Tensor:
            batch = task.draw(lag, settings.batch)
            return task.loss(model(batch.xs), batch.targets)

        learnt = train(model, loss, optimizer, settings.steps, clip=1.0)
    say(
        f"{task.name}, lag {lag}, {cell}: {learnt.last / task.guess:.0%} of guessing left, "
        f"{time.monotonic() - begun:.1f} s"
    )
    return learnt


def _solved(task: Task, learnt: Learnt) -> bool:
    return learnt.last < LEARNT * task.guess


def _table(found: Mapping[Task, Results], cells: Sequence[str]) -> page.Table:
    rows = [
        (task.name, str(lag), *(f"{some[cell, lag].last / task.guess:.1%}" for cell in cells))
        for task, some in found.items()
        for lag in sorted({lag for _, lag in some})
    ]
    columns = ["task", "lag", *cells]
    return page.Table("Loss left, as a share of that of guessing", columns, rows, columns[1:])


def _figures(task: Task, some: Results, cells: Sequence[str]) -> list[page.Figure]:
    lags = sorted({lag for _, lag in some})
    by_lag = figures.line_chart(
        [
            figures.Series(c, lags, [100 * some[c, lag].last / task.guess for lag in lags])
            for c in cells
        ],
        x_label="lag, in steps",
        y_label="loss left, per cent of guessing",
        title=f"{task.name.capitalize()}: by lag",
    )
    curves = []
    for cell in cells:
        steps, losses = smoothed(some[cell, lags[-1]].losses)
        curves.append(figures.Series(cell, steps, [100 * v / task.guess for v in losses]))
    learning = figures.line_chart(
        curves,
        x_label="step",
        y_label="loss, per cent of guessing",
        title=f"{task.name.capitalize()}: learning at lag {lags[-1]}",
    )
    return [
        page.Figure(
            by_lag,
            "A line at 100 % is a model that has learnt nothing but to guess: the lag at which a "
            "line rises is as far as that cell's learning reached.",
        ),
        page.Figure(
            learning,
            "The longest lag: a plateau near 100 % is the time in which no gradient worth "
            "following arrives from so far back; learning begins where the line leaves it.",
        ),
    ]

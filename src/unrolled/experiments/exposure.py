"""What teacher forcing never shows a model: its own mistakes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled import zoo
from unrolled.experiments.outcome import Outcome, Say, seeded
from unrolled.experiments.training import Learnt, train
from unrolled.inspect import figures, page
from unrolled.recurrence import unroll

METHOD = """
The symbols to be said go round a circle, each one further than the last, and now and then jump
anywhere. At every step the model reads a blurred view of the symbol, which is right half of the
time and else any, and the symbol before. Teacher forcing gives it the right one there, so it
learns to count on, which is the best that can be done with a right symbol; given its own symbols,
after one jump, it counts on from a wrong one and never looks up. The theory for that is the share
p of right symbols, from step to step p' = p (j / m + 1 - j) + (1 - p) j / m, where j is the chance
of a jump and m the number of symbols.

Scheduled sampling (Bengio et al. 2015, arXiv:1506.03099) gives the model its own symbol, drawn
from its scores, with a probability that grows from 0 to 1 over the training. The limit is the
exact posterior of the symbol given all views so far (the forward algorithm), which no model can
beat without right symbols.
"""


@dataclass(frozen=True)
class Settings:
    """How large the experiment is."""

    symbols: int = 8
    jump: float = 0.06  # chance that the next symbol is any
    seen: float = 0.5  # chance that a view shows the symbol, and not any
    steps_long: int = 30  # steps of a sequence
    hidden: int = 48
    batch: int = 64
    steps: int = 500
    rate: float = 5e-3
    tested: int = 4000  # sequences
    seed: int = 1


def run(settings: Settings = Settings(), say: Say = print) -> Outcome:
    """Train with teacher forcing and with scheduled sampling, and test both with own symbols.

    Args:
        settings: how large it is.
        say: is told what is being done.
    """
    models = {}
    for name, sampling in (("teacher forcing", 0.0), ("scheduled sampling", 1.0)):
        say(f"{name}: {settings.steps} steps")
        models[name], learnt = _learn(sampling, settings)
        say(f"{name}: loss {learnt.last:.3f}")
    with seeded(settings.seed + 2):
        truth, views = _draw(settings, settings.tested)
    errors = {
        f"{name}, {given}": _errors(model, truth, views, own)
        for name, model in models.items()
        for given, own in (("right symbols", False), ("own symbols", True))
    }
    errors["counting on, in theory"] = _theory(settings)
    errors["the best possible"] = _limit(truth, views, settings)
    right, own = errors["teacher forcing, right symbols"], errors["teacher forcing, own symbols"]
    sampled = errors["scheduled sampling, own symbols"]
    return Outcome(
        title="What teacher forcing never shows",
        lead=f"Trained and tested with the right symbols before it, the model gets "
        f"{right.mean():.0%} of the symbols wrong; with its own before it, {own[-1]:.0%} of the "
        f"last ones. Trained on its own symbols more and more, it gets {sampled[-1]:.0%} of the "
        "last ones wrong.",
        facts={
            "symbols": str(settings.symbols),
            "steps of a sequence": str(settings.steps_long),
            "units": str(settings.hidden),
            "steps": str(settings.steps),
        },
        table=_table(errors),
        figures=[_figure(errors)],
        method=METHOD,
        numbers={f"{name}, last": float(e[-1]) for name, e in errors.items()}
        | {f"{name}, mean": float(e.mean()) for name, e in errors.items()},
    )


class Follower(nn.Module):
    """A GRU that reads a view and the symbol before, and scores the symbol.

    Args:
        symbols: how many there are.
        hidden: units.
    """

    def __init__(self, symbols: int, hidden: int) -> None:
        super().__init__()
        self.symbols = symbols
        self.cell = zoo.GRU(2 * symbols, hidden)
        self.out = nn.Linear(hidden, symbols)

    def forward(self, before: Tensor, views: Tensor) -> Tensor:
        """Score all steps at once, given the symbols before them: (time, batch, symbols)."""
        return self.out(unroll(self.cell, self._read(before, views))[0])

    def alone(self, first: Tensor, views: Tensor, truth: Tensor | None, own: float) -> Tensor:
        """Score step by step, given its own symbols.

        Args:
            first: (batch,) the symbol before the first step, a right one.
            views: (time, batch).
            truth: (time, batch) right symbols, given where its own is not; None: its likeliest.
            own: probability with which its own is given, drawn from its scores.
        """
        before, found = first, []
        h = self.cell.initial_state(len(first))["h"]
        for t, view in enumerate(views):
            _, h = self.cell(self._read(before, view), h)
            found.append(self.out(h))
            if truth is None:
                before = found[-1].argmax(-1)
            else:
                drawn = found[-1].detach().softmax(-1).multinomial(1)[:, 0]
                before = torch.where(torch.rand(len(first)) < own, drawn, truth[t])
        return torch.stack(found)

    def _read(self, before: Tensor, view: Tensor) -> Tensor:
        parts = [F.one_hot(ids, self.symbols).float() for ids in (before, view)]
        return torch.cat(parts, -1)


def _draw(settings: Settings, batch: int) -> tuple[Tensor, Tensor]:
    """Draw right symbols, (time + 1, batch), and the views of all but the first, (time, batch)."""
    m, time = settings.symbols, settings.steps_long
    symbols = [torch.randint(m, (batch,))]
    for _ in range(time):
        jumps = torch.rand(batch) < settings.jump
        symbols.append(torch.where(jumps, torch.randint(m, (batch,)), (symbols[-1] + 1) % m))
    truth = torch.stack(symbols)
    shows = torch.rand(time, batch) < settings.seen
    return truth, torch.where(shows, truth[1:], torch.randint(m, (time, batch)))


def _learn(sampling: float, settings: Settings) -> tuple[Follower, Learnt]:
    with seeded(settings.seed):
        model = Follower(settings.symbols, settings.hidden)

        def loss(progress: float) -> Tensor:
            truth, views = _draw(settings, settings.batch)
            if sampling:
                found = model.alone(truth[0], views, truth[1:], sampling * progress)
            else:
                found = model(truth[:-1], views)
            return F.cross_entropy(found.flatten(0, 1), truth[1:].flatten())

        optimizer = torch.optim.Adam(model.parameters(), lr=settings.rate)
        return model, train(model, loss, optimizer, settings.steps, clip=1.0)


@torch.no_grad()
def _errors(model: Follower, truth: Tensor, views: Tensor, own: bool) -> Tensor:
    """Give the share of wrong symbols at each step, (time,)."""
    found = model.alone(truth[0], views, None, 1.0) if own else model(truth[:-1], views)
    return (found.argmax(-1) != truth[1:]).double().mean(1)


def _theory(settings: Settings) -> Tensor:
    """Give the errors of counting on from the first symbol, (time,)."""
    stray = settings.jump / settings.symbols
    right, found = 1.0, []
    for _ in range(settings.steps_long):
        right = right * (stray + 1 - settings.jump) + (1 - right) * stray
        found.append(1 - right)
    return torch.tensor(found, dtype=torch.float64)


def _limit(truth: Tensor, views: Tensor, settings: Settings) -> Tensor:
    """Give the errors of the likeliest symbol given the first one and all views so far, (time,)."""
    m = settings.symbols
    eye = torch.eye(m, dtype=torch.float64)
    moves = (1 - settings.jump) * eye.roll(1, 1) + settings.jump / m
    shows = settings.seen * eye + (1 - settings.seen) / m  # (symbol, view)
    belief, found = eye[truth[0]], []
    for t, view in enumerate(views):
        belief = (belief @ moves) * shows[:, view].T
        belief = belief / belief.sum(1, keepdim=True)
        found.append((belief.argmax(1) != truth[t + 1]).double().mean())
    return torch.stack(found)


def _table(errors: dict[str, Tensor]) -> page.Table:
    time = len(next(iter(errors.values())))
    places = sorted({1, 5, 10, 20, time} & set(range(1, time + 1)))
    columns = ["trained with, given", *(f"step {place}" for place in places), "all steps"]
    rows = [
        (name, *(f"{e[place - 1]:.1%}" for place in places), f"{e.mean():.1%}")
        for name, e in errors.items()
    ]
    return page.Table("Symbols wrong, by step", columns, rows, columns[1:])


def _figure(errors: dict[str, Tensor]) -> page.Figure:
    def series(name: str, values: Tensor) -> figures.Series:
        steps: Sequence[float] = list(range(1, len(values) + 1))
        return figures.Series(name, steps, (100 * values).tolist())

    chart = figures.line_chart(
        [series(name, values) for name, values in errors.items()],
        x_label="step",
        y_label="per cent wrong",
        title="Errors through a sequence",
    )
    return page.Figure(
        chart,
        "With right symbols before it the model is as good at the end as at the beginning. With "
        "its own, errors add up step by step as counting on must have it, for it was never shown "
        "one of its own mistakes; scheduled sampling brings it near the best possible.",
    )

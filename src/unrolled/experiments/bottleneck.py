"""The bottleneck of a fixed context vector, against attention, as sequences grow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled import zoo
from unrolled.experiments.outcome import Outcome, Say, seeded
from unrolled.experiments.training import Learnt, smoothed, train
from unrolled.inspect import figures, page
from unrolled.models.seq2seq import Seq2Seq

BEGIN, FIRST = 1, 2  # ids: 0 is padding, 1 begins a target, symbols follow
KINDS = {"fixed context": False, "attention": True}  # whether the decoder sees every step

METHOD = """
Both models are the same encoder-decoder (GRU, both directions in the encoder, Luong attention)
with the same first weights, and learn to say a sequence of different symbols again, drawn at
random, from batches of all lengths up to the longest shown. They differ in what the decoder may
look at: a vector for each symbol of the source, or the encoder's two last states alone, one vector
whatever the length, as in Sutskever et al. 2014, arXiv:1409.3215, and Cho et al. 2014,
arXiv:1406.1078. Errors are the share of symbols that are not the likeliest, on new sequences, with
the right symbols before them. Bahdanau et al. 2015, arXiv:1409.0473, figure 2, is this experiment
on translations.
"""


@dataclass(frozen=True)
class Settings:
    """How large the experiment is."""

    symbols: int = 40
    embedding: int = 32
    hidden: int = 64
    lengths: tuple[int, ...] = (2, 4, 8, 12, 16, 20, 24)
    batch: int = 48
    steps: int = 1000
    rate: float = 4e-3
    tested: int = 500  # sequences of each length
    seed: int = 1


def run(settings: Settings = Settings(), say: Say = print) -> Outcome:
    """Train both models, and test them at every length.

    Args:
        settings: how large it is.
        say: is told what is being done.
    """
    models = {kind: _model(settings) for kind in KINDS}
    learnt = {kind: _learn(kind, models[kind], settings, say) for kind in KINDS}
    errors = {kind: _errors(kind, models[kind], settings) for kind in KINDS}
    short, long = settings.lengths[0], settings.lengths[-1]
    fixed, attention = errors["fixed context"], errors["attention"]
    return Outcome(
        title="The bottleneck of a fixed context",
        lead=f"From one vector, {fixed[short]:.0%} of symbols are wrong in sequences of {short} "
        f"and {fixed[long]:.0%} in sequences of {long}; with attention it is "
        f"{attention[short]:.0%} and {attention[long]:.0%}.",
        facts={
            "units": str(settings.hidden),
            "symbols": str(settings.symbols),
            "steps": str(settings.steps),
            "sequences a step": str(settings.batch),
        },
        table=_table(errors, settings),
        figures=[_by_length(errors), _learning(learnt), _looking(models["attention"], settings)],
        method=METHOD,
        numbers={
            f"{kind} {length}": error
            for kind, some in errors.items()
            for length, error in some.items()
        },
    )


def scores(model: Seq2Seq, source: Tensor, target: Tensor, attends: bool) -> Tensor:
    """Score the symbols of a target, (time, batch, symbols).

    Args:
        model: an encoder-decoder.
        source: (time, batch) ids, all of one length.
        target: (time, batch) ids, the begin symbol first.
        attends: whether the decoder sees all steps of the source, or its last states alone.
    """
    return _decoded(model, source, target, attends)[0]


def _decoded(
    model: Seq2Seq, source: Tensor, target: Tensor, attends: bool
) -> tuple[Tensor, Tensor | None]:
    lengths = torch.full(source.shape[1:], len(source))
    ys, last = model.encoder(source, lengths)
    values = ys if attends else last["h"].transpose(0, 1).flatten(1)[None]
    memory = model.decoder.recurrence.attention.memory(values)
    found, _, weights = model.decoder(target, model.bridge(last), memory, weights=attends)
    return found, weights


def _draw(settings: Settings, length: int, batch: int) -> tuple[Tensor, Tensor]:
    """Draw sources, and the targets behind a begin symbol, (time, batch)."""
    source = FIRST + torch.rand(batch, settings.symbols).argsort(1).T[:length]
    return source, torch.cat([torch.full((1, batch), BEGIN), source])


def _model(settings: Settings) -> Seq2Seq:
    ids = FIRST + settings.symbols
    with seeded(settings.seed):
        return Seq2Seq(
            ids,
            ids,
            encoder_cell=zoo.GRU,
            decoder_cell=zoo.GRU,
            embedding=settings.embedding,
            hidden=settings.hidden,
        )


def _learn(kind: str, model: Seq2Seq, settings: Settings, say: Say) -> Learnt:
    say(f"{kind}: {settings.steps} steps")
    longest = max(settings.lengths)
    with seeded(settings.seed + 1):

        def loss(_: float) -> Tensor:
            length = int(torch.randint(1, longest + 1, ()))
            source, target = _draw(settings, length, settings.batch)
            found = scores(model, source, target[:-1], KINDS[kind])
            return F.cross_entropy(found.flatten(0, 1), target[1:].flatten())

        optimizer = torch.optim.Adam(model.parameters(), lr=settings.rate)
        learnt = train(model, loss, optimizer, settings.steps, clip=1.0)
    say(f"{kind}: loss {learnt.last:.3f}")
    return learnt


@torch.no_grad()
def _errors(kind: str, model: Seq2Seq, settings: Settings) -> dict[int, float]:
    """Give the share of wrong symbols at each length."""
    found = {}
    with seeded(settings.seed + 2):
        for length in settings.lengths:
            source, target = _draw(settings, length, settings.tested)
            guesses = scores(model, source, target[:-1], KINDS[kind]).argmax(-1)
            found[length] = float((guesses != target[1:]).double().mean())
    return found


Errors = Mapping[str, Mapping[int, float]]
"""By kind of model and length."""


def _table(errors: Errors, settings: Settings) -> page.Table:
    columns = ["length", *KINDS]
    rows = [
        (str(length), *(f"{errors[kind][length]:.1%}" for kind in KINDS))
        for length in settings.lengths
    ]
    return page.Table("Symbols wrong", columns, rows, columns)


def _by_length(errors: Errors) -> page.Figure:
    series = [
        figures.Series(kind, list(some), [100 * e for e in some.values()])
        for kind, some in errors.items()
    ]
    chart = figures.line_chart(
        series, x_label="length", y_label="per cent of symbols wrong", title="Errors by length"
    )
    return page.Figure(
        chart,
        "One vector has room for a few symbols: its errors climb as sequences grow, where those of "
        "attention, which has a vector for every symbol, stay low.",
    )


def _learning(learnt: Mapping[str, Learnt]) -> page.Figure:
    series = [figures.Series(kind, *smoothed(some.losses)) for kind, some in learnt.items()]
    chart = figures.line_chart(
        series, x_label="step", y_label="nats a symbol", title="Loss in training"
    )
    return page.Figure(
        chart,
        "Both are given the same sequences. The loss with attention falls once it has found out "
        "where to look; the other goes on filling its vector.",
    )


def _looking(model: Seq2Seq, settings: Settings) -> page.Figure:
    length = min(12, settings.symbols, max(settings.lengths))
    with torch.no_grad(), seeded(settings.seed + 3):
        source, target = _draw(settings, length, 1)
        weights = _decoded(model, source, target[:-1], True)[1]
    assert weights is not None
    names: Sequence[str] = [str(int(i) - FIRST) for i in source[:, 0]]
    chart = figures.heat_map(
        names,
        names,
        weights[:, 0].numpy(),
        title="Where attention looks",
        row_title="said",
        column_title="source",
    )
    return page.Figure(
        chart,
        "A row is a symbol to be said, a column one of the source. A dark diagonal is a model that "
        "reads each symbol where it stands, so that nothing has to be carried in one vector.",
    )

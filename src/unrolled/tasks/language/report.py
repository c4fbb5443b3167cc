"""The page about a run: how it learnt, what it writes, what surprises it, how far it looks back."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.inspect import figures, page
from unrolled.inspect.positions import loss_by_position
from unrolled.inspect.shaded import LINE_END, plain_text, shaded_text
from unrolled.models.language import LanguageModel, generate
from unrolled.tasks.language.coder import Coder
from unrolled.tasks.language.config import LanguageConfig
from unrolled.tasks.language.evaluation import Evaluation
from unrolled.tasks.language.numbered import Numbered
from unrolled.tasks.progress import clock
from unrolled.tasks.report import learning
from unrolled.tasks.run import Run
from unrolled.tasks.standing import Standing

UNITS = {"characters": "character", "tokens": "token", "pieces": "piece"}
SHOWN = {"characters": 900, "tokens": 200, "pieces": 300}  # symbols whose surprise is drawn
WRITTEN = {"characters": 500, "tokens": 120, "pieces": 150}  # symbols of a sample
TEMPERATURES = (0.5, 0.8, 1.0)
WORST = 25  # surprises in the table
BEFORE = {"characters": 40, "tokens": 8, "pieces": 12}  # symbols shown before a surprise
MOST = 12.0  # bits that are shaded strongest
ROWS, TIMES = 128, 256  # places where reading begins anew, and symbols read there


def write_report(
    run: Run,
    settings: LanguageConfig,
    standing: Standing,
    model: LanguageModel,
    coder: Coder,
    text: Numbered,
    evaluation: Evaluation,
) -> None:
    """Write a run's ``report.html``.

    Args:
        run: the run; its metrics are the learning curves.
        settings: those it was trained with.
        standing: where its training ended.
        model: its best weights.
        coder: its symbols.
        text: the dev text.
        evaluation: of the model on that text.
    """
    unit = UNITS[settings.data.unit]
    found = evaluation.figures
    named = {"perplexity": "perplexity", "bits_per_character": "bits a character"}
    said = ", ".join(f"{found[name]:.4g} {words}" for name, words in named.items() if name in found)
    lead = (
        f"{found['loss']:.4g} nats a {unit} ({said}) on {evaluation.symbols:,} {unit}s that it has "
        "not learnt from."
    )
    facts = {
        "cell": settings.model.cell,
        "layers": str(settings.model.layers),
        "units": f"{settings.model.hidden:,}",
        "vocabulary": f"{len(coder.vocabulary):,}",
        "trained": f"{clock(standing.seconds)}, {standing.step:,} steps",
        "speed": f"{standing.symbols / max(standing.seconds, 1e-9):,.0f} {unit}s a second",
    }
    sections = [
        page.Section("How it learnt", learning(run, standing, {"nats": "loss"}, unit)),
        page.Section("What it writes", list(_samples(model, coder, settings))),
        page.Section("What surprises it", _surprises(model, coder, text, evaluation, unit)),
        page.Section("How far it looks back", _positions(model, coder, text, unit)),
    ]
    page.write(page.Page("Language model", lead, facts, sections), run.report)


def _samples(model: LanguageModel, coder: Coder, settings: LanguageConfig) -> Iterator[page.Block]:
    yield page.Prose(
        "Drawn symbol by symbol, from nothing. A temperature below 1 makes the likely likelier: "
        "safer text, and more of the same. At 1 the model's own probabilities are drawn from."
    )
    for temperature in TEMPERATURES:
        generator = torch.Generator().manual_seed(settings.training.seed)
        ids = generate(
            model,
            [coder.start],
            WRITTEN[settings.data.unit],
            temperature=temperature,
            never=coder.never,
            generator=generator,
        )
        written = "".join(coder.texts(ids))
        yield page.Figure(plain_text(written, title=f"Temperature {temperature:g}"), "")


def _surprises(
    model: LanguageModel, coder: Coder, text: Numbered, evaluation: Evaluation, unit: str
) -> list[page.Block]:
    """Draw the beginning of the text, and name what surprised most with what was expected."""
    kind = coder.vocabulary.unit
    bits = evaluation.excerpt / math.log(2)
    ids = text.ids[: len(bits)].astype(np.int64)
    names = list(coder.texts(ids.tolist()))
    shown = SHOWN[kind]
    picture = shaded_text(
        names[:shown],
        bits[:shown].tolist(),
        title="The beginning of the dev text",
        unit="bits",
        most=MOST,
    )
    expected = _expected(model, ids, coder.start)
    rows = [
        (
            "".join(names[max(0, i - BEFORE[kind]) : i]).replace("\n", LINE_END),
            names[i].replace("\n", LINE_END),
            f"{bits[i]:.1f}",
            coder.name(int(expected[0][i])).replace("\n", LINE_END),
            f"{expected[1][i]:.0%}",
        )
        for i in np.argsort(-bits, kind="stable")[:WORST]
    ]
    columns = ["after", "came", "bits", "expected", "with"]
    words = _by_word(names[:shown], bits[:shown])
    return [
        page.Figure(
            picture,
            f"The stronger the shade, the more bits the {unit} cost: 1 bit is a coin that was "
            "guessed wrong half of the time, 10 bits are one chance in a thousand. Strong shades "
            "stand where something begins that could not be foreseen.",
        ),
        page.Expander(
            "The same in numbers, word by word",
            [page.Table("Bits of each word", ["word", "bits"], words, ["bits"])],
        ),
        page.Table(
            f"The most surprising {unit}s of the first {len(bits):,}",
            columns,
            rows,
            ["bits", "with"],
        ),
    ]


@torch.no_grad()
def _expected(
    model: LanguageModel, ids: NDArray[np.int64], start: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Give the likeliest symbol at each place, and its probability."""
    read = torch.from_numpy(np.concatenate([[start], ids[:-1]]))[:, None]
    scores, _ = model(read.to(model.embedding.weight.device))
    best = scores[:, 0].double().softmax(-1).max(-1)
    return best.indices.cpu().numpy(), best.values.cpu().numpy()


def _by_word(names: list[str], bits: NDArray[np.float64]) -> list[tuple[str, str]]:
    """Add up the bits of what stands between white space, which counts to what it follows."""
    rows: list[tuple[str, float]] = []
    fresh = True
    for name, value in zip(names, bits.tolist(), strict=True):
        if fresh or (name[0].isspace() and len(name) > 1):
            rows.append(("", 0.0))
        word, total = rows[-1]
        rows[-1] = word + name.replace("\n", LINE_END), total + value
        fresh = name.isspace() or name == "\n"
    return [(word.strip() or "(space)", f"{total:.1f}") for word, total in rows]


@torch.no_grad()
def _positions(model: LanguageModel, coder: Coder, text: Numbered, unit: str) -> list[page.Block]:
    """Show how the loss falls with what was read, where reading begins in the middle of a text."""
    rows = min(ROWS, len(text.ids) // TIMES)
    if not rows:
        return [
            page.Prose(f"The dev text is too short to tell: it has fewer than {TIMES} {unit}s.")
        ]
    firsts = np.arange(rows) * (len(text.ids) // rows)
    places = np.arange(TIMES)[:, None] + firsts
    ids = torch.from_numpy(text.ids[places].astype(np.int64)).to(model.embedding.weight.device)
    losses, _ = model.losses(ids[:-1], ids[1:])
    found = loss_by_position(losses.cpu()).mean.double().numpy()
    edges = [2**power for power in range(TIMES.bit_length() - 1)] + [TIMES]
    bars = []
    for low, high in zip(edges, edges[1:], strict=False):
        label = f"{low}" if high - low == 1 else f"{low} to {high - 1}"
        bars.append(figures.Bar(label, float(found[low - 1 : high - 1].mean())))
    chart = figures.bar_table(
        bars, title="Loss by what was read before", label=f"{unit}s read", value="nats"
    )
    return [
        page.Figure(
            chart,
            f"Reading begins at {rows:,} places of the dev text with an empty state. Where the "
            f"bars stop getting shorter, {unit}s further back no longer help.",
        )
    ]

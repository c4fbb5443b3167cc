"""The page about a classifier: how it learnt, what it takes for what, what it gets wrong."""

from pathlib import Path

import numpy as np

from unrolled.inspect import figures, page
from unrolled.tasks.classify.config import ClassifyConfig
from unrolled.tasks.classify.evaluation import Evaluation
from unrolled.tasks.metrics import wilson
from unrolled.tasks.progress import clock
from unrolled.tasks.report import learning
from unrolled.tasks.run import Run
from unrolled.tasks.standing import Standing

MOST = 40  # classes in the confusion table; of more, those confused most often
WORST = 25  # mistakes shown
LONGEST = 160  # characters of a text that are shown


def write_report(
    run: Run, settings: ClassifyConfig, standing: Standing, evaluation: Evaluation
) -> None:
    """Write a run's ``report.html``.

    Args:
        run: the run; its metrics are the learning curves.
        settings: those it was trained with.
        standing: where its training ended.
        evaluation: what it made of items that it did not learn from.
    """
    model = settings.model
    lead = (
        f"{evaluation.accuracy:.1%} of {len(evaluation.items):,} items that the model has never "
        f"seen are told right; always saying the most frequent class gives "
        f"{evaluation.majority():.1%}."
    )
    facts = {
        "cell": model.cell,
        "layers": f"{model.layers}, {'both directions' if model.bidirectional else 'forwards'}",
        "units": f"{model.hidden:,}",
        "pooling": model.pooling,
        "classes": f"{len(evaluation.classes.names):,}",
        "trained": f"{clock(standing.seconds)}, {standing.step:,} steps",
    }
    sections = [
        page.Section("Which classes it tells", [*_confusion(evaluation), *_classes(evaluation)]),
        page.Section("How it learnt", learning(run, standing, {"wrong": "error_rate"}, "item")),
        page.Section("What it gets wrong", [_mistakes(evaluation)]),
    ]
    page.write(page.Page("Classification", lead, facts, sections), run.report)


def _confusion(evaluation: Evaluation) -> list[page.Block]:
    table, names = evaluation.confusion, evaluation.classes.names
    wrong = table.sum(1) + table.sum(0) - 2 * table.diagonal()
    shown = np.sort(np.argsort(-wrong, kind="stable")[:MOST])
    few = table[np.ix_(shown, shown)]
    labels = [names[i] for i in shown]
    shares = few / np.maximum(table.sum(1)[shown], 1)[:, None]
    chart = figures.heat_map(
        labels,
        labels,
        shares,
        title="Confusion",
        row_title="class",
        column_title="taken for",
        verb="is taken for",
    )
    left_out = f" Of {len(names)} classes, those confused most." if len(names) > MOST else ""
    caption = (
        "A row is a class, a column what its items are taken for: the share of them. All on the "
        f"diagonal would be right.{left_out}"
    )
    return [page.Figure(chart, caption)]


def _classes(evaluation: Evaluation) -> list[page.Block]:
    scores = evaluation.by_class()
    columns = ["class", "items", "recall", "95 % interval", "precision", "F1"]
    rows = [
        (
            score.name,
            f"{score.items:,}",
            f"{score.recall:.1%}",
            "{:.1%} to {:.1%}".format(*wilson(score.right, score.items)),
            f"{score.precision:.1%}",
            f"{score.f1:.1%}",
        )
        for score in scores
    ]
    bars = [
        figures.Bar(score.name, score.recall, wilson(score.right, score.items)) for score in scores
    ]
    chart = figures.bar_table(
        bars, title="Recall", label="class", value="found", show="{:.0%}".format
    )
    return [
        page.Figure(
            chart, "The share of each class's items that is told right, with its interval."
        ),
        page.Table("By class", columns, rows, columns[1:]),
    ]


def _mistakes(evaluation: Evaluation) -> page.Block:
    names, probabilities = evaluation.classes.names, evaluation.probabilities
    best = probabilities.argmax(1)
    wrong = [i for i in range(len(best)) if best[i] != evaluation.truth[i]]
    wrong.sort(key=lambda i: -probabilities[i, best[i]])
    rows = [
        (
            _shown(evaluation.items[i].content) or Path(evaluation.items[i].where).name,
            names[evaluation.truth[i]],
            names[best[i]],
            f"{probabilities[i, best[i]]:.1%}",
            f"{probabilities[i, evaluation.truth[i]]:.1%}",
        )
        for i in wrong[:WORST]
    ]
    columns = ["item", "class", "taken for", "with probability", "the right one's"]
    title = "The mistakes that it is surest of"
    return page.Table(title, columns, rows, columns[3:])


def _shown(content: object) -> str:
    """Give the beginning of a text; nothing for a series."""
    text = content if isinstance(content, str) else ""
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."

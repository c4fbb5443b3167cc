"""What the page about a run shows whatever its task: how it learnt."""

from collections.abc import Mapping

from unrolled.inspect import figures, page
from unrolled.tasks.run import Run
from unrolled.tasks.scores import is_share
from unrolled.tasks.standing import Standing
from unrolled.tasks.watcher import findings_of


def learning(
    run: Run, standing: Standing, scores: Mapping[str, str], unit: str = "symbol"
) -> list[page.Block]:
    """Draw a run's learning curves: its scores on the dev data, and its loss.

    Args:
        run: the run; its metrics are the curves.
        standing: where its training ended.
        scores: names to show, and the metric of each, all on one scale.
        unit: what the loss is counted by.
    """
    metrics = run.metrics()
    if not metrics:
        return [page.Prose("The training ended before it was scored.")]
    epochs = [record["epoch"] for record in metrics]
    first = next(iter(standing.best))
    shares = all(map(is_share, scores.values()))

    def series(name: str, key: str) -> figures.Series:
        values = [(100 if is_share(key) else 1) * record[key] for record in metrics]
        return figures.Series(name, epochs, values, "lowest" if key == first else None)

    dev = figures.line_chart(
        [series(name, key) for name, key in scores.items()],
        x_label="epoch",
        y_label="per cent" if shares else ", ".join(scores),
        title="Scores on the dev data",
    )
    loss = figures.line_chart(
        [series("training loss", "train_loss")],
        x_label="epoch",
        y_label=f"nats {'an' if unit[0] in 'aeiou' else 'a'} {unit}",
        title="Training loss",
    )
    return [
        page.Figure(
            dev,
            "Scores on dev data that is not learnt from, after each scoring. The weights that are "
            f"kept are those of step {standing.best_step:,}.",
        ),
        page.Figure(
            loss, "The loss on what is learnt from, with label smoothing and dropout, if any."
        ),
        *_watched(run),
    ]


def _watched(run: Run) -> list[page.Block]:
    """Say what was found wrong on the way, if somebody watched."""
    rows = [
        (f"{found['step']:,}", found["title"], found["change"], found["evidence"])
        for found in findings_of(run)
    ]
    columns = ["step", "finding", "what to change", "measured"]
    return [page.Table("What the doctor saw on the way", columns, rows, ["step"])] if rows else []

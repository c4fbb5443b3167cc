"""The page about a run of sequence to sequence: where it looks, what it gets wrong."""

from collections.abc import Mapping, Sequence

from unrolled.inspect import figures, page
from unrolled.tasks.metrics import ErrorRates, confusions, edit_distance, wilson
from unrolled.tasks.progress import clock
from unrolled.tasks.report import learning
from unrolled.tasks.run import Run
from unrolled.tasks.scores import in_words
from unrolled.tasks.seq2seq.config import Seq2SeqConfig
from unrolled.tasks.seq2seq.evaluation import Evaluation
from unrolled.tasks.seq2seq.translator import Prediction
from unrolled.tasks.standing import Standing

MAPS = 12  # attention maps shown
WORST = 25  # mistakes shown
CONFUSED = 15  # confusions shown
COPIED = 15  # predictions shown that no vocabulary could have given
LONG = 300  # characters of a text in a table


def write_report(
    run: Run,
    settings: Seq2SeqConfig,
    standing: Standing,
    evaluation: Evaluation,
    baselines: Mapping[str, ErrorRates],
    shown: Sequence[Prediction] = (),
    title: str = "Sequence to sequence",
    unit: str = "symbol",
) -> None:
    """Write a run's ``report.html``.

    Args:
        run: the run; its metrics are the learning curves.
        settings: those it was trained with.
        standing: where its training ended.
        evaluation: what it made of examples that it did not learn from.
        baselines: error rates of other systems on the same examples.
        shown: predictions whose attention is shown; by default some of the evaluation's.
        title: the page's heading.
        unit: what a symbol of the target is called.
    """
    rates = evaluation.rates
    lead = (
        f"{1 - rates.word_error_rate:.1%} of {rates.words:,} sources that the model has never seen "
        f"come out exactly right; {rates.symbol_error_rate:.1%} of the {unit}s are wrong."
    )
    if evaluation.quality is not None:
        lead = (
            f"{in_words(evaluation.quality.figures, ', ')} on {rates.words:,} sources that the "
            f"model has never seen ({evaluation.quality.signature})."
        )
    model = settings.model
    facts = {
        "cell": model.cell + (f", decoder {model.decoder_cell}" if model.decoder_cell else ""),
        "layers": f"{model.encoder_layers} encoder, {model.decoder_layers} decoder",
        "units": f"{model.hidden:,}",
        "attention": f"{model.attention}, {model.score}",
        "trained": f"{clock(standing.seconds)}, {standing.step:,} steps",
        "speed": f"{standing.symbols / max(standing.seconds, 1e-9):,.0f} {unit}s a second",
        "beam": str(settings.search.width),
    }
    errors = {"word error rate": "word_error_rate", f"{unit} error rate": "symbol_error_rate"}
    if evaluation.quality is not None:
        errors = {name.upper(): name for name in evaluation.quality.figures}
    cut = sum(p.unread > 0 for p in evaluation.predictions)
    if cut:
        facts["sources cut"] = f"{cut:,} of {rates.words:,}, to {settings.data.source_limit:,}"
    sections = [
        page.Section("Error rates", _rates(evaluation, baselines, unit)),
        page.Section("How it learnt", learning(run, standing, errors, unit)),
        page.Section("Where it looks", _maps(shown or _examples(evaluation), unit)),
        *([page.Section("What it copies", _copies(evaluation, unit))] if model.copy else []),
        page.Section("What it gets wrong", _mistakes(evaluation, unit)),
    ]
    page.write(page.Page(title, lead, facts, sections), run.report)


def _rates(
    evaluation: Evaluation, baselines: Mapping[str, ErrorRates], unit: str
) -> list[page.Block]:
    systems = {"this model": evaluation.rates, **baselines}
    rows = [
        (
            name,
            f"{r.word_error_rate:.2%}",
            "{:.1%} to {:.1%}".format(*wilson(r.wrong_words, r.words)),
            f"{r.symbol_error_rate:.2%}",
            f"{r.wrong_words:,} of {r.words:,}",
        )
        for name, r in systems.items()
    ]
    columns = ["system", "word error rate", "95 % interval", f"{unit} error rate", "wrong"]
    bars = [
        figures.Bar(
            name, r.word_error_rate, wilson(r.wrong_words, r.words), muted=name != "this model"
        )
        for name, r in systems.items()
    ]
    chart = figures.bar_table(
        bars, title="Word error rate", label="system", value="wrong", show="{:.1%}".format
    )
    return [
        page.Table("Error rates on held-out sources", columns, rows, columns[1:]),
        page.Figure(chart, "Shorter is better; the whisker is the 95 % interval."),
    ]


def _maps(shown: Sequence[Prediction], unit: str) -> list[page.Block]:
    text = (
        f"A row is a {unit} of the prediction, a column a symbol of the source; the stronger the "
        f"cell, the more the model looked there when it chose the {unit}."
    )
    maps = page.Grid(
        [
            page.Figure(
                figures.heat_map(
                    p.symbols,
                    p.source,
                    p.weights,
                    title=f"{''.join(p.source)} to {p.text}",
                    row_title=unit,
                    column_title="source",
                ),
                "",
            )
            for p in shown[:MAPS]
            if p.weights is not None and p.symbols
        ]
    )
    return [page.Prose(text), maps]


def _examples(evaluation: Evaluation) -> list[Prediction]:
    """Take predictions of middling length from all over the evaluation, or the shortest."""
    some = [p for p in evaluation.predictions if p.symbols]
    fit = [p for p in some if 5 <= len(p.source) <= 14]
    fit = fit or sorted(some, key=lambda p: len(p.source))[:MAPS]
    return fit[:: max(1, len(fit) // MAPS)]


def _copies(evaluation: Evaluation, unit: str) -> list[page.Block]:
    """Show which symbols the target's vocabulary does not have, and yet were predicted."""
    predictions = evaluation.predictions
    found = [
        (_short(example.source), p.text, ", ".join(p.copied), _short(" / ".join(example.targets)))
        for example, p in zip(evaluation.examples, predictions, strict=True)
        if p.copied
    ]
    count, all = sum(len(p.copied) for p in predictions), sum(len(p.symbols) for p in predictions)
    text = (
        f"Every {unit} is generated from the target's vocabulary or copied from the source, or "
        f"either by a share. {count:,} of {all:,} are in no vocabulary: they can only be copies."
    )
    columns = ["source", "prediction", "copies", "expected"]
    rows = found[:: max(1, len(found) // COPIED)][:COPIED]
    return [page.Prose(text), *([page.Table("Copied from the source", columns, rows)] * bool(rows))]


def _short(text: str) -> str:
    return text if len(text) <= LONG else f"{text[:LONG]} …"


def _mistakes(evaluation: Evaluation, unit: str) -> list[page.Block]:
    wrong = []
    predictions, references = evaluation.predictions, evaluation.references
    for example, found, allowed in zip(evaluation.examples, predictions, references, strict=True):
        distance = min(edit_distance(target, found.symbols) for target in allowed)
        if distance:
            wrong.append((distance, example, found))
    wrong.sort(key=lambda item: (-item[0], item[1].source))
    rows = [
        (_short(e.source), f.text or "(nothing)", _short(" / ".join(e.targets)), str(d))
        for d, e, f in wrong[:WORST]
    ]
    counts = confusions(references, [p.symbols for p in predictions])
    bars = [
        figures.Bar(f"{expected or '(nothing)'} → {got or '(nothing)'}", count)
        for (expected, got), count in counts.most_common(CONFUSED)
    ]
    blocks: list[page.Block] = []
    if bars:
        chart = figures.bar_table(
            bars, title=f"{unit.capitalize()}s confused", label="expected → got", value="times"
        )
        blocks.append(page.Figure(chart, f"The {unit}s that are taken for one another most often."))
    columns = ["source", "prediction", "expected", "edits"]
    blocks.append(page.Table("The worst mistakes", columns, rows, ["edits"]))
    return blocks

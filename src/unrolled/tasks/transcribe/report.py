"""The page about a run of speech to text: how well it hears, what it gets wrong, what it hears."""

from collections import Counter

from unrolled.inspect import figures, page
from unrolled.tasks.metrics import alignment
from unrolled.tasks.progress import clock
from unrolled.tasks.report import learning
from unrolled.tasks.run import Run
from unrolled.tasks.standing import Standing
from unrolled.tasks.transcribe.config import TranscribeConfig
from unrolled.tasks.transcribe.corpus import Corpus
from unrolled.tasks.transcribe.evaluation import Evaluation, word_edits
from unrolled.tasks.transcribe.recogniser import Recogniser

MAPS = 6  # recordings whose steps are shown
WIDEST = 60  # steps of the longest of them
WORST = 25  # mistakes shown
CONFUSED = 15  # confusions shown


def write_report(
    run: Run,
    settings: TranscribeConfig,
    standing: Standing,
    evaluation: Evaluation,
    recogniser: Recogniser,
    dev: Corpus,
) -> None:
    """Write a run's ``report.html``.

    Args:
        run: the run; its metrics are the learning curves.
        settings: those it was trained with.
        standing: where its training ended.
        evaluation: what it made of the dev recordings.
        recogniser: the trained model.
        dev: the dev recordings.
    """
    words, model = evaluation.words, settings.model
    lead = (
        f"{words.symbol_error_rate:.1%} of the words of {words.words:,} recordings that the model "
        f"has never heard are wrong, and {evaluation.characters.symbol_error_rate:.1%} of the "
        "characters."
    )
    search = recogniser.search
    facts = {
        "head": model.head,
        "cell": model.cell,
        "layers": f"{model.layers}, {'both directions' if model.bidirectional else 'forward'}",
        "units": f"{model.hidden:,} in each direction",
        "a step": f"{model.stack * 1000 * settings.data.frame_seconds:g} ms",
        "trained": f"{clock(standing.seconds)}, {standing.step:,} steps",
        "search": f"beam of {search.width}",
        "language model": "none"
        if recogniser.language is None
        else f"{search.order}-gram of {search.language}, weight {search.weight:g}",
    }
    errors = {"word error rate": "word_error_rate", "character error rate": "character_error_rate"}
    sections = [
        page.Section("Error rates", _rates(evaluation)),
        page.Section("How it learnt", learning(run, standing, errors)),
        page.Section("What it hears", _maps(evaluation, recogniser, dev)),
        page.Section("What it gets wrong", _mistakes(evaluation)),
    ]
    page.write(page.Page("Speech to text", lead, facts, sections), run.report)


def _rates(evaluation: Evaluation) -> list[page.Block]:
    words, characters = evaluation.words, evaluation.characters
    low, high = evaluation.interval()
    rows = [
        (
            "words",
            f"{words.symbol_error_rate:.2%}",
            f"{low:.1%} to {high:.1%}",
            f"{words.symbol_edits:,} edits in {words.symbols:,}",
        ),
        (
            "characters",
            f"{characters.symbol_error_rate:.2%}",
            "",
            f"{characters.symbol_edits:,} edits in {characters.symbols:,}",
        ),
        (
            "recordings",
            f"{words.word_error_rate:.2%}",
            "",
            f"{words.wrong_words:,} of {words.words:,} not exactly right",
        ),
    ]
    columns = ["of", "error rate", "95 % interval", "count"]
    return [page.Table("Error rates on dev recordings", columns, rows, columns[1:])]


def _maps(evaluation: Evaluation, recogniser: Recogniser, dev: Corpus) -> list[page.Block]:
    """Draw how likely each symbol of a transcript was at each step, of some short recordings."""
    stack = recogniser.model.listener.stack
    fit = [i for i, size in enumerate(dev.lengths) if size <= WIDEST * stack]
    shown = [i for i in fit if evaluation.found[i].symbols]
    shown = shown[:: max(1, len(shown) // MAPS)][:MAPS]
    drawn = []
    for i, heard in zip(shown, recogniser.listen([dev[i] for i in shown]), strict=True):
        symbols, strengths = recogniser.model.head.seen(heard, evaluation.found[i].symbols)
        names = [recogniser.alphabet.vocabulary.entries[s - 1] for s in symbols]
        step = stack * recogniser.seconds
        chart = figures.heat_map(
            ["␣" if name == " " else name for name in names],
            [f"{step * t:.2f}" for t in range(len(heard))],
            strengths,
            title=f"{evaluation.found[i].text} (said: {evaluation.entries[i].transcript})",
            row_title="symbol",
            column_title="second",
        )
        drawn.append(page.Figure(chart, ""))
    text = (
        "A row is a symbol of the transcript, a column a step in time; the stronger the cell, the "
        "surer the model was to hear the symbol there. Where all are weak it wrote nothing."
    )
    return [page.Prose(text), page.Grid(drawn)] if drawn else [page.Prose("All are too long.")]


def _mistakes(evaluation: Evaluation) -> list[page.Block]:
    wrong = sorted(
        ((word_edits(*pair), *pair) for pair in evaluation.pairs() if word_edits(*pair)),
        key=lambda item: (-item[0], item[1]),
    )
    counts = Counter(
        pair
        for _, expected, found in wrong
        for pair in alignment(expected.split(), found.split())
        if pair[0] != pair[1]
    )
    blocks: list[page.Block] = []
    if counts:
        bars = [
            figures.Bar(f"{expected or '(nothing)'} → {got or '(nothing)'}", count)
            for (expected, got), count in counts.most_common(CONFUSED)
        ]
        chart = figures.bar_table(bars, title="Words confused", label="said → heard", value="times")
        blocks.append(page.Figure(chart, "The words that are taken for one another most often."))
    rows = [
        (expected, found or "(nothing)", str(edits)) for edits, expected, found in wrong[:WORST]
    ]
    blocks.append(page.Table("The worst mistakes", ["said", "heard", "edits"], rows, ["edits"]))
    return blocks

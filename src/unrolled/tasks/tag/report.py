"""The page about a tagger's run: how it learnt, and what it gets wrong."""

from collections import Counter

from unrolled.inspect import figures, page
from unrolled.tasks.metrics import wilson
from unrolled.tasks.progress import clock
from unrolled.tasks.report import learning
from unrolled.tasks.run import Run
from unrolled.tasks.standing import Standing
from unrolled.tasks.tag.config import TagConfig
from unrolled.tasks.tag.data import column_names
from unrolled.tasks.tag.evaluation import Evaluation
from unrolled.tasks.tag.spans import together

CONFUSED = 15  # confusions shown
TAGS = 40  # tags shown
WORDS = 25  # wrong words shown
SENTENCES = 12  # sentences shown with what is wrong in them


def write_report(run: Run, settings: TagConfig, standing: Standing, found: Evaluation) -> None:
    """Write a run's ``report.html``.

    Args:
        run: the run; its metrics are the learning curves.
        settings: those it was trained with.
        standing: where its training ended.
        found: what it made of sentences that it did not learn from.
    """
    lead = (
        f"{found.accuracy:.1%} of {found.words:,} words that the model did not learn from get the "
        "right tag"
    )
    curves = {"words wrong": "tag_error_rate"}
    if found.spans is not None:
        counts = together(found.spans.values())
        lead += f"; spans are found with an F1 of {counts.f1:.1%}"
        curves = {"spans: 100 - F1": "span_error_rate", **curves}
    model = settings.model
    facts = {
        "column": column_names(settings.data)[0],
        "cell": model.cell + (f", letters {model.letter_cell}" if model.letter_cell else ""),
        "units": f"{model.hidden:,} over words, {model.letter_hidden:,} over letters",
        "layers": str(model.layers),
        "tags": "a conditional random field" if model.crf else "each by itself",
        "trained": f"{clock(standing.seconds)}, {standing.step:,} steps",
        "speed": f"{standing.symbols / max(standing.seconds, 1e-9):,.0f} words a second",
    }
    sections = [
        page.Section("Scores", _scores(found)),
        page.Section("How it learnt", learning(run, standing, curves, "word")),
        page.Section("What it gets wrong", _mistakes(found)),
    ]
    page.write(page.Page("Tagging", f"{lead}.", facts, sections), run.report)


def _scores(found: Evaluation) -> list[page.Block]:
    words, wrong = found.unknown
    sides = {
        "all words": (found.words, found.wrong),
        "words seen in training": (found.words - words, found.wrong - wrong),
        "words not seen": (words, wrong),
    }
    rows = [
        (
            name,
            f"{1 - bad / count:.2%}",
            "{:.1%} to {:.1%}".format(*wilson(count - bad, count)),
            f"{bad:,} of {count:,}",
        )
        for name, (count, bad) in sides.items()
        if count
    ]
    columns = ["words", "accuracy", "95 % interval", "wrong"]
    blocks: list[page.Block] = [page.Table("Tags of held-out words", columns, rows, columns[1:])]
    if found.spans is not None:
        blocks.append(_spans(found))
    return [*blocks, _by_tag(found)]


def _spans(found: Evaluation) -> page.Table:
    spans = found.spans or {}
    columns = ["spans", "F1", "precision", "recall", "expected", "found"]
    rows = [
        (
            kind,
            f"{c.f1:.1%}",
            f"{c.precision:.1%}",
            f"{c.recall:.1%}",
            f"{c.expected:,}",
            f"{c.found:,}",
        )
        for kind, c in {"all": together(spans.values()), **spans}.items()
    ]
    return page.Table("Spans: right if kind, start and end are", columns, rows, columns[1:])


def _by_tag(found: Evaluation) -> page.Table:
    expected, given, right = Counter[str](), Counter[str](), Counter[str]()
    for (one, other), count in found.confusions.items():
        expected[one] += count
        given[other] += count
        right[one] += count * (one == other)
    columns = ["tag", "words", "recall", "precision"]
    rows = [
        (
            tag + (" (not in training)" if tag in found.unseen else ""),
            f"{count:,}",
            f"{right[tag] / count:.1%}",
            f"{right[tag] / given[tag]:.1%}" if given[tag] else "never given",
        )
        for tag, count in expected.most_common(TAGS)
    ]
    return page.Table("Tags by how often they are due", columns, rows, columns[1:])


def _mistakes(found: Evaluation) -> list[page.Block]:
    pairs = Counter({pair: n for pair, n in found.confusions.items() if pair[0] != pair[1]})
    if not pairs:
        return [page.Prose("Nothing: every tag is right.")]
    bars = [figures.Bar(f"{e} → {f}", count) for (e, f), count in pairs.most_common(CONFUSED)]
    chart = figures.bar_table(bars, title="Tags confused", label="expected → got", value="times")
    words: Counter[tuple[str, str, str]] = Counter()
    marked: list[tuple[str, str]] = []
    for sentence, given in zip(found.sentences, found.predictions, strict=True):
        wanted = [tags[0] for tags in sentence.tags]
        triples = [*zip(sentence.words, wanted, given, strict=True)]
        words.update(triple for triple in triples if triple[1] != triple[2])
        wrong = [f"{word}: {g}, not {w}" for word, w, g in triples if w != g]
        if wrong and len(sentence.words) <= 30:
            marked.append((" ".join(sentence.words), "; ".join(wrong)))
    often = [(word, e, f, str(n)) for (word, e, f), n in words.most_common(WORDS)]
    return [
        page.Figure(chart, "The tags that are taken for one another most often."),
        page.Table(
            "Words tagged wrongly most often",
            ["word", "expected", "got", "times"],
            often,
            ["times"],
        ),
        page.Table(
            "Some sentences and their mistakes",
            ["sentence", "mistakes"],
            marked[:: max(1, len(marked) // SENTENCES)][:SENTENCES],
        ),
    ]

"""Predictions line by line: from a stream, as soon as lines are there, to a stream."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import IO

from unrolled.tasks.lines import normalize
from unrolled.tasks.readings import readings
from unrolled.tasks.seq2seq.config import PredictConfig
from unrolled.tasks.seq2seq.evaluation import ESCAPED
from unrolled.tasks.seq2seq.pairs import first_column
from unrolled.tasks.seq2seq.translator import Prediction, Translator
from unrolled.tasks.vocabulary import Vocabulary

NAMED = 8  # unknown symbols that are named


def predict(
    translator: Translator,
    stream: IO[bytes],
    out: IO[bytes],
    err: IO[str],
    settings: PredictConfig,
    *,
    normal_form: str,
    max_line: int,
    name: str = "stdin",
) -> int:
    """Write a prediction for every line of a stream, in order, and flush after each reading.

    Line n of the output belongs to line n of the input: a line that cannot be read gets an empty
    prediction, as a blank one does, and one with symbols that the model does not know a guess,
    unless it can copy them. How many were cut to what the model reads is said at the end.

    Args:
        translator: the trained model.
        stream: text in UTF-8, one source a line; of tab-separated lines the first column.
        out: where predictions go, in UTF-8.
        err: where faults go, a line each.
        settings: how many predictions, and how they are written.
        normal_form: the Unicode form that the model learnt, see `normalize`.
        max_line: characters of a line at most.
        name: what the stream is called in faults.

    Returns:
        How many lines had a fault.

    Raises:
        DataError: the stream itself cannot be read.
    """
    faults = cut = sources = 0
    format = "tsv" if settings.format == "text" and settings.best > 1 else settings.format
    write, known = WRITERS[format], translator.vocabularies.source
    for lines in readings(stream, name, max_line, first_column):
        texts = [normalize(line.text, normal_form) for line in lines]
        there = [i for i, text in enumerate(texts) if text]
        found = translator.translate(
            [texts[i] for i in there], settings.best, weights=format == "jsonl"
        )
        cut, sources = cut + sum(best[0].unread > 0 for best in found), sources + len(found)
        predictions = dict(zip(there, found, strict=True))
        for i, line in enumerate(lines):
            guess = "" if translator.numbering.copy else _unknown(known, texts[i])
            if fault := line.fault or guess:
                faults += 1
                print(f"unrolled: {line.where}: {fault}", file=err, flush=True)
            for text in write(line.text, predictions.get(i, [])):
                out.write(f"{text}\n".encode())
        out.flush()
    if cut:
        limit = translator.numbering.source_limit
        what = f"{cut:,} of {sources:,} sources were cut to their first {limit:,} symbols"
        print(f"unrolled: {name}: {what} (--source-limit)", file=err, flush=True)
    return faults


def _unknown(known: Vocabulary, text: str) -> str:
    """Name what the model has never seen, or nothing."""
    unknown = known.unknown(text)
    if not unknown:
        return ""
    others = {text.upper(), text.lower()} - {text}
    hint = "; try the other case" if any(not known.unknown(other) for other in others) else ""
    names = ", ".join(map(repr, unknown[:NAMED])) + (", ..." if len(unknown) > NAMED else "")
    return f"the model has never seen {names}, so the prediction is a guess{hint}"


def _text(source: str, found: Sequence[Prediction]) -> Iterator[str]:
    yield found[0].text.translate(ESCAPED) if found else ""


def _tsv(source: str, found: Sequence[Prediction]) -> Iterator[str]:
    for p in found:
        yield f"{source.translate(ESCAPED)}\t{p.text.translate(ESCAPED)}\t{p.score:.4f}"
    if not found:
        yield f"{source}\t\t"


def _jsonl(source: str, found: Sequence[Prediction]) -> Iterator[str]:
    for p in found:
        record = {
            "source": source,
            "target": p.text,
            "score": round(p.score, 6),
            "finished": p.finished,
            "source_symbols": p.source,
            "target_symbols": p.symbols,
            **({"copied": p.copied} if p.copied else {}),
            "weights": [] if p.weights is None else p.weights.double().round(decimals=4).tolist(),
        }
        yield json.dumps(record, ensure_ascii=False)
    if not found:
        yield json.dumps({"source": source, "target": ""}, ensure_ascii=False)


WRITERS: dict[str, Callable[[str, Sequence[Prediction]], Iterator[str]]] = {
    "text": _text,
    "tsv": _tsv,
    "jsonl": _jsonl,
}

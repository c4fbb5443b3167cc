"""What the commands do for tagging."""

import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import torch

from unrolled.tasks.device import pick_device
from unrolled.tasks.progress import Progress
from unrolled.tasks.readings import opened_stream
from unrolled.tasks.run import Run
from unrolled.tasks.scores import save_scores
from unrolled.tasks.tag.annotator import Annotator, build_model
from unrolled.tasks.tag.config import EvaluateConfig, PredictConfig, TagConfig
from unrolled.tasks.tag.data import (
    build_lexicon,
    load_data,
    load_sentences,
    make_form,
)
from unrolled.tasks.tag.evaluation import Evaluation, scored_as_spans
from unrolled.tasks.tag.evaluation import evaluate as score
from unrolled.tasks.tag.lesson import TagLesson
from unrolled.tasks.tag.lexicon import Lexicon, Speller
from unrolled.tasks.tag.sentences import Form, Sentence, read_groups, write_sentence
from unrolled.tasks.trained import load_best, read_settings

NEEDS = ("config.toml", "model.safetensors", "lexicon.json")
TOGETHER = 256  # sentences of a file that are tagged together at most


def learn(settings: TagConfig, device: torch.device, progress: Progress) -> TagLesson:
    """Read the sentences, collect their words, and build the model."""
    train, dev = load_data(settings.data, settings.training.seed, progress)
    lexicon = build_lexicon(train, settings.data)
    model = build_model(settings.model, lexicon).to(device)
    return TagLesson(model, lexicon, train, dev, settings)


def open_run(path: Path, device: str = "auto") -> tuple[TagConfig, Annotator]:
    """Give a run's settings and its best model, ready to tag.

    Args:
        path: the run's folder.
        device: where the model is to compute, see `pick_device`.

    Raises:
        RunError: a file of the run is missing or damaged.
        ConfigError: its settings are damaged, or there is no such device.
        DataError: its lexicon is damaged.
    """
    run = Run.open(path, needs=NEEDS)
    settings: TagConfig = read_settings(run)
    lexicon = Lexicon.load(path / "lexicon.json")
    model = load_best(run, build_model(settings.model, lexicon)).to(pick_device(device))
    return settings, Annotator(model, lexicon, Speller(lexicon, settings.data.most_letters))


def evaluate(path: Path, settings: EvaluateConfig) -> Evaluation:
    """Score a run, print the figures, and keep them in the run.

    Raises:
        UnrolledError: see the message.
    """
    saved, annotator = open_run(path, settings.device)
    if settings.data is None:
        name, data = "dev", saved.data.dev or Path("held out")
        form = make_form(saved.data.dev or saved.data.train, saved.data.form, saved.data)
        sentences = load_data(saved.data, saved.training.seed, Progress())[1]
    else:
        name, data = settings.data.name.split(".")[0], settings.data
        form = make_form(data, settings.form, saved.data)
        sentences = load_sentences(
            data, form, saved.data, skip_bad=settings.skip_bad, progress=Progress()
        )
    spans = scored_as_spans(saved.data.spans, annotator.lexicon)
    evaluation = score(annotator, sentences, spans=spans)
    print("\n".join(evaluation.lines()), flush=True)
    save_scores(Run(path), name, data, evaluation.record())
    if settings.predictions:
        evaluation.write(settings.predictions, form)
    return evaluation


def predict(path: Path, settings: PredictConfig, files: Sequence[Path] = ()) -> int:
    """Write the sentences of a file, plain or .gz, or of standard input with their tags.

    Returns:
        How many sentences could not be tagged; they are written as they came.

    Raises:
        UnrolledError: see the message.
    """
    source = files[0] if files else None
    with opened_stream(source, "write a sentence") as stream:
        saved, annotator = open_run(path, settings.device)
        form = make_form(source, settings.form, saved.data, tagged=False)
        groups = read_groups(
            stream,
            str(source or "stdin"),
            form,
            max_line=saved.data.max_line,
            max_words=saved.data.max_words,
        )
        if source is not None:  # nobody waits for the first: larger groups are faster
            groups = _regrouped(itertools.chain.from_iterable(groups))
        return write_tagged(annotator, groups, form, sys.stdout.buffer, sys.stderr)


def write_tagged(
    annotator: Annotator,
    groups: Iterable[Sequence[Sentence]],
    form: Form,
    out: IO[bytes],
    err: IO[str],
) -> int:
    """Write sentences with their tags, in their order, and those with a fault as they came.

    Args:
        annotator: gives the tags.
        groups: sentences that are tagged together, in any number; a group is held at a time.
        form: how they are written.
        out: where they go, in UTF-8.
        err: where faults go, a line each.

    Returns:
        How many had a fault.
    """
    faults = 0
    for some in groups:
        tags = iter(annotator.tag([s.words for s in some if not s.fault]))
        for sentence in some:
            if sentence.fault:
                faults += 1
                print(f"unrolled: {sentence.fault}", file=err, flush=True)
            found = () if sentence.fault else next(tags)
            out.write(write_sentence(sentence, form, found).encode())
        out.flush()
    return faults


def _regrouped(sentences: Iterator[Sentence]) -> Iterator[list[Sentence]]:
    while some := list(itertools.islice(sentences, TOGETHER)):
        yield some

"""What the commands do for speech to text."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from unrolled.errors import DataError
from unrolled.tasks.device import pick_device
from unrolled.tasks.progress import Progress
from unrolled.tasks.readings import Line, opened_stream, readings
from unrolled.tasks.run import Run
from unrolled.tasks.scores import save_scores
from unrolled.tasks.trained import load_best, read_settings
from unrolled.tasks.transcribe import config
from unrolled.tasks.transcribe.alphabet import Alphabet, learn_language, load_transcripts
from unrolled.tasks.transcribe.config import EvaluateConfig, PredictConfig, TranscribeConfig
from unrolled.tasks.transcribe.corpus import Corpus, Faults, Format
from unrolled.tasks.transcribe.evaluation import Evaluation
from unrolled.tasks.transcribe.evaluation import evaluate as score
from unrolled.tasks.transcribe.lesson import HELD_OUT, TranscribeLesson
from unrolled.tasks.transcribe.manifest import Entry, hold_out, read_manifest
from unrolled.tasks.transcribe.prediction import Ear
from unrolled.tasks.transcribe.prediction import predict as write_transcripts
from unrolled.tasks.transcribe.recogniser import Recogniser, build_model
from unrolled.tasks.transcribe.recordings import Reader
from unrolled.tasks.transcribe.stream import check_stream
from unrolled.tasks.transcribe.tuning import load_search
from unrolled.tasks.vocabulary import Vocabulary

NEEDS = ("config.toml", "model.safetensors", "symbols.json", "format.json", "transcripts.txt.gz")


def learn(settings: TranscribeConfig, device: torch.device, progress: Progress) -> TranscribeLesson:
    """Read the recordings, collect the symbols of their transcripts, and build the model."""
    data = settings.data
    faults = Faults(data.skip_bad, progress)
    train, dev = load_entries(data, settings.training.seed, faults)
    reader = reader_of(data)
    corpus = Corpus(train, reader, faults, data.statistics, progress)
    held = Corpus(dev, reader, faults, data.statistics, progress, corpus.format)
    transcripts = [entry.transcript for entry in corpus.entries]
    alphabet = Alphabet(Vocabulary.build(transcripts, data.unit))
    model = build_model(settings.model, corpus.format.features, alphabet).to(device)
    return TranscribeLesson(model, alphabet, corpus, held, settings, faults.total())


def reader_of(data: config.Data) -> Reader:
    """Give what reads recordings as the settings say."""
    return Reader(data.mels, data.deltas, data.frame_seconds, data.max_seconds)


def load_entries(data: config.Data, seed: int, faults: Faults) -> tuple[list[Entry], list[Entry]]:
    """Read the manifests of both sides; without one for dev, hold recordings out."""
    if data.train is None:
        raise DataError("there is nothing to learn from; name a manifest with --train")
    train = entries_of(data.train, data, faults)
    if data.dev is None:
        return hold_out(train, seed)
    return train, entries_of(data.dev, data, faults)


def entries_of(manifest: Path, data: config.Data, faults: Faults) -> list[Entry]:
    """Read a manifest as the settings say."""
    form = {"normal_form": data.normalize, "max_line": data.max_line}
    return list(read_manifest(manifest, faults, **form))


def open_run(
    path: Path, other: config.Other | None = None, device: str = "auto"
) -> tuple[TranscribeConfig, Recogniser, Format]:
    """Give a run's settings, its best model, ready to transcribe, and what it can hear.

    Args:
        path: the run's folder.
        other: what is to differ from the run in how transcripts are looked for.
        device: where the model is to compute, see `pick_device`.

    Raises:
        RunError: a file of the run is missing or damaged.
        ConfigError: its settings are damaged, or there is no such device.
        DataError: a further file of the run is damaged.
    """
    run = Run.open(path, needs=NEEDS)
    settings = read_settings(run)
    alphabet = Alphabet(Vocabulary.load(run.path / "symbols.json"))
    format = Format.load(run.path)
    model = load_best(run, build_model(settings.model, format.features, alphabet))
    search = (other or config.Other()).over(load_search(run.path, settings.search))
    recogniser = Recogniser(
        model.to(pick_device(device)),
        alphabet,
        search,
        learn_language(alphabet, load_transcripts(run.path), search),
        settings.data.frame_seconds,
    )
    return settings, recogniser, format


def evaluate(path: Path, settings: EvaluateConfig) -> Evaluation:
    """Score a run, print the figures, and keep them in the run.

    Raises:
        UnrolledError: see the message.
    """
    saved, recogniser, format = open_run(path, settings.search, settings.device)
    data, progress = saved.data, Progress()
    faults = Faults(settings.skip_bad or data.skip_bad, progress)
    if settings.data is None:
        name, source = "dev", data.dev or HELD_OUT
        entries = load_entries(data, saved.training.seed, faults)[1]
    else:
        name, source = settings.data.name.split(".")[0], settings.data
        entries = entries_of(settings.data, data, faults)
    corpus = Corpus(entries, reader_of(data), faults, data.statistics, progress, format)
    evaluation = score(recogniser, corpus, progress)
    print("\n".join(evaluation.lines()), flush=True)
    if faults.count:
        progress.warn(faults.total())
    save_scores(Run(path), name, source, evaluation.record(recogniser.search))
    if settings.predictions:
        evaluation.write(settings.predictions)
    return evaluation


def predict(path: Path, settings: PredictConfig, files: Sequence[Path] = ()) -> int:
    """Transcribe files, or those that standard input names, one a line.

    Returns:
        How many had a fault.

    Raises:
        UnrolledError: see the message.
    """
    with opened_stream(None, "" if files else "write the name of a file") as stream:
        saved, recogniser, format = open_run(path, settings.search, settings.device)
        if settings.chunk:
            streams = recogniser.model.head.streams
            check_stream(saved.model, saved.data.statistics, streams)
        ear = Ear(reader_of(saved.data), format, saved.data.statistics)
        named: Iterable[Sequence[Line]] = (
            [[Line(str(file), str(file)) for file in files]]
            if files
            else readings(stream, "stdin", saved.data.max_line, lambda text: text.split("\t")[:1])
        )
        return write_transcripts(recogniser, ear, named, sys.stdout.buffer, sys.stderr, settings)

"""The task from end to end: it learns, scores, transcribes, goes on, and says what is wrong."""

import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unrolled.errors import DataError
from unrolled.models.ngram import NGram
from unrolled.models.prefixes import Fusion
from unrolled.tasks.checkpoint import load_weights
from unrolled.tasks.progress import Progress
from unrolled.tasks.run import Run
from unrolled.tasks.scores import load_scores
from unrolled.tasks.transcribe import commands, tuning
from unrolled.tasks.transcribe.config import Augment, Data, Other, TranscribeConfig
from unrolled.tasks.transcribe.corpus import Corpus, Faults
from unrolled.tasks.transcribe.manifest import read_manifest
from unrolled.tasks.transcribe.recordings import Reader

Call = Callable[..., Any]
Record = Callable[[str], Path]


def test_it_learns_and_the_language_model_has_a_say(trained: Path) -> None:
    scores = load_scores(Run(trained))["dev"]
    assert scores["word_error_rate"] < 0.05
    assert scores["search"]["language"] == "words"
    page = (trained / "report.html").read_text()
    assert all(text in page for text in ("What it hears", "What it gets wrong", "word error rate"))


def test_a_run_is_scored_on_other_recordings(
    unrolled: Call, trained: Path, speech: Any, tmp_path: Path
) -> None:
    others = ["--data", speech.dev, "--predictions", tmp_path / "out.tsv", "--width", "1"]
    ended = unrolled("evaluate", trained, *others)
    assert ended.code == 0, ended.err
    assert ended.out.startswith("word error rate")
    assert len((tmp_path / "out.tsv").read_text().splitlines()) == 20
    scores = load_scores(Run(trained))["dev"]
    assert (scores["recordings"], scores["search"]["width"]) == (20, 1)
    assert 0 <= scores["word_error_interval"][0] <= scores["word_error_rate"]


def test_files_are_transcribed_in_their_order(
    unrolled: Call, trained: Path, record: Record, tmp_path: Path
) -> None:
    files = [record("ab c"), tmp_path / "missing.npy", record("cab")]
    ended = unrolled("predict", trained, *files)
    assert (ended.code, ended.out) == (1, "ab c\n\ncab\n")
    assert (
        ended.err
        == f"unrolled: {files[1]}: no such file or directory; name a file that can be read\n"
    )


def test_words_have_times_and_alternatives_scores(
    unrolled: Call, trained: Path, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sound lasts six frames of 10 ms, and two of silence; words are at 0.03 and 0.27 s."""
    path = record("ab c")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{path}\tsaid\n".encode())))
    ended = unrolled("predict", trained, "--format", "jsonl", "--best", "2")
    found = [json.loads(line) for line in ended.out.splitlines()]
    assert [one["transcript"] for one in found][0] == "ab c"
    assert found[0]["score"] > found[1]["score"]
    first, second = found[0]["words"]
    assert (first["text"], second["text"]) == ("ab", "c")
    assert 0 <= first["start"] < first["end"] <= second["start"] < second["end"] <= 0.38
    assert first["start"] < 0.12 and second["start"] > 0.2
    assert 0.2 < second["probability"] <= 1


def test_sounds_of_another_kind_are_refused(unrolled: Call, trained: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((20, 5)))
    ended = unrolled("predict", trained, tmp_path / "a.npy")
    assert "has 5 features a frame, not the 8 of what was learnt from" in ended.err
    assert (ended.code, ended.out) == (1, "\n")


def test_a_stopped_training_goes_on_to_the_same_weights(
    unrolled: Call, speech: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = [*speech.learns, *"--epochs 1.5 --score-steps 9 --score-every 0.5 --no-tune".split()]
    assert unrolled(*short, "--run", tmp_path / "whole").code == 0
    learn, steps = commands.learn, 0

    def stopping(*given: Any) -> Any:
        lesson = learn(*given)
        loss = lesson.loss

        def counted(*batch: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == 11:
                raise KeyboardInterrupt
            return loss(*batch)

        monkeypatch.setattr(lesson, "loss", counted)
        return lesson

    monkeypatch.setattr(commands, "learn", stopping)
    parted = ["--run", tmp_path / "parted", "--keep-every", "0"]
    assert unrolled(*short, *parted).code == 130
    assert unrolled(*short, *parted, "--resume").code == 0
    whole, parts = (load_weights(Run(tmp_path / n).weights)[0] for n in ("whole", "parted"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_bad_recordings_stop_or_are_skipped(unrolled: Call, speech: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.tsv"
    good = speech.train.read_text().splitlines()[:12]
    named = [f"{speech.train.parent}/{line}\n" for line in good]
    bad.write_text("".join([*named, "gone.npy\tab\tann\n", "empty.npy\t\tann\n"]))
    files = ["train", "transcribe", "--train", bad, "--dev", bad, "--run", tmp_path / "run"]
    ended = unrolled(*files)
    assert ended.code == 2
    assert f"unrolled: {bad}:14: the transcript is empty" in ended.err
    assert not (tmp_path / "run").exists()
    flags = "--skip-bad --cell GRU --hidden 24 --layers 1 --stack 2 --epochs 1 --no-tune"
    ended = unrolled(*files, *flags.split(), "--device", "cpu")
    assert ended.code == 0, ended.err
    assert "4 recordings or lines were left out" in ended.err  # two of each side
    assert "12 recordings" in ended.err
    ended = unrolled("evaluate", tmp_path / "run", "--data", bad)
    assert ended.code == 0 and "2 recordings or lines were left out" in ended.err, ended.err


def test_units_levels_and_directions_all_learn(speech: Any) -> None:
    for data, bidirectional in (
        (Data(unit="tokens", statistics="speaker"), True),
        (Data(statistics="corpus"), False),
    ):
        paths = {"train": speech.train, "dev": speech.dev}
        settings = TranscribeConfig(
            data=Data(**{**vars(data), **paths}), augment=Augment(feature_masks=2)
        )
        model = settings.model.__class__("GRU", 24, 1, bidirectional, stack=2)
        settings = TranscribeConfig(data=settings.data, model=model, training=settings.training)
        lesson = commands.learn(settings, torch.device("cpu"), Progress())
        loss, symbols = lesson.loss([0, 5, 7], 0.0)
        loss.backward()
        assert loss.isfinite() and symbols > 0
        assert lesson.score(lesson.model)["word_error_rate"] > 0


def test_short_recordings_are_told(speech: Any) -> None:
    settings = TranscribeConfig(data=Data(train=speech.train, dev=speech.dev))
    long = settings.model.__class__("GRU", 5, 1, stack=9)
    settings = TranscribeConfig(data=settings.data, model=long)
    [warning] = commands.learn(settings, torch.device("cpu"), Progress()).warnings()
    assert "recordings are too short for their transcripts at --stack 9" in warning


def test_smoothing_asks_for_all_symbols_alike(speech: Any) -> None:
    """With all weights of the head at zero all symbols are alike: log(symbols) a step."""
    settings = TranscribeConfig(
        data=Data(train=speech.train, dev=speech.dev),
        model=TranscribeConfig().model.__class__("GRU", 24, 1, stack=2),
        augment=Augment(0, 0, 0, 0, 0),
    )
    losses = {}
    for smoothing in (0.0, 0.25):
        training = settings.training.__class__(smoothing=smoothing)
        given = TranscribeConfig(
            data=settings.data, model=settings.model, augment=settings.augment, training=training
        )
        lesson = commands.learn(given, torch.device("cpu"), Progress())
        for parameter in lesson.model.head.parameters():
            torch.nn.init.zeros_(parameter)
        losses[smoothing], symbols = lesson.loss([0, 4], 0.0)
    steps = sum(-(-lesson.train.lengths[i] // 2) for i in (0, 4))
    alike = steps * float(np.log(len(lesson.alphabet))) / symbols
    assert losses[0.25].item() == pytest.approx(0.75 * losses[0.0].item() + 0.25 * alike, rel=1e-4)


def test_weights_are_chosen_on_dev_recordings(trained: Path, speech: Any) -> None:
    """A language model that knows only the wrong words must not have a say, a right one may."""
    chosen = json.loads((trained / "search.json").read_text())
    assert (chosen["weight"], chosen["bonus"]) in tuning._pairs()
    _, recogniser, format = commands.open_run(trained, device="cpu")
    assert recogniser.search.weight == chosen["weight"]
    stop = Faults(False, Progress())
    entries = list(read_manifest(speech.dev, stop))
    corpus = Corpus(entries[:8], Reader(), stop, "utterance", Progress(), format)
    wrong = NGram.learn([[1, 1, 1]] * 1000, len(recogniser.alphabet), 1)
    misled = replace(recogniser, language=Fusion(wrong))
    assert tuning.tune(misled, corpus, Progress()).search.weight == 0
    (trained / "search.json").write_text("{")
    with pytest.raises(DataError, match="search.json: is damaged; delete it"):
        commands.open_run(trained, device="cpu")
    (trained / "search.json").write_text(json.dumps(chosen))


def test_settings_of_the_search_go_over_those_of_the_run(trained: Path) -> None:
    _, recogniser, _ = commands.open_run(trained, Other(language="none", width=3), "cpu")
    assert recogniser.language is None and recogniser.search.width == 3
    _, recogniser, _ = commands.open_run(trained, Other(language="symbols", order=4), "cpu")
    assert recogniser.language is not None and recogniser.search.order == 4

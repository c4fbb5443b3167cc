"""Each head from end to end: it learns, goes on when stopped, transcribes and shows what it saw."""

import json
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from unrolled.errors import ConfigError
from unrolled.tasks.metrics import edit_distance
from unrolled.tasks.progress import Progress
from unrolled.tasks.run import Run
from unrolled.tasks.scores import load_scores
from unrolled.tasks.transcribe import commands
from unrolled.tasks.transcribe.config import Data, Model, TranscribeConfig
from unrolled.tasks.transcribe.heads import HEADS

Call = Callable[..., Any]

ALL = "--head-hidden 24 --head-embedding 8 --time-masks 0 --feature-masks 0 --language none"
WRITERS = {  # what each needs beside the flags that CTC learns with
    "transducer": f"{ALL} --no-bidirectional --statistics corpus --epochs 6",
    "attention": f"{ALL} --head-ctc 0.5 --epochs 9",
}


def test_the_heads_are_those_that_can_be_asked_for() -> None:
    assert set(HEADS) == set(typing.get_args(typing.get_type_hints(Model)["head"]))


@pytest.mark.parametrize("head", WRITERS)
def test_it_learns_though_stopped_and_transcribes(
    unrolled: Call,
    letters: Any,
    record: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    head: str,
) -> None:
    learn, steps = commands.learn, 0

    def stopping(*given: Any) -> Any:
        lesson = learn(*given)
        loss = lesson.loss

        def counted(*batch: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == 25:
                raise KeyboardInterrupt
            return loss(*batch)

        monkeypatch.setattr(lesson, "loss", counted)
        return lesson

    monkeypatch.setattr(commands, "learn", stopping)
    run = tmp_path / "run"
    flags = [*letters.learns, "--run", run, "--head", head, *WRITERS[head].split()]
    assert unrolled(*flags).code == 130
    ended = unrolled(*flags, "--resume")
    assert ended.code == 0, ended.err
    assert load_scores(Run(run))["dev"]["character_error_rate"] < 0.2
    assert "What it hears" in (run / "report.html").read_text()

    path, best = record("ab c"), ("--format", "jsonl", "--best", "2")
    ended = unrolled("predict", run, path, *best)
    found = [json.loads(line) for line in ended.out.splitlines()]
    assert edit_distance("ab c", found[0]["transcript"]) <= 1
    assert found[0]["score"] > found[1]["score"]
    words = found[0]["words"]
    times = [time for word in words for time in (word["start"], word["end"])]
    assert " ".join(word["text"] for word in words) == found[0]["transcript"]
    assert 0 <= times[0] < 0.14 and 0.2 < times[-1] <= 0.38 and times == sorted(times)
    assert all(0 < word["probability"] <= 1 for word in words)
    STREAMED[head](unrolled("predict", run, path, *best, "--chunk", "0.07"), found)


def it_hears_a_stream(ended: Any, whole: list[Any]) -> None:
    """Three steps and a half make a chunk: parts of steps wait, and the end is the same."""
    found = [json.loads(line) for line in ended.out.splitlines()]
    parts = [one for one in found if "final" in one]
    assert len(parts) > 1 and parts[0]["seconds"] < parts[-1]["seconds"] < 0.36
    assert all(not one["final"] and one["transcript"] for one in parts)
    for one, other in zip(found[len(parts) :], whole, strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=1e-3)
        assert (one["transcript"], len(one["words"])) == (other["transcript"], len(other["words"]))


def it_refuses_a_stream(ended: Any, whole: list[Any]) -> None:
    message = "--chunk: this run also reads from the end; train one with --no-bidirectional"
    assert (ended.code, ended.out) == (2, "") and message in ended.err


STREAMED = {"transducer": it_hears_a_stream, "attention": it_refuses_a_stream}


def test_bad_settings_are_told_in_a_line(unrolled: Call, speech: Any, tmp_path: Path) -> None:
    flags = [*speech.learns, "--run", tmp_path / "run", "--head"]
    for more, message in {
        "rnnt": "rnnt",
        "attention --head-ctc 1": "head-ctc is 1.0; give a number at least 0 and below 1",
        "transducer --head-hidden 0": "head-hidden is 0; give a number at least 1",
        "transducer --head-cell LTSM": "there is no cell 'LTSM'",
    }.items():
        ended = unrolled(*flags, *more.split())
        assert ended.code == 2 and message in ended.err, ended.err
        assert not (tmp_path / "run").exists()


def test_each_head_warns_of_recordings_that_are_too_short_for_it(speech: Any) -> None:
    data = Data(train=speech.train, dev=speech.dev)
    said = {}
    for head in HEADS:
        model = Model("GRU", 5, 1, stack=12, head=typing.cast(Any, head), head_hidden=5)
        lesson = commands.learn(
            TranscribeConfig(data=data, model=model), torch.device("cpu"), Progress()
        )
        said[head] = [int(line.split()[0]) for line in lesson.warnings()]
    [ctc], [attention] = said["ctc"], said["attention"]
    assert said["transducer"] == [] and ctc > attention > 0
    with pytest.raises(ConfigError, match="head-embedding is 0"):
        Model(head_embedding=0)

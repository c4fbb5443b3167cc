"""A training that is killed, at whatever moment, ends as if it had not been."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from unrolled import cli
from unrolled.tasks.checkpoint import load_latest
from unrolled.tasks.progress import Progress

Call = Callable[..., Any]

DIES = """
import os, signal, sys
from unrolled import cli
left, replace = int(sys.argv[1]), os.replace
def dying(*names):
    global left
    left -= str(names[1]).startswith(sys.argv[-1])  # and not what kernels keep elsewhere
    if left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*names)
os.replace = dying
cli.main(sys.argv[2:])
"""


TIMES = {"seconds", "plan_seconds", "scoring"}


class Killed(BaseException):
    """The process ends here."""


def as_bytes(tensors: Mapping[str, Tensor]) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


def outcome(path: Path) -> dict[str, Any]:
    """Give all that a training leaves, but for how long it took."""
    metrics = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    checkpoint = load_latest(path / "checkpoints", warn=pytest.fail)
    assert checkpoint is not None
    return {
        "weights": (path / "model.safetensors").read_bytes(),
        "metrics": [{k: v for k, v in record.items() if k != "seconds"} for record in metrics],
        "tensors": as_bytes(checkpoint.tensors),
        "facts": {k: v for k, v in checkpoint.facts.items() if k not in TIMES},
        "source": (path / "source.json").read_bytes(),
        "files": sorted(file.name for file in path.iterdir()),
    }


@pytest.fixture(scope="module")
def steady(tiny: list[str]) -> list[str]:
    """A tiny training with a checkpoint after every step."""
    return [*tiny, "--keep-every", "0", "--keep", "2"]


@pytest.fixture(scope="module")
def whole(steady: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a training that nothing has disturbed."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.raises(SystemExit) as exit:
        cli.main([*steady, "--run", str(path)])
    assert not exit.value.code
    return path


@pytest.fixture(scope="module")
def expected(whole: Path) -> dict[str, Any]:
    return outcome(whole)


@pytest.fixture
def finished(whole: Path, tmp_path: Path) -> Path:
    """A copy of that run, to do with as one likes."""
    return shutil.copytree(whole, tmp_path / "whole")


def test_killed_before_any_of_its_files_is_there(
    unrolled: Call,
    steady: list[str],
    expected: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One run, killed again and again, a few files further on each time, until it ends."""
    path, replace, left = tmp_path / "run", os.replace, [0]

    def dying(*names: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        replace(*names)

    monkeypatch.setattr(os, "replace", dying)
    ended, kills = None, 0
    while ended is None:
        # Three reach the next checkpoint: the metrics cut back, the best weights, and itself.
        left[0] = 3 + kills % 2 if kills else 1
        try:
            ended = unrolled(*steady, "--run", path, *(["--resume"] if kills else []))
        except Killed:
            kills += 1
            assert kills < 20, "it comes no further"
    assert ended.code == 0, ended.err
    assert kills > 4
    assert outcome(path) == expected


@pytest.mark.parametrize("moment", [5, 11], ids=["first checkpoint", "late checkpoint"])
def test_killed_by_the_system(
    unrolled: Call, steady: list[str], expected: dict[str, Any], tmp_path: Path, moment: int
) -> None:
    """The process is gone between writing a file and putting it in its place."""
    path = tmp_path / "run"
    command = [sys.executable, "-c", DIES, str(moment), *steady, "--run", str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    dead = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert dead.returncode == -signal.SIGKILL, dead.stderr
    assert [*path.glob("**/.*.tmp")], "nothing was under way"
    ended = unrolled("train", "seq2seq", "--run", path, "--resume")
    assert ended.code == 0, ended.err
    assert outcome(path) == expected
    assert not [*path.glob("**/.*.tmp")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_stopped_by_the_user(
    unrolled: Call,
    steady: list[str],
    expected: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    path, scored = tmp_path / "my run", Progress.scored

    def stopping(self: Progress, record: Any, better: bool) -> None:
        scored(self, record, better)
        signal.raise_signal(number)

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "scored", stopping)
        ended = unrolled(*steady, "--run", path)
    command = f"unrolled train seq2seq --run '{path}' --resume"
    assert ended.code == 130
    assert ended.err.splitlines()[-1] == f"unrolled: stopped and saved; go on with: {command}"
    assert unrolled("train", "seq2seq", "--run", path, "--resume").code == 0
    assert outcome(path) == expected


def test_stopped_after_the_training(
    unrolled: Call,
    steady: list[str],
    expected: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "run"

    def stop(*arguments: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr("unrolled.tasks.seq2seq.lesson.load_best", stop)
        assert unrolled(*steady, "--run", path).code == 130
    assert not (path / "report.html").exists()
    ended = unrolled(*steady, "--run", path, "--resume")
    assert "the training had ended at step 8 of 8" in ended.err
    assert outcome(path) == expected


def test_a_finished_run_is_left_as_it_is(
    unrolled: Call, expected: dict[str, Any], finished: Path
) -> None:
    path = finished
    before = {file: file.stat().st_mtime_ns for file in path.glob("*.[hs]*")}
    ended = unrolled("train", "seq2seq", "--run", path, "--resume")
    assert (ended.code, ended.out) == (0, f"{path}/report.html\n")
    assert "the training had ended at step 8 of 8" in ended.err
    assert "nothing is left to do" in ended.err
    assert outcome(path) == expected
    assert {file: file.stat().st_mtime_ns for file in path.glob("*.[hs]*")} == before


def test_a_checkpoint_that_is_cut_short_is_named_and_the_one_before_is_used(
    unrolled: Call, expected: dict[str, Any], finished: Path
) -> None:
    path = finished
    newest = max((path / "checkpoints").iterdir())
    os.truncate(newest, newest.stat().st_size // 2)
    ended = unrolled("train", "seq2seq", "--run", path, "--resume")
    assert f"warning: {newest} cannot be used: it is cut short" in ended.err
    assert "goes on at step 7 of 8" in ended.err
    assert outcome(path) == expected


def test_other_settings_are_refused_by_name(
    unrolled: Call, steady: list[str], expected: dict[str, Any], finished: Path
) -> None:
    path = finished
    ended = unrolled("train", "seq2seq", "--run", path, "--resume", "--learning-rate", "0.5")
    assert ended.code == 2
    assert ended.err == (
        f"unrolled: learning-rate is 0.5, but {path} began with 0.002; "
        "leave it out, or train into another --run\n"
    )
    assert unrolled(*steady, "--run", path, "--resume").code == 0  # the same ones are welcome
    assert outcome(path) == expected


def test_changed_data_is_refused_by_name_and_moved_data_is_not(
    unrolled: Call, steady: list[str], words: Any, tmp_path: Path
) -> None:
    mine, moved, path = tmp_path / "mine.tsv", tmp_path / "moved.tsv", tmp_path / "run"
    mine.write_bytes(words.few.read_bytes())
    assert unrolled(*steady, "--train", mine, "--run", path).code == 0
    mine.rename(moved)
    assert unrolled(*steady, "--train", moved, "--run", path, "--resume").code == 0
    moved.write_text(moved.read_text() + "cab\tB A C\n")
    ended = unrolled(*steady, "--train", moved, "--run", path, "--resume")
    assert ended.code == 2
    assert ended.err.splitlines()[-1] == (
        f"unrolled: {moved}: holds other data than when {path} began; "
        "put the old file back, or train into another --run"
    )


def test_a_run_goes_on_from_another_folder(
    unrolled: Call, steady: list[str], words: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(words.few.parent)
    assert unrolled(*steady, "--train", "few.tsv", "--run", tmp_path / "run").code == 0
    monkeypatch.chdir(tmp_path)
    assert unrolled("train", "seq2seq", "--run", "run", "--resume").code == 0


def test_a_cell_of_ones_own_does_not_change_the_weights_of_a_run(
    unrolled: Call, steady: list[str], tmp_path: Path
) -> None:
    """It is built once on trial, which draws no numbers that the weights would have had."""
    runs = tmp_path / "zoo", tmp_path / "own"
    for path, cell in zip(runs, ("GRU", "unrolled.zoo:GRU"), strict=True):
        assert unrolled(*steady, "--cell", cell, "--epochs", "0.5", "--run", path).code == 0
    first, second = map(outcome, runs)
    assert first["weights"] == second["weights"]

"""A run is made once, found again, and written by one training at a time."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.errors import RunError
from unrolled.tasks.run import Run

VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["train", "é\n"])
RECORDS = st.dictionaries(st.text(max_size=5), VALUES, max_size=4)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "runs" / "one", "seed = 1\n")


def test_a_new_run_makes_its_folder_and_settings(run: Run) -> None:
    assert run.config.read_text() == "seed = 1\n"
    assert Run.open(run.path) == run
    assert run.metrics() == []


def test_an_empty_folder_becomes_a_run(tmp_path: Path) -> None:
    assert Run.create(tmp_path, "").config.exists()


def test_what_a_kill_left_of_a_run_is_no_run(tmp_path: Path) -> None:
    (tmp_path / ".config.toml.0a1b2c3d.tmp").write_text("seed")
    assert Run.create(tmp_path, "").config.exists()


def test_a_run_is_not_made_over_another(run: Run) -> None:
    run.log({"step": 1})
    before = {path: path.read_bytes() for path in run.path.iterdir()}
    with pytest.raises(RunError) as caught:
        Run.create(run.path, "seed = 2\n")
    assert str(caught.value) == (
        f"{run.path} exists already; resume it with --resume, or choose another --run"
    )
    assert {path: path.read_bytes() for path in run.path.iterdir()} == before


def test_a_run_is_not_made_over_or_under_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="file is a file; choose another --run"):
        Run.create(tmp_path / "file", "")
    with pytest.raises(RunError, match="could not be written: Not a directory"):
        Run.create(tmp_path / "file" / "run", "")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_is_no_run_is_refused_with_what_is_missing(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nix is no folder; give the folder of a run"):
        Run.open(tmp_path / "nix")
    with pytest.raises(RunError, match="no complete run: config.toml is missing"):
        Run.open(tmp_path)
    with pytest.raises(RunError) as caught:
        Run.open(run.path, needs=("config.toml", "model.safetensors"))
    assert str(caught.value) == (
        f"{run.path} is no complete run: model.safetensors is missing (expected config.toml,"
        " model.safetensors); give another folder, or train it first"
    )


@settings(deadline=None, max_examples=30)
@given(records=st.lists(RECORDS, max_size=4))
def test_metrics_give_back_what_was_logged_as_valid_json(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict]
) -> None:
    run = Run(tmp_path_factory.mktemp("run"))
    for record in records:
        run.log(record)
    assert repr(run.metrics()) == repr(records)  # where NaN is NaN
    for line in run.log_file.read_text().splitlines() if records else []:
        json.loads(line, parse_constant=pytest.fail)  # NaN and Infinity are no JSON


@pytest.mark.parametrize(
    ("value", "text"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")]
)
def test_what_is_not_finite_is_logged_as_text(run: Run, value: float, text: str) -> None:
    run.log({"step": 1, "loss": value})
    assert run.log_file.read_text() == f'{{"step": 1, "loss": "{text}"}}\n'


@pytest.mark.parametrize("cut", range(1, 13))
def test_the_half_line_of_a_killed_process_is_dropped(run: Run, cut: int) -> None:
    run.log({"step": 1})
    run.log({"step": 2})
    os.truncate(run.log_file, run.log_file.stat().st_size - cut)
    assert run.metrics() == [{"step": 1}]


@pytest.mark.parametrize(
    "line", [b"half", b"[1]", b"3", b"", b'"x"', b"\xff\xfe"], ids=lambda line: repr(line)
)
def test_any_other_bad_line_is_named(run: Run, line: bytes) -> None:
    run.log({"step": 1})
    run.log_file.write_bytes(run.log_file.read_bytes() + line + b'\n{"step": 2}\n')
    with pytest.raises(RunError, match="metrics.jsonl:2: this line is no JSON object; delete it"):
        run.metrics()


def test_resuming_forgets_later_records_and_the_half_line(run: Run) -> None:
    run.truncate_metrics(0)  # nothing logged yet
    for step in (10, 20, 20, 30):
        run.log({"step": step, "loss": math.inf})
    run.log_file.write_bytes(run.log_file.read_bytes() + b'{"step": 4')
    kept = b"".join(run.log_file.read_bytes().splitlines(keepends=True)[:3])
    run.truncate_metrics(20)
    assert run.log_file.read_bytes() == kept
    run.log({"step": 25})
    assert [record["step"] for record in run.metrics()] == [10, 20, 20, 25]


def test_a_second_training_in_one_run_is_refused(run: Run) -> None:
    with run.lock():
        with pytest.raises(RunError) as caught, run.lock():
            pass
    assert str(caught.value) == (
        f"{run.path} is in use by another training; wait for it to end, or choose another --run"
    )
    with run.lock():
        pass


HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "ab")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_killed_training_lets_go_of_its_run(run: Run) -> None:
    command = [sys.executable, "-c", HOLDER, str(run.path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RunError, match="in use by another training"), run.lock():
            pass
        holder.kill()
    with run.lock():
        pass

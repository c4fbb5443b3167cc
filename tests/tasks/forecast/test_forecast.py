"""Forecasting through the command line: learn, score, predict, refuse."""

import csv
import io
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Call = Callable[..., Any]

TINY = (
    "--horizon 6 --season 8 --context 16 --cell GRU --hidden 8 --dropout 0 --batch 16 --epochs 1 "
    "--warmup 5 --learning-rate 1e-2 --average 0.9 --score-steps 20 --threads 1 --device cpu"
).split()
BEGIN = datetime(2024, 1, 1)


def values(steps: int, phase: float) -> np.ndarray:
    """A season of 8 steps whose size swings slowly: the season before is never quite right."""
    time = np.arange(steps) + phase
    return 50 + 10 * np.sin(2 * np.pi * time / 8) * (1.5 + np.sin(2 * np.pi * time / 50))


def write_wide(path: Path, first: int, end: int, heat: bool = False, empty: int = 0) -> Path:
    columns = [values(end, 0), values(end, 3)]
    lines = ["time,a,b" + ",heat" * heat]
    for i in range(first, end):
        cells = [f"{column[i]:.3f}" if i < end - empty else "" for column in columns]
        moment = str(BEGIN + timedelta(hours=i))
        lines.append(",".join([moment, *cells, *[f"{i % 5}"] * heat]))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_series_are_learnt_scored_and_foretold(unrolled: Call, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train, later = write_wide(tmp_path / "a.csv", 0, 220), write_wide(tmp_path / "b.csv", 220, 260)
    flags = [*TINY, "--highway", "16", "--epochs", "6", "--held-out", "5"]
    ended = unrolled("train", "forecast", "--train", train, "--run", run, *flags)
    assert ended.code == 0 and "windows of 2 series to learn from, 50 to score on" in ended.err
    page = (run / "report.html").read_text()
    assert "90% interval" in page and "seasonal naive" in page and 'class="shade"' in page

    scored = unrolled("evaluate", run, "--data", later, "--predictions", tmp_path / "p.csv")
    assert scored.code == 0 and "70 forecasts of 6 steps of 2 series" in scored.out
    record = json.loads((run / "scores-b.json").read_text())
    assert record["mase"] < 0.9 * record["baselines"]["seasonal naive"]["mase"]
    assert 0.5 < record["coverage"] <= 1
    rows = list(csv.DictReader((tmp_path / "p.csv").read_text().splitlines()))
    assert len(rows) == 70 * 6 and rows[0]["origin"] == rows[0]["time"] == "2024-01-10 04:00:00"

    foretold = unrolled("predict", run, train, "--digits", "5")
    rows = list(csv.DictReader(io.StringIO(foretold.out)))
    assert foretold.code == 0 and [row["series"] for row in rows] == ["a"] * 6 + ["b"] * 6
    assert rows[1]["time"] == "2024-01-10 05:00:00"
    assert float(rows[0]["q0.05"]) < float(rows[0]["point"]) < float(rows[0]["q0.95"])
    near = np.array([float(row["point"]) for row in rows[:6]])
    assert np.abs(near - values(226, 0)[220:]).mean() < 5
    assert unrolled("predict", run, "--digits", "5").out == foretold.out


def test_rows_are_foretold_and_new_ones_too(unrolled: Call, tmp_path: Path) -> None:
    run, train = tmp_path / "run", tmp_path / "train.csv"
    lines = [f"s{i}," + ",".join(map(str, values(60 + i, i))) for i in range(3)]
    train.write_text("\n".join(["V1,V2", *lines, "s1,1", "short,1,2"]) + "\n")
    flags = ("--train", train, "--run", run, "--layout", "rows", "--identity", "2", *TINY)
    ended = unrolled("train", "forecast", *flags)
    assert ended.code == 2 and f"{train}:5: the name 's1' is empty or there twice" in ended.err
    ended = unrolled("train", "forecast", *flags, "--skip-bad")
    assert ended.code == 0 and "2 items are left out" in ended.err and run.exists()
    (tmp_path / "new.csv").write_text("new," + ",".join(map(str, values(40, 1))) + "\n")
    foretold = unrolled("predict", run, tmp_path / "new.csv")
    assert [line.split(",")[1] for line in foretold.out.splitlines()[1:]] == [
        str(step) for step in range(40, 46)
    ]


def test_covariates_are_told_for_the_steps_to_come(unrolled: Call, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train = write_wide(tmp_path / "a.csv", 0, 80, heat=True)
    flags = ("--covariates", "heat", "--output", "mean", *TINY)
    assert unrolled("train", "forecast", "--train", train, "--run", run, *flags).code == 0
    ended = unrolled("predict", run, train)
    assert ended.code == 2 and "the covariates of a end at 2024-01-04 07:00:00" in ended.err
    ended = unrolled("predict", run, write_wide(tmp_path / "b.csv", 0, 86, heat=True, empty=6))
    assert ended.code == 0 and ended.out.splitlines()[1].startswith("a,2024-01-04 08:00:00,")
    ended = unrolled("predict", run, write_wide(tmp_path / "c.csv", 0, 80))
    assert ended.code == 2 and "no column 'heat'" in ended.err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--highway", "20"), "highway is 20; give at most context, 16"),
        (("--output", "negative_binomial"), "counts need --scaling mean"),
        (("--levels", "0.9", "0.5"), "give rising numbers between 0 and 1"),
        (("--output", "negative_binomial", "--scaling", "mean"), "which is no count"),
        (("--horizon", "50"), "has 60 values; to forecast 50 steps"),
    ],
)
def test_what_cannot_be_is_one_line(
    unrolled: Call, tmp_path: Path, flags: tuple[str, ...], message: str
) -> None:
    train = write_wide(tmp_path / "a.csv", 0, 60)
    ended = unrolled("train", "forecast", "--train", train, "--run", tmp_path / "r", *TINY, *flags)
    assert ended.code == 2 and message in ended.err
    assert not (tmp_path / "r").exists()


def test_what_comes_later_has_to_go_on(unrolled: Call, tmp_path: Path) -> None:
    run, train = tmp_path / "run", write_wide(tmp_path / "a.csv", 0, 80)
    assert unrolled("train", "forecast", "--train", train, "--run", run, *TINY).code == 0
    ended = unrolled("evaluate", run, "--data", write_wide(tmp_path / "b.csv", 82, 100))
    assert ended.code == 2 and "b.csv:2: a goes on at 2024-01-04 10:00:00" in ended.err
    ended = unrolled("evaluate", run, "--data", write_wide(tmp_path / "c.csv", 80, 83))
    assert ended.code == 2 and "shorter than the 6 steps of a forecast" in ended.err

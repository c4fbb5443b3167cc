"""Train the preset on a set of series, score it on what came after, and record the result.

    export UNROLLED_DATA=...
    python benchmarks/forecasting.py --set m4_hourly
    python benchmarks/forecasting.py --set etth1

The data are in the folder forecasting under UNROLLED_DATA. With --run a run that is already trained
is only scored. The record goes to benchmarks/results.

m4_hourly: the last 48 hours of each training series choose the weights; the 48 of the competition
are the test. etth1: 12, 4 and 4 months of 30 days to learn from, to choose by and to score on, as
in Zhou et al. 2021 (arXiv:2012.07436); every hour of the test months from which 24 are left is
forecast from, and errors are of values with mean and deviation of the training months taken off.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import commit, machine
from unrolled.tasks.run import Run

RESULTS = Path(__file__).parent / "results"
MONTH = 30 * 24
FLAGS = {
    "m4_hourly": ["--layout", "rows", "--horizon", "48", "--minutes", "19"],
    "etth1": ["--horizon", "24", "--minutes", "14"],
}


def main() -> None:
    """Train, score and record."""
    parser = argparse.ArgumentParser(description="Train and score the preset on series.")
    parser.add_argument("--set", required=True, choices=FLAGS)
    parser.add_argument("--preset", default="hourly", help="of unrolled train forecast")
    parser.add_argument("--run", type=Path, help="a trained run to score; by default a new one")
    parser.add_argument("--commit", help="that the run was trained at; by default the present one")
    arguments = parser.parse_args()
    data = os.environ.get("UNROLLED_DATA") or sys.exit("set UNROLLED_DATA to the data's folder")
    work = Path(tempfile.mkdtemp(prefix="unrolled-"))
    source = Path(data) / "forecasting" / arguments.set
    files = (
        split(source / "ETTh1.csv.gz", work) if arguments.set == "etth1" else competition(source)
    )
    run = arguments.run or work / "run"
    train = ["train", "forecast", "--preset", arguments.preset, *FLAGS[arguments.set]]
    for side in files.keys() - {"test"}:
        train += [f"--{side}", str(files[side])]
    train += ["--run", str(run)]
    if arguments.run is None:
        unrolled(train)
    unrolled(["evaluate", str(run), "--data", str(files["test"])])
    scores = json.loads((run / f"scores-{files['test'].stem}.json").read_text())
    scores.pop("data")
    metrics = Run.open(run).metrics()
    record = {
        "command": "unrolled " + " ".join(train).replace(data, "$UNROLLED_DATA"),
        "commit": arguments.commit or commit(),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "config": Run.open(run).config.read_text().replace(data, "$UNROLLED_DATA"),
        "training_minutes": round(metrics[-1]["seconds"] / 60, 1),
        "steps": metrics[-1]["step"],
        "epochs": round(metrics[-1]["epoch"], 2),
        "test": scores,
        "metrics": metrics,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"forecasting-{arguments.set}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(path)


def competition(folder: Path) -> dict[str, Path]:
    """Name the files of the M4 competition."""
    return {"train": folder / "Hourly-train.csv", "test": folder / "Hourly-test.csv"}


def split(path: Path, folder: Path) -> dict[str, Path]:
    """Write the months to learn from, to choose by and to score on into files of their own."""
    head, *lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    files = {}
    ends = {"train": (0, 12), "dev": (12, 16), "test": (16, 20)}
    for side, (first, end) in ends.items():
        files[side] = folder / f"{side}.csv"
        months = lines[first * MONTH : end * MONTH]
        files[side].write_text("\n".join([head, *months]) + "\n")
    return files


def unrolled(arguments: list[str]) -> None:
    """Run the command line as a user does."""
    subprocess.run([sys.executable, "-m", "unrolled", *arguments], check=True)


if __name__ == "__main__":
    main()

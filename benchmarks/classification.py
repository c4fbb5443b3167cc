"""Train the preset on a set of series, score it on the test series, and record the result.

    export UNROLLED_DATA=...
    python benchmarks/classification.py --set mnist1d
    python benchmarks/classification.py --set JapaneseVowels

The data are in the folder classification under UNROLLED_DATA. With --run a run that is already
trained is only scored. The record goes to benchmarks/results.
"""

import argparse
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
SETS = {  # what to learn from, what to score on, and with which flags
    "mnist1d": (
        "mnist1d/mnist1d.npz",
        "mnist1d/mnist1d.npz",
        ["--series-array", "x_test", "--label-array", "y_test"],
    ),
    "JapaneseVowels": (
        "JapaneseVowels/JapaneseVowels_TRAIN.ts",
        "JapaneseVowels/JapaneseVowels_TEST.ts",
        [],
    ),
    "ItalyPowerDemand": (
        "ItalyPowerDemand/ItalyPowerDemand_TRAIN.ts",
        "ItalyPowerDemand/ItalyPowerDemand_TEST.ts",
        [],
    ),
}


def main() -> None:
    """Train, score and record."""
    parser = argparse.ArgumentParser(description="Train and score the preset on a set of series.")
    parser.add_argument("--set", required=True, choices=SETS)
    parser.add_argument("--preset", default="series", help="of unrolled train classify")
    parser.add_argument("--run", type=Path, help="a trained run to score; by default a new one")
    parser.add_argument("--commit", help="that the run was trained at; by default the present one")
    arguments = parser.parse_args()
    data = os.environ.get("UNROLLED_DATA") or sys.exit("set UNROLLED_DATA to the data's folder")
    learnt, scored, flags = SETS[arguments.set]
    files = [Path(data) / "classification" / name for name in (learnt, scored)]
    run = arguments.run or Path(tempfile.mkdtemp(prefix="unrolled-")) / "run"
    train = ["train", "classify", "--preset", arguments.preset, "--train", str(files[0])]
    train += ["--run", str(run)]
    if arguments.run is None:
        unrolled(train)
    unrolled(["evaluate", str(run), "--data", str(files[1]), *flags])
    scores = json.loads((run / f"scores-{files[1].stem}.json").read_text())
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
    path = RESULTS / f"classification-{arguments.set}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(path)


def unrolled(arguments: list[str]) -> None:
    """Run the command line as a user does."""
    subprocess.run([sys.executable, "-m", "unrolled", *arguments], check=True)


if __name__ == "__main__":
    main()

"""Train a preset on a pronunciation dictionary, score it on its test words, and record the result.

    export UNROLLED_DATA=...
    python benchmarks/g2p.py --preset g2p --data g2p/cmudict_wikipron_split/eng_cmudict

The data are NAME_train.tsv, NAME_dev.tsv and NAME_test.tsv under the folder UNROLLED_DATA, or what
--data names with train, dev and test in the place of {side}. Further flags are the training's. With
--run a run that is already trained is only scored. The record goes to benchmarks/results.
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


def main() -> None:
    """Train, score and record."""
    parser = argparse.ArgumentParser(description="Train and score a preset on a dictionary.")
    parser.add_argument("--preset", default="g2p", help="of unrolled train seq2seq")
    parser.add_argument("--data", required=True, help="NAME, or a path with {side} in it")
    parser.add_argument("--run", type=Path, help="a trained run to score; by default a new one")
    parser.add_argument("--commit", help="that the run was trained at; by default the present one")
    parser.add_argument("--name", help="of the record; by default preset and data")
    arguments, flags = parser.parse_known_args()
    files = {side: data_file(arguments.data, side) for side in ("train", "dev", "test")}
    run = arguments.run or Path(tempfile.mkdtemp(prefix="unrolled-")) / "run"
    train = ["train", "seq2seq", "--preset", arguments.preset]
    train += [*flags, "--train", str(files["train"]), "--dev", str(files["dev"]), "--run", str(run)]
    if arguments.run is None:
        unrolled(train)
    scores = {}
    for width, name in ((1, "greedy"), (0, "beam")):
        unrolled(["evaluate", str(run), "--data", str(files["test"]), "--width", str(width)])
        scores[name] = json.loads((run / f"scores-{files['test'].stem}.json").read_text())
        scores[name].pop("data")
    metrics = Run.open(run).metrics()
    data = os.environ["UNROLLED_DATA"]
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
    name = arguments.name or f"{arguments.preset}-{Path(arguments.data).name.split('_{')[0]}"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    print(RESULTS / f"{name}.json")


def data_file(name: str, side: str) -> Path:
    """Find one side of the data, or say what is missing."""
    folder = os.environ.get("UNROLLED_DATA")
    if not folder:
        sys.exit("set UNROLLED_DATA to the folder of the data sets")
    pattern = name if "{side}" in name else f"{name}_{{side}}.tsv"
    path = Path(folder) / pattern.replace("{side}", side)
    if not path.exists():
        sys.exit(f"{path} is missing")
    return path


def unrolled(arguments: list[str]) -> None:
    """Run the command line as a user does."""
    subprocess.run([sys.executable, "-m", "unrolled", *arguments], check=True)


if __name__ == "__main__":
    main()

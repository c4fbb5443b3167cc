"""Train a preset on a tagged set, score it on its test sentences, and record the result.

    export UNROLLED_DATA=...
    python benchmarks/tagging.py --set ewt

With --run a run that is already trained is only scored. The record goes to benchmarks/results.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from measure import commit, machine
from unrolled.tasks.run import Run

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Set:
    """A tagged set: its files under UNROLLED_DATA, the preset, and the minutes it may take."""

    train: str
    dev: str
    test: str
    preset: str
    minutes: float


def _treebank(folder: str, name: str, minutes: float, train: str = "conllu") -> Set:
    start = f"tagging/{folder}/{name}-ud"
    dev, test = f"{start}-dev.conllu", f"{start}-test.conllu"
    return Set(f"{start}-train.{train}", dev, test, "pos", minutes)


SETS = {
    "ewt": _treebank("ud_english_ewt", "en_ewt", 30, "conllu.gz"),
    "vtb": _treebank("ud_vietnamese_vtb", "vi_vtb", 10),
    "udt": _treebank("ud_uyghur_udt", "ug_udt", 10),
    "wnut17": Set(
        "tagging/wnut17_ner/wnut17train.conll",
        "tagging/wnut17_ner/emerging.dev.conll",
        "tagging/wnut17_ner/emerging.test.annotated",
        "ner",
        10,
    ),
}


def main() -> None:
    """Train, score and record."""
    parser = argparse.ArgumentParser(description="Train and score a preset on a tagged set.")
    parser.add_argument("--set", choices=SETS, required=True)
    parser.add_argument("--run", type=Path, help="a trained run to score; by default a new one")
    parser.add_argument("--commit", help="that the run was trained at; by default the present one")
    arguments = parser.parse_args()
    data = os.environ.get("UNROLLED_DATA")
    if not data:
        sys.exit("set UNROLLED_DATA to the folder of the data sets")
    given = SETS[arguments.set]
    run = arguments.run or Path(tempfile.mkdtemp(prefix="unrolled-")) / "run"
    train = ["train", "tag", "--preset", given.preset, "--minutes", f"{given.minutes - 0.5:g}"]
    train += ["--train", f"{data}/{given.train}", "--dev", f"{data}/{given.dev}"]
    train += ["--run", str(run)]
    if arguments.run is None:
        unrolled(train)
    unrolled(["evaluate", str(run), "--data", f"{data}/{given.test}"])
    scores = json.loads((run / f"scores-{Path(given.test).name.split('.')[0]}.json").read_text())
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
    path = RESULTS / f"tagging-{arguments.set}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(path)


def unrolled(arguments: list[str]) -> None:
    """Run the command line as a user does."""
    subprocess.run([sys.executable, "-m", "unrolled", *arguments], check=True)


if __name__ == "__main__":
    main()

"""Train a preset on a text, score it on text it has not seen, and record the result.

    export UNROLLED_DATA=...
    python benchmarks/language.py chars        # lm/tinyshakespeare, its last tenth
    python benchmarks/language.py words        # lm/ptb, its test text

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
class Text:
    """A text under the folder UNROLLED_DATA; without dev and test its last tenth is scored."""

    preset: str
    train: str
    dev: str = ""
    test: str = ""


TEXTS = {
    "chars": Text("chars", "lm/tinyshakespeare/input.txt"),
    "words": Text(
        "words", "lm/ptb/ptb.train.txt.gz", "lm/ptb/ptb.valid.txt", "lm/ptb/ptb.test.txt"
    ),
    "warpeace": Text("chars", "lm/warpeace/warpeace_input.txt.gz"),
}


def main() -> None:
    """Train, score and record."""
    parser = argparse.ArgumentParser(description="Train and score a preset on a text.")
    parser.add_argument("name", choices=TEXTS, help="of the text")
    parser.add_argument("--run", type=Path, help="a trained run to score; by default a new one")
    parser.add_argument("--commit", help="that the run was trained at; by default the present one")
    arguments = parser.parse_args()
    text, data = TEXTS[arguments.name], os.environ.get("UNROLLED_DATA")
    if not data:
        sys.exit("set UNROLLED_DATA to the folder of the data sets")
    run = arguments.run or Path(tempfile.mkdtemp(prefix="unrolled-")) / "run"
    train = ["train", "language", "--preset", text.preset, "--train", f"{data}/{text.train}"]
    train += ["--dev", f"{data}/{text.dev}"] if text.dev else []
    train += ["--run", str(run)]
    if arguments.run is None:
        unrolled(train)
    scores = {"dev": json.loads((run / "scores-dev.json").read_text())}
    if text.test:
        unrolled(["evaluate", str(run), "--data", f"{data}/{text.test}"])
        name = Path(text.test).stem
        scores["test"] = json.loads((run / f"scores-{name}.json").read_text())
    for found in scores.values():
        found.pop("data")
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
        "scores": scores,
        "metrics": metrics,
    }
    path = RESULTS / f"language-{Path(text.train).parent.name}.json"
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(path)


def unrolled(arguments: list[str]) -> None:
    """Run the command line as a user does."""
    subprocess.run([sys.executable, "-m", "unrolled", *arguments], check=True)


if __name__ == "__main__":
    main()

"""Train as a user does, score on test data, and write down how: what the proofs of all tasks share.

Each script says which data, which preset and how its test is scored; here is the rest. The data lie
in the folder that the environment variable UNROLLED_DATA names. With --run a run that is already
trained is only scored. Further flags are those of `unrolled train`. The record, with its command,
commit, settings, machine and learning curve, goes to benchmarks/results.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from measure import commit, machine
from unrolled.tasks.run import Run

RESULTS = Path(__file__).parent / "results"


def data_folder() -> Path:
    """Find the data sets, or say what is missing."""
    return Path(os.environ.get("UNROLLED_DATA") or sys.exit("set UNROLLED_DATA to the data sets"))


def arguments_of(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, list[str]]:
    """Read the command line: the script's own arguments, those of `record`, and training flags."""
    parser.add_argument("--run", type=Path, help="a trained run to score; by default a new one")
    parser.add_argument("--commit", help="that the run was trained at; by default the present one")
    parser.add_argument("--name", help="of the record; by default task and data")
    return parser.parse_known_args()


def record(
    name: str,
    train: Sequence[str],
    tests: Mapping[str, Sequence[str]],
    arguments: argparse.Namespace,
    folders: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Train, score and write the record.

    Args:
        name: of the record, where --name gives no other.
        train: arguments of `unrolled train`, without --run.
        tests: for each way to score, arguments of `unrolled evaluate`, ``--data FILE`` first.
        arguments: as `arguments_of` gave them.
        folders: other folders than that of the data whose paths the record gives by a word.

    Returns:
        The record: scores of each way in ``test``, of the dev data in ``dev``.
    """
    run = arguments.run or Path(tempfile.mkdtemp(prefix="unrolled-")) / "run"
    command = ["train", *train, "--run", str(run)]
    if arguments.run is None:
        unrolled(command)
    scores = {}
    for way, test in tests.items():
        unrolled(["evaluate", str(run), *test])
        last = max(run.glob("scores-*.json"), key=lambda path: path.stat().st_mtime_ns)
        scores[way] = _scores(last)
    words = {str(path): word for word, path in (folders or {}).items()}
    words |= {str(data_folder()): "$UNROLLED_DATA", str(run): "RUN"}
    metrics = Run.open(run).metrics()
    found = {
        "command": _without(words, "unrolled " + " ".join(command)),
        "commit": arguments.commit or commit(),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "config": _without(words, Run.open(run).config.read_text()),
        "training_minutes": round(metrics[-1]["seconds"] / 60, 1),
        "steps": metrics[-1]["step"],
        "epochs": round(metrics[-1]["epoch"], 2),
        "dev": _scores(run / "scores-dev.json"),
        "test": scores,
        "metrics": metrics,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{arguments.name or name}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(path)
    return found


def unrolled(arguments: Sequence[str]) -> None:
    """Run the command line as a user does."""
    subprocess.run([sys.executable, "-m", "unrolled", *arguments], check=True)


def _scores(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text())
    found.pop("data")
    return found


def _without(words: Mapping[str, str], text: str) -> str:
    for path, word in words.items():
        text = text.replace(path, word)
    return text

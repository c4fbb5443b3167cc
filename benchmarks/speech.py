"""Train a preset of speech to text on AN4 or on spoken digits, score it on test, and record it.

    export UNROLLED_DATA=...
    python benchmarks/speech.py an4
    python benchmarks/speech.py fsdd
    python benchmarks/speech.py fsdd --speaker theo

The data are speech/an4_mfcc and speech/fsdd under the folder UNROLLED_DATA; manifests are written
into a temporary folder. Every twelfth of AN4's training speakers chooses the weights; of the digits
it is the recordings 5 to 7 of each. With --speaker the test is all that this speaker says, and
nobody else. With --run a run that is already trained is only scored. The record goes to
benchmarks/results.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from measure import commit, machine
from unrolled.tasks.run import Run

RESULTS = Path(__file__).parent / "results"
DIGITS = "zero one two three four five six seven eight nine".split()
SEARCHES = {  # how the test is transcribed: as the preset says, and with less help
    "preset": [],
    "no language model": ["--language", "none", "--bonus", "0"],
    "best path": ["--width", "1"],
}

Line = tuple[Path, str, str]  # path, transcript, speaker
Sides = dict[str, list[Line]]


def main() -> None:
    """Train, score and record."""
    parser = argparse.ArgumentParser(description="Train and score a preset of speech to text.")
    parser.add_argument("set", choices=SETS, help="which data")
    parser.add_argument("--preset", help="of unrolled train transcribe; by default the set's own")
    parser.add_argument("--speaker", default="", help="of the digits: who is left out")
    parser.add_argument("--run", type=Path, help="a trained run to score; by default a new one")
    parser.add_argument("--commit", help="that the run was trained at; by default the present one")
    parser.add_argument("--name", help="of the record; by default set and speaker")
    parser.add_argument("flags", nargs="*", help="further flags of train, after --")
    arguments = parser.parse_args()
    folder = Path(os.environ.get("UNROLLED_DATA") or sys.exit("set UNROLLED_DATA"))
    read, preset = SETS[arguments.set]
    with tempfile.TemporaryDirectory(prefix="unrolled-") as temporary:
        sides = read(folder / "speech", arguments.speaker)
        files = {side: write(Path(temporary) / f"{side}.tsv", sides[side]) for side in sides}
        run = arguments.run or Path(tempfile.mkdtemp(prefix="unrolled-")) / "run"
        train = ["train", "transcribe", "--preset", arguments.preset or preset]
        train += ["--train", str(files["train"]), "--dev", str(files["dev"]), "--run", str(run)]
        train += arguments.flags
        if arguments.run is None:
            unrolled(train)
        scores = {}
        for name, flags in SEARCHES.items():
            unrolled(["evaluate", str(run), "--data", str(files["test"]), *flags])
            scores[name] = json.loads((run / "scores-test.json").read_text())
            scores[name].pop("data")
        record = {
            "command": "unrolled " + " ".join(train).replace(temporary, "MANIFESTS"),
            "recordings": {side: len(lines) for side, lines in sides.items()},
            "commit": arguments.commit or commit(),
            "date": time.strftime("%Y-%m-%d"),
            "machine": machine(),
            "config": Run.open(run).config.read_text().replace(temporary, "MANIFESTS"),
            **training(run),
            "dev": json.loads((run / "scores-dev.json").read_text()),
            "test": scores,
            "metrics": Run.open(run).metrics(),
        }
    record["dev"].pop("data")
    speaker = f"-without-{arguments.speaker}" if arguments.speaker else ""
    path = RESULTS / f"{arguments.name or f'speech-{arguments.set}{speaker}'}.json"
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(path)


def training(run: Path) -> dict[str, float]:
    """Say how long a run was trained."""
    last = Run.open(run).metrics()[-1]
    return {
        "training_minutes": round(last["seconds"] / 60, 1),
        "steps": last["step"],
        "epochs": round(last["epoch"], 2),
    }


def an4(folder: Path, speaker: str) -> Sides:
    """Give AN4: every twelfth training speaker is dev; test has its own speakers."""
    folder = folder / "an4_mfcc"
    sides: Sides = {"test": list(sphinx(folder, "test")), "train": [], "dev": []}
    learnt = list(sphinx(folder, "train"))
    held = set(sorted({line[2] for line in learnt})[::12])
    for line in learnt:
        sides["dev" if line[2] in held else "train"].append(line)
    return sides


def sphinx(folder: Path, side: str) -> Iterator[Line]:
    """Read a list of files and their transcripts: TEXT (name), a name being test-speaker-b."""
    files = (folder / "etc" / f"an4_{side}.fileids").read_text().split()
    texts = (folder / "etc" / f"an4_{side}.transcription").read_text().splitlines()
    for file, text in zip(files, texts, strict=True):
        match = re.fullmatch(r"(.*?)\s*\((\S+)\)\s*", text)
        if match is None or match[2] != Path(file).name:
            sys.exit(f"{folder}: {text!r} is no transcript of {file}")
        yield folder / "feat" / f"{file}.mfc", match[1], Path(file).parent.name


def fsdd(folder: Path, speaker: str) -> Sides:
    """Give the digits on their official split, or with a speaker left out for the test."""
    sides: Sides = {"test": [], "train": [], "dev": []}
    for path in sorted((folder / "fsdd" / "recordings").glob("*.wav")):
        digit, who, index = path.stem.split("_")
        line = (path, DIGITS[int(digit)], who)
        if speaker:
            side = "test" if who == speaker else "dev" if 5 <= int(index) < 8 else "train"
        else:
            side = "test" if int(index) < 5 else "dev" if int(index) < 8 else "train"
        sides[side].append(line)
    if not sides["test"]:
        sys.exit(f"there is no recording of {speaker}")
    return sides


SETS: dict[str, tuple[Callable[[Path, str], Sides], str]] = {
    "an4": (an4, "an4"),
    "fsdd": (fsdd, "digits"),
}


def write(path: Path, lines: list[Line]) -> Path:
    """Write a manifest."""
    path.write_text("".join(f"{file}\t{text}\t{speaker}\n" for file, text, speaker in lines))
    return path


def unrolled(arguments: list[str]) -> None:
    """Run the command line as a user does."""
    subprocess.run([sys.executable, "-m", "unrolled", *arguments], check=True)


if __name__ == "__main__":
    main()

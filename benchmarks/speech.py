"""Train a preset of speech to text on AN4 or on spoken digits, score it on test, and record it.

    export UNROLLED_DATA=...
    python benchmarks/speech.py an4
    python benchmarks/speech.py fsdd
    python benchmarks/speech.py fsdd --speaker theo

The data are speech/an4_mfcc and speech/fsdd under the folder UNROLLED_DATA; manifests are written
into a temporary folder. Every twelfth of AN4's training speakers chooses the weights; of the digits
it is the recordings 5 to 7 of each. With --speaker the test is all that this speaker says, and
nobody else. With --run a run that is already trained is only scored; further flags are those of
`unrolled train transcribe`. The record goes to benchmarks/results.
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from recording import arguments_of, data_folder, record

DIGITS = "zero one two three four five six seven eight nine".split()
SEARCHES = {  # how the test is transcribed: as the preset says, and with less help
    "preset": [],
    "no language model": ["--language", "none", "--bonus", "0"],
    "best path": ["--width", "1"],
}

Line = tuple[Path, str, str]  # path, transcript, speaker
Sides = dict[str, list[Line]]


def main() -> None:
    """Write manifests, train, score and record."""
    parser = argparse.ArgumentParser(description="Train and score a preset of speech to text.")
    parser.add_argument("set", choices=SETS, help="which data")
    parser.add_argument("--speaker", default="", help="of the digits: who is left out")
    arguments, flags = arguments_of(parser)
    read, preset = SETS[arguments.set]
    sides = read(data_folder() / "speech", arguments.speaker)
    with tempfile.TemporaryDirectory(prefix="unrolled-") as temporary:
        files = {side: write(Path(temporary) / f"{side}.tsv", sides[side]) for side in sides}
        train = ["transcribe", "--preset", preset]
        train += ["--train", str(files["train"]), "--dev", str(files["dev"]), *flags]
        tests = {way: ["--data", str(files["test"]), *more] for way, more in SEARCHES.items()}
        without = f"-without-{arguments.speaker}" if arguments.speaker else ""
        name = f"speech-{arguments.set}{without}"
        record(name, train, tests, arguments, {"MANIFESTS": Path(temporary)})


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


if __name__ == "__main__":
    main()

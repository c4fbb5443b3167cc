"""Learn to write subjects above notes, with names that no vocabulary has: they are copied.

    python examples/summarise.py [--run runs/notes]

It takes some seconds. The same three commands work on your own files: see docs/summaries.md.
"""

import argparse
import json
import random
from pathlib import Path

from unrolled import cli

SETTINGS = (
    "--source-unit words --target-unit words --source-size 24 --target-size 12 --source-limit 12 "
    "--copy --coverage 0.5 --metric rouge --embedding 16 --hidden 32 --dropout 0 --batch 32 "
    "--epochs 10 --warmup 20 --learning-rate 1e-2 --smoothing 0.02 --average 0.95 --width 3 "
    "--score-steps 100 --threads 1"
).split()


def main() -> None:
    """Make the data, and run the command line as a user does."""
    parser = argparse.ArgumentParser(description="Learn to write subjects.")
    parser.add_argument("--run", type=Path, default=Path("runs/notes"), help="a new folder")
    run = parser.parse_args().run
    folder = run.with_name(f"{run.name}-data")
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(1)
    train = write(folder / "train.jsonl", 600, chance)
    test = write(folder / "test.jsonl", 50, chance)
    unrolled("train", "seq2seq", "--train", train, "--run", run, *SETTINGS)
    unrolled("evaluate", run, "--data", test)
    new = folder / "new.txt"
    note = "please, Zuleika asks Bartholomew about rain. It is late here, and more will come."
    new.write_text(f"{note}\n")
    print("a note with names that it has never seen, and its subject:", note, sep="\n", flush=True)
    unrolled("predict", run, new)
    print(f"look at {run / 'report.html'}")


def write(path: Path, count: int, chance: random.Random) -> Path:
    """Write notes: who asks whom about what, and a subject that says so."""
    lines = []
    for _ in range(count):
        one, other = ("".join(chance.choices("bcdfgklmnprst", k=6)) for _ in range(2))
        thing = chance.choice(["rain", "lunch", "money"])
        start = chance.choice(["please", "now", "well then"])
        text = f"{start}, {one} asks {other} about {thing}. It is late here, and more will come."
        lines.append(json.dumps({"source": text, "target": f"{thing}: {other}, {one}"}))
    path.write_text("\n".join(lines) + "\n")
    return path


def unrolled(*arguments: object) -> None:
    """Run a command."""
    try:
        cli.main([str(argument) for argument in arguments])
    except SystemExit as end:
        if end.code:
            raise


if __name__ == "__main__":
    main()

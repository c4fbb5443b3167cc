"""Learn to tell waves apart: make series of unequal length, train, score, and classify new ones.

    python examples/classify.py [--run runs/waves]

It takes some seconds. The same three commands work on your own files: see docs/classification.md.
"""

import argparse
from pathlib import Path

import numpy as np

from unrolled import cli

SETTINGS = (
    "--cell GRU --embedding 16 --window 3 --hidden 16 --dropout 0.1 --noise 0.1 --roll 0.5 "
    "--epochs 8 --batch 16 --warmup 10 --learning-rate 1e-2 --average 0.95 --score-steps 40 "
    "--threads 1"
).split()


def main() -> None:
    """Make the data, and run the command line as a user does."""
    parser = argparse.ArgumentParser(description="Learn to tell waves apart.")
    parser.add_argument("--run", type=Path, default=Path("runs/waves"), help="a new folder")
    run = parser.parse_args().run
    folder = run.with_name(f"{run.name}-data")
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(1)
    train, test = write(folder / "train.ts", 300, chance), write(folder / "test.ts", 100, chance)
    unrolled("train", "classify", "--train", train, "--run", run, *SETTINGS)
    unrolled("evaluate", run, "--data", test)
    print("the first lines that predict gives for a sine and a square wave:")
    unrolled("predict", run, write(folder / "new.ts", 2, chance), "--best", 2)
    print(f"look at {run / 'report.html'}")


def write(path: Path, count: int, chance: np.random.Generator) -> Path:
    """Write sines and square waves, 20 to 40 steps long, with noise."""
    lines = ["@problemName waves", "@classLabel true sine square", "@data"]
    for i in range(count):
        turns = chance.uniform(0.05, 0.1) * np.arange(chance.integers(20, 41)) + chance.uniform()
        wave = np.sin(2 * np.pi * turns)
        label = ("sine", "square")[i % 2]
        values = (wave if label == "sine" else np.sign(wave)) + chance.normal(0, 0.3, len(wave))
        lines.append(",".join(f"{value:.3f}" for value in values) + f":{label}")
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

"""Learn to forecast hourly demand: make series, train, score beside naive forecasts, look ahead.

    python examples/forecast.py [--run runs/demand]

It takes some seconds. The same three commands work on your own files: see docs/forecasting.md.
"""

import argparse
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from unrolled import cli

SETTINGS = (
    "--horizon 24 --context 48 --cell GRU --hidden 16 --highway 24 --dropout 0 --epochs 2 "
    "--batch 32 --warmup 10 --learning-rate 5e-3 --average 0.95 --score-steps 30 --held-out 3 "
    "--threads 1"
).split()
HOURS = 24 * 7 * 5


def main() -> None:
    """Make the data, and run the command line as a user does."""
    parser = argparse.ArgumentParser(description="Learn to forecast hourly demand.")
    parser.add_argument("--run", type=Path, default=Path("runs/demand"), help="a new folder")
    run = parser.parse_args().run
    folder = run.with_name(f"{run.name}-data")
    folder.mkdir(parents=True, exist_ok=True)
    demand = make(HOURS + 24 * 7, np.random.default_rng(1))
    train = write(folder / "train.csv", demand, 0, HOURS)
    later = write(folder / "later.csv", demand, HOURS, len(demand))
    unrolled("train", "forecast", "--train", train, "--run", run, *SETTINGS)
    unrolled("evaluate", run, "--data", later)
    print("what comes after the history:")
    unrolled("predict", run, train, "--digits", 4)
    print(f"look at {run / 'report.html'}")


def make(hours: int, chance: np.random.Generator) -> np.ndarray:
    """Give the demand of two towns, (hours, 2): days, quiet weekends, and noise that lasts."""
    hour = np.arange(hours)
    day = 1 + 0.5 * np.sin(2 * np.pi * hour / 24)
    weekend = np.where(hour // 24 % 7 >= 5, 0.6, 1.0)
    noise = np.zeros((hours, 2))
    for i in range(1, hours):
        noise[i] = 0.9 * noise[i - 1] + chance.normal(0, 0.03, 2)
    return np.array([100.0, 20.0]) * ((day * weekend)[:, None] + noise)


def write(path: Path, demand: np.ndarray, first: int, end: int) -> Path:
    """Write some hours as CSV, a column for each town."""
    begin = datetime(2024, 1, 1)
    lines = ["time,north,south"]
    for i in range(first, end):
        moment = begin + timedelta(hours=i)
        lines.append(f"{moment},{demand[i, 0]:.2f},{demand[i, 1]:.2f}")
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

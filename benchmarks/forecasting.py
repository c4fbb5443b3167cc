"""Train the preset on a set of series, score it on what came after, and record the result.

    python benchmarks/forecasting.py --set m4_hourly
    python benchmarks/forecasting.py --set etth1

See `recording` for what all such scripts share. m4_hourly: the last 48 hours of each training
series choose the weights; the 48 of the competition are the test. etth1: 12, 4 and 4 months of 30
days to learn from, to choose by and to score on, as in Zhou et al. 2021 (arXiv:2012.07436); every
hour of the test months from which 24 are left is forecast from, and errors are of values with mean
and deviation of the training months taken off. The windows of m4_hourly are scaled by their mean
size, since relative errors count there.
"""

import argparse
import gzip
import tempfile
from pathlib import Path

from recording import arguments_of, data_folder, record

MONTH = 30 * 24  # hours
FLAGS = {
    "m4_hourly": ["--layout", "rows", "--horizon", "48", "--scaling", "mean"],
    "etth1": ["--minutes", "14"],
}


def main() -> None:
    """Train, score and record."""
    parser = argparse.ArgumentParser(description="Train and score the preset on series.")
    parser.add_argument("--set", required=True, choices=FLAGS)
    parser.add_argument("--preset", default="hourly", help="of unrolled train forecast")
    arguments, flags = arguments_of(parser)
    source = data_folder() / "forecasting" / arguments.set
    work = Path(tempfile.mkdtemp(prefix="unrolled-"))
    files = split(source / "ETTh1.csv.gz", work) if arguments.set == "etth1" else hours(source)
    train = ["forecast", "--preset", arguments.preset, *FLAGS[arguments.set], *flags]
    for side in files.keys() - {"test"}:
        train += [f"--{side}", str(files[side])]
    test = {"test": ["--data", str(files["test"])]}
    record(f"forecasting-{arguments.set}", train, test, arguments, {"SPLIT": work})


def hours(folder: Path) -> dict[str, Path]:
    """Name the files of the M4 competition."""
    return {"train": folder / "Hourly-train.csv", "test": folder / "Hourly-test.csv"}


def split(path: Path, folder: Path) -> dict[str, Path]:
    """Write the months to learn from, to choose by and to score on into files of their own."""
    head, *lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    files = {}
    for side, (first, end) in {"train": (0, 12), "dev": (12, 16), "test": (16, 20)}.items():
        files[side] = folder / f"{side}.csv"
        months = lines[first * MONTH : end * MONTH]
        files[side].write_text("\n".join([head, *months]) + "\n")
    return files


if __name__ == "__main__":
    main()

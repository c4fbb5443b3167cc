"""Train the preset on a set of series, score it on the test series, and record the result.

    python benchmarks/classification.py --set mnist1d
    python benchmarks/classification.py --set JapaneseVowels

See `recording` for what all such scripts share. A tenth of the training series, held out, chooses
the weights.
"""

import argparse

from recording import arguments_of, data_folder, record

SETS = {  # what to learn from, what to score on, and with which flags
    "mnist1d": (
        "mnist1d/mnist1d.npz",
        "mnist1d/mnist1d.npz",
        ["--series-array", "x_test", "--label-array", "y_test"],
    ),
    "JapaneseVowels": (
        "JapaneseVowels/JapaneseVowels_TRAIN.ts",
        "JapaneseVowels/JapaneseVowels_TEST.ts",
        [],
    ),
    "ItalyPowerDemand": (
        "ItalyPowerDemand/ItalyPowerDemand_TRAIN.ts",
        "ItalyPowerDemand/ItalyPowerDemand_TEST.ts",
        [],
    ),
}


def main() -> None:
    """Train, score and record."""
    parser = argparse.ArgumentParser(description="Train and score the preset on a set of series.")
    parser.add_argument("--set", required=True, choices=SETS)
    parser.add_argument("--preset", default="series", help="of unrolled train classify")
    arguments, flags = arguments_of(parser)
    learnt, scored, arrays = SETS[arguments.set]
    folder = data_folder() / "classification"
    record(
        f"classification-{arguments.set}",
        ["classify", "--preset", arguments.preset, *flags, "--train", str(folder / learnt)],
        {"test": ["--data", str(folder / scored), *arrays]},
        arguments,
    )


if __name__ == "__main__":
    main()

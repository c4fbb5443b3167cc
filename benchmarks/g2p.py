"""Train a preset on a pronunciation dictionary, score it on its test words, and record the result.

    python benchmarks/g2p.py --preset g2p --data g2p/cmudict_wikipron_split/eng_cmudict
    python benchmarks/g2p.py --preset g2p-small --data 'g2p/sigmorphon2020_task1/{side}/dut_{side}'

See `recording` for what all such scripts share. --data names NAME_train.tsv, NAME_dev.tsv and
NAME_test.tsv, or files with train, dev and test in the place of {side}.
"""

import argparse
import sys
from pathlib import Path

from recording import arguments_of, data_folder, record


def main() -> None:
    """Train, score and record."""
    parser = argparse.ArgumentParser(description="Train and score a preset on a dictionary.")
    parser.add_argument("--preset", default="g2p", help="of unrolled train seq2seq")
    parser.add_argument("--data", required=True, help="NAME, or a path with {side} in it")
    arguments, flags = arguments_of(parser)
    train, dev, test = (data_file(arguments.data, side) for side in ("train", "dev", "test"))
    record(
        f"{arguments.preset}-{Path(arguments.data).name.split('_{')[0]}",
        ["seq2seq", "--preset", arguments.preset, *flags, "--train", train, "--dev", dev],
        {"greedy": ["--data", test, "--width", "1"], "beam": ["--data", test]},
        arguments,
    )


def data_file(name: str, side: str) -> str:
    """Find one side of the data, or say what is missing."""
    pattern = name if "{side}" in name else f"{name}_{{side}}"
    path = data_folder() / f"{pattern.replace('{side}', side)}.tsv"
    if not path.exists():
        sys.exit(f"{path} is missing")
    return str(path)


if __name__ == "__main__":
    main()

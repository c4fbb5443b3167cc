"""Train a preset on a tagged set, score it on its test sentences, and record the result.

    python benchmarks/tagging.py --set ewt

See `recording` for what all such scripts share.
"""

import argparse
from dataclasses import dataclass

from recording import arguments_of, data_folder, record


@dataclass(frozen=True)
class Set:
    """A tagged set: its files under UNROLLED_DATA, the preset, and the minutes it may take."""

    train: str
    dev: str
    test: str
    preset: str
    minutes: float


def _treebank(folder: str, name: str, minutes: float, train: str = "conllu") -> Set:
    start = f"tagging/{folder}/{name}-ud"
    dev, test = f"{start}-dev.conllu", f"{start}-test.conllu"
    return Set(f"{start}-train.{train}", dev, test, "pos", minutes)


SETS = {
    "ewt": _treebank("ud_english_ewt", "en_ewt", 30, "conllu.gz"),
    "vtb": _treebank("ud_vietnamese_vtb", "vi_vtb", 10),
    "udt": _treebank("ud_uyghur_udt", "ug_udt", 10),
    "wnut17": Set(
        "tagging/wnut17_ner/wnut17train.conll",
        "tagging/wnut17_ner/emerging.dev.conll",
        "tagging/wnut17_ner/emerging.test.annotated",
        "ner",
        10,
    ),
}


def main() -> None:
    """Train, score and record."""
    parser = argparse.ArgumentParser(description="Train and score a preset on a tagged set.")
    parser.add_argument("--set", choices=SETS, required=True)
    arguments, flags = arguments_of(parser)
    given, data = SETS[arguments.set], data_folder()
    train = ["tag", "--preset", given.preset, "--minutes", f"{given.minutes - 0.5:g}", *flags]
    train += ["--train", f"{data}/{given.train}", "--dev", f"{data}/{given.dev}"]
    test = {"test": ["--data", f"{data}/{given.test}"]}
    record(f"tagging-{arguments.set}", train, test, arguments)


if __name__ == "__main__":
    main()

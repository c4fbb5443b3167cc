"""Train a preset on a text, score it on text it has not seen, and record the result.

    python benchmarks/language.py --set tinyshakespeare     # scored on its last tenth
    python benchmarks/language.py --set ptb                 # scored on its test text

See `recording` for what all such scripts share.
"""

import argparse
from dataclasses import dataclass

from recording import arguments_of, data_folder, record


@dataclass(frozen=True)
class Text:
    """A text under the folder UNROLLED_DATA; without dev and test its last tenth is scored."""

    preset: str
    train: str
    dev: str = ""
    test: str = ""


TEXTS = {
    "tinyshakespeare": Text("chars", "lm/tinyshakespeare/input.txt"),
    "ptb": Text("words", "lm/ptb/ptb.train.txt.gz", "lm/ptb/ptb.valid.txt", "lm/ptb/ptb.test.txt"),
    "warpeace": Text("chars", "lm/warpeace/warpeace_input.txt.gz"),
}


def main() -> None:
    """Train, score and record."""
    parser = argparse.ArgumentParser(description="Train and score a preset on a text.")
    parser.add_argument("--set", choices=TEXTS, required=True)
    arguments, flags = arguments_of(parser)
    text, data = TEXTS[arguments.set], data_folder()
    train = ["language", "--preset", text.preset, *flags, "--train", f"{data}/{text.train}"]
    train += ["--dev", f"{data}/{text.dev}"] if text.dev else []
    test = {"test": ["--data", f"{data}/{text.test}"]} if text.test else {}
    record(f"language-{arguments.set}", train, test, arguments)


if __name__ == "__main__":
    main()

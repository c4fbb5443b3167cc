"""Train the preset on Multi30k, English to German, score it on a test set, and record the result.

    python benchmarks/translation.py

See `recording` for what all such scripts share. The sentences are raw: upper and lower case,
not tokenised; BLEU is sacrebleu's of the raw references, and its signature stands in the record.
--to fr and --test test_2017_flickr (and the like) take another side or another test.
"""

import argparse
import gzip
import tempfile
from pathlib import Path

from recording import arguments_of, data_folder, record


def main() -> None:
    """Train, score and record."""
    parser = argparse.ArgumentParser(description="Train and score the preset on Multi30k.")
    parser.add_argument("--preset", default="translation", help="of unrolled train seq2seq")
    parser.add_argument("--to", default="de", choices=["de", "fr"], help="language")
    parser.add_argument("--test", default="test_2016_flickr", help="which test")
    arguments, flags = arguments_of(parser)
    with tempfile.TemporaryDirectory(prefix="unrolled-") as temporary:
        files = {
            side: paired(name, arguments.to, Path(temporary) / f"{side}.tsv")
            for side, name in {"train": "train", "dev": "val", "test": arguments.test}.items()
        }
        train = ["--train", files["train"], "--dev", files["dev"]]
        test = ["--data", files["test"]]
        record(
            f"translation-{arguments.to}-{arguments.test}",
            ["seq2seq", "--preset", arguments.preset, *train, *flags],
            {"greedy": [*test, "--width", "1"], "beam": test},
            arguments,
            {"PAIRS": Path(temporary)},
        )


def paired(name: str, language: str, path: Path) -> str:
    """Write two files that are aligned line by line as one of pairs."""
    folder = data_folder() / "translation" / "multi30k" / "raw"
    sides = [
        gzip.decompress((folder / f"{name}.{side}.gz").read_bytes())
        .decode()
        .rstrip("\n")
        .split("\n")
        for side in ("en", language)
    ]
    pairs = (
        "\t".join(" ".join(text.split()) for text in pair) for pair in zip(*sides, strict=True)
    )
    path.write_text("".join(f"{pair}\n" for pair in pairs))
    return str(path)


if __name__ == "__main__":
    main()

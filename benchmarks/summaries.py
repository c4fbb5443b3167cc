"""Train the preset on mails and their subjects (AESLC), score it on test, and record the result.

    python benchmarks/summaries.py

See `recording` for what all such scripts share. The reference is the subject that the sender wrote;
mails with the same text are one source with all their subjects, of which the nearest counts.
"""

import argparse

from recording import arguments_of, data_folder, record


def main() -> None:
    """Train, score and record."""
    parser = argparse.ArgumentParser(description="Train and score the preset on AESLC.")
    parser.add_argument("--preset", default="summaries", help="of unrolled train seq2seq")
    arguments, flags = arguments_of(parser)
    folder = data_folder() / "summarisation" / "aeslc"
    train, dev, test = (str(folder / f"{side}.jsonl.gz") for side in ("train", "dev", "test"))
    fields = ["--source-field", "body", "--target-field", "subject"]
    record(
        "summaries-aeslc",
        ["seq2seq", "--preset", arguments.preset, *fields, "--train", train, "--dev", dev, *flags],
        {"greedy": ["--data", test, "--width", "1"], "beam": ["--data", test]},
        arguments,
    )


if __name__ == "__main__":
    main()

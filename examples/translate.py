"""Learn to translate: make a small language whose words stand in another order, and its English.

    python examples/translate.py [--run runs/translate]

It takes some seconds. The same three commands work on your own files: see docs/translation.md.
"""

import argparse
import itertools
import random
from pathlib import Path

from unrolled import cli

WORDS = {  # English: what it is in the other language, where nouns come first and verbs last
    "red": "raska", "small": "pieni", "old": "vanha",
    "dog": "koir", "cat": "kiss", "bird": "lintu", "child": "lapsi",
    "sees": "nakko", "follows": "seurro", "hears": "kuulo",
}  # fmt: skip
SETTINGS = (
    "--source-unit tokens --target-unit tokens --metric bleu --embedding 32 --hidden 32 "
    "--dropout 0.1 --batch 32 --epochs 14 --warmup 20 --learning-rate 1e-2 --smoothing 0.05 "
    "--average 0.95 --width 3 --score-steps 100 --threads 1"
).split()


def main() -> None:
    """Make the data, and run the command line as a user does."""
    parser = argparse.ArgumentParser(description="Learn to translate.")
    parser.add_argument("--run", type=Path, default=Path("runs/translate"), help="a new folder")
    run = parser.parse_args().run
    folder = run.with_name(f"{run.name}-data")
    folder.mkdir(parents=True, exist_ok=True)
    english = list(WORDS)
    phrases = [*itertools.product(english[:3], english[3:7])]
    sentences = [*itertools.product(phrases, english[7:], phrases)]
    random.Random(1).shuffle(sentences)
    train = write(folder / "train.tsv", sentences[:380])
    test = write(folder / "test.tsv", sentences[380:])
    unrolled("train", "seq2seq", "--train", train, "--run", run, *SETTINGS)
    unrolled("evaluate", run, "--data", test)
    new = folder / "new.txt"
    sentence = test.read_text().split("\t")[0]
    new.write_text(f"{sentence}\n")
    print("a sentence that it has never seen, and its translation:", sentence, sep="\n", flush=True)
    unrolled("predict", run, new)
    print(f"look at {run / 'report.html'}")


def write(path: Path, sentences: list[tuple[tuple[str, str], str, tuple[str, str]]]) -> Path:
    """Write sentences beside their translations."""
    lines = []
    for (kind, who), does, (other, whom) in sentences:
        text = f"the {kind} {who} {does} the {other} {whom}"
        translated = (WORDS[who] + "a", WORDS[kind], WORDS[whom] + "en", WORDS[other], WORDS[does])
        lines.append(f"{text}\t{' '.join(translated)}\n")
    path.write_text("".join(lines))
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

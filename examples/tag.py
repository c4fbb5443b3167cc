"""Learn parts of speech from a treebank in CoNLL-U, score them, and tag new sentences.

    python examples/tag.py

The treebank is of a made language, whose words nobody has seen before: their endings and their
neighbours tell what they are. With your own files these are the three commands that it prints.
"""

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

from unrolled import cli

Tagged = list[tuple[str, str]]
QUICK = (
    "--embedding 16 --letter-embedding 16 --letter-hidden 16 --feature-embedding 8 --hidden 24 "
    "--batch 16 --epochs 6 --warmup 10 --learning-rate 1e-2 --average 0.95 --smoothing 0"
).split()


def main() -> None:
    """Make a treebank, train, evaluate, predict."""
    chance = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder, f"{name}.conllu") for name in ("train", "dev", "test")}
        for path, count in zip(files.values(), (300, 60, 60), strict=True):
            path.write_text(treebank([sentence(chance) for _ in range(count)]))
        new, run = Path(folder, "new.txt"), Path(folder, "run")
        new.write_text("la tiruvo bedas la kalo\ngo tapu mo nikas\n")
        train = ["--train", str(files["train"]), "--dev", str(files["dev"]), "--run", str(run)]
        command("train", "tag", *train, *QUICK)
        command("evaluate", str(run), "--data", str(files["test"]))
        command("predict", str(run), str(new))


def command(*arguments: str) -> None:
    """Run a command as from the shell."""
    print("$ unrolled", *arguments)
    try:
        cli.main(arguments)
    except SystemExit as ended:
        if ended.code:
            raise


def sentence(chance: random.Random) -> Tagged:
    """Make a sentence: nouns end in -o, verbs in -as; -u is a noun after `go`, or else a verb."""

    def stem() -> str:
        return "".join(chance.choice("bdgklmnprtv") + chance.choice("aei") for _ in range(2))

    words: Tagged = []
    for _ in range(chance.randint(1, 3)):
        if chance.random() < 0.5:
            words += [("la", "DET"), (f"{stem()}o", "NOUN")]
        else:
            words += [("go", "DET"), (f"{stem()}u", "NOUN")]
        if chance.random() < 0.3:
            words.append(("mo", "ADV"))
        words.append((stem() + chance.choice(["as", "u"]), "VERB"))
    return words


def treebank(sentences: Sequence[Tagged]) -> str:
    """Write sentences as CoNLL-U; what is not known is an underscore."""
    blocks = (
        "".join(f"{i}\t{word}\t_\t{tag}" + "\t_" * 6 + "\n" for i, (word, tag) in enumerate(s, 1))
        for s in sentences
    )
    return "\n".join(blocks) + "\n"


if __name__ == "__main__":
    main()

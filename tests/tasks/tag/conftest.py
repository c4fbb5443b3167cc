"""Sentences of a small made language, and a tagger that has learnt it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from unrolled import cli

Tagged = list[tuple[str, str, str]]  # word, its part of speech, and whether it is in a name

# Enough to learn the made language within seconds.
LEARNS = (
    "--embedding 8 --letter-embedding 8 --letter-hidden 12 --feature-embedding 4 --hidden 12 "
    "--dropout 0.1 --smoothing 0 --batch 16 --epochs 8 --warmup 10 --learning-rate 2e-2 "
    "--average 0.9 --score-steps 60 --threads 1 --device cpu"
).split()


def sentence(chance: random.Random) -> Tagged:
    """Make a sentence whose endings tell nouns from verbs, and which begins names with Don."""

    def stem() -> str:
        return "".join(chance.choice("bdgklmnprst") + chance.choice("aiu") for _ in range(2))

    words: Tagged = []
    for _ in range(chance.randint(1, 3)):
        if chance.random() < 0.3:
            words += [("Don", "PROPN", "B-person"), (stem().title(), "PROPN", "I-person")]
        else:
            words += [("la", "DET", "O"), (stem() + "o", "NOUN", "O")]
        words.append((stem() + "as", "VERB", "O"))
    return words


def conllu(sentences: Sequence[Tagged]) -> str:
    text = ""
    for number, words in enumerate(sentences, 1):
        text += f"# sent_id = {number}\n1-2\tladon\t_\t_\t_\t_\t_\t_\t_\tSpaceAfter=No\n"
        for place, (word, tag, _) in enumerate(words, 1):
            case = "Case=Nom" if tag == "NOUN" else "_"
            text += f"{place}\t{word}\t_\t{tag}\t{tag[0]}\t{case}\t0\troot\t_\t_\n"
        text += f"{len(words)}.1\tgone\t_\t_\t_\t_\t_\t_\t0:x\t_\n\n"
    return text


def columns(sentences: Sequence[Tagged]) -> str:
    return "".join("".join(f"{word}\t{span}\n" for word, _, span in s) + "\n" for s in sentences)


@dataclass(frozen=True)
class Files:
    """A made treebank, and the same sentences with names."""

    train: Path
    dev: Path
    names: Path
    names_dev: Path


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder, chance = tmp_path_factory.mktemp("treebank"), random.Random(0)
    train, dev = ([sentence(chance) for _ in range(n)] for n in (240, 60))
    found = {"train.conllu": conllu(train), "dev.conllu": conllu(dev)}
    found |= {"names.iob": columns(train), "names-dev.iob": columns(dev)}
    for name, text in found.items():
        (folder / name).write_text(text)
    return Files(*(folder / name for name in found))


def train(*arguments: str | Path) -> None:
    with pytest.raises(SystemExit) as exit:
        cli.main(["train", "tag", *map(str, arguments), *LEARNS])
    assert not exit.value.code


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, files: Files) -> Path:
    """A run that has learnt parts of speech; tests leave its folder as it is, but for scores."""
    run = tmp_path_factory.mktemp("runs") / "pos"
    train("--train", files.train, "--dev", files.dev, "--run", run, "--also", "xpos", "feats")
    return run


@pytest.fixture(scope="session")
def trained_names(tmp_path_factory: pytest.TempPathFactory, files: Files) -> Path:
    """A run that has learnt names, with a conditional random field."""
    run = tmp_path_factory.mktemp("runs") / "names"
    train("--train", files.names, "--dev", files.names_dev, "--run", run, "--crf")
    return run

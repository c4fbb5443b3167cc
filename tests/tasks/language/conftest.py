"""A text to learn from, and a run that has learnt a little of it."""

import random
from pathlib import Path

import pytest

from unrolled import cli

# One shape of model for all tests: each takes a second or more to compile.
SMALL = (
    "--cell GRU --embedding 8 --hidden 16 --dropout 0.1 --batch 4 --steps 16 --warmup 5 "
    "--learning-rate 2e-2 --average 0.9 --score-steps 7 --score-every 0.1 --threads 1 --device cpu"
).split()


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences of a few words, 2,400 characters or so."""
    chance, path = random.Random(0), tmp_path_factory.mktemp("text") / "text.txt"
    who, what = ["the cat", "a dog", "the old man"], ["sat", "ran home", "saw me"]
    path.write_text("".join(f"{chance.choice(who)} {chance.choice(what)}\n" for _ in range(150)))
    return path


@pytest.fixture
def small(text: Path) -> list[str]:
    """What trains a small model, but for --run."""
    return ["train", "language", "--train", str(text), *SMALL, "--epochs", "0.6"]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, text: Path) -> Path:
    """A run that has learnt; tests leave its folder as it is, but for new scores."""
    path = tmp_path_factory.mktemp("runs") / "run"
    with pytest.raises(SystemExit) as exit:
        cli.main(["train", "language", "--train", str(text), "--run", str(path), *SMALL])
    assert not exit.value.code
    return path

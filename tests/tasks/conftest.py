"""Words to learn from, a command line to call, and a run that has learnt."""

import random
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from unrolled import cli
from unrolled.tasks.seq2seq import commands
from unrolled.tasks.seq2seq.translator import Translator

# Enough to learn to spell a short word backwards, in capitals, within seconds.
LEARNS = (
    "--embedding 24 --hidden 48 --dropout 0 --smoothing 0 --batch 32 --epochs 8 --warmup 50 "
    "--learning-rate 1e-2 --average 0.98 --score-steps 90 --threads 1 --device cpu"
).split()
# Little of everything, and yet all that could make two trainings differ.
TINY = (
    "--embedding 4 --hidden 6 --batch 4 --epochs 2 --score-steps 3 --score-every 0.3 --warmup 2 "
    "--dropout 0.3 --sampling 0.4 --width 2 --threads 1 --device cpu"
).split()


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


Call = Callable[..., Ended]


@pytest.fixture
def unrolled(capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """Call the command line in this process."""

    def call(*arguments: str | Path) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit:
            cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ended(int(exit.value.code or 0), captured.out, captured.err)

    before = signal.getsignal(signal.SIGTERM)
    yield call
    signal.signal(signal.SIGTERM, before)


def write_pairs(path: Path, words: Sequence[str]) -> Path:
    path.write_text("".join(f"{word}\t{' '.join(word[::-1].upper())}\n" for word in words))
    return path


@dataclass(frozen=True)
class Words:
    """Files of pairs: a word, and its letters backwards in capitals."""

    train: Path
    dev: Path
    few: Path


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Words:
    folder, chance = tmp_path_factory.mktemp("words"), random.Random(0)
    found = sorted({"".join(chance.choices("abcdef", k=2 + i % 4)) for i in range(2600)})
    chance.shuffle(found)
    return Words(
        write_pairs(folder / "train.tsv", found[:1100]),
        write_pairs(folder / "dev.tsv", found[1100:1200]),
        write_pairs(folder / "few.tsv", found[:16]),
    )


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, words: Words) -> Path:
    """A run that has learnt; tests leave its folder as it is, but for new scores."""
    path = tmp_path_factory.mktemp("runs") / "trained"
    files = ["--train", str(words.train), "--dev", str(words.dev)]
    with pytest.raises(SystemExit) as exit:
        cli.main(["train", "seq2seq", *files, "--run", str(path), *LEARNS])
    assert not exit.value.code
    return path


@pytest.fixture(scope="session")
def translator(trained: Path) -> Translator:
    return commands.open_run(trained, "cpu")[1]


@pytest.fixture(scope="session")
def tiny(words: Words) -> list[str]:
    """What trains a tiny model, but for --run."""
    return ["train", "seq2seq", "--train", str(words.few), "--dev", str(words.few), *TINY]


@pytest.fixture
def learns(words: Words) -> list[str]:
    """What trains a model that learns, but for --run."""
    return ["train", "seq2seq", "--train", str(words.train), "--dev", str(words.dev), *LEARNS]

"""A language of three sounds, recorded as files of features, and a run that has learnt it."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from unrolled import cli

SOUNDS = {"a": 0, "b": 2, "c": 4, " ": 6}  # the feature that each is loud in
LEARNS = (
    "--cell GRU --hidden 24 --layers 1 --stack 2 --dropout 0 --batch 8 --epochs 14 --warmup 20 "
    "--learning-rate 2e-2 --average 0.9 --score-steps 60 --threads 1 --device cpu "
    "--order 2 --width 4"
).split()


def speak(text: str, seed: int = 0) -> np.ndarray:
    """Give frames (time, 8): six frames of each sound, with silence around them."""
    noise = np.random.default_rng(seed)
    frames = np.zeros((8 * len(text) + 4, 8), np.float32)
    for place, letter in enumerate(text):
        frames[8 * place + 3 : 8 * place + 9, SOUNDS[letter]] = 3
    return frames + 0.3 * noise.normal(size=frames.shape).astype(np.float32)


@dataclass(frozen=True)
class Speech:
    """Manifests: path, transcript, speaker; and what trains a model that learns, but for --run."""

    train: Path
    dev: Path

    @property
    def learns(self) -> list[str]:
        files = ["--train", str(self.train), "--dev", str(self.dev)]
        return ["train", "transcribe", *files, *LEARNS]


@pytest.fixture
def record(tmp_path: Path) -> Callable[[str], Path]:
    """Speak a text into a file."""

    def record(text: str) -> Path:
        path = tmp_path / f"{text.replace(' ', '-')}.npy"
        np.save(path, speak(text, seed=1000))
        return path

    return record


def write_manifest(path: Path, texts: Sequence[str]) -> Path:
    lines = []
    for i, text in enumerate(texts):
        np.save(path.parent / f"{path.stem}-{i}.npy", speak(text, i))
        lines.append(f"{path.stem}-{i}.npy\t{text}\tspeaker{i % 4}\n")
    path.write_text("".join(lines))
    return path


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Speech:
    folder, chance = tmp_path_factory.mktemp("speech"), random.Random(0)
    words = ["ab", "c", "bca", "aa", "cab"]
    texts = [" ".join(chance.choices(words, k=1 + i % 3)) for i in range(110)]
    return Speech(
        write_manifest(folder / "train.tsv", texts[:90]),
        write_manifest(folder / "dev.tsv", texts[90:]),
    )


@pytest.fixture(scope="session")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Speech:
    """Texts in which no letter says what comes next, so that it has to be heard."""
    folder, chance = tmp_path_factory.mktemp("letters"), random.Random(0)
    texts = []
    for i in range(220):
        text = chance.choice("abc")
        while len(text) <= i % 6:
            ends = len(text) == i % 6
            text += chance.choice([s for s in "abc" + " " * (not ends) if s != text[-1]])
        texts.append(text)
    return Speech(
        write_manifest(folder / "train.tsv", texts[:200]),
        write_manifest(folder / "dev.tsv", texts[200:]),
    )


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, speech: Speech) -> Path:
    """A run that has learnt; tests leave its folder as it is, but for new scores."""
    path = tmp_path_factory.mktemp("runs") / "trained"
    with pytest.raises(SystemExit) as exit:
        cli.main([*speech.learns, "--run", str(path)])
    assert not exit.value.code
    return path

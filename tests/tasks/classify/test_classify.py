"""Classification through the command line: learn, score, predict, go on, refuse."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Call = Callable[..., Any]

TEXTS = (
    "--cell GRU --embedding 12 --hidden 12 --dropout 0 --batch 16 --epochs 6 --warmup 10 "
    "--learning-rate 1e-2 --average 0.9 --score-steps 20 --threads 1 --device cpu"
).split()
SERIES = [*TEXTS, "--noise", "0.1", "--roll", "0.5", "--window", "3"]
KINDS = {"calm": "sea sand moon", "angry": "fire iron red"}


def write_texts(path: Path, count: int, seed: int) -> Path:
    chance = random.Random(seed)
    with path.open("w") as file:
        file.write("label,text\n")
        for i in range(count):
            label = sorted(KINDS)[i % 2]
            words = chance.choices((KINDS[label] + " the of a").split(), k=chance.randint(3, 8))
            file.write(f'{label},"{" ".join(words)}, {KINDS[label].split()[0]}"\n')
    return path


def write_series(path: Path, count: int, seed: int) -> Path:
    """Slow and fast waves of unequal length, two features each."""
    chance = np.random.default_rng(seed)
    lines = ["@classLabel true slow fast", "@data"]
    for i in range(count):
        time = np.arange(chance.integers(9, 15)) + chance.uniform(0, 9)
        waves = [np.sin(time * (0.3, 1.5)[i % 2] + phase) for phase in (0, 1)]
        texts = [",".join(f"{value:.4f}" for value in wave) for wave in waves]
        lines.append(":".join([*texts, ("slow", "fast")[i % 2]]))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    return write_texts(tmp_path / "train.csv", 160, 0)


def test_texts_are_learnt_scored_and_predicted(unrolled: Call, tmp_path: Path, texts: Path) -> None:
    run = tmp_path / "run"
    ended = unrolled("train", "classify", "--train", texts, "--run", run, *TEXTS)
    assert ended.code == 0 and "144 items of 2 classes to learn from, 16 to score on" in ended.err
    test = write_texts(tmp_path / "test.csv", 60, 1)
    scored = unrolled("evaluate", run, "--data", test, "--predictions", tmp_path / "p.tsv")
    assert scored.code == 0 and "60 of 60 items right; 95 % interval 93.98%" in scored.out
    record = json.loads((run / "scores-test.json").read_text())
    assert record["accuracy"] == 1 and record["classes"]["calm"]["precision"] == 1
    assert (tmp_path / "p.tsv").read_text().startswith(f"{test}:2\tangry\tangry\t")
    page = (run / "report.html").read_text()
    assert "calm is taken for calm: 1.00" in page and "always saying the most frequent" in page

    predicted = unrolled("predict", run, test, "--best", "2")
    cells = predicted.out.splitlines()[0].split("\t")
    assert predicted.code == 0 and cells[::2] == ["angry", "calm"]
    assert float(cells[1]) > 0.9 and abs(float(cells[1]) + float(cells[3]) - 1) < 2e-4
    (tmp_path / "lines.txt").write_bytes(b"red fire\n\n\xff\nthe sea\n")
    ended = unrolled("predict", run, tmp_path / "lines.txt", "--format", "jsonl")
    lines = ended.out.split("\n")
    assert ended.code == 1 and "lines.txt:3: byte 0xff" in ended.err
    assert [json.loads(line)["label"] if line else "" for line in lines] == [
        "angry", "", "", "calm", "",
    ]  # fmt: skip


def test_series_are_learnt_in_any_form(unrolled: Call, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train = write_series(tmp_path / "train.ts", 160, 0)
    dev = write_series(tmp_path / "dev.ts", 40, 1)
    files = ("--train", train, "--dev", dev, "--run", run)
    assert unrolled("train", "classify", *files, *SERIES).code == 0
    assert json.loads((run / "scores-dev.json").read_text())["accuracy"] > 0.9
    waves = np.stack([np.sin(np.arange(12)[:, None] * f + [0, 1]) for f in (0.3, 1.5)])
    np.savez(tmp_path / "a.npz", waves=waves)
    ended = unrolled("predict", run, tmp_path / "a.npz", "--series-array", "waves")
    assert [line.split("\t")[0] for line in ended.out.splitlines()] == ["slow", "fast"]
    np.savez(tmp_path / "b.npz", x=waves[..., :1])
    ended = unrolled("predict", run, tmp_path / "b.npz")
    assert ended.code == 1 and "item 0: has 1 features; the model learnt from" in ended.err


def test_a_training_that_stopped_goes_on_to_the_same_weights(
    unrolled: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = write_series(tmp_path / "train.ts", 40, 0)
    flags = ("--train", train, *SERIES, "--epochs", "3", "--dropout", "0.3")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert unrolled("train", "classify", *flags, "--run", whole).code == 0
    interrupt_at(monkeypatch, 4)
    ended = unrolled("train", "classify", *flags, "--run", parts)
    assert ended.code == 130 and "train classify --run" in ended.err
    monkeypatch.undo()
    assert unrolled("train", "classify", "--run", parts, "--resume").code == 0
    name = "model.safetensors"
    assert (whole / name).read_bytes() == (parts / name).read_bytes()


def interrupt_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let the training get a Ctrl-C in its step of that number."""
    from unrolled.tasks.classify.lesson import ClassifyLesson

    learnt: Callable[..., object] = ClassifyLesson.loss
    calls = iter(range(1, 1000))

    def loss(self: ClassifyLesson, *arguments: Any) -> object:
        if next(calls) == step:
            import signal

            signal.raise_signal(signal.SIGINT)
        return learnt(self, *arguments)

    monkeypatch.setattr(ClassifyLesson, "loss", loss)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label,text\nup,yes\nup,no\n", "all labels are 'up'; give two classes or more"),
        ("label,text\nup,yes\ndown,no\n", "has too few items to hold some out"),
        ("label,text\nup,yes\ndown\n", "3: cells: 1; the first row names 2 columns"),
    ],
)
def test_what_cannot_be_learnt_is_one_line_and_leaves_nothing(
    unrolled: Call, tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "train.csv"
    path.write_text(text)
    ended = unrolled("train", "classify", "--train", path, "--run", tmp_path / "run", *TEXTS)
    assert ended.code == 2 and f"{path}" in ended.err and message in ended.err
    assert not (tmp_path / "run").exists()


def test_a_class_that_was_not_learnt_is_named(unrolled: Call, tmp_path: Path, texts: Path) -> None:
    dev = tmp_path / "dev.csv"
    dev.write_text("label,text\ncalm,the sea\nsad,the rain\n")
    flags = ["--train", texts, "--dev", dev, "--run", tmp_path / "run", *TEXTS, "--epochs", "1"]
    ended = unrolled("train", "classify", *flags)
    assert ended.code == 2 and f"{dev}:3: the label 'sad' is none of the 2" in ended.err
    ended = unrolled("train", "classify", *flags, "--skip-bad")
    assert ended.code == 0 and f"1 item is left out; the first: {dev}:3" in ended.err

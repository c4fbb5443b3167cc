"""What `unrolled inspect` looks at: the dev data of every task, and the loss of each position."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unrolled.backends import BACKENDS
from unrolled.tasks.inspection import middling_batch
from unrolled.tasks.kinds import find_kind
from unrolled.tasks.lesson import Lesson
from unrolled.tasks.progress import Progress
from unrolled.tasks.settings import resolve


def text(folder: Path) -> Path:
    (folder / "text.txt").write_text("the cat sat\na dog ran home\n" * 40)
    return folder / "text.txt"


def tagged(folder: Path) -> Path:
    chance = random.Random(0)
    words = {"la": "DET", "kato": "NOUN", "dormas": "VERB"}
    sentences = [chance.choices([*words], k=2 + i % 4) for i in range(80)]
    (folder / "words.tsv").write_text(
        "\n".join("".join(f"{w}\t{words[w]}\n" for w in sentence) for sentence in sentences)
    )
    return folder / "words.tsv"


def labelled(folder: Path) -> Path:
    rows = [f"{'calm' if i % 2 else 'angry'},{'sea' if i % 2 else 'fire'} {i}" for i in range(80)]
    (folder / "texts.csv").write_text("\n".join(["label,text", *rows]) + "\n")
    return folder / "texts.csv"


def hours(folder: Path) -> Path:
    rows = [f"2024-01-{1 + i // 24:02} {i % 24:02}:00,{i % 8 + i / 50:.2f}" for i in range(120)]
    (folder / "hours.csv").write_text("\n".join(["time,a", *rows]) + "\n")
    return folder / "hours.csv"


def spoken(folder: Path) -> Path:
    lines = []
    for i in range(40):
        frames = np.random.default_rng(i).normal(size=(30, 4)).astype(np.float32)
        np.save(folder / f"{i}.npy", frames)
        lines.append(f"{i}.npy\t{'ab' if i % 2 else 'ba'}\tspeaker{i % 4}\n")
    (folder / "spoken.tsv").write_text("".join(lines))
    return folder / "spoken.tsv"


TASKS: dict[str, tuple[Any, str, bool]] = {
    "language": (text, "--batch 4 --steps 8", True),
    "tag": (tagged, "--smoothing 0 --letter-hidden 4", True),
    "classify": (labelled, "--smoothing 0", False),
    "forecast": (hours, "--horizon 6 --season 8 --context 16", True),
    "transcribe": (spoken, "--layers 1", False),
}


@pytest.mark.parametrize("task", TASKS)
def test_dev_data_can_be_looked_at(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, flags, by_position = TASKS[task]
    monkeypatch.setitem(BACKENDS, "auto", BACKENDS["eager"])
    kind = find_kind(task)
    given = f"--hidden 8 --dropout 0 --cell GRU --train {write(tmp_path)} {flags}".split()
    settings = resolve(kind.config, given, {}, prog="test")
    torch.manual_seed(0)
    lesson: Lesson[Any] = kind.work().learn(settings, torch.device("cpu"), Progress())
    lesson.model.eval()
    held = lesson.held_out()
    assert held is not None and held.model is lesson.model
    assert 0 < len(held.batches(0)) < 20
    batch = middling_batch(held, 3)
    loss, _ = held.loss(batch, 0.0)
    assert loss.isfinite() and 1 <= len(batch) <= 3
    assert not torch.equal(loss, lesson.loss(middling_batch(lesson, 3), 0.0)[0])
    found = held.position_losses(batch)
    assert (found is not None) == by_position
    if found is not None:
        losses, lengths = found
        active = torch.arange(len(losses))[:, None] < lengths
        held.carry({})
        expected, _ = held.loss(batch, 0.0)
        torch.testing.assert_close(losses[active].mean(), expected)


def test_a_sentence_with_a_tag_that_was_not_learnt_is_not_looked_at(tmp_path: Path) -> None:
    dev = tmp_path / "dev.tsv"
    dev.write_text("la\tDET\n\nho\tINTJ\n")
    kind = find_kind("tag")
    flags = ["--train", str(tagged(tmp_path)), "--dev", str(dev)]
    settings = resolve(kind.config, flags, {}, prog="test")
    held: Any = kind.work().learn(settings, torch.device("cpu"), Progress()).held_out()
    assert [sentence.words for sentence in held.train] == [("la",)]

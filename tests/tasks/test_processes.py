"""Two processes that train together take the steps that one takes, and end together."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from unrolled import cli
from unrolled.backends import BACKENDS
from unrolled.errors import ConfigError
from unrolled.tasks.checkpoint import load_latest, load_weights
from unrolled.tasks.language.lesson import LanguageLesson
from unrolled.tasks.processes import Processes, leads
from unrolled.tasks.progress import Progress
from unrolled.tasks.seq2seq.lesson import Seq2SeqLesson

# In float32: gradients of half a batch, rounded to bfloat16, add up to others than those of all.
TRAIN = (
    "--warmup 2 --dropout 0 --threads 1 --device cpu --precision float32 --keep-every 0 "
    "--score-every 0.1"
).split()
LANGUAGE = (
    "--cell GRU --embedding 8 --hidden 16 --batch 3 --steps 16 --learning-rate 2e-2 --average 0.9 "
    "--score-steps 4 --epochs 0.6"
).split()
SEQ2SEQ = "--embedding 4 --hidden 6 --batch 4 --epochs 1.5 --score-steps 3".split()


@dataclass(frozen=True)
class Scene:
    """A training: its name, its task, and what happens to the second process at step 3."""

    name: str
    arguments: Sequence[str]
    happens: str = ""


def metrics(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return found


def alone(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit:
        cli.main([*arguments])
    return int(exit.value.code or 0)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs, each made by one process, by two, or by one after the other."""
    folder = tmp_path_factory.mktemp("together")
    (folder / "text.txt").write_text("the cat sat\na dog ran home\nthe old man saw me\n" * 16)
    words = ["abc", "fed", "cab", "bead", "face", "ad", "be", "dab", "cafe"]
    (folder / "words.tsv").write_text("".join(f"{w}\t{' '.join(w[::-1])}\n" for w in words))
    files = {
        "language": ["--train", str(folder / "text.txt")],
        "seq2seq": [f for s in ("train", "dev") for f in (f"--{s}", str(folder / "words.tsv"))],
    }
    tasks = {
        task: ["train", task, *files[task], *own, *TRAIN]
        for task, own in (("language", LANGUAGE), ("seq2seq", SEQ2SEQ))
    }
    tasks["seq2seq"] += ["--sampling", "0"]
    resume = ["train", "language", "--resume", "--run"]
    scenes = [
        Scene("language", [*tasks["language"], "--run", str(folder / "language-2")]),
        Scene("seq2seq", [*tasks["seq2seq"], "--run", str(folder / "seq2seq-2")]),
        Scene("on", [*resume, str(folder / "one-two")]),
        Scene("stop", [*tasks["language"], "--run", str(folder / "two-one")], "stop"),
        Scene("few", [*tasks["language"], "--batch", "1", "--run", str(folder / "few")]),
        Scene("fail", [*tasks["language"], "--run", str(folder / "fail")], "fail"),
        Scene("die", [*tasks["language"], "--run", str(folder / "die")], "die"),
    ]
    update = Progress.update

    def stopping(self: Progress, step: int, *others: Any) -> None:
        update(self, step, *others)
        if step == 3:
            signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        for lesson in (LanguageLesson, Seq2SeqLesson):
            patch.setattr(lesson, "conclude", lambda *arguments: None)
        patch.setitem(BACKENDS, "auto", BACKENDS["eager"])  # as in the other processes
        for task, arguments in tasks.items():
            assert alone(*arguments, "--run", str(folder / f"{task}-1")) == 0
        with patch.context() as stopped:
            stopped.setattr(Progress, "update", stopping)
            assert alone(*tasks["language"], "--run", str(folder / "one-two")) == 130
        found = [
            vars(scene) | {"port": port}
            for scene, port in zip(scenes, ports(len(scenes)), strict=True)
        ]
        (folder / "scenes.json").write_text(json.dumps(found))
        script = [sys.executable, str(Path(__file__).with_name("together.py")), str(folder)]
        subprocess.run(script, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=240, check=True)
        assert alone(*resume, str(folder / "two-one")) == 0
    signal.signal(signal.SIGTERM, before)
    return folder


def ended(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads((folder / f"{name}.{rank}.json").read_text()) for rank in range(2)]


def check_same(one: Path, two: Path) -> None:
    """Hold two runs to one another: loss curve, scores, weights, their average, what is carried."""
    for a, b in zip(metrics(one), metrics(two), strict=True):
        found, wanted = ({k: v for k, v in r.items() if k != "seconds"} for r in (b, a))
        assert found == pytest.approx(wanted, rel=1e-5)
    found = [load_latest(run / "checkpoints", warn=pytest.fail) for run in (one, two)]
    first, second = (checkpoint.tensors for checkpoint in found if checkpoint)
    assert first.keys() == {name for name in second if not name.endswith(".1")}
    for name, tensor in first.items():
        if not name.startswith(("random.", "moments.")):
            torch.testing.assert_close(second[name], tensor, rtol=1e-4, atol=1e-5)
    weights = [load_weights(run / "model.safetensors")[0] for run in (one, two)]
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("task", ["language", "seq2seq"])
def test_two_learn_as_one(played: Path, task: str) -> None:
    first, second = ended(played, task)
    assert (first["code"], second["code"]) == (0, 0), first["err"] + second["err"]
    assert "2 processes of 1 threads" in first["err"]
    assert first["out"] == f"{played / task}-2/report.html\n"
    assert second["out"] + second["err"] == "", "one speaks for both"
    check_same(played / f"{task}-1", played / f"{task}-2")


@pytest.mark.parametrize("run", ["one-two", "two-one"])
def test_as_many_as_like_go_on(played: Path, run: str) -> None:
    assert [each["code"] for each in ended(played, "on")] == [0, 0]
    assert "goes on at step 3 of" in ended(played, "on")[0]["err"]
    check_same(played / "language-1", played / run)


def test_a_stop_request_to_one_stops_both_at_the_same_step(played: Path) -> None:
    first, second = ended(played, "stop")
    assert (first["code"], second["code"]) == (130, 130)
    message = f"unrolled: stopped and saved; go on with: unrolled train language --run {played}"
    assert (first["err"] + second["err"]).count(message) == 1


def test_masks_differ_from_process_to_process(played: Path) -> None:
    checkpoint = load_latest(played / "language-2" / "checkpoints", warn=pytest.fail)
    assert checkpoint is not None
    random = [checkpoint.tensors[name] for name in ("random.cpu", "random.cpu.1")]
    assert random[0].shape == random[1].shape and not torch.equal(*random)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("few", "unrolled: batch is 1, but 2 processes share it; raise it, or start fewer"),
        ("fail", "unrolled: words.tsv:3: is broken"),
        ("die", "unrolled: another process of this training ended and could not say why; look"),
    ],
)
def test_an_error_in_one_ends_both_with_one_message(played: Path, name: str, message: str) -> None:
    found = [json.loads(path.read_text()) for path in sorted(played.glob(f"{name}.?.json"))]
    assert [each["code"] for each in found] == [2] * (1 if name == "die" else 2)
    said = "".join(each["err"] for each in found)
    assert said.count("unrolled: ") == said.count(message) == 1
    assert "Traceback" not in said


def test_items_are_dealt_out() -> None:
    both = [Processes(rank, 2) for rank in range(2)]
    assert [list(each.share(range(5))) for each in both] == [[0, 2, 4], [1, 3]]
    assert [list(each.share([7])) for each in both] == [[7], []]
    rows = torch.arange(10).view(2, 5)
    assert [each.own(rows).tolist() for each in both] == [
        [[0, 2, 4], [5, 7, 9]],
        [[1, 3], [6, 8]],
    ]


def test_each_process_has_a_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    second = Processes(1, 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [second.device_name(name) for name in ("auto", "cpu")] == ["auto", "cpu"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    names = [second.device_name(name) for name in ("auto", "cuda", "cpu")]
    assert names == ["cuda:1", "cuda:1", "cpu"]
    assert Processes().device_name("cuda:0") == "cuda:0"
    with pytest.raises(ConfigError, match="device is cuda:0, but 2 processes train; write cuda"):
        second.device_name("cuda:0")


def test_the_environment_says_who_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    assert leads()
    for name, value in {"RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    assert leads(), "nobody started several"
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert leads()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not leads()

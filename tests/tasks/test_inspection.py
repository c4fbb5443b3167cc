"""`unrolled inspect RUN` and `--watch`: the doctor sees a run, and changes nothing of it."""

import json
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from unrolled import Recurrent, zoo
from unrolled.tasks.lesson import Trainable
from unrolled.tasks.progress import Progress
from unrolled.tasks.report import learning
from unrolled.tasks.run import Run
from unrolled.tasks.standing import Standing
from unrolled.tasks.watcher import SHARE, Watcher, findings_of

Call = Callable[..., Any]


class Forgetful(Trainable[Recurrent]):
    """A recurrence whose gradient is halved at every step; it carries a number along."""

    def __init__(self) -> None:
        super().__init__(Recurrent(zoo.Elman, 3, 8, backend="eager"))
        with torch.no_grad():
            self.model.cells[0].get_parameter("U.weight").mul_(0.5)
        self.steps = torch.zeros(1)

    def batches(self, epoch: int) -> list[list[int]]:
        return [list(range(16))]

    def loss(self, batch: list[int], progress: float) -> tuple[Tensor, int]:  # pyright: ignore
        self.steps = self.steps + 1
        return self.model(torch.randn(20, len(batch), 3))[0][-1].pow(2).mean(), 1

    def score(self, model: nn.Module) -> dict[str, float]:
        return {}

    def carried(self) -> dict[str, Tensor]:
        return {"steps": self.steps}

    def carry(self, tensors: dict[str, Tensor]) -> None:  # pyright: ignore
        self.steps = tensors["steps"]


@pytest.fixture
def said() -> StringIO:
    return StringIO()


@pytest.fixture
def watcher(tmp_path: Path, said: StringIO) -> Watcher:
    run = Run.create(tmp_path / "run", "")
    return Watcher(Forgetful(), run, Progress(Console(file=said, width=400)))


def test_what_is_wrong_is_said_once_and_stands_in_the_report(
    watcher: Watcher, said: StringIO
) -> None:
    for step in (10, 20, 30):
        watcher.look(range(16), step, seconds=1e9)
    assert said.getvalue().count("layer 0 forgets") == 1
    (found,) = findings_of(watcher.run)
    assert (found["step"], found["illness"], found["where"]) == (20, "vanishing", "layer 0")
    again = Watcher(watcher.task, watcher.run, watcher.progress)  # as after a kill
    for step in (40, 50):
        again.look(range(16), step, seconds=1e9)
    assert len(findings_of(watcher.run)) == 1
    watcher.run.log({"step": 10, "epoch": 1.0, "error": 0.5, "train_loss": 1.0})
    blocks = learning(watcher.run, Standing(best={"error": 0.5}), {"error": "error"})
    assert "layer 0 forgets" in str(blocks[-1])


def test_a_memory_that_grows_is_said_once_it_no_longer_does(watcher: Watcher) -> None:
    matrix = watcher.task.model.cells[0].get_parameter("U.weight")
    for step, growth in ((10, 0.1), (20, 5.0), (30, 1.8), (40, 1.0)):
        assert findings_of(watcher.run) == []
        with torch.no_grad():
            matrix.mul_(growth)
        watcher.look(range(16), step, seconds=1e9)
    assert [found["step"] for found in findings_of(watcher.run)] == [40]


def test_a_look_leaves_everything_as_it_was(watcher: Watcher) -> None:
    task = watcher.task
    task.model.train()
    before, state = torch.get_rng_state(), task.carried()
    watcher.look(range(16), 10, seconds=1.0)
    assert torch.equal(torch.get_rng_state(), before) and task.carried() == state
    assert task.model.training and all(p.grad is None for p in task.model.parameters())


def test_looks_take_little_of_the_time(watcher: Watcher) -> None:
    watcher.look(range(16), 10, seconds=0.0)  # the first, whatever it takes
    spent = watcher.spent
    watcher.look(range(16), 20, seconds=1.9 * spent / SHARE)
    assert watcher.spent == spent > 0
    watcher.look(range(16), 30, seconds=2.1 * spent / SHARE)
    assert watcher.spent > spent


def test_a_file_of_findings_may_end_in_half_a_line(watcher: Watcher) -> None:
    for step in (10, 20):
        watcher.look(range(16), step, seconds=1e9)
    with (watcher.run.path / "findings.jsonl").open("ab") as file:
        file.write(b'{"step": 1')
    assert len(findings_of(watcher.run)) == 1


def test_a_watched_training_ends_with_the_same_weights(
    unrolled: Call, tiny: list[str], tmp_path: Path
) -> None:
    for name, flags in (("plain", []), ("watched", ["--watch"])):
        assert unrolled(*tiny, "--run", tmp_path / name, *flags).code == 0
    plain, watched = (tmp_path / n / "model.safetensors" for n in ("plain", "watched"))
    assert plain.read_bytes() == watched.read_bytes()


def test_a_watcher_says_where_a_number_that_is_none_appeared(
    unrolled: Call, tiny: list[str], tmp_path: Path
) -> None:
    wild = [
        "--learning-rate",
        "1e38",
        "--warmup",
        "0",
        "--average",
        "0",
        "--watch",
        "--sampling",
        "0",
    ]
    ended = unrolled(*tiny, "--run", tmp_path / "run", *wild)
    assert ended.code == 2
    assert "is no number from step 0 on" in ended.err and len(ended.err.splitlines()[-1]) < 600


def test_a_trained_run_is_looked_at(unrolled: Call, trained: Path, tmp_path: Path) -> None:
    path = shutil.copytree(trained, tmp_path / "run")
    ended = unrolled("inspect", path, "--rows", "8", "--device", "cpu")
    assert ended.code == 0, ended.err
    assert "8 items of the dev data" in ended.out
    assert "nothing that the doctor knows is wrong" in ended.out
    html = (path / "inspect.html").read_text(encoding="utf-8")
    headings = ("Gates", "Where the loss is", "Where it looks", "The size of its states")
    for heading in (*headings, "What it takes for the same"):
        assert f">{heading}</h2>" in html
    assert "encoder.recurrent layer 0: contexts that leave its h alike" in html
    assert "What was read of each sequence" in html


def test_a_run_without_weights_is_refused(unrolled: Call, trained: Path, tmp_path: Path) -> None:
    path = shutil.copytree(trained, tmp_path / "run")
    (path / "model.safetensors").unlink()
    ended = unrolled("inspect", path)
    assert ended.code == 2 and "model.safetensors is missing" in ended.err


def test_other_data_than_a_run_began_with_is_refused(
    unrolled: Call, trained: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(trained, tmp_path / "run")
    saved = json.loads((path / "data.json").read_bytes())
    saved["dev"]["sha256"] = "0"
    (path / "data.json").write_text(json.dumps(saved))
    ended = unrolled("inspect", path)
    assert ended.code == 2 and "holds other data" in ended.err

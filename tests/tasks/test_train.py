"""The training loop does what it says: compared with one written plainly, and with a clock."""

import math
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from torch import Tensor, nn

from unrolled.errors import ConfigError, RunError
from unrolled.tasks import train
from unrolled.tasks.checkpoint import load_latest, load_weights, save
from unrolled.tasks.config import Training
from unrolled.tasks.interrupt import Interrupted
from unrolled.tasks.lesson import Trainable
from unrolled.tasks.progress import Progress
from unrolled.tasks.run import Run
from unrolled.tasks.schedule import learning_rate
from unrolled.tasks.standing import Standing
from unrolled.tasks.train import fit

SETTINGS = Training(
    epochs=5, batch=1, warmup=4, learning_rate=0.1, weight_decay=0.1, clip=0.5, average=0.9,
    score_steps=3, keep_every=1000, score_every=0.1, precision="float32",
)  # fmt: skip


class Points(Trainable[nn.Linear]):
    """Fit a line through points, four batches an epoch; scores come from a list."""

    def __init__(self, scores: Sequence[float] = (), poison: int = 0) -> None:
        torch.manual_seed(3)
        super().__init__(nn.Linear(3, 2))
        self.xs, self.ys = torch.randn(4, 5, 3), 3 * torch.randn(4, 5, 2)
        self.scores, self.poison = list(scores), poison
        self.losses = 0
        self.shares: list[float] = []

    def batches(self, epoch: int) -> list[list[int]]:
        return [[(epoch + i) % 4] for i in range(4)]

    def loss(self, batch: Sequence[int], progress: float) -> tuple[Tensor, int]:
        self.losses += 1
        self.shares.append(progress)
        [i] = batch
        scale = math.nan if self.losses == self.poison else 1.0
        return scale * (self.model(self.xs[i]) - self.ys[i]).square().mean(), 5

    def score(self, model: nn.Module) -> dict[str, float]:
        assert not model.training
        return {"error": self.scores.pop(0) if self.scores else 1.0}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", "")


@pytest.fixture
def said() -> StringIO:
    return StringIO()


@pytest.fixture
def progress(said: StringIO) -> Progress:
    return Progress(Console(file=said, width=200))


def plainly(task: Points, settings: Training, steps: int) -> dict[str, Tensor]:
    """Train as the paper writes it, one number after the other; give the averaged weights."""
    weights = [p.detach().clone() for p in task.model.parameters()]
    averages = [w.clone() for w in weights]
    first, second = ([torch.zeros_like(w) for w in weights] for _ in range(2))
    for step in range(steps):
        rise = min(1, (step + 1) / settings.warmup)
        fall = (1 + math.cos(math.pi * step / steps)) / 2
        share = settings.final_rate + (1 - settings.final_rate) * fall
        rate = settings.learning_rate * rise * share
        x, y = (side[task.batches(step // 4)[step % 4][0]] for side in (task.xs, task.ys))
        error = 2 * (x @ weights[0].T + weights[1] - y) / y.numel()
        gradients = [error.T @ x, error.sum(0)]
        norm = math.sqrt(sum(float(g.square().sum()) for g in gradients))
        follow = min(settings.average, (2 + step) / (11 + step))
        for i, gradient in enumerate(gradients):
            g = gradient * min(1, settings.clip / (norm + 1e-6))
            first[i] = 0.9 * first[i] + 0.1 * g
            second[i] = 0.98 * second[i] + 0.02 * g.square()
            mean, square = first[i] / (1 - 0.9 ** (step + 1)), second[i] / (1 - 0.98 ** (step + 1))
            decay = settings.weight_decay if weights[i].dim() > 1 else 0.0
            weights[i] = weights[i] * (1 - rate * decay) - rate * mean / (square.sqrt() + 1e-8)
            averages[i] = follow * averages[i] + (1 - follow) * weights[i]
    return dict(zip(("weight", "bias"), averages, strict=True))


def test_it_trains_as_the_equations_say(run: Run, progress: Progress) -> None:
    expected = plainly(Points(), SETTINGS, 20)
    task = Points(scores=[7, 6, 5, 4, 3, 2, 1])
    standing = fit(task, SETTINGS, run, progress)
    found, facts = load_weights(run.weights)
    assert (standing.step, standing.best_step, facts) == (20, 20, {"step": 20, "error": 1})
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5)


def test_without_an_average_the_last_weights_are_kept(run: Run, progress: Progress) -> None:
    task = Points(scores=[2, 1])
    fit(task, Training(epochs=1, average=0, score_steps=2, score_every=0.1), run, progress)
    found, _ = load_weights(run.weights)
    assert all(torch.equal(found[name], p) for name, p in task.model.state_dict().items())


@given(
    rate=st.floats(1e-5, 1), warmup=st.integers(0, 50), last=st.floats(0, 0.9),
    steps=st.integers(1, 200),
)  # fmt: skip
def test_the_rate_rises_and_falls(rate: float, warmup: int, last: float, steps: int) -> None:
    settings = Training(learning_rate=rate, warmup=warmup, final_rate=last)
    rates = [learning_rate(settings, step, steps) for step in range(steps + 1)]
    assert all(0 <= each <= rate for each in rates)
    top = min(warmup, steps)
    assert all(a >= b for a, b in zip(rates[top:], rates[top + 1 :], strict=False))
    if warmup <= steps:
        assert rates[-1] == pytest.approx(last * rate)


class Settings(Points):
    """Points that note how products may be made."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def loss(self, batch: Sequence[int], progress: float) -> tuple[Tensor, int]:
        self.found.append(f"step {torch.get_float32_matmul_precision()}")
        return super().loss(batch, progress)

    def score(self, model: nn.Module) -> dict[str, float]:
        self.found.append(f"score {torch.get_float32_matmul_precision()}")
        return super().score(model)


@pytest.mark.parametrize(("asked", "steps"), [("float32", "highest"), ("high", "high")])
def test_steps_are_as_precise_as_asked_and_scores_whole(
    asked: Any, steps: str, run: Run, progress: Progress
) -> None:
    task = Settings()
    fit(task, Training(epochs=1, precision=asked), run, progress)
    assert set(task.found) == {f"step {steps}", "score highest"}


def test_each_scoring_is_a_record(run: Run, progress: Progress) -> None:
    fit(Points(scores=[3, 1, 2]), Training(epochs=2, score_steps=3), run, progress)
    records = run.metrics()
    assert [record["step"] for record in records] == [4, 8]  # epochs are longer than 3 steps
    assert [record["epoch"] for record in records] == [1, 2]
    assert [record["error"] for record in records] == [3, 1]
    assert all(record["train_loss"] > 0 for record in records)


def test_progress_goes_from_0_towards_1(run: Run, progress: Progress) -> None:
    task = Points()
    fit(task, Training(epochs=2), run, progress)
    assert task.shares == [step / 8 for step in range(8)]


def test_steps_at_least(run: Run, progress: Progress) -> None:
    assert fit(Points(), Training(epochs=0.1, least_steps=7), run, progress).step == 7


def test_part_of_an_epoch_is_a_step_at_least(run: Run, progress: Progress) -> None:
    assert fit(Points(), Training(epochs=0.01), run, progress).step == 1


def test_patience_ends_the_training_and_the_best_weights_stay(run: Run, progress: Progress) -> None:
    settings = Training(epochs=9, patience=2, score_steps=1, score_every=0.5)
    standing = fit(Points(scores=[5, 4, 6, 4, 1, 0]), settings, run, progress)
    assert (standing.step, standing.best_step, standing.best) == (8, 4, {"error": 4})
    assert load_weights(run.weights)[1]["step"] == 4


@pytest.mark.parametrize("step", [1, 6])
def test_a_loss_that_is_no_number_is_an_error(run: Run, progress: Progress, step: int) -> None:
    task = Points(scores=[1], poison=step)
    with pytest.raises(RunError) as caught:
        fit(task, Training(epochs=2, learning_rate=0.5, warmup=0), run, progress)
    assert str(caught.value).startswith(
        f"the loss became nan at step {step}; lower --learning-rate"
    )
    assert all(p.isfinite().all() for p in task.model.parameters())


def test_a_gradient_that_is_no_number_spoils_no_weights(run: Run, progress: Progress) -> None:
    class Root(Points):
        def loss(self, batch: Sequence[int], progress: float) -> tuple[Tensor, int]:
            return (0 * self.model.weight).sum().sqrt(), 1  # 0, with a slope of 0 / 0

    task = Root()
    with pytest.raises(RunError, match="the norm of the gradient became nan at step 1; lower"):
        fit(task, Training(), run, progress)
    assert all(p.isfinite().all() for p in task.model.parameters())


class Clock:
    """A time that passes only where the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class Slow(Points):
    """Steps and scorings that take their time."""

    def __init__(self, clock: Clock, step: float, scoring: float) -> None:
        super().__init__()
        self.clock, self.step, self.scoring = clock, step, scoring

    def loss(self, batch: Sequence[int], progress: float) -> tuple[Tensor, int]:
        self.clock.now += self.step
        return super().loss(batch, progress)

    def score(self, model: nn.Module) -> dict[str, float]:
        self.clock.now += self.scoring
        return super().score(model)


@pytest.mark.parametrize(
    ("minutes", "step", "scoring"),
    [(1, 0.25, 1.0), (1, 0.25, 0.0), (10, 2.0, 20.0), (1, 5.0, 1.0)],
)
def test_minutes_become_steps_that_fit(
    run: Run, progress: Progress, monkeypatch: pytest.MonkeyPatch,
    minutes: float, step: float, scoring: float,
) -> None:  # fmt: skip
    clock = Clock()
    monkeypatch.setattr(train, "time", clock)
    settings = Training(epochs=1e6, minutes=minutes, score_steps=50, keep_every=1e9)
    standing = fit(Slow(clock, step, scoring), settings, run, progress)
    assert 0.85 * 60 * minutes <= clock.now <= 60 * minutes
    assert standing.planned and standing.step == standing.steps


def test_minutes_never_make_a_training_longer(
    run: Run, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(train, "time", clock)
    task = Slow(clock, 1.0, 0.0)
    assert fit(task, Training(epochs=5, minutes=60), run, progress).step == 20


def test_a_plan_is_kept_when_the_training_goes_on(
    run: Run, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is on the disk before the first step by it, also where a scoring came just before."""
    clock = Clock()
    monkeypatch.setattr(train, "time", clock)
    settings = Training(epochs=1e6, minutes=5, score_steps=100, keep_every=1e9)

    class Dies(Slow):
        def loss(self, batch: Sequence[int], progress: float) -> tuple[Tensor, int]:
            if self.losses == 100:
                raise SystemExit
            return super().loss(batch, progress)

    with pytest.raises(SystemExit):
        fit(Dies(clock, 0.1, 1.0), settings, run, progress)
    checkpoint = load_latest(run.checkpoints, warn=pytest.fail)
    assert checkpoint is not None and checkpoint.step == 100
    assert checkpoint.facts["planned"] and checkpoint.facts["loss_symbols"] == 0
    steps = checkpoint.facts["steps"]
    assert isinstance(steps, int)
    settings = replace(settings, score_steps=10**6)  # so that it is not planned anew
    standing = fit(Slow(clock, 0.3, 1.0), settings, run, progress)
    assert standing.step == standing.steps == steps


def test_a_plan_follows_the_speed_of_the_machine(
    run: Run, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(train, "time", clock)
    settings = Training(epochs=1e6, minutes=10, score_steps=25, keep_every=1e9)

    class Faster(Slow):
        def loss(self, batch: Sequence[int], progress: float) -> tuple[Tensor, int]:
            self.step = 1.6 if self.clock.now < 200 else 0.4
            return super().loss(batch, progress)

    standing = fit(Faster(clock, 1.6, 5.0), settings, run, progress)
    assert 0.9 * 600 <= clock.now <= 600
    assert standing.step > 500


def test_a_plan_from_a_busy_hour_does_not_end_a_training(
    run: Run, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step takes ten seconds while others compute, then half a second.

    The plan is made in between, and no scoring comes before its last step.
    """
    clock = Clock()
    monkeypatch.setattr(train, "time", clock)
    settings = Training(epochs=1e6, minutes=10, score_steps=10**6, keep_every=1e9)

    class Busy(Slow):
        def loss(self, batch: Sequence[int], progress: float) -> tuple[Tensor, int]:
            self.step = 10.0 if self.clock.now < 70 else 0.5
            return super().loss(batch, progress)

    standing = fit(Busy(clock, 10.0, 1.0), settings, run, progress)
    assert 0.8 * 600 <= clock.now <= 600
    assert standing.step > 800


def test_a_finished_training_that_goes_on_says_so_and_learns_no_more(
    run: Run, progress: Progress, said: StringIO
) -> None:
    fit(Points(), SETTINGS, run, progress)
    before = run.weights.read_bytes(), run.log_file.read_bytes()
    again = Points()
    assert fit(again, SETTINGS, run, progress).step == 20
    assert again.losses == 0
    assert (run.weights.read_bytes(), run.log_file.read_bytes()) == before
    assert "the training had ended at step 20 of 20" in said.getvalue()


def test_a_checkpoint_of_another_model_is_refused_and_nothing_is_lost(
    run: Run, progress: Progress
) -> None:
    fit(Points(), SETTINGS, run, progress)
    metrics, checkpoint = run.metrics(), load_latest(run.checkpoints, warn=pytest.fail)
    assert checkpoint is not None
    save(run.checkpoints, checkpoint)
    other = Points()
    other.model = nn.Linear(3, 4)
    with pytest.raises(RunError, match="checkpoint of step 20 in .* belongs to another model"):
        fit(other, SETTINGS, run, progress)
    assert run.metrics() == metrics


def test_curves_have_every_loss_and_rate_and_score(
    run: Run, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[int, dict[str, float]]] = []

    @contextmanager
    def curves(folder: Path, step: int, wanted: bool) -> Iterator[Callable[..., None]]:
        assert (folder, step, wanted) == (run.path / "tensorboard", 0, False)
        yield lambda step, figures: drawn.append((step, dict(figures)))

    monkeypatch.setattr(train, "curves", curves)
    settings = Training(epochs=1, score_steps=2, score_every=0.1, warmup=3)
    fit(Points(scores=[2, 1]), settings, run, progress)
    assert [step for step, _ in drawn] == [1, 2, 3, 4]
    assert [figures.get("error") for _, figures in drawn] == [None, 2, None, 1]
    rates = [figures["learning_rate"] for _, figures in drawn]
    assert rates == [learning_rate(settings, step, 4) for step in range(4)]


def test_tensorboard_reads_the_curves_of_a_run_that_went_on(run: Run, progress: Progress) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    settings = Training(epochs=2, score_steps=1, score_every=0.5, tensorboard=True, keep_every=0)

    class Dies(Points):
        def loss(self, batch: Sequence[int], progress: float) -> tuple[Tensor, int]:
            if self.losses == 5:
                raise SystemExit
            return super().loss(batch, progress)

    with pytest.raises(SystemExit):
        fit(Dies(), settings, run, progress)
    fit(Points(), settings, run, progress)
    events: Any = accumulator.EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    assert [point.step for point in events.Scalars("loss")] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [point.step for point in events.Scalars("error")] == [2, 4, 6, 8]


def test_tensorboard_that_is_missing_is_named(
    run: Run, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"run pip install 'unrolled\[tensorboard\]'"):
        fit(Points(), Training(tensorboard=True), run, progress)


def test_a_stop_request_saves_and_ends(run: Run, progress: Progress) -> None:
    class Stopped(Points):
        def loss(self, batch: Sequence[int], progress: float) -> tuple[Tensor, int]:
            if self.losses == 2:
                signal.raise_signal(signal.SIGTERM)
            return super().loss(batch, progress)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted):
        fit(Stopped(), SETTINGS, run, progress)
    assert signal.getsignal(signal.SIGTERM) == before
    checkpoint = load_latest(run.checkpoints, warn=pytest.fail)
    assert checkpoint is not None and checkpoint.step == 3


def test_facts_are_all_of_the_standing() -> None:
    standing = Standing(step=3, best={"error": 0.5})
    facts: Any = standing.facts()
    assert Standing(**facts) == standing

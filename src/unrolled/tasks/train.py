"""The training loop of every task: it can be killed at any moment and goes on as if it had not."""

import copy
import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from unrolled.errors import ConfigError, RunError
from unrolled.tasks.checkpoint import JSON, Checkpoint, load_latest, save, save_weights
from unrolled.tasks.config import Training
from unrolled.tasks.progress import Progress
from unrolled.tasks.run import Run

PLAN_AT = 100  # steps after which --minutes turns into a number of steps


class Task(Protocol):
    """What the loop needs to know of a task."""

    @property
    def model(self) -> nn.Module:
        """The module that is trained."""
        ...

    def batches(self, epoch: int) -> Sequence[Sequence[int]]:
        """Give the epoch's batches as lists of items: the same for the same epoch, always."""
        ...

    def loss(self, batch: Sequence[int], progress: float) -> tuple[Tensor, int]:
        """Give the mean loss over a batch's symbols and their number; progress goes 0 to 1."""
        ...

    def score(self, model: nn.Module) -> dict[str, float]:
        """Score weights on the dev data; the first figure decides, and lower is better."""
        ...


@dataclass
class Standing:
    """Where a training stands, apart from its tensors."""

    step: int = 0
    steps: int = 0  # that the schedule is made for
    planned: bool = False
    seconds: float = 0.0
    symbols: int = 0
    loss_sum: float = 0.0  # since the last scoring, over `loss_symbols`
    loss_symbols: int = 0
    best: dict[str, float] = field(default_factory=dict)
    best_step: int = 0
    worse: int = 0  # scorings since the best

    def facts(self) -> dict[str, JSON]:
        """Give all of it as JSON."""
        return copy.deepcopy(vars(self))


class Interrupted(Exception):
    """The user stopped the training; everything is saved."""


def fit(task: Task, settings: Training, run: Run, progress: Progress) -> Standing:
    """Train a task's model, from the run's last checkpoint if there is one.

    The best weights by the dev score are kept in the run's ``model.safetensors``, each scoring in
    its metrics. AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) on a learning rate that rises
    linearly and falls along a cosine; gradients clipped by their global norm (Pascanu et al. 2013,
    arXiv:1211.5063); the weights that are scored are an exponential average of those trained.

    Args:
        task: the model, its batches, its loss and its score.
        settings: how to train.
        run: where everything is kept; locked by the caller.
        progress: where it is shown.

    Returns:
        Where the training stands at its end.

    Raises:
        RunError: the loss is not a number, no checkpoint can be read, or a file cannot be written.
        Interrupted: the user stopped it; a checkpoint is written.
    """
    return _Loop(task, settings, run, progress).go()


class _Loop:
    def __init__(self, task: Task, settings: Training, run: Run, progress: Progress) -> None:
        self.task, self.settings, self.run, self.progress = task, settings, run, progress
        self.device = next(task.model.parameters()).device
        self.average = copy.deepcopy(task.model)
        self.optimizer = torch.optim.AdamW(
            _groups(task.model, settings.weight_decay), betas=(0.9, 0.98), fused=True
        )
        self.half = _half(settings.precision, self.device)
        self.per_epoch = len(task.batches(0))
        self.standing = Standing(
            steps=max(settings.least_steps, math.ceil(settings.epochs * self.per_epoch))
        )
        self.score_every = max(settings.score_steps, round(settings.score_every * self.per_epoch))

    def go(self) -> Standing:
        self._resume()
        standing, settings = self.standing, self.settings
        started, saved = time.monotonic() - standing.seconds, time.monotonic()
        self.progress.start(standing.step, standing.steps)
        with _signals() as stopped, self.progress:
            for batch in self._batches():
                if self._finished():
                    break
                loss, symbols = self._step(batch)
                standing.symbols += symbols
                standing.loss_sum += loss * symbols
                standing.loss_symbols += symbols
                standing.seconds = time.monotonic() - started
                self.progress.update(standing.step, standing.steps, loss, symbols)
                if settings.minutes and not standing.planned and standing.step >= PLAN_AT:
                    self._plan()
                if standing.step % self.score_every == 0 or standing.step == standing.steps:
                    self._score()
                    standing.seconds = time.monotonic() - started
                if time.monotonic() - saved > settings.keep_every:
                    self._save()
                    saved = time.monotonic()
                if stopped():
                    self._save()
                    raise Interrupted
        self._save()
        return standing

    def _finished(self) -> bool:
        patience = self.settings.patience
        return self.standing.step >= self.standing.steps or 0 < patience <= self.standing.worse

    def _batches(self) -> Iterator[Sequence[int]]:
        """Give the batches from where the training stands, without end."""
        while True:
            epoch, position = divmod(self.standing.step, self.per_epoch)
            yield from self.task.batches(epoch)[position:]

    def _step(self, batch: Sequence[int]) -> tuple[float, int]:
        standing, model = self.standing, self.task.model
        rate = learning_rate(self.settings, standing.step, standing.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        model.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            loss, symbols = self.task.loss(batch, standing.step / standing.steps)
        value = loss.item()
        if not math.isfinite(value):
            raise RunError(
                f"the loss became {value} at step {standing.step + 1}; lower --learning-rate "
                f"(it was {rate:.2g}) or --clip, and train into another --run"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), self.settings.clip)
        self.optimizer.step()
        standing.step += 1
        self._follow()
        return value, symbols

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average towards the weights; early on it follows them closely."""
        decay = min(self.settings.average, (1 + self.standing.step) / (10 + self.standing.step))
        decay = decay if self.settings.average else 0.0
        averages, weights = self.average.parameters(), self.task.model.parameters()
        for average, weight in zip(averages, weights, strict=True):
            average.lerp_(weight, 1 - decay)

    def _score(self) -> None:
        standing = self.standing
        loss = standing.loss_sum / standing.loss_symbols
        standing.loss_sum, standing.loss_symbols = 0.0, 0
        self.average.eval()
        figures = self.task.score(self.average)
        first = next(iter(figures))
        better = not standing.best or figures[first] < standing.best[first]
        standing.worse = 0 if better else standing.worse + 1
        if better:
            standing.best, standing.best_step = figures, standing.step
            facts: dict[str, JSON] = {"step": standing.step, **figures}
            save_weights(self.run.weights, self.average.state_dict(), facts)
        record = {
            "step": standing.step,
            "epoch": standing.step / self.per_epoch,
            "seconds": round(standing.seconds, 1),
            "learning_rate": learning_rate(self.settings, standing.step, standing.steps),
            "train_loss": loss,
            **figures,
        }
        self.run.log(record)
        self.progress.scored(record, better)

    def _plan(self) -> None:
        """Turn --minutes into a number of steps, once, from the speed so far and one scoring."""
        standing = self.standing
        per_step = standing.seconds / standing.step
        before = time.monotonic()
        self.average.eval()
        self.task.score(self.average)
        scoring = time.monotonic() - before
        left = 60 * self.settings.minutes - standing.seconds - scoring
        more = int(0.95 * left / (per_step + scoring / self.score_every))
        standing.steps = min(standing.steps, standing.step + max(more, 1))
        standing.planned = True
        self._save()

    def _save(self) -> None:
        tensors = {f"model.{n}": t for n, t in self.task.model.state_dict().items()}
        tensors |= {f"average.{n}": t for n, t in self.average.state_dict().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"moments.{index}.{n}": t for n, t in moments.items()}
        tensors["random.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.device)
        checkpoint = Checkpoint(self.standing.step, tensors, self.standing.facts())
        save(self.run.checkpoints, checkpoint, keep=self.settings.keep)

    def _resume(self) -> None:
        checkpoint = load_latest(self.run.checkpoints, self.progress.warn)
        if checkpoint is None:
            self.run.truncate_metrics(0)
            return
        parts = _parts(checkpoint.tensors)
        try:
            self.task.model.load_state_dict(parts["model"])
            self.average.load_state_dict(parts["average"])
            self.standing = Standing(**checkpoint.facts)  # pyright: ignore[reportArgumentType]
        except (KeyError, TypeError, RuntimeError) as error:
            raise RunError(
                f"the checkpoint of step {checkpoint.step} in {self.run.checkpoints} belongs to "
                f"another model ({str(error).splitlines()[0]}); resume with the settings of the run"
            ) from None
        state = self.optimizer.state_dict()
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in parts.get("moments", {}).items():
            index, moment = name.split(".")
            moments.setdefault(int(index), {})[moment] = tensor
        self.optimizer.load_state_dict({"state": moments, "param_groups": state["param_groups"]})
        torch.set_rng_state(parts["random"]["cpu"])
        if self.device.type == "cuda" and "cuda" in parts["random"]:
            torch.cuda.set_rng_state(parts["random"]["cuda"], self.device)
        self.run.truncate_metrics(checkpoint.step)
        self.progress.note(f"goes on from step {checkpoint.step:,} of {self.standing.steps:,}")


def learning_rate(settings: Training, step: int, steps: int) -> float:
    """Give the learning rate of a step: a linear rise, then half a cosine down.

    Example:
        >>> settings = Training(learning_rate=1.0, warmup=10, final_rate=0.0)
        >>> [round(learning_rate(settings, step, 100), 2) for step in (0, 9, 50, 100)]
        [0.1, 0.98, 0.5, 0.0]
    """
    rise = min(1.0, (step + 1) / max(1, settings.warmup))
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
    return settings.learning_rate * rise * (settings.final_rate + (1 - settings.final_rate) * fall)


def _groups(model: nn.Module, decay: float) -> list[dict[str, object]]:
    """Let matrices decay, and leave biases as they are."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]


def _half(precision: str, device: torch.device) -> bool:
    """Tell whether to compute in bfloat16."""
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return precision == "bfloat16"


def _parts(tensors: "dict[str, Tensor] | object") -> dict[str, dict[str, Tensor]]:
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():  # pyright: ignore
        part, rest = name.split(".", 1)
        parts.setdefault(part, {})[rest] = tensor
    return parts


def pick_device(name: str) -> torch.device:
    """Give the device of that name; "auto" takes a GPU where there is one.

    Raises:
        ConfigError: there is none of that name here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {name} cannot be used: {reason}; take cpu or auto") from None
    return device


@contextmanager
def _signals() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C and SIGTERM end the training after the step under way; a second one at once."""
    caught: list[int] = []

    def catch(number: int, frame: object) -> None:
        caught.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        old = {number: signal.signal(number, catch) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: whoever runs us handles signals
        old = {}
    try:
        yield lambda: bool(caught)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)

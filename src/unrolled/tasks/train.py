"""The training loop of every task: it can be killed at any moment and goes on as if it had not."""

import copy
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.errors import RunError
from unrolled.tasks.checkpoint import JSON, Checkpoint, load_latest, save, save_weights
from unrolled.tasks.config import Training
from unrolled.tasks.curves import curves
from unrolled.tasks.device import products, uses_bfloat16
from unrolled.tasks.interrupt import Interrupted, stop_requests
from unrolled.tasks.lesson import Trainable
from unrolled.tasks.processes import Processes
from unrolled.tasks.progress import Progress
from unrolled.tasks.run import Run
from unrolled.tasks.schedule import learning_rate
from unrolled.tasks.snapshot import Learner, gather, part, spread
from unrolled.tasks.standing import Standing
from unrolled.tasks.watcher import Watcher

WARM = 50  # steps that kernels take to settle: they say nothing about the speed
PLAN_BY = 0.1  # share of --minutes after which they turn into steps, if nothing was scored yet
SPARE = 0.95  # share of the time left that is planned: the machine may get slower
ALONE = Processes()
ENOUGH = 0.8  # share of --minutes after which a training may end that has done what was planned


def fit(
    task: Trainable[Any],
    settings: Training,
    run: Run,
    progress: Progress,
    processes: Processes = ALONE,
) -> Standing:
    """Train a task's model, from the run's last checkpoint if there is one.

    The best weights by the dev score are kept in the run's ``model.safetensors``, each scoring in
    its metrics. AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) on a learning rate that rises
    linearly and falls along a cosine; gradients clipped by their global norm (Pascanu et al. 2013,
    arXiv:1211.5063); the weights that are scored are an exponential average of those trained.

    Several processes share out every batch, and take the steps that one would take: the gradient
    is that of the mean over the symbols of all shares.

    Args:
        task: the model, its batches, its loss and its score.
        settings: how to train.
        run: where everything is kept; locked by the caller.
        progress: where it is shown.
        processes: who trains; the first one scores and writes.

    Returns:
        Where the training stands at its end.

    Raises:
        RunError: the loss is not a number, no checkpoint can be read, or a file cannot be written.
        ConfigError: curves for TensorBoard are asked for, and it is not installed.
        Interrupted: the user stopped it; a checkpoint is written.
    """
    return _Loop(task, settings, run, progress, processes).go()


class _Loss(nn.Module):
    """A task's loss as a module, which is what can be made parallel."""

    def __init__(self, task: Trainable[Any]) -> None:
        super().__init__()
        self.model, self.task = task.model, task

    def forward(self, batch: Sequence[int], progress: float) -> tuple[Tensor, int]:
        return self.task.loss(batch, progress)


class _Loop:
    """One training: what it works on, and where it stands.

    Between two steps all of it is in `learner` and `standing`, and `_save` writes both. A step
    and its scoring are never parted by a checkpoint, so nothing is done twice or left out. Every
    process stands at the same place: what one alone knows, such as the time, it tells the others.
    """

    def __init__(
        self,
        task: Trainable[Any],
        settings: Training,
        run: Run,
        progress: Progress,
        processes: Processes,
    ) -> None:
        self.task, self.settings, self.run, self.progress = task, settings, run, progress
        self.processes = processes
        groups = _groups(task.model, settings.weight_decay)
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)
        self.learner = Learner(task.model, copy.deepcopy(task.model), optimizer)
        self.bfloat16 = uses_bfloat16(settings.precision, self.learner.device)
        self.per_epoch = len(task.batches(0))
        self.score_every = max(settings.score_steps, round(settings.score_every * self.per_epoch))
        self.steps = max(settings.least_steps, math.ceil(settings.epochs * self.per_epoch))
        self.standing = Standing(steps=self.steps)
        watched = settings.watch and processes.leads
        self.watcher = Watcher(task, run, progress) if watched else None

    def go(self) -> Standing:
        self._resume()
        standing, processes = self.standing, self.processes
        self.loss = processes.parallel(_Loss(self.task))
        begun = time.monotonic() - standing.seconds
        saved = time.monotonic()
        folder, drawn = self.run.path / "tensorboard", self.settings.tensorboard and processes.leads
        self.progress.start(standing.step, standing.steps)
        with (
            stop_requests() as stop_requested,
            curves(folder, standing.step, drawn) as draw,
            self.progress,
        ):
            for batch in self._batches():
                with products(self.settings.precision):
                    figures = self._step(batch)
                standing.seconds = time.monotonic() - begun
                scored = self._score_is_due()
                if scored:
                    figures |= self._score()
                    if self.watcher:
                        self.watcher.look(processes.share(batch), standing.step, standing.seconds)
                late = time.monotonic() - saved > self.settings.keep_every
                stop, standing.seconds, late = self._agreed(
                    stop_requested(), time.monotonic() - begun, late
                )
                if standing.step == WARM:
                    standing.plan_step, standing.plan_seconds = WARM, standing.seconds
                planned = self._plan_is_due(scored)
                if planned:
                    self._plan()
                draw(standing.step, figures)
                if stop or late or planned:  # a plan is kept before the first step by it
                    self._save()
                    saved = time.monotonic()
                if stop:
                    raise Interrupted
        self._save()
        return standing

    def _agreed(self, stop: bool, seconds: float, late: bool) -> tuple[bool, float, bool]:
        """Stop if any process is to; the time is the first one's."""
        leads = self.processes.leads
        stops, seconds, lates = self.processes.sum(stop, leads * seconds, leads and late)
        return stops > 0, seconds, lates > 0

    def _batches(self) -> Iterator[Sequence[int]]:
        """Give the batches from where the training stands to where it ends."""
        while not self._finished():
            epoch, position = divmod(self.standing.step, self.per_epoch)
            for batch in self.task.batches(epoch)[position:]:
                yield batch
                if self._finished():
                    return

    def _finished(self) -> bool:
        return self.standing.step >= self.standing.steps or self._is_out_of_patience()

    def _is_out_of_patience(self) -> bool:
        return 0 < self.settings.patience <= self.standing.worse

    def _step(self, batch: Sequence[int]) -> dict[str, float]:
        """Update the weights once, and give the loss and the learning rate."""
        standing, learner = self.standing, self.learner
        rate = learning_rate(self.settings, standing.step, standing.steps)
        for group in learner.optimizer.param_groups:
            group["lr"] = rate
        learner.model.train()
        share = self.processes.share(batch)
        with torch.autocast(learner.device.type, torch.bfloat16, enabled=self.bfloat16):
            # Whose share is empty takes part all the same, with an item that counts nothing.
            loss, symbols = self.loss(share or batch[:1], standing.step / standing.steps)
        symbols = symbols if share else 0
        total, everyones = self.processes.sum(loss.item() * symbols, symbols)
        value = self._finite("loss", total / everyones, rate, share)
        learner.optimizer.zero_grad(set_to_none=True)
        # Gradients are averaged over processes, and are to be averaged over symbols.
        (loss * (self.processes.count * symbols / everyones)).backward()
        norm = nn.utils.clip_grad_norm_(learner.model.parameters(), self.settings.clip)
        self._finite("norm of the gradient", norm.item(), rate, share)
        learner.optimizer.step()
        standing.step += 1
        _follow(learner, min(self.settings.average, (1 + standing.step) / (10 + standing.step)))
        standing.symbols += int(everyones)
        standing.loss_sum += total
        standing.loss_symbols += int(everyones)
        self.progress.update(standing.step, standing.steps, value, int(everyones))
        return {"loss": value, "learning_rate": rate}

    def _finite(self, name: str, number: float, rate: float, batch: Sequence[int]) -> float:
        """Give the number, or raise before it can spoil the weights."""
        if not math.isfinite(number):
            raise RunError(
                f"the {name} became {number} at step {self.standing.step + 1}; lower "
                f"--learning-rate (it was {rate:.2g}) or --clip, and train into another --run"
                f"{self._cause(batch)}"
            )
        return number

    def _cause(self, batch: Sequence[int]) -> str:
        """Say where a number that is none comes from, if a watcher sees it."""
        found = self.watcher.examined(batch) if self.watcher else []
        return self.processes.told(f". {found[0].title}. {found[0].text}" if found else "")

    def _score_is_due(self) -> bool:
        standing = self.standing
        return standing.step % self.score_every == 0 or standing.step == standing.steps

    def _score(self) -> dict[str, float]:
        """Have the first process score, and tell the others where the training now stands."""
        figures = self._score_alone() if self.processes.leads else {}
        self.standing.follow(self.processes.told(self.standing.facts()))
        return figures

    def _score_alone(self) -> dict[str, float]:
        """Score the average, keep it if it is the best so far, and give its figures."""
        standing, average = self.standing, self.learner.average
        loss = standing.loss_sum / standing.loss_symbols
        standing.loss_sum, standing.loss_symbols = 0.0, 0
        before = time.monotonic()
        average.eval()
        figures = self.task.score(average)
        standing.scoring = time.monotonic() - before
        first = next(iter(figures))
        better = not standing.best or figures[first] < standing.best[first]
        standing.worse = 0 if better else standing.worse + 1
        if better:
            standing.best, standing.best_step = figures, standing.step
            facts: dict[str, JSON] = {"step": standing.step, **figures}
            save_weights(self.run.weights, average.state_dict(), facts)
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
        return figures

    def _plan_is_due(self, scored: bool) -> bool:
        standing, limit = self.standing, 60 * self.settings.minutes
        late = not standing.planned and standing.seconds > PLAN_BY * limit
        measured = standing.step > standing.plan_step
        early = standing.step == standing.steps < self.steps and standing.seconds < ENOUGH * limit
        ended = self._finished() and not (early and not self._is_out_of_patience())
        return limit > 0 and measured and (scored or late) and not ended

    def _plan(self) -> None:
        """Turn --minutes into a number of steps, from the speed since the last plan.

        It is done after every scoring, so that there is one in what is measured: the first steps
        say little, and the machine may have other work at times. What was planned while it had
        may end early: then there are more steps, and the learning rate rises once more.
        """
        standing, limit = self.standing, 60 * self.settings.minutes
        a_step = (standing.seconds - standing.plan_seconds) / (standing.step - standing.plan_step)
        more = int(SPARE * (limit - standing.seconds - standing.scoring) / a_step)
        standing.steps = min(self.steps, standing.step + max(more, 1))
        standing.plan_step, standing.plan_seconds = standing.step, standing.seconds
        if not standing.planned:
            self.progress.note(
                f"planned: {standing.steps:,} steps, {standing.steps / self.per_epoch:.1f} epochs, "
                f"in {self.settings.minutes:g} minutes, and again after every scoring"
            )
        standing.planned = True

    def _save(self) -> None:
        standing = self.standing
        tensors = gather(self.learner, self.task.carried(), self.processes)
        if self.processes.leads:
            checkpoint = Checkpoint(standing.step, tensors, standing.facts())
            save(self.run.checkpoints, checkpoint, keep=self.settings.keep)
        self.processes.wait()

    def _resume(self) -> None:
        checkpoint = load_latest(self.run.checkpoints, self.progress.warn)
        step = checkpoint.step if checkpoint else 0
        part(self.settings.seed, self.processes, step)
        if checkpoint is not None:
            self._restore(checkpoint)
            ended = "the training had ended" if self._finished() else "goes on"
            self.progress.note(f"{ended} at step {step:,} of {self.standing.steps:,}")
        if self.processes.told(step) != step:
            raise RunError(
                f"process {self.processes.rank} does not see the checkpoints in "
                f"{self.run.checkpoints} that the first one sees; put --run on a disk of them all"
            )
        if self.processes.leads:
            self.run.truncate_metrics(self.standing.step)

    def _restore(self, checkpoint: Checkpoint) -> None:
        try:
            tensors, carried = spread(checkpoint.tensors, self.processes)
            self.learner.restore(tensors)
            self.task.carry(carried)
            self.standing = Standing(**checkpoint.facts)  # pyright: ignore[reportArgumentType]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split()[:20])
            raise RunError(
                f"the checkpoint of step {checkpoint.step} in {self.run.checkpoints} belongs to "
                f"another model ({reason}); put the run's own there, or train anew"
            ) from None


def _groups(model: nn.Module, decay: float) -> list[dict[str, object]]:
    """Let matrices decay, and leave biases as they are."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]


@torch.no_grad()
def _follow(learner: Learner, decay: float) -> None:
    """Move the average towards the weights."""
    pairs = zip(learner.average.parameters(), learner.model.parameters(), strict=True)
    for average, weight in pairs:
        average.lerp_(weight, 1 - decay)

"""A doctor who looks at a training now and then, and says each thing once."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from unrolled.errors import RunError
from unrolled.files import append_line
from unrolled.inspect.doctor import diagnose
from unrolled.inspect.findings import Finding
from unrolled.inspect.pictures import evidence
from unrolled.layers.recurrent import Recurrent
from unrolled.tasks.lesson import Trainable
from unrolled.tasks.progress import Progress
from unrolled.tasks.run import Run

ROWS = 8  # of a batch that is looked at
SHARE = 0.02  # of the training's time that looks may take, after the first
FILE = "findings.jsonl"
MEMORY = {"vanishing", "forget bias"}  # illnesses that a training may be about to heal


class Watcher:
    """Looks at a few rows of a batch after a scoring, and notes what is wrong, once.

    Nothing of the training depends on it: the model, random numbers and what is carried from step
    to step are left as they were.

    Args:
        task: what is trained.
        run: where findings are kept.
        progress: where they are said.
    """

    def __init__(self, task: Trainable[Any], run: Run, progress: Progress) -> None:
        self.task, self.run, self.progress = task, run, progress
        self.known = {(found["illness"], found["where"]) for found in findings_of(run)}
        self.reached: dict[tuple[str, str], float] = {}
        self.spent = self.last = 0.0

    def look(self, batch: Sequence[int], step: int, seconds: float) -> None:
        """Look at a batch, if looks have taken little of the training's time so far.

        Args:
            batch: the items of the step that was just taken.
            step: its number.
            seconds: that the training has taken so far.
        """
        if self.spent + self.last > SHARE * seconds and self.spent:
            return
        begun = time.monotonic()
        for found in self.examined(batch[:ROWS]):
            if not self._heals(found):
                self._note(found, step)
        self.last = time.monotonic() - begun
        self.spent += self.last

    def examined(self, batch: Sequence[int]) -> list[Finding]:
        """Give the findings on a batch."""
        task = self.task
        kept, training = task.carried(), task.model.training
        devices = [task.device] if task.device.type == "cuda" else []
        task.model.eval()
        try:
            with torch.random.fork_rng(devices), _loops(task.model):
                return diagnose(
                    lambda: task.loss(batch, 0.0)[0], task.model, metrics=self.run.metrics()
                )
        finally:
            task.model.train(training)
            task.carry(kept)

    def _heals(self, found: Finding) -> bool:
        """Whether it is a memory that reaches further than at the last look, or was never seen.

        Fresh gates forget within some steps; in a healthy training they open little by little.
        """
        if found.illness not in MEMORY:
            return False
        key, reach = (found.illness, found.where), found.evidence["reach"]
        before = self.reached.get(key, -1.0)
        self.reached[key] = reach
        return reach > before

    def _note(self, found: Finding, step: int) -> None:
        if (found.illness, found.where) in self.known:
            return
        self.known.add((found.illness, found.where))
        self.progress.warn(f"step {step:,}: {found.title}. {found.change}")
        record = {"step": step, **asdict(found), "evidence": evidence(found)}
        append_line(self.run.path / FILE, json.dumps(record))


@contextmanager
def _loops(model: nn.Module) -> Iterator[None]:
    """Run recurrences as loops, inside: a few rows take less time than compiling kernels to see.

    A first look at words took 4.9 s with kernels and takes 0.2 s with loops.
    """
    layers = [part for part in model.modules() if isinstance(part, Recurrent)]
    before = [layer.backend for layer in layers]
    for layer in layers:
        layer.backend = "eager"
    try:
        yield
    finally:
        for layer, backend in zip(layers, before, strict=True):
            layer.backend = backend


def findings_of(run: Run) -> list[dict[str, Any]]:
    """Read what a watcher has found in a run, in its order.

    Raises:
        RunError: the file is damaged.

    Example:
        >>> from pathlib import Path
        >>> findings_of(Run(Path("no such run")))
        []
    """
    path = run.path / FILE
    if not path.exists():
        return []
    try:
        whole = path.read_bytes().split(b"\n")[:-1]  # what follows may be half a line
        return [dict(json.loads(line)) for line in whole]
    except (ValueError, TypeError):
        raise RunError(f"{path}: is damaged; delete it") from None

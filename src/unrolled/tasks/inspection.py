"""A run under the doctor's eyes: what is wrong through time, in words and on a page."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolled.errors import DataError
from unrolled.inspect import page
from unrolled.inspect.doctor import examine, treat
from unrolled.inspect.figures import number
from unrolled.inspect.findings import Examination, Finding
from unrolled.inspect.illnesses import VANISHED
from unrolled.inspect.looks import looking
from unrolled.inspect.pictures import evidence, sections
from unrolled.inspect.positions import PositionLoss, loss_by_position
from unrolled.tasks.commands import check_data
from unrolled.tasks.config import InspectConfig
from unrolled.tasks.device import no_denormals, pick_device
from unrolled.tasks.lesson import Trainable
from unrolled.tasks.progress import Progress
from unrolled.tasks.run import Run
from unrolled.tasks.trained import kind_of, load_best, read_settings

NEEDS = ("config.toml", "data.json", "model.safetensors")
PAGE = "inspect.html"


def inspect_run(path: Path, settings: InspectConfig, progress: Progress | None = None) -> Path:
    """Look at the best weights of a run so far, print what is wrong, and write a page into the run.

    One batch of the dev data goes through the model and its loss, with gradients and without
    dropout. The run may still be training.

    Args:
        path: the run's folder.
        settings: what to look at.
        progress: where progress is shown; by default on stderr.

    Returns:
        The page.

    Raises:
        UnrolledError: see the message; the run stays as it was.
    """
    progress = progress or Progress()
    with no_denormals():
        run = Run.open(path, needs=NEEDS)
        saved, kind = read_settings(run), kind_of(run)
        torch.manual_seed(saved.training.seed)
        progress.note(f"reading {saved.data.train}")
        lesson = kind.work().learn(saved, pick_device(settings.device), progress)
        check_data(run, lesson)
        load_best(run, lesson.model)
        held_out = lesson.held_out()
        return _inspect(
            run, held_out or lesson, "training" if held_out is None else "dev", settings
        )


def _inspect(run: Run, task: Trainable[Any], side: str, settings: InspectConfig) -> Path:
    before, metrics = time.monotonic(), run.metrics()
    batch = middling_batch(task, settings.rows)
    with looking(task.model) as looked:
        examination = examine(
            lambda: task.loss(batch, 0.0)[0], task.model, metrics=metrics, lag=settings.lag or None
        )
    findings = treat(examination)
    positions, lengths = _positions(task, batch)
    step = f"step {metrics[-1]['step']:,}" if metrics else "before the first scoring"
    facts = {
        "run": f"{run.path.name}, {step}",
        "looked at": f"{len(batch)} item{'s' * (len(batch) > 1)} of the {side} data",
        "loss": number(examination.loss),
        "time": f"{time.monotonic() - before:.1f} s",
    }
    print("\n".join(_lines(examination, findings, facts)))
    what = f"{len(findings)} findings" if len(findings) > 1 else "one finding"
    lead = (
        f"The doctor has {what} for the best weights so far: {findings[0].title}."
        if findings
        else "The doctor finds nothing wrong with the best weights so far."
    )
    reads = task.reads(batch)
    blocks = sections(examination, findings, looked, positions, lengths, reads)
    page.write(page.Page(f"Inside {run.path.name}", lead, facts, blocks), run.path / PAGE)
    return run.path / PAGE


def middling_batch(task: Trainable[Any], rows: int) -> Sequence[int]:
    """Take some items of a batch from the middle of an epoch: where lengths are sorted, middling.

    Raises:
        DataError: there is no batch.
    """
    batches = task.batches(0)
    if not batches:
        raise DataError("there is no batch to look at: the data is empty")
    return batches[len(batches) // 2][:rows]


@torch.no_grad()
def _positions(
    task: Trainable[Any], batch: Sequence[int]
) -> tuple[PositionLoss | None, Tensor | None]:
    found = task.position_losses(batch)
    if found is None:
        return None, None
    losses, lengths = found
    return loss_by_position(losses, lengths), lengths.cpu()


def _lines(
    examination: Examination, findings: Sequence[Finding], facts: dict[str, str]
) -> list[str]:
    """Say it in plain words."""
    lines = [f"{name:<11}{value}" for name, value in facts.items()]
    width = max((len(e.name) for e in examination.recurrences), default=0)
    for examined in examination.recurrences:
        reach = "too short to tell how far it reaches"
        if examined.judged:
            reach = "reaches back {:.0f} of {:.0f} steps".format(*examined.reach(VANISHED))
        lines.append(f"  {examined.name:<{width}}  {examined.recurrence.cell}  {reach}")
    for place, found in enumerate(findings, 1):
        lines += ["", f"{place}. {found.title}", f"   {found.text}", f"   {found.change}"]
        lines += [f"   measured: {evidence(found)}"] if found.evidence else []
    return lines if findings else [*lines, "", "nothing that the doctor knows is wrong"]

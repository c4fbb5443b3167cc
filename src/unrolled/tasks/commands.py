"""What the command line does, whatever the task: each task's own part is its `Work`."""

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any

import torch

from unrolled.errors import ConfigError, RunError
from unrolled.files import remove_leftovers, write_atomically
from unrolled.tasks.cells import find_cell
from unrolled.tasks.curves import summary_writer
from unrolled.tasks.device import no_denormals, pick_device
from unrolled.tasks.interrupt import Interrupted
from unrolled.tasks.kinds import Kind
from unrolled.tasks.lesson import Lesson
from unrolled.tasks.processes import Processes, joined
from unrolled.tasks.progress import Progress, clock
from unrolled.tasks.run import Run
from unrolled.tasks.settings import to_toml
from unrolled.tasks.standing import Standing
from unrolled.tasks.train import fit
from unrolled.tasks.trained import config_text, resume_settings

__all__ = ["Interrupted", "train"]


def train(kind: Kind, settings: Any, progress: Progress | None = None) -> Standing:
    """Train a task, or go on with it, and write the run's report.

    Args:
        kind: the task.
        settings: all of its ``config``; with ``resume`` they must be those of the run.
        progress: where progress is shown; by default on stderr.

    Returns:
        Where the training stands at its end.

    Raises:
        UnrolledError: see the message; what the run held before is still there.
        Interrupted: the user stopped it; it can go on.
    """
    with no_denormals(), joined() as processes:
        return _train(kind, _absolute(settings), processes.heard(progress), processes)


def _train(kind: Kind, settings: Any, progress: Progress, processes: Processes) -> Standing:
    device = _prepare(kind, settings, processes)
    progress.note(f"reading {settings.data.train or 'nothing'}")
    lesson = kind.work().learn(settings, device, progress)
    if not processes.leads:
        return fit(lesson, settings.training, Run(settings.run), progress, processes)
    if settings.resume:
        run = Run(settings.run)
    else:
        run = Run.create(settings.run, config_text(kind, settings))
    with run.lock():
        remove_leftovers(run.path)
        _remember(run, lesson)
        _introduce(settings, lesson, progress, processes)
        try:
            standing = fit(lesson, settings.training, run, progress, processes)
            if run.report.exists():
                progress.note(f"nothing is left to do: {run.report} is there")
            else:
                took = clock(standing.seconds)
                progress.note(f"best at step {standing.best_step:,}, after {took} in all")
                lesson.conclude(run, settings, standing, progress)
        except KeyboardInterrupt:  # a second one, or one after the training
            raise Interrupted from None
    return standing


def _absolute(settings: Any) -> Any:
    """Make the paths of data absolute, so that a run can go on from another folder."""
    data = settings.data
    paths = {name: getattr(data, name).absolute() for name in _paths(data)}
    return dataclasses.replace(settings, data=dataclasses.replace(data, **paths))


def _paths(data: Any) -> list[str]:
    """Name the settings that are paths: they may be elsewhere when a run goes on."""
    return [f.name for f in dataclasses.fields(data) if isinstance(getattr(data, f.name), Path)]


def _prepare(kind: Kind, settings: Any, processes: Processes) -> torch.device:
    """Settle what every step rests on, and refuse what cannot work before any data is read."""
    if settings.resume:
        _check_unchanged(kind, settings)
    for field in dataclasses.fields(settings.model):
        if field.name.endswith("cell") and (name := getattr(settings.model, field.name)):
            find_cell(name)
    training = settings.training
    if training.batch < processes.count:
        raise ConfigError(
            f"batch is {training.batch}, but {processes.count} processes share it; raise it, or "
            "start fewer"
        )
    if training.tensorboard:
        summary_writer()
    if training.threads:
        torch.set_num_threads(training.threads)
    torch.manual_seed(training.seed)
    return pick_device(processes.device_name(training.device))


def _check_unchanged(kind: Kind, settings: Any) -> None:
    """Refuse to go on with other settings than a run began with."""
    saved = tomllib.loads(to_toml(resume_settings(kind, settings.run)))
    given = tomllib.loads(to_toml(settings))
    for table, values in saved.items():
        for name, value in values.items() if isinstance(values, dict) else ():
            path = table == "data" and name in _paths(settings.data)
            if given[table][name] != value and not path:
                raise ConfigError(
                    f"{name.replace('_', '-')} is {given[table][name]}, but {settings.run} began "
                    f"with {value}; leave it out, or train into another --run"
                )


def _remember(run: Run, lesson: Lesson[Any]) -> None:
    """Write down what a run learns from, or hold it to what was written down."""
    path = run.path / "data.json"
    if path.exists():  # written last: without it a run has not begun
        check_data(run, lesson)
        return
    lesson.save(run.path)
    write_atomically(path, (json.dumps(lesson.fingerprints(), indent=2) + "\n").encode())


def check_data(run: Run, lesson: Lesson[Any]) -> None:
    """Hold what is learnt from to what it was when a run began.

    Raises:
        RunError: it is other data, or what was written down is damaged.
    """
    path = run.path / "data.json"
    try:
        saved = dict(json.loads(path.read_bytes()))
    except (ValueError, TypeError):
        raise RunError(f"{path}: is damaged; put a good copy there, or train anew") from None
    for side, facts in lesson.fingerprints().items():
        if saved.get(side, {}).get("sha256") != facts["sha256"]:
            raise RunError(
                f"{facts['file']}: holds other data than when {run.path} began; "
                "put the old file back, or train into another --run"
            )


def _introduce(
    settings: Any, lesson: Lesson[Any], progress: Progress, processes: Processes
) -> None:
    """Say what is about to learn from what."""
    size = sum(parameter.numel() for parameter in lesson.model.parameters())
    several = f"{processes.count} processes of " if processes.count > 1 else ""
    progress.note(
        f"{lesson.introduction()}; {size:,} parameters on {lesson.device}, "
        f"{several}{torch.get_num_threads()} threads; all is kept in {settings.run}"
    )
    for warning in lesson.warnings():
        progress.warn(warning)

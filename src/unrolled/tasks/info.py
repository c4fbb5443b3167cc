"""What is installed here, and what a run is, for people to read."""

import platform
from pathlib import Path

import torch

from unrolled import __version__
from unrolled.backends import BACKENDS
from unrolled.tasks.kinds import NAMES, find_kind
from unrolled.tasks.progress import clock
from unrolled.tasks.run import Run
from unrolled.tasks.scores import figures_of, in_words, load_scores
from unrolled.tasks.trained import resume_command
from unrolled.zoo import CELLS, WRAPPERS


def installation() -> str:
    """Say what is here: versions, processor, devices, backends, cells and presets."""
    cards = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return _table(
        {
            "unrolled": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "system": platform.platform(terse=True),
            "processor": f"{torch.backends.cpu.get_cpu_capability()}, "
            f"{torch.get_num_threads()} threads",
            "gpu": ", ".join(f"cuda:{i} {name}" for i, name in enumerate(cards)) or "none",
            "backends": ", ".join(BACKENDS),
            "cells": ", ".join(CELLS),
            "wrappers": ", ".join(kind.__name__ for kind in WRAPPERS),
            "presets": "; ".join(
                f"{name}: {', '.join(presets)}"
                for name in NAMES
                if (presets := find_kind(name).presets)
            ),
        }
    )


def run_summary(path: Path) -> str:
    """Say what a run is: its settings, how far it came, and what it scored.

    Raises:
        RunError: there is no run, or a file of it is damaged.
    """
    run = Run.open(path)
    rows: dict[str, str] = {}
    if metrics := run.metrics():
        last, first = metrics[-1], next(iter(figures_of(metrics[-1])))
        best = min(metrics, key=lambda record: record[first])
        rows["trained"] = (
            f"{last['step']:,} steps, {last['epoch']:.1f} epochs, {clock(last['seconds'])}"
        )
        rows["best"] = f"step {best['step']:,}: {in_words(figures_of(best), ', ')} (dev)"
    else:
        rows["trained"] = "not yet scored"
    for name, record in load_scores(run).items():
        data = record.pop("data")
        numbers = {key: value for key, value in record.items() if isinstance(value, float)}
        rows[f"scores {name}"] = f"{in_words(figures_of(numbers), ', ')} ({data})"
    if run.report.exists():
        rows["report"] = str(run.report)
    else:
        rows["unfinished"] = f"go on with {resume_command(path)}"
    return f"{run.config.read_text(encoding='utf-8').rstrip()}\n\n{_table(rows)}"


def _table(rows: dict[str, str]) -> str:
    width = max(map(len, rows)) + 2
    return "\n".join(f"{name:<{width}}{value}" for name, value in rows.items())

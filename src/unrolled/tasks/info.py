"""What is installed here, and what a run is, for people to read."""

import json
import platform
from pathlib import Path

import torch

from unrolled import __version__
from unrolled.backends import BACKENDS
from unrolled.errors import RunError
from unrolled.tasks.presets import PRESETS
from unrolled.tasks.progress import clock
from unrolled.tasks.run import Run
from unrolled.tasks.trained import resume_command
from unrolled.zoo import CELLS


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
            "presets": ", ".join(PRESETS),
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
        last, best = metrics[-1], min(metrics, key=lambda record: record["symbol_error_rate"])
        rows["trained"] = (
            f"{last['step']:,} steps, {last['epoch']:.1f} epochs, {clock(last['seconds'])}"
        )
        rows["best"] = f"step {best['step']:,}: {_rates(best)} (dev, greedy)"
    else:
        rows["trained"] = "not yet scored"
    for file in sorted(run.path.glob("scores-*.json")):
        try:
            scores = json.loads(file.read_bytes())
            rows[file.stem.replace("-", " ", 1)] = (
                f"{_rates(scores)} ({scores['data']}, beam {scores['width']})"
            )
        except (ValueError, KeyError, TypeError):
            raise RunError(f"{file}: holds no scores; delete it, and evaluate again") from None
    if run.report.exists():
        rows["report"] = str(run.report)
    else:
        rows["unfinished"] = f"go on with {resume_command(path)}"
    return f"{run.config.read_text(encoding='utf-8').rstrip()}\n\n{_table(rows)}"


def _rates(record: dict[str, float]) -> str:
    words, symbols = record["word_error_rate"], record["symbol_error_rate"]
    return f"word error rate {words:.2%}, symbol error rate {symbols:.2%}"


def _table(rows: dict[str, str]) -> str:
    width = max(map(len, rows)) + 2
    return "\n".join(f"{name:<{width}}{value}" for name, value in rows.items())

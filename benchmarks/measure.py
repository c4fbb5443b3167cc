"""What every benchmark needs: runs by turns, and what they ran on."""

import math
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch


def interleaved(
    runs: Sequence[Callable[[], object]],
    repeats: int,
    seconds: float = math.inf,
    settle: float = 0.0,
) -> list[list[float]]:
    """Time several runs by turns, so that a noisy machine is noisy for all of them.

    Args:
        runs: what to time.
        repeats: turns.
        seconds: after so many no further turn begins, but one is timed in any case.
        settle: so many seconds each is run before it is timed, and once at least, unless this is 0:
            whoever ran before leaves caches that are full and threads that wait for more to do.

    Returns:
        The seconds of each run's repeats; a first turn, which only warms up, is left out.
    """
    times: list[list[float]] = [[] for _ in runs]
    begun = time.monotonic()
    for turn in range(repeats + 1):
        if turn > 1 and time.monotonic() - begun > seconds:
            break
        for run, kept in zip(runs, times, strict=True):
            before = time.perf_counter()
            while time.perf_counter() - before < settle:
                run()
            before = time.perf_counter()
            run()
            if turn:
                kept.append(time.perf_counter() - before)
    return times


PRECISIONS = ("float32", "high", "bfloat16")
"""How products are made: whole, by `torch.set_float32_matmul_precision("high")`, under autocast."""


@contextmanager
def products(precision: str) -> Iterator[None]:
    """Make products of float32 in one of `PRECISIONS`, inside, forward and backward."""
    torch.set_float32_matmul_precision("high" if precision == "high" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")


def autocast(precision: str) -> torch.autocast:
    """Give what a forward runs under in one of `PRECISIONS`."""
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")


def commit() -> str:
    """Name the commit that is measured; a plus says that files were changed since."""
    name = ["git", "describe", "--always", "--exclude=*", "--dirty=+"]
    return subprocess.run(name, check=True, capture_output=True, text=True).stdout.strip()


def origin() -> dict[str, object]:
    """Say where a record comes from: the command, the commit, the day and the machine."""
    return {
        "command": "python " + " ".join(sys.argv),
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
    }


def machine() -> dict[str, str | int]:
    """Say what this was measured on."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    models = [line for line in lines if "model name" in line]
    return {
        "processor": models[0].split(":")[1].strip() if models else platform.processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }

"""Speed of every cell of the zoo in training, against its own Python loop; and the zoo's page.

    make bench-zoo        or        python benchmarks/zoo.py --cells GRU LSTM --repeats 5

Each cell has a process of its own. Outputs and gradients are compared first. Times are medians of
interleaved runs; a ratio above 1 says how many times as fast as the loop the cell is as `unroll`
runs it. The record goes to benchmarks/results/zoo.json, and docs/zoo.md is written anew from it and
from the cells.
"""

import argparse
import json
import os
import statistics
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from measure import commit, interleaved, machine
from unrolled import unroll, zoo
from unrolled.explanation import explain
from zoo_page import write_page

RECORD = Path(__file__).parent / "results" / "zoo.json"
PAGE = Path(__file__).parent.parent / "docs" / "zoo.md"
SIZE = 256  # inputs and hidden
SHAPES = {"batch": (128, 32), "row": (128, 1)}  # time, batch
SECONDS = 15.0  # for each shape of a cell; a slow loop is run fewer times


def main() -> None:
    """Measure the cells and write the record and the page."""
    parser = argparse.ArgumentParser(description="Measure the cells of the zoo.")
    parser.add_argument("--cells", nargs="*", default=list(zoo.CELLS), help="by default, all")
    parser.add_argument("--repeats", type=int, default=5, help="times that each case is run")
    parser.add_argument("--page", action="store_true", help="measure nothing, only write the page")
    arguments = parser.parse_args()
    if not arguments.page:
        measure_all(arguments.cells, arguments.repeats)
    PAGE.write_text(write_page(json.loads(RECORD.read_text())))


def measure_all(names: list[str], repeats: int) -> None:
    """Measure cells one by one, each kept as soon as it is measured."""
    console = Console(highlight=False)
    record: dict[str, Any] = json.loads(RECORD.read_text()) if RECORD.exists() else {"cells": {}}
    record |= {"command": "make bench-zoo", "commit": commit(), "date": time.strftime("%Y-%m-%d")}
    record |= {"machine": machine(), "repeats": repeats}
    loads = [os.getloadavg()[0]]
    for name in names:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:  # its memory is given back
            found = record["cells"][name] = pool.submit(measure, name, repeats).result()
        speeds = ", ".join(f"{shape} {found[shape]['ratio']:.1f}" for shape in SHAPES)
        console.print(f"{name:<20} {found['recurrence'] or found['obstacle']}: {speeds}")
        loads.append(os.getloadavg()[0])
        record["load"] = [round(min(loads), 1), round(max(loads), 1)]
        RECORD.write_text(json.dumps(record, indent=1) + "\n")
    for shape in SHAPES:
        ratios = [cell[shape]["ratio"] for cell in record["cells"].values()]
        console.print(f"median over {len(ratios)} cells, {shape}: {statistics.median(ratios):.1f}")


def measure(name: str, repeats: int) -> dict[str, Any]:
    """Explain a cell and time it in training, as `unroll` runs it and as a loop, by turns."""
    torch.manual_seed(0)
    torch.set_flush_denormal(True)  # gradients that fade away would slow the loop a hundred times
    cell = zoo.CELLS[name](SIZE, SIZE)
    explained = explain(cell, inputs=SIZE)
    found: dict[str, Any] = {
        "parameters": sum(p.numel() for p in cell.parameters()),
        "recurrence": explained.recurrence,
        "backend": "eager" if explained.compiled is None else "llvm",
        "obstacle": None if explained.obstacle is None else explained.obstacle.splitlines()[0],
    }
    for shape, (steps, batch) in SHAPES.items():
        xs = torch.randn(steps, batch, SIZE, requires_grad=True)
        check(cell, xs[:9])
        runs = [partial(training, cell, xs, backend) for backend in ("auto", "eager")]
        times = interleaved(runs, repeats, SECONDS)
        ours, loop = map(statistics.median, times)
        found[shape] = {"ms": round(1e3 * ours, 2), "loop_ms": round(1e3 * loop, 2)}
        found[shape] |= {"ratio": round(loop / ours, 2), "repeats": len(times[0])}
    return found


def check(cell: nn.Module, xs: Tensor) -> None:
    """Stop unless both ways give the same outputs and gradients."""
    sides = []
    for backend in ("auto", "eager"):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*runs step by step")
            ys, _ = unroll(cell, xs, backend=backend)
        wanted = [xs, *(p for p in cell.parameters() if p.requires_grad)]
        sides.append((ys, *torch.autograd.grad(ys.square().mean(), wanted, allow_unused=True)))
    for mine, other in zip(*sides, strict=True):
        largest = max(1.0, other.abs().max().item())
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-5 * largest)


def training(cell: nn.Module, xs: Tensor, backend: str) -> None:
    """Run a cell forward and back through time."""
    cell.zero_grad()
    unroll(cell, xs, backend=backend)[0].sum().backward()


if __name__ == "__main__":
    main()

"""Speed of whole layers: unrolled beside others that run the same, by turns in one process.

    make bench        or        python benchmarks/layers.py --rivals torch.nn --json FILE

Every case is first checked for equal outputs and gradients. Times are medians, their spread is the
middle half of the turns by the median; a ratio is the time of a rival over that of unrolled: above
1, unrolled is faster. The share of the peak is what unrolled computes in its products, by what the
multipliers can do (`peak.py`).
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from measure import PRECISIONS, interleaved, origin, products
from peak import fma_peak
from rivals import KINDS, RIVALS, Case, Side, by_torch, by_unrolled

SHAPES = [  # batch, time, inputs and units
    (1, 128, 256),
    (8, 128, 256),
    (32, 16, 256),
    (32, 64, 256),
    (32, 64, 512),
    (128, 64, 128),
    (32, 128, 64),
]
PASSES = {"forward": 1, "training": 3}
"""How often each product is made: in training, for the gradients of both factors too."""

SECONDS = 5.0
"""For the turns of one pass: slow ones are run fewer times."""

SETTLE = 0.01
"""Twice as long as threads of OpenMP were seen to wait busily for more to do."""

OURS = "unrolled"

WIDTH = 120
"""Of what is printed where there is no terminal."""


def main() -> None:
    """Measure every kind of layer at every shape, forward and in training."""
    parser = argparse.ArgumentParser(description="Measure the speed of layers beside others.")
    parser.add_argument("--repeats", type=int, default=7, help="turns of each case at most")
    parser.add_argument("--rivals", nargs="+", choices=RIVALS, default=list(RIVALS), metavar="NAME")
    parser.add_argument("--precision", choices=PRECISIONS, default=PRECISIONS[0])
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    left_out = {name: why for name in arguments.rivals if (why := RIVALS[name].missing())}
    for name, why in left_out.items():
        console.print(f"without {name}: {why}", markup=False)
    rivals = [name for name in arguments.rivals if name not in left_out]
    peak, records = 0.0, []
    for case in cases():
        peak = max(peak, fma_peak())  # time and again: a noisy machine seldom lets all threads run
        records.append(measure(case, rivals, arguments.precision, arguments.repeats))
        console.print(progress(records[-1]))
    for record in records:
        for name in PASSES:
            record[name]["share of peak"] = round(record[name]["gflops"] * 1e9 / peak, 3)
    console.print(table(records, arguments.rivals, caption(peak, arguments.precision, left_out)))
    if arguments.json:
        modules = [module for name in rivals for module in RIVALS[name].modules]
        facts = {
            **origin(),
            "versions": {module: version(module) for module in modules},
            "precision": arguments.precision,
            "repeats": arguments.repeats,
            "peak gflops": round(peak / 1e9, 1),
            "left out": left_out,
            "cases": records,
        }
        arguments.json.write_text(json.dumps(facts, indent=2) + "\n")


def cases() -> Iterator[Case]:
    """Give every kind of layer at every shape."""
    for kind, (_, theirs) in KINDS.items():
        for batch, steps, size in SHAPES:
            torch.manual_seed(0)
            xs = torch.randn(steps, batch, size, requires_grad=True)
            yield Case(kind, theirs(size, size), xs)


def measure(case: Case, rivals: list[str], precision: str, repeats: int) -> dict[str, Any]:
    """Time all sides of one case by turns, after all gave the same."""
    steps, batch, size = case.xs.shape
    taking_part = [name for name in rivals if RIVALS[name].takes(steps)]
    sides = {OURS: by_unrolled(case), **{name: RIVALS[name].build(case) for name in taking_part}}
    reference = by_torch(case)
    matrices = sum(
        parameter.numel() for parameter in case.layer.parameters() if parameter.dim() > 1
    )
    record: dict[str, Any] = {"kind": case.kind, "batch": batch, "time": steps, "hidden": size}
    for name, times_made in PASSES.items():
        runs = {side: run for side, of in sides.items() if (run := getattr(of, name))}
        for side in runs:
            check(f"{side}, {name}", sides[side], reference, name)
        with products(precision):
            given = [partial(run, precision) for run in runs.values()]
            times = interleaved(given, repeats, SECONDS, SETTLE)
        record[name] = figures(dict(zip(runs, times, strict=True)))
        operations = 2 * batch * steps * matrices * times_made
        record[name]["gflops"] = round(operations / record[name]["ms"][OURS] / 1e6, 1)
    return record


def check(name: str, mine: Side, other: Side, which: str) -> None:
    """Stop unless both sides give the same in float32.

    Gradients are sums over all steps and rows: what they may differ by is counted from the largest.
    """
    found = (side.tensors(getattr(side, which)(PRECISIONS[0])) for side in (mine, other))
    for a, b in zip(*found, strict=True):
        largest = max(1.0, b.abs().max().item())
        torch.testing.assert_close(
            a, b, rtol=1e-4, atol=1e-5 * largest, msg=lambda text: f"{name}: {text}"
        )


def figures(times: Mapping[str, list[float]]) -> dict[str, Any]:
    """Give medians in milliseconds, spreads, and ratios to the first side."""
    quarters = {side: np.percentile(t, (25, 50, 75)).tolist() for side, t in times.items()}
    mine = quarters[OURS][1]
    return {
        "turns": len(times[OURS]),
        "ms": {side: round(1e3 * q[1], 3) for side, q in quarters.items()},
        "spread": {side: round((q[2] - q[0]) / q[1], 3) for side, q in quarters.items()},
        "ratio": {side: round(q[1] / mine, 3) for side, q in quarters.items() if side != OURS},
    }


def progress(record: dict[str, Any]) -> str:
    """Say in a line what a case gave."""
    sizes = "B={batch} T={time} H={hidden}".format_map(record)
    times = ", ".join(f"{name} {record[name]['ms'][OURS]:.2f} ms" for name in PASSES)
    return f"{record['kind']} {sizes}: {times}"


def table(records: list[dict[str, Any]], rivals: list[str], caption: str) -> Table:
    """Set all cases side by side: a row for each pass, a column for each rival's ratios."""
    shown = Table("layer", box=None, padding=(0, 2, 0, 0), caption=caption, caption_justify="left")
    for title in ("B", "T", "H"):
        shown.add_column(title, justify="right")
    shown.add_column("pass")
    for title in (f"{OURS}, ms", "of peak", *rivals):
        shown.add_column(title, justify="right")
    for record in records:
        sizes = [str(record[name]) for name in ("kind", "batch", "time", "hidden")]
        for name in PASSES:
            part = record[name]
            ratios = (part["ratio"].get(rival) for rival in rivals)
            shown.add_row(
                *(*sizes, name),
                f"{part['ms'][OURS]:.2f}",
                f"{part['share of peak']:.0%}",
                *("-" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
            )
    return shown


def caption(peak: float, precision: str, left_out: Mapping[str, str]) -> str:
    """Say how to read the table, and who is not in it."""
    lines = [
        f"Under a rival's name: how many times as long as {OURS} it takes.",
        f"Peak: {peak / 1e9:.0f} GFLOP/s, float32 multiplied and added in {torch.get_num_threads()}"
        " threads; products in tiles of AMX can exceed it.",
        f"Products: {precision}"
        + ("." if precision == PRECISIONS[0] else "; JAX scan and onnxruntime: float32."),
        *(f"{name}: {why}." for name, why in left_out.items()),
    ]
    return escape("\n".join(lines))


if __name__ == "__main__":
    main()

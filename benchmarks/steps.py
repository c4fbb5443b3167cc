"""Speed of steps that no zoo has, those of examples/steps.py, against their own Python loops.

    python benchmarks/steps.py [--cells Spiking ...] [--repeats 7]

256 inputs and units, 128 steps; 32 sequences and one. Gradients are compared in the same runs. The
record goes to benchmarks/results/steps.json.
"""

import argparse
import json
import os
import runpy
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from measure import commit, machine

EXAMPLE = runpy.run_path(str(Path(__file__).parent.parent / "examples" / "steps.py"))
RECORD = Path(__file__).parent / "results" / "steps.json"
SIZE, STEPS = 256, 128
BATCHES = {"batch": 32, "row": 1}
NEAR = 1e-4


def main() -> None:
    """Measure the steps one by one and write the record."""
    parser = argparse.ArgumentParser(description="Measure the steps of examples/steps.py.")
    parser.add_argument("--cells", nargs="*", default=list(EXAMPLE["CELLS"]))
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    console, record = Console(highlight=False), dict[str, Any]()
    loads = [os.getloadavg()[0]]
    for name in arguments.cells:
        record[name] = {}
        for shape, batch in BATCHES.items():
            torch.manual_seed(0)
            cell = EXAMPLE["CELLS"][name](SIZE, SIZE)
            xs = torch.randn(STEPS, batch, SIZE)
            off, ours, loop = EXAMPLE["compared"](cell, xs, arguments.repeats)
            if not off < NEAR:
                raise SystemExit(f"{name}: gradients differ by {off:.1e} of their norm")
            record[name][shape] = {"ms": round(1e3 * ours, 2), "loop_ms": round(1e3 * loop, 2)}
            record[name][shape] |= {"ratio": round(loop / ours, 2), "gradients_differ": off}
        console.print(f"{name:<15}", *(f"{record[name][s]['ratio']:6.1f}" for s in BATCHES))
        loads.append(os.getloadavg()[0])
    about = {"command": "python benchmarks/steps.py", "commit": commit(), "machine": machine()}
    about |= {"date": time.strftime("%Y-%m-%d"), "repeats": arguments.repeats, "seed": 0}
    about |= {"load": [round(min(loads), 1), round(max(loads), 1)]}
    RECORD.write_text(json.dumps({**about, "steps": record}, indent=1) + "\n")


if __name__ == "__main__":
    main()

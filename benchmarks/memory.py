"""Memory that a layer takes in training: unrolled beside torch.nn.

    python benchmarks/memory.py --json benchmarks/results/memory.json

Each layer has a process of its own, which first takes one training step, so that all code is there,
and lets go of all that it left behind; then it takes three (forward, backward from a sum, no
optimizer). What is counted is the most memory that the process ever held in these, less what it
held before: parameters' gradients, results, what is kept for the backward, and what is in between.
Linux only.
"""

import argparse
import ctypes
import json
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

import unrolled
from measure import origin
from unrolled.backends.llvm.memory import POOL

KINDS = {
    "LSTM": (unrolled.LSTM, nn.LSTM),
    "GRU": (unrolled.GRU, nn.GRU),
    "RNN": (unrolled.RNN, nn.RNN),
}
SIDES = ("unrolled", "torch.nn")
SHAPES = [  # batch, time, inputs and units
    (1, 512, 256),
    (32, 128, 256),
    (32, 512, 256),
    (128, 64, 512),
]
STEPS = 3
STATUS = Path("/proc/self/status")


def main() -> None:
    """Measure every layer, print and record."""
    parser = argparse.ArgumentParser(description="Measure the memory of layers in training.")
    parser.add_argument("--json", type=Path, help="where the results go")
    parser.add_argument("--one", nargs=2, metavar=("SIDE", "CASE"), help="one layer, in here")
    arguments = parser.parse_args()
    if not STATUS.exists():
        sys.exit(f"there is no {STATUS}: this runs on Linux")
    if arguments.one:
        side, case = arguments.one
        print(measure(side, *json.loads(case)))
        return
    cases = []
    for kind in KINDS:
        for shape in SHAPES:
            found = {side: in_own_process(side, kind, *shape) for side in SIDES}
            ratio = found["unrolled"] / found["torch.nn"]
            sizes = dict(zip(("batch", "time", "units"), shape, strict=True))
            cases.append({"layer": kind, "shape": sizes, "bytes": found, "ratio": ratio})
            texts = "  ".join(f"{side} {size / 2**20:7.1f} MiB" for side, size in found.items())
            print(f"{kind:5}{'x'.join(map(str, shape)):12} {texts}  ratio {ratio:.2f}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({**origin(), "cases": cases}, indent=1) + "\n")


def in_own_process(side: str, *case: object) -> int:
    """Measure one layer in a process of its own."""
    command = [sys.executable, __file__, "--one", side, json.dumps(case)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(side: str, kind: str, batch: int, steps: int, units: int) -> int:
    """Give the bytes that training takes at most."""
    torch.manual_seed(0)
    layer = KINDS[kind][SIDES.index(side)](units, units)
    xs = torch.randn(steps, batch, units)
    train(layer, xs)
    layer.zero_grad(set_to_none=True)
    POOL.clear()
    ctypes.CDLL(None).malloc_trim(0)
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the most so far is what there is now
    for _ in range(STEPS):
        train(layer, xs)
    return status("VmHWM") - before


def train(layer: nn.Module, xs: torch.Tensor) -> None:
    """Take a step, as if the layer's input came from another layer."""
    layer.zero_grad(set_to_none=True)
    xs = xs.clone().requires_grad_()
    layer(xs)[0].sum().backward()


def status(name: str) -> int:
    """Read how much memory this process has, or had at most, in bytes."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()

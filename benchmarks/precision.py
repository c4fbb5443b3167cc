"""What products of fewer bits save: layers in float32, high and bfloat16, beside torch.nn's.

    python benchmarks/precision.py --json benchmarks/results/precision.json

A training step is forward and backward from a sum; all six take turns. How far results are from
those of float32 is measured first: the norm of the difference by the norm.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

import unrolled
from measure import PRECISIONS, autocast, interleaved, origin, products
from unrolled.backends import in_tiles
from unrolled.backends.precision import ROUNDED

KINDS = {"LSTM": (unrolled.LSTM, nn.LSTM), "GRU": (unrolled.GRU, nn.GRU)}
SHAPES = [  # batch, time, inputs, units
    (1, 128, 256, 256),
    (8, 128, 256, 256),
    (32, 128, 64, 256),
    (32, 128, 256, 256),
    (128, 9, 128, 256),
    (64, 64, 512, 512),
]
RUNS = [f"{name} {precision}" for name in ("unrolled", "torch.nn") for precision in PRECISIONS]


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description="Time layers in bfloat16 and float32.")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=Path, help="where the results go")
    arguments = parser.parse_args()
    if in_tiles("llvm", ROUNDED) == "llvm":
        sys.exit("bfloat16 is not faster than float32 on this machine: there is nothing to compare")
    cases = [measure(k, s, arguments.repeats) for k in KINDS for s in SHAPES]
    if arguments.json:
        arguments.json.write_text(json.dumps({**origin(), "cases": cases}, indent=1) + "\n")


def measure(kind: str, shape: tuple[int, int, int, int], repeats: int) -> dict[str, object]:
    """Measure one layer, and print a line."""
    batch, steps, inputs, units = shape
    torch.manual_seed(0)
    ours, theirs = (make(inputs, units) for make in KINDS[kind])
    theirs.load_state_dict(ours.state_dict())
    xs = torch.randn(steps, batch, inputs)
    exact, *others = (results(ours, xs, precision) for precision in PRECISIONS)
    errors = [
        [((a - b).norm() / b.norm()).item() for a, b in zip(other, exact, strict=True)]
        for other in others
    ]
    case: dict[str, object] = {
        "layer": kind,
        "shape": dict(zip(("batch", "time", "inputs", "units"), shape, strict=True)),
        "error of outputs": {n: e[0] for n, e in zip(PRECISIONS[1:], errors, strict=True)},
        "greatest error of gradients": {
            n: max(e[1:]) for n, e in zip(PRECISIONS[1:], errors, strict=True)
        },
    }
    for what, run in (("forward", forward), ("training", results)):
        runs: list[Callable[[], object]] = [
            partial(run, layer, xs, precision)
            for layer in (ours, theirs)
            for precision in PRECISIONS
        ]
        times = interleaved(runs, repeats, seconds=20)
        case[what] = {n: statistics.median(t) for n, t in zip(RUNS, times, strict=True)}
        medians = " ".join(f"{statistics.median(t) * 1e3:9.2f}" for t in times)
        print(f"{kind:5}{'x'.join(map(str, shape)):16} {what:9} {medians} ms", flush=True)
    return case


@torch.no_grad()
def forward(layer: nn.Module, xs: Tensor, precision: str) -> Tensor:
    """Give outputs."""
    with products(precision), autocast(precision):
        return layer(xs)[0]


def results(layer: nn.Module, xs: Tensor, precision: str) -> tuple[Tensor, ...]:
    """Give outputs, and the gradients of parameters."""
    with products(precision):
        with autocast(precision):
            ys = layer(xs)[0]
        return ys.detach().float(), *torch.autograd.grad(ys.float().sum(), [*layer.parameters()])


if __name__ == "__main__":
    main()

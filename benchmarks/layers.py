"""Speed of whole layers: unrolled against torch.nn, interleaved in one process.

    make bench        or        python benchmarks/layers.py --repeats 7 --json FILE

Every case is first checked for equal outputs and gradients. Times are medians with the middle half
of the repeats; the ratio is the median of torch.nn over that of unrolled: above 1, unrolled is
faster.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import unrolled
from measure import commit, interleaved, machine

SHAPES = [(1, 128, 256), (8, 128, 256), (32, 64, 256), (32, 64, 512), (128, 64, 128), (32, 128, 64)]
KINDS: dict[str, tuple[Callable[..., nn.Module], Callable[..., nn.Module]]] = {
    "LSTM": (unrolled.LSTM, nn.LSTM),
    "GRU": (unrolled.GRU, nn.GRU),
    "RNN": (unrolled.RNN, nn.RNN),
}


def main() -> None:
    """Measure every kind of layer at every shape, forward and in training."""
    parser = argparse.ArgumentParser(description="Measure speed against torch.nn.")
    parser.add_argument("--repeats", type=int, default=7, help="times that each case is run")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    console, records = Console(), []
    for kind in KINDS:
        for batch, steps, hidden in SHAPES:
            record = measure(kind, batch, steps, hidden, arguments.repeats)
            records.append(record)
            console.print(
                f"{kind} B={batch} T={steps} H={hidden}: training "
                f"{record['training']['ratio']:.2f}, forward {record['forward']['ratio']:.2f}",
                highlight=False,
            )
    console.print(table(records))
    if arguments.json:
        facts = {
            "command": "make bench",
            "commit": commit(),
            "date": time.strftime("%Y-%m-%d"),
            "machine": machine(),
            "repeats": arguments.repeats,
            "cases": records,
        }
        arguments.json.write_text(json.dumps(facts, indent=2) + "\n")


def measure(kind: str, batch: int, steps: int, hidden: int, repeats: int) -> dict[str, Any]:
    """Time one case, both sides by turns, after both gave the same."""
    torch.manual_seed(0)
    ours_kind, theirs_kind = KINDS[kind]
    theirs = theirs_kind(hidden, hidden)
    ours = ours_kind(hidden, hidden)
    ours.load_state_dict(theirs.state_dict())
    xs = torch.randn(steps, batch, hidden, requires_grad=True)
    check(ours, theirs, xs)
    record: dict[str, Any] = {"kind": kind, "batch": batch, "time": steps, "hidden": hidden}
    for name, run in {"forward": forward, "training": training}.items():
        times = interleaved([partial(run, ours, xs), partial(run, theirs, xs)], repeats)
        mine, other = map(statistics.median, times)
        record[name] = {
            "unrolled_ms": round(1e3 * mine, 3),
            "torch_ms": round(1e3 * other, 3),
            "spread": [round((q[2] - q[0]) / q[1], 3) for q in map(statistics.quantiles, times)],
            "ratio": round(other / mine, 3),
        }
    return record


def check(ours: nn.Module, theirs: nn.Module, xs: torch.Tensor) -> None:
    """Stop unless both layers give the same outputs and gradients."""
    sides = []
    for layer in (ours, theirs):
        ys, _ = layer(xs)
        sides.append((ys, *torch.autograd.grad(ys.square().mean(), [xs, *layer.parameters()])))
    for mine, other in zip(*sides, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def forward(layer: nn.Module, xs: torch.Tensor) -> None:
    """Run a layer as in prediction."""
    layer(xs)


def training(layer: nn.Module, xs: torch.Tensor) -> None:
    """Run a layer forward and back through time."""
    layer(xs)[0].sum().backward()


def table(records: list[dict[str, Any]]) -> Table:
    """Set all cases side by side."""
    shown = Table("layer", "B", "T", "H", box=None)
    for name in ("forward", "training"):
        shown.add_column(f"{name}, ms", justify="right")
        shown.add_column("torch.nn", justify="right")
        shown.add_column("ratio", justify="right")
    for record in records:
        cells = [str(record[name]) for name in ("kind", "batch", "time", "hidden")]
        for name in ("forward", "training"):
            part = record[name]
            cells += [f"{part['unrolled_ms']:.2f}", f"{part['torch_ms']:.2f}"]
            cells += [f"{part['ratio']:.2f}"]
        shown.add_row(*cells)
    return shown


if __name__ == "__main__":
    main()

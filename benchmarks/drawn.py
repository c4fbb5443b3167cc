"""Layers of sizes that nobody chose, beside torch.nn's: how often unrolled is ahead, how far.

    python benchmarks/drawn.py --json benchmarks/results/drawn.json

Kind, sequences, steps, inputs and units are drawn; small work is as likely as large. For each, the
forward without gradients and a training step (forward, and backward from a sum) take turns with
torch.nn's. A ratio above 1 says that unrolled is faster.
"""

import argparse
import json
import random
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

import unrolled
from measure import interleaved, origin

KINDS = {
    "LSTM": (unrolled.LSTM, nn.LSTM),
    "GRU": (unrolled.GRU, nn.GRU),
    "RNN": (unrolled.RNN, nn.RNN),
}
SEQUENCES = (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 100, 128, 256)
UNITS = (16, 32, 50, 64, 100, 128, 200, 256, 300, 400, 512, 650, 1024)
INPUTS = (8, 40, 100, 300)  # or as many as units
STEPS = (10, 35, 100)
MOST = 6e9
"""Multiplications of a training step of an LSTM above which fewer steps are taken."""


class Layer(NamedTuple):
    """The sizes of one layer."""

    kind: str
    sequences: int
    steps: int
    inputs: int
    units: int


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description="Time layers of drawn sizes.")
    parser.add_argument("--layers", type=int, default=100, help="how many, for each --threads")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, help="where the results go")
    arguments = parser.parse_args()
    found: dict[str, list[dict[str, object]]] = {}
    table = Table(title="as fast as torch.nn's: slowest, a tenth are below, median, share below 1")
    for column in ("threads", "layer", "forward", "training"):
        table.add_column(column)
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        chance = random.Random(arguments.seed)
        layers = [draw(chance) for _ in range(arguments.layers)]
        told = track(layers, f"{threads} threads", console=Console(stderr=True))
        cases = [measure(layer, arguments.repeats) for layer in told]
        found[str(threads)] = cases
        for kind in KINDS:
            own = [case for case in cases if case["kind"] == kind]
            cells = (spread([float(str(c[part])) for c in own]) for part in ("forward", "training"))
            table.add_row(str(threads), f"{len(own)} {kind}", *cells)
    Console().print(table)
    if arguments.json:
        options = {"seed": arguments.seed, "repeats": arguments.repeats}
        record = {**origin(), **options, "by threads": found}
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")


def draw(chance: random.Random) -> Layer:
    """Draw a layer."""
    kind = chance.choice(tuple(KINDS))
    sequences, units = chance.choice(SEQUENCES), chance.choice(UNITS)
    inputs = chance.choice((units, *INPUTS))
    most = MOST / (12 * sequences * units * (units + inputs))
    return Layer(kind, sequences, min(chance.choice(STEPS), max(10, int(most))), inputs, units)


def measure(layer: Layer, repeats: int) -> dict[str, object]:
    """Give times in ms of unrolled, and how many times as long torch.nn takes."""
    torch.manual_seed(0)
    ours, theirs = (make(layer.inputs, layer.units) for make in KINDS[layer.kind])
    theirs.load_state_dict(ours.state_dict())
    xs = torch.randn(layer.steps, layer.sequences, layer.inputs)
    torch.testing.assert_close(ours(xs)[0], theirs(xs)[0], rtol=1e-3, atol=1e-5)
    case: dict[str, object] = layer._asdict()
    for part, run in (("forward", forward), ("training", train)):
        runs: list[Callable[[], object]] = [partial(run, side, xs) for side in (ours, theirs)]
        own, other = map(statistics.median, interleaved(runs, repeats, settle=0.01))
        case |= {f"{part} ms": round(1e3 * own, 3), part: round(other / own, 3)}
    return case


def forward(layer: nn.Module, xs: Tensor) -> None:
    """Run a layer."""
    with torch.no_grad():
        layer(xs)


def train(layer: nn.Module, xs: Tensor) -> None:
    """Run a layer and differentiate the sum of its outputs."""
    xs = xs.detach().requires_grad_()
    layer(xs)[0].sum().backward()


def spread(ratios: list[float]) -> str:
    """Tell how ratios lie."""
    if not ratios:
        return "-"
    low = sorted(ratios)
    behind = sum(ratio < 1 for ratio in low) / len(low)
    tenth, median = low[len(low) // 10], statistics.median(low)
    return f"{low[0]:.2f}  {tenth:.2f}  {median:.2f}  {behind:.0%}"


if __name__ == "__main__":
    main()

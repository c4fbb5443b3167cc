"""Gates by the names of the cell's equations: how often they are saturated, how long they keep."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from unrolled.backends import Call
from unrolled.cell import Cell
from unrolled.inspect.naming import (
    Activations,
    bias_of,
    equations_of,
    gate_names,
    keeps,
    numbered,
)

ROWS = 4096  # of all steps at once
LIMITS: dict[str, tuple[float, float]] = {  # kind -> saturated at or below, at or above
    "sigmoid": (0.1, 0.9),
    "tanh": (-0.9, 0.9),
    "relu": (0.0, math.inf),
}
LEAST_KEPT = 1e-30  # a gate of exactly 0 has a half-life of 0.01 steps, not of no number


@dataclass(frozen=True)
class Gate:
    """What a gate did over a batch of sequences; what lies behind a sequence's end is left out.

    Left- and right-saturated is a sigmoid below 0.1 and above 0.9 (Karpathy, Johnson & Li 2015,
    arXiv:1506.02078, section 4.2), a tanh below -0.9 and above 0.9; a ReLU is left-saturated at 0.
    """

    name: str  # as in the cell's equation: f, or h' for a state that comes out of a tanh
    kind: str  # sigmoid, tanh or relu
    left: Tensor  # (units,) share of rows and steps
    right: Tensor  # (units,)
    mean: Tensor  # (time,) over rows and units; NaN where no sequence has that step
    saturated: Tensor  # (time,) share of rows and units, left or right
    keeps: str | None = None  # the state whose old value the gate multiplies
    half_lives: Tensor | None = None  # (units,) steps in which half of that state is kept
    bias: Tensor | None = None  # (units,) that the gate's equation adds, all biases together
    closed_by: int = 1  # -1 where the state is kept by 1 - gate

    @property
    def share(self) -> float:
        """The share of all its values that are saturated."""
        return float((self.left + self.right).mean())

    @property
    def stuck(self) -> float:
        """The share of its units that are saturated on one side 95 % of the time."""
        return float((torch.maximum(self.left, self.right) >= 0.95).float().mean())


def gates(cell: Cell, call: Call, states: Sequence[Tensor]) -> dict[str, Gate]:
    """Measure every gate of a cell over a batch of sequences.

    A gate is a sigmoid, tanh or ReLU of a step. It has the name of the equation that it is the
    value of; one within an equation has none and is left out. Where no docstring states equations,
    all are there, named sigmoid 1, sigmoid 2, tanh 1 in the order in which they are computed.
    Fused steps such as nn.GRUCell's show no gates.

    Args:
        cell: the cell.
        call: what it ran on.
        states: after every step, (time, batch, *size) each, in the cell's order.

    Returns:
        The gates in the order in which a step computes them.
    """
    names = gate_names(cell, call)
    sums: list[_Sum] = []
    for start, active, seen in _blocks(cell, call, states):
        if len(seen) != len(names):  # the code took another way than on random numbers
            names = numbered(kind for kind, _ in seen)
        if not sums:
            sums = [_Sum(kind, value.shape[1:], call) for kind, value in seen]
        for total, (_, value) in zip(sums, seen, strict=True):
            total.add(start, active, value)
    found = {n: s.gate(n) for n, s in zip(names, sums, strict=bool(sums)) if n is not None}
    for part in cell.modules():
        if isinstance(part, Cell):
            found = _described(part, found, dict(zip(names, sums, strict=bool(sums))))
    return found


def _blocks(
    cell: Cell, call: Call, states: Sequence[Tensor]
) -> Iterator[tuple[int, Tensor, list[tuple[str, Tensor]]]]:
    """Take the steps again from the states before them, many at once.

    Gives the first step of a block, which of its rows run, (time, batch), and the activations.
    """
    time, batch = call.xs.shape[:2]
    size = 1 if call.constants else max(1, ROWS // max(batch, 1))
    lengths = torch.full((batch,), time) if call.lengths is None else call.lengths
    for start in range(0, time if batch else 0, size):
        steps = slice(start, min(start + size, time))
        before = before_steps(call, states, steps)
        active = torch.arange(start, steps.stop, device=lengths.device)[:, None] < lengths
        with torch.no_grad(), Activations() as found:
            cell(call.xs[steps].flatten(0, 1), *before, **call.constants)
        yield start, active, [(kind, _rows(value, active)) for kind, value in found.seen]


def _rows(value: Tensor, active: Tensor) -> Tensor:
    """Give a value row by row; a gate that reads parameters only is the same in every row."""
    return value if value.dim() > 1 else value.reshape(1, -1).expand(active.numel(), -1)


def before_steps(call: Call, states: Sequence[Tensor], steps: slice) -> list[Tensor]:
    """Give the states that some steps started from, (time * batch, *size) each."""
    found: list[Tensor] = []
    for first, fresh, history in zip(call.state, call.start, states, strict=True):
        before = history[max(steps.start - 1, 0) : steps.stop - 1].detach()
        if steps.start == 0:
            before = torch.cat([first.detach()[None], before])
        if call.resets is not None:
            at = call.resets[steps]
            before = torch.where(at.reshape(*at.shape, *(1,) * (first.dim() - 1)), fresh, before)
        found.append(before.flatten(0, 1))
    return found


class _Sum:
    """What is added up of one activation, block by block."""

    def __init__(self, kind: str, size: Sequence[int], call: Call) -> None:
        self.kind, self.batch = kind, call.xs.shape[1]
        units, time = prod(size), call.xs.shape[0]
        new = call.xs.new_zeros
        self.count = 0
        self.left, self.right = new(units, dtype=torch.float64), new(units, dtype=torch.float64)
        self.kept, self.lost = torch.zeros_like(self.left), torch.zeros_like(self.left)
        self.mean, self.saturated = new(time).fill_(math.nan), new(time).fill_(math.nan)

    def add(self, start: int, active: Tensor, value: Tensor) -> None:
        low, high = LIMITS[self.kind]
        value = value.flatten(1).unflatten(0, (-1, self.batch))  # (time, batch, units)
        runs = active[..., None]
        left, right = (value <= low) & runs, (value >= high) & runs
        self.count += int(active.sum())
        self.left += left.sum((0, 1))
        self.right += right.sum((0, 1))
        if self.kind == "sigmoid":
            self.kept += (value.clamp_min(LEAST_KEPT).log() * runs).sum((0, 1))
            self.lost += ((1 - value).clamp_min(LEAST_KEPT).log() * runs).sum((0, 1))
        steps = slice(start, start + len(value))
        per_step = active.sum(1) * value.shape[2]
        self.mean[steps] = (value * runs).sum((1, 2)) / per_step
        self.saturated[steps] = (left | right).sum((1, 2)) / per_step

    def gate(self, name: str) -> Gate:
        left, right = (side / max(self.count, 1) for side in (self.left, self.right))
        return Gate(name, self.kind, left.float(), right.float(), self.mean, self.saturated)

    def half_lives(self, kept: bool) -> Tensor:
        logs = (self.kept if kept else self.lost) / max(self.count, 1)
        return (-math.log(2) / logs.clamp_max(-1e-12)).float()


def _described(
    cell: Cell, found: dict[str, Gate], sums: Mapping[str | None, _Sum]
) -> dict[str, Gate]:
    """Say which gates keep a state, for how long, and what bias they have."""
    lines = {equation.name: equation.expression for equation in equations_of(cell)}
    described = dict(found)
    for name, gate in found.items():
        if name not in lines or gate.kind != "sigmoid":
            continue
        described[name] = replace(gate, bias=bias_of(cell, lines[name]))
        for state in cell.states:
            side = keeps(name, state, lines.get(f"{state}'", ""))
            if side:
                described[name] = replace(
                    described[name],
                    keeps=state,
                    half_lives=sums[name].half_lives(side > 0),
                    closed_by=side,
                )
    return described

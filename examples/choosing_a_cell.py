"""Choosing a cell: what each family can and cannot learn, on four tasks made for it.

    python examples/choosing_a_cell.py [--cells LSTM GRU ...] [--steps 1500] [--picture cells.svg]

Every cell gets one layer of 32 units under a linear map and the same batches in the same order.
Nothing is read from a file: the tasks are drawn at random. Forty trainings take
a while: each took 9 to 117 seconds on a busy processor.

    adding   two of 40 numbers are marked; give their sum (Hochreiter & Schmidhuber 1997)
    copy     five symbols, 20 empty steps, then say them again (Arjovsky et al. 2016)
    parity   after each of 20 bits, whether the ones so far are odd: a state that has to be tracked
    digits   a digit in noise, at one of four places, read pixel by pixel: 48 steps
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled import unroll, zoo
from unrolled.cell import Cell

HIDDEN, BATCH, RATE = 32, 32, 5e-3
SYMBOLS, SPAN, LAG = 8, 5, 20  # of copy memory
GLYPHS = (  # digits of 3 x 5 pixels, a number for each row
    (7, 5, 5, 5, 7), (2, 6, 2, 2, 7), (7, 1, 7, 4, 7), (7, 1, 3, 1, 7), (5, 5, 7, 1, 1),
    (7, 4, 7, 1, 7), (7, 4, 7, 5, 7), (7, 1, 2, 2, 2), (7, 5, 7, 5, 7), (7, 5, 7, 1, 7),
)  # fmt: skip
CELLS: Mapping[str, Callable[[int, int], Cell]] = {
    "Elman": zoo.Elman,
    "IndRNN": zoo.IndRNN,
    "LSTM": zoo.LSTM,
    "GRU": zoo.GRU,
    "CoRNN": zoo.CoRNN,
    "ScalarLSTM": zoo.ScalarLSTM,
    "MinGRU": zoo.MinGRU,
    "LRU": zoo.LRU,
    "S6": zoo.S6,
    "DeltaNet": partial(zoo.DeltaNet, heads=4),
}


@dataclass(frozen=True)
class Task:
    """Batches without end, and how well they are answered."""

    about: str
    inputs: int
    outputs: int
    draw: Callable[[torch.Generator], tuple[Tensor, Tensor]]  # inputs (time, batch, _), targets
    answers: int  # the last so many steps are asked for; 0: all
    chance: float  # share that is right for one and the same answer to all


def adding(random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Numbers from 0 to 1 with two of them marked, and their sum."""
    values = torch.rand(40, BATCH, generator=random)
    marks = torch.zeros(40, BATCH)
    for half in (0, 20):
        marks.scatter_(0, half + torch.randint(20, (1, BATCH), generator=random), 1.0)
    return torch.stack([values, marks], -1), (values * marks).sum(0, keepdim=True)


def copying(random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Symbols, a wait, and the symbols again; two inputs more say nothing, and speak now."""
    symbols = torch.randint(SYMBOLS, (SPAN, BATCH), generator=random)
    rest = torch.full((LAG + SPAN, BATCH), SYMBOLS)
    rest[-SPAN:] = SYMBOLS + 1
    return F.one_hot(torch.cat([symbols, rest]), SYMBOLS + 2).float(), symbols


def parity(random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Bits, and whether the ones so far are odd."""
    bits = torch.randint(2, (20, BATCH), generator=random)
    return bits[..., None].float(), bits.cumsum(0) % 2


def digits(random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Digits on a field of 8 x 6 pixels, a pixel a step."""
    rows = torch.tensor(GLYPHS)
    glyphs = (rows[..., None] >> torch.tensor([2, 1, 0]) & 1).float()  # (digit, 5, 3)
    digit = torch.randint(10, (BATCH,), generator=random)
    field = 0.2 * torch.randn(BATCH, 8, 6, generator=random)
    corners = torch.randint(2, (BATCH, 2), generator=random)
    for row, (y, x) in enumerate((1 + corners).tolist()):
        field[row, y : y + 5, x : x + 3] += glyphs[digit[row]]
    return field.flatten(1).T[..., None], digit[None]


TASKS = {
    "adding": Task("sum of 2 of 40 numbers", 2, 1, adding, 1, 0.19),
    "copy": Task("5 symbols, 20 steps later", SYMBOLS + 2, SYMBOLS, copying, SPAN, 1 / SYMBOLS),
    "parity": Task("are the bits so far odd?", 1, 2, parity, 0, 0.5),
    "digits": Task("a digit, pixel by pixel", 1, 10, digits, 1, 0.1),
}


class Model(nn.Module):
    """One layer of a cell, and a reading of its outputs."""

    def __init__(self, name: str, task: Task) -> None:
        super().__init__()
        self.answers = task.answers
        self.cell = CELLS[name](task.inputs, HIDDEN)
        self.read = nn.Linear(self.cell.outputs, task.outputs)

    def forward(self, xs: Tensor) -> Tensor:
        """Answer (answers, batch, outputs)."""
        ys, _ = unroll(self.cell, xs)
        return self.read(ys[-self.answers :])


def loss_and_right(answers: Tensor, targets: Tensor) -> tuple[Tensor, float]:
    """Give the loss, and the share of right answers; a sum is right within 0.1."""
    if targets.is_floating_point():
        answers = answers[..., 0]
        right = (answers - targets).abs() < 0.1
        return F.mse_loss(answers, targets), right.float().mean().item()
    right = answers.argmax(-1) == targets
    loss = F.cross_entropy(answers.flatten(0, 1), targets.flatten())
    return loss, right.float().mean().item()


def learn(name: str, task: Task, steps: int) -> float:
    """Train a cell on a task; the share of right answers to batches that it has not seen."""
    torch.manual_seed(0)
    model, random = Model(name, task), torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        xs, targets = task.draw(random)
        loss, _ = loss_and_right(model(xs), targets)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    random.manual_seed(2)
    with torch.no_grad():
        batches = (task.draw(random) for _ in range(10))
        shares = [loss_and_right(model(xs), targets)[1] for xs, targets in batches]
    return sum(shares) / len(shares)


def main() -> None:
    """Let every cell learn every task, and show how far it came."""
    parser = argparse.ArgumentParser(description="Choose a cell.")
    parser.add_argument("--cells", nargs="+", default=list(CELLS), choices=list(CELLS))
    parser.add_argument("--steps", type=int, default=1500, help="for each cell and task")
    parser.add_argument("--picture", type=Path, default=Path("cells.svg"), help="to be written")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    console = Console(highlight=False)
    found: dict[str, dict[str, float]] = {task: {} for task in TASKS}
    for cell in arguments.cells:
        for name, task in TASKS.items():
            begun = time.monotonic()
            share = found[name][cell] = learn(cell, task, arguments.steps)
            took = time.monotonic() - begun
            console.print(f"{cell:<10} {name:<8} {share:6.1%} right, {took:.0f} s")
    arguments.picture.write_text(picture(found), encoding="utf-8")
    console.print(str(arguments.picture))
    if arguments.json:
        facts = {"steps": arguments.steps, "hidden": HIDDEN, "batch": BATCH, "rate": RATE}
        arguments.json.write_text(json.dumps({**facts, "right": found}, indent=1) + "\n")


STYLE = """text { font: 13px system-ui, sans-serif; fill: #24292f; } .bar { fill: #3c78c8; }
.title { font-weight: 600; } .about, .share { font-size: 11px; fill: #6e7781; }
.field { fill: #e8ecf0; } .chance { stroke: #cf222e; stroke-dasharray: 3 2; }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3; } .bar { fill: #6ea8fe; }
.about, .share { fill: #9198a1; } .field { fill: #262c36; } .chance { stroke: #ff7b72; } }"""


def picture(found: Mapping[str, Mapping[str, float]]) -> str:
    """Draw the share of right answers: a column of bars for each task, chance as a dashed line."""
    left, wide, bar, high, top = 92, 190, 130, 22, 48
    cells = list(next(iter(found.values())))
    width, height = left + wide * len(found), top + high * len(cells) + 8
    parts = [f"<style>{STYLE}</style>"]
    for row, cell in enumerate(cells):
        parts.append(
            f'<text x="{left - 10}" y="{top + high * row + 14}" text-anchor="end">{cell}</text>'
        )
    for column, (name, shares) in enumerate(found.items()):
        x = left + wide * column
        parts.append(f'<text class="title" x="{x}" y="18">{name}</text>')
        parts.append(f'<text class="about" x="{x}" y="35">{TASKS[name].about}</text>')
        for row, share in enumerate(shares.values()):
            y = top + high * row
            parts.append(f'<rect class="field" x="{x}" y="{y}" width="{bar}" height="16"/>')
            parts.append(
                f'<rect class="bar" x="{x}" y="{y}" width="{bar * share:.1f}" height="16"/>'
            )
            parts.append(f'<text class="share" x="{x + bar + 6}" y="{y + 12}">{share:.0%}</text>')
        at = x + bar * TASKS[name].chance
        end = top + high * len(cells) - 4
        parts.append(
            f'<line class="chance" x1="{at:.1f}" x2="{at:.1f}" y1="{top - 4}" y2="{end}"/>'
        )
    title = "<title>Share of right answers by cell and task</title>"
    box = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    body = "\n".join([title, *parts])
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {box}>\n{body}\n</svg>\n'


if __name__ == "__main__":
    main()

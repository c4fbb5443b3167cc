"""Steps of your own: sixteen recurrences that no zoo has, each written as one would write its loop.

    python examples/steps.py [--cells Spiking Stack ...] [--hidden 256] [--batch 32] [--steps 128]

Each is run over whole sequences, forward and back through time, compiled and as a loop in Python;
the table says how far apart the gradients are and how many times as fast the compiled one is.
A new step takes up to some seconds the first time; after that it comes from the cache.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled import Cell, unroll


class Oscillator(Cell):
    """Springs that are coupled: position and speed, one small step of time after the other."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(place=hidden, speed=hidden)
        self.W, self.U = nn.Linear(inputs, hidden), nn.Linear(2 * hidden, hidden)

    def forward(self, x: Tensor, place: Tensor, speed: Tensor) -> tuple[Tensor, ...]:
        force = torch.tanh(self.W(x) + self.U(torch.cat([place, speed], -1)))
        speed = speed + 0.1 * (force - place - 0.5 * speed)
        place = place + 0.1 * speed
        return place, place, speed


class NormedGRU(Cell):
    """A GRU with layer norms on both of its products."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W, self.U = nn.Linear(inputs, 3 * hidden), nn.Linear(hidden, 3 * hidden)
        self.of_x, self.of_h = nn.LayerNorm(3 * hidden), nn.LayerNorm(3 * hidden)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        r_x, z_x, n_x = self.of_x(self.W(x)).chunk(3, -1)
        r_h, z_h, n_h = self.of_h(self.U(h)).chunk(3, -1)
        z = torch.sigmoid(z_x + z_h)
        n = torch.tanh(n_x + torch.sigmoid(r_x + r_h) * n_h)
        h = torch.lerp(n, h, z)
        return h, h


class ProjectedLSTM(Cell):
    """An LSTM with one matrix for all, and a state a quarter as wide as its memory."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden // 4, c=hidden)
        self.gates = nn.Linear(inputs + hidden // 4, 4 * hidden)
        self.project = nn.Linear(hidden, hidden // 4, bias=False)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        i, f, g, o = self.gates(torch.cat([x, h], dim=-1)).chunk(4, dim=-1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = self.project(o.sigmoid() * c.tanh())
        return h, h, c


class Highway(Cell):
    """Three layers of a highway network between two steps."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W = nn.Linear(inputs, 2 * hidden)
        self.R = nn.ModuleList(nn.Linear(hidden, 2 * hidden) for _ in range(3))

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        for depth, layer in enumerate(self.R):
            both = layer(h) + (self.W(x) if depth == 0 else 0)
            n, t = both.chunk(2, -1)
            t = torch.sigmoid(t)
            h = t * torch.tanh(n) + (1 - t) * h
        return h, h


class Spike(torch.autograd.Function):
    """One where a potential is above its threshold; its slope is that of a fast sigmoid."""

    @staticmethod
    def forward(ctx, potential):
        ctx.save_for_backward(potential)
        return (potential > 0).to(potential.dtype)

    @staticmethod
    def backward(ctx, *gradients):
        (potential,) = ctx.saved_tensors
        return gradients[0] / (1 + 10 * potential.abs()) ** 2


class Spiking(Cell):
    """Leaky integrate-and-fire neurons that excite each other (Neftci et al. 2019)."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(v=hidden, spikes=hidden)
        self.W, self.R = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden, bias=False)

    def forward(self, x: Tensor, v: Tensor, spikes: Tensor) -> tuple[Tensor, ...]:
        v = 0.9 * v * (1 - spikes) + self.W(x) + self.R(spikes)
        spikes = Spike.apply(v - 0.1)
        return spikes, v, spikes


class Rotating(Cell):
    """A linear recurrence of complex numbers, each with a decay and a frequency of its own."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=(hidden, 2))
        self.decay, self.angle = nn.Parameter(torch.rand(hidden)), nn.Parameter(torch.rand(hidden))
        self.B = nn.Parameter(torch.randn(hidden, inputs, dtype=torch.cfloat) / inputs**0.5)
        self.read = nn.Linear(2 * hidden, hidden)
        self.outputs = hidden

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        turn = torch.polar(torch.exp(-self.decay), self.angle)
        z = turn * torch.view_as_complex(h) + x.to(self.B.dtype) @ self.B.T
        h = torch.view_as_real(z)
        return F.gelu(self.read(h.flatten(1))), h


class Quantised(Cell):
    """Gates that are 0 or 1, with the slope of the sigmoid that they were rounded from."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.gate = nn.Linear(inputs + hidden, hidden)
        self.candidate = nn.Linear(inputs + hidden, hidden)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        both = torch.cat([x, h], -1)
        soft = torch.sigmoid(self.gate(both))
        hard = (soft > 0.5).float() + soft - soft.detach()
        h = hard * h + (1 - hard) * torch.tanh(self.candidate(both))
        return h, h


class Experts(Cell):
    """A mixture of four recurrences, weighted anew at every step."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        both = inputs + hidden
        self.W = nn.Parameter(torch.randn(4, both, hidden) / both**0.5)
        self.choose = nn.Linear(both, 4)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        both = torch.cat([x, h], -1)
        share = F.softmax(self.choose(both), -1)
        h = torch.tanh(torch.einsum("be,bi,eio->bo", share, both, self.W))
        return h, h


class FastWeights(Cell):
    """A matrix of outer products of past states, through which the next one settles (Ba 2016)."""

    def __init__(self, inputs: int, hidden: int) -> None:
        small = hidden // 4
        super().__init__(h=small, A=(small, small))
        self.W, self.R = nn.Linear(inputs, small), nn.Linear(small, small, bias=False)
        self.norm = nn.LayerNorm(small)

    def forward(self, x: Tensor, h: Tensor, A: Tensor) -> tuple[Tensor, ...]:
        before = self.W(x) + self.R(h)
        A = 0.95 * A + 0.5 * h[:, :, None] * h[:, None]
        h = torch.relu(before)
        for _ in range(2):
            h = torch.relu(self.norm(before + torch.bmm(A, h[:, :, None])[:, :, 0]))
        return h, h, A


class Memory(Cell):
    """A controller that reads and writes sixteen slots by their contents."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden, M=(16, 20))
        self.controller = nn.GRUCell(inputs + 20, hidden)
        self.key, self.erase, self.add = (nn.Linear(hidden, 20) for _ in range(3))

    def initial_state(self, batch: int, **options) -> dict[str, Tensor]:
        state = super().initial_state(batch, **options)
        return state | {"M": state["M"] + 0.1}

    def forward(self, x: Tensor, h: Tensor, M: Tensor) -> tuple[Tensor, ...]:
        nearness = F.cosine_similarity(M, self.key(h)[:, None], dim=-1)
        weight = F.softmax(5 * nearness, -1)
        h = self.controller(torch.cat([x, torch.einsum("bn,bnd->bd", weight, M)], -1), h)
        erased = M * (1 - weight[:, :, None] * torch.sigmoid(self.erase(h))[:, None])
        return h, h, erased + weight[:, :, None] * torch.tanh(self.add(h))[:, None]


class ConvLSTM(Cell):
    """An LSTM over a small picture, with a convolution for its products (Shi et al. 2015)."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=(4, 6, 6), c=(4, 6, 6))
        self.place, self.kernel = nn.Linear(inputs, 36), nn.Conv2d(5, 16, 3, padding=1)
        self.outputs = 144

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        picture = self.place(x).view(-1, 1, 6, 6)
        i, f, g, o = self.kernel(torch.cat([picture, h], 1)).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h.flatten(1), h, c


class Graph(Cell):
    """A GRU for each of eight nodes, which hear their neighbours (Li et al. 2018)."""

    near: Tensor

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=(8, hidden // 8))
        self.register_buffer("near", torch.softmax(torch.randn(8, 8), -1))
        width = hidden // 8
        self.place = nn.Linear(inputs, 8 * width)
        self.gates, self.new = nn.Linear(2 * width, 2 * width), nn.Linear(2 * width, width)
        self.outputs = hidden

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        x = self.place(x).view_as(h)
        r, z = torch.sigmoid(self.gates(self.near @ torch.cat([x, h], -1))).chunk(2, -1)
        h = z * h + (1 - z) * torch.tanh(self.new(self.near @ torch.cat([x, r * h], -1)))
        return h.flatten(1), h


class Sparse(Cell):
    """Of all units only the sixteen greatest stay."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W, self.most = nn.Linear(inputs + hidden, hidden), min(16, hidden // 2)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        h = self.W(torch.cat([x, h], -1))
        least = h.topk(self.most, -1).values[:, -1:]
        h = torch.tanh(h) * (h >= least)
        return h, h


class Speaker(Cell):
    """A GRU that hears what it said itself: the likeliest of forty words, looked up."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden, scores=40)
        self.gru, self.say = nn.GRUCell(inputs + 32, hidden), nn.Linear(hidden, 40)
        self.words, self.outputs = nn.Embedding(40, 32), 40

    def forward(self, x: Tensor, h: Tensor, scores: Tensor) -> tuple[Tensor, ...]:
        h = self.gru(torch.cat([x, self.words(scores.argmax(-1))], -1), h)
        scores = self.say(h)
        return scores, h, scores


class Window(Cell):
    """The last five inputs, remembered as they came, and a state that reads them all."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden, past=(5, inputs))
        self.W = nn.Linear(5 * inputs + hidden, hidden)

    def forward(self, x: Tensor, h: Tensor, past: Tensor) -> tuple[Tensor, ...]:
        past = torch.cat([past[:, 1:], x[:, None]], 1)
        h = torch.tanh(self.W(torch.cat([past.flatten(1), h], -1)))
        return h, h, past


class Stack(Cell):
    """A stack of eight that is pushed and popped a little of each (Joulin and Mikolov 2015)."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden, stack=(8, 10))
        self.gru = nn.GRUCell(inputs + 10, hidden)
        self.act, self.value = nn.Linear(hidden, 3), nn.Linear(hidden, 10)

    def forward(self, x: Tensor, h: Tensor, stack: Tensor) -> tuple[Tensor, ...]:
        h = self.gru(torch.cat([x, stack[:, 0]], -1), h)
        push, pop, stay = F.softmax(self.act(h), -1)[:, :, None, None].unbind(1)
        pushed = torch.cat([torch.tanh(self.value(h))[:, None], stack[:, :-1]], 1)
        popped = torch.cat([stack[:, 1:], torch.zeros_like(stack[:, :1])], 1)
        return h, h, push * pushed + pop * popped + stay * stack


CELLS: dict[str, Callable[[int, int], Cell]] = {
    cell.__name__: cell
    for cell in (Oscillator, NormedGRU, ProjectedLSTM, Highway, Spiking, Rotating, Quantised)
    + (Experts, FastWeights, Memory, ConvLSTM, Graph, Sparse, Speaker, Window, Stack)
}


def main() -> None:
    """Compare and time the steps."""
    parser = argparse.ArgumentParser(description="Steps of your own, compiled and as a loop.")
    parser.add_argument("--cells", nargs="*", choices=list(CELLS), default=list(CELLS))
    for name, number in (("hidden", 256), ("batch", 32), ("steps", 128)):
        parser.add_argument(f"--{name}", type=int, default=number)
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)  # numbers that fade away would slow the loop a hundred times
    table = Table("step", "gradients differ", "compiled, ms", "loop, ms", "times as fast")
    console = Console()
    with console.status("measuring") as status:
        for name in arguments.cells:
            status.update(f"measuring {name}")
            torch.manual_seed(0)
            cell = CELLS[name](arguments.hidden, arguments.hidden)
            xs = torch.randn(arguments.steps, arguments.batch, arguments.hidden)
            off, ours, loop = compared(cell, xs)
            row = f"{off:.0e}", f"{1e3 * ours:.1f}", f"{1e3 * loop:.1f}", f"{loop / ours:.1f}"
            table.add_row(name, *row)
    console.print(table)


def compared(cell: Cell, xs: Tensor, repeats: int = 3) -> tuple[float, float, float]:
    """Give how far apart the gradients are, by their norm, and the medians of both times."""
    found, times = {}, {"llvm": [], "eager": []}
    for turn in range(repeats + 1):
        for backend, kept in times.items():
            begun = time.perf_counter()
            found[backend] = torch.cat(list(gradients(cell, xs, backend)))
            if turn:
                kept.append(time.perf_counter() - begun)
    off = (found["llvm"] - found["eager"]).norm() / found["eager"].norm()
    ours, loop = map(statistics.median, times.values())
    return off.item(), ours, loop


def gradients(cell: Cell, xs: Tensor, backend: str) -> Iterator[Tensor]:
    """Give the gradients of the squared outputs, by all parameters and the inputs."""
    xs = xs.requires_grad_()
    ys, _ = unroll(cell, xs, backend=backend)
    for gradient in torch.autograd.grad(ys.square().mean(), [xs, *cell.parameters()]):
        yield (
            torch.view_as_real(gradient).flatten() if gradient.is_complex() else gradient.flatten()
        )


if __name__ == "__main__":
    main()

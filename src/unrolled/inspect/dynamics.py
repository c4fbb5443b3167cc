"""A cell as a dynamical system: Jacobians of its steps, their growth, and Lyapunov exponents."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import jacrev, jvp, vmap

from unrolled.cell import Cell, State, wrap
from unrolled.errors import ShapeError
from unrolled.inspect.intervals import Interval, interval
from unrolled.recurrence import unroll

CHUNKS = 10  # of the steps: each gives one estimate, and their spread the interval


def jacobians(cell: nn.Module, xs: Tensor, state: Mapping[str, Tensor] | None = None) -> Tensor:
    """Differentiate every step's new state by the state before it, for each row.

    Args:
        cell: a cell, or one of torch.nn's.
        xs: the inputs, (time, batch, features).
        state: before the first step; by default the cell's initial state.

    Returns:
        (time, batch, size, size): the new state's numbers by the old one's, all states one after
        the other in the cell's order.

    Raises:
        ShapeError: a shape does not fit.

    Example:
        >>> jacobians(nn.LSTMCell(3, 5), torch.zeros(7, 2, 3)).shape
        torch.Size([7, 2, 10, 10])
    """
    flow = _Flow(cell, xs.shape[1])
    before = flow.before(xs, state)

    def one(row: Tensor, x: Tensor) -> Tensor:
        return flow.step(row[None], x[None])[0]

    with torch.no_grad():
        found = vmap(jacrev(one))(before.flatten(0, 1), xs.flatten(0, 1))
    return found.unflatten(0, xs.shape[:2])


@dataclass(frozen=True)
class Growth:
    """How Jacobians of steps and their products stretch."""

    singular_values: Tensor  # (time, batch, size) of each step's Jacobian, the largest first
    product: Tensor  # (time, batch) log of the largest singular value of J_t ... J_1

    @property
    def rate(self) -> Tensor:
        """The product's growth per step, (batch,): above 0 it explodes, below it vanishes."""
        return self.product[-1] / len(self.product)


def growth(jacobians: Tensor) -> Growth:
    """Measure how much Jacobians, and their products from the first step on, stretch.

    The product is scaled at every step, so that it neither overflows nor is lost.

    Args:
        jacobians: (time, batch, size, size), from `jacobians`.

    Example:
        >>> found = growth(0.5 * torch.eye(3).expand(7, 2, 3, 3))
        >>> [round(float(rate), 4) for rate in found.rate]  # ln 0.5
        [-0.6931, -0.6931]
    """
    product = torch.eye(jacobians.shape[-1]).to(jacobians).expand_as(jacobians[0])
    scale, logs = jacobians.new_zeros(jacobians.shape[1]), []
    for step in jacobians:
        product = step @ product
        norm = torch.linalg.matrix_norm(product, 2)
        scale = scale + norm.log()
        product = product / norm.clamp_min(torch.finfo(norm.dtype).tiny)[:, None, None]
        logs.append(scale)
    return Growth(torch.linalg.svdvals(jacobians), torch.stack(logs))


@dataclass(frozen=True)
class Lyapunov:
    """Lyapunov exponents in nats a step, the largest first, each with its 95 % interval."""

    exponents: tuple[Interval, ...]
    rows: Tensor  # (batch, count) of each sequence

    @property
    def largest(self) -> Interval:
        """The largest: above 0, nearby states part and the recurrence is chaotic."""
        return self.exponents[0]


def lyapunov(
    cell: nn.Module,
    xs: Tensor,
    state: Mapping[str, Tensor] | None = None,
    *,
    count: int = 1,
    settle: int | None = None,
) -> Lyapunov:
    """Measure the largest Lyapunov exponents along the sequences that xs drive.

    Tangent vectors are carried along with the states, and made orthonormal by a QR decomposition
    after every step; the logarithms of what it takes off are averaged (Benettin et al. 1980,
    doi:10.1007/BF02128236). The interval is that of the mean over stretches of the steps and over
    rows. Use float64 for a chaotic recurrence over many steps.

    Args:
        cell: a cell, or one of torch.nn's.
        xs: the inputs, (time, batch, features).
        state: before the first step; by default the cell's initial state.
        count: how many exponents, from 1 to the size of all states together.
        settle: how many first steps are not counted; by default a fifth.

    Raises:
        ShapeError: a shape does not fit, or there are fewer steps or states than asked for.

    Example:
        >>> cell = nn.RNNCell(1, 1)
        >>> for name, value in (("weight_hh", 0.5), ("bias_ih", 0.0), ("bias_hh", 0.0)):
        ...     _ = nn.init.constant_(getattr(cell, name), value)
        >>> round(lyapunov(cell, torch.zeros(50, 1, 1)).largest.value, 4)  # ln 0.5
        -0.6931
    """
    time, batch = xs.shape[:2]
    settle = time // 5 if settle is None else settle
    flow = _Flow(cell, batch)
    if not 1 <= count <= flow.size or time - settle < 1:
        raise ShapeError(
            f"{count} exponents of {flow.size} numbers of state over {time} steps, {settle} of "
            "them to settle: expected from 1 to as many exponents as numbers, and a step to count"
        )
    now = flow.start(xs, state)
    random = torch.Generator().manual_seed(0)
    first = torch.randn(batch, flow.size, count, generator=random, dtype=torch.float64).to(now)
    tangents, logs = torch.linalg.qr(first).Q, []
    with torch.no_grad():
        for t, x in enumerate(xs):
            now, moved = flow.carry(now, x, tangents)
            tangents, stretched = torch.linalg.qr(moved)
            if t >= settle:
                logs.append(stretched.diagonal(dim1=1, dim2=2).abs().log())
    found = torch.stack(logs).double()  # (steps, batch, count)
    stretches = torch.stack([c.mean(0) for c in found.chunk(min(CHUNKS, len(found)))])
    exponents = tuple(interval(stretches[..., i]) for i in range(count))
    return Lyapunov(exponents, found.mean(0))


@cache
def _load_forward_mode() -> None:
    """Let torch load its forward derivatives, which warns that torch uses what torch gave up."""
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore", DeprecationWarning)
        forward_ad.make_dual(torch.zeros(()), torch.zeros(()))


class _Flow:
    """A cell's step as a map of one vector, all states one after the other."""

    def __init__(self, cell: nn.Module, batch: int) -> None:
        self.cell: Cell = wrap(cell)
        self.sizes = [math.prod(size) for size in self.cell.states.values()]
        self.size = sum(self.sizes)

    def start(self, xs: Tensor, state: Mapping[str, Tensor] | None) -> Tensor:
        first: State = dict(state or self.cell.initial_state(xs.shape[1], device=xs.device))
        if set(first) != set(self.cell.states):
            raise ShapeError(
                f"the state has {', '.join(first)}: expected {', '.join(self.cell.states)}"
            )
        return self.joined([first[name] for name in self.cell.states])

    def joined(self, states: Sequence[Tensor]) -> Tensor:
        return torch.cat([s.detach().reshape(s.shape[0], -1) for s in states], -1)

    def before(self, xs: Tensor, state: Mapping[str, Tensor] | None) -> Tensor:
        """Give the state before every step, (time, batch, size).

        A loop is little beside the Jacobian of each step; a kernel would first have to be compiled.
        """
        with torch.no_grad():
            states = unroll(self.cell, xs, state, backend="eager", return_states=True)[2]
        after = torch.cat(
            [s.flatten(2) if s.dim() > 2 else s[..., None] for s in states.values()], -1
        )
        return torch.cat([self.start(xs, state)[None], after])[:-1]

    def step(self, state: Tensor, x: Tensor) -> Tensor:
        parts = state.split(self.sizes, -1)
        shaped = [p.unflatten(-1, s) for p, s in zip(parts, self.cell.states.values(), strict=True)]
        _, *new = self.cell(x, *shaped)
        return torch.cat([s.flatten(1) for s in new], -1)

    def carry(self, state: Tensor, x: Tensor, tangents: Tensor) -> tuple[Tensor, Tensor]:
        """Take a step with states (batch, size) and their tangents (batch, size, count)."""
        count = tangents.shape[2]
        pairs = tangents.transpose(1, 2).flatten(0, 1)
        given = partial(self.step, x=x.repeat_interleave(count, 0))
        _load_forward_mode()
        new, moved, *_ = jvp(given, (state.repeat_interleave(count, 0),), (pairs,))
        return new[::count], moved.unflatten(0, (-1, count)).transpose(1, 2)

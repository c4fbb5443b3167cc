"""`record`: what every recurrence of a model does in one run, without changing the model.

For as long as a recording lasts, the rows of `BACKENDS` also note what they ran; the recurrences of
other threads pass through as ever.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from threading import RLock
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.backends import BACKENDS, Backend, Call, Result
from unrolled.backends.turned import simplified
from unrolled.cell import Cell, State
from unrolled.compiled import CACHE
from unrolled.compiler import trace
from unrolled.errors import CaptureError, ConfigError
from unrolled.inspect.gates import Gate, gates
from unrolled.inspect.nonfinite import NonFinite, first_non_finite
from unrolled.inspect.opened import Opened, widths
from unrolled.inspect.places import Places

LOOPS = ("torch", "eager")  # rows that autograd can follow from step to step


@dataclass(frozen=True)
class Recurrence:
    """One cell over one batch of sequences, as it ran; steps are in the order of its reading."""

    name: str  # its place in the model, or its class; then the number of the call, from the second
    cell: str  # its class
    backend: str
    states: State  # after every step, (time, batch, *size) each
    lengths: Tensor | None  # (batch,) true numbers of steps; None: all have `time`
    gates: dict[str, Gate]
    trouble: NonFinite | None  # where the first number that is none appeared
    last: State  # after each sequence's own last step, (batch, *size); autograd follows it
    leaves: "Leaves | None"  # what gradients are taken by
    resets: Tensor | None = None  # (time, batch) bool: the state begins anew before these steps
    stack: str = ""  # the same for layers of one direction that read one another

    @property
    def time(self) -> int:
        """How many steps its longest sequence may have."""
        return len(next(iter(self.states.values())))

    @property
    def active(self) -> Tensor:
        """Which rows run at which step, (time, batch) bool."""
        first = next(iter(self.states.values()))
        steps = torch.arange(self.time, device=first.device)[:, None]
        if self.lengths is None:
            return (steps >= 0).expand(first.shape[:2])
        return steps < self.lengths

    @property
    def spans(self) -> Tensor:
        """How many steps each row's last state comes from, (batch,): those from its last reset."""
        ends = self.active.sum(0)
        if self.resets is None or not self.time:
            return ends
        steps = torch.arange(self.time, device=ends.device)[:, None]
        return ends - torch.where(self.resets & self.active, steps, 0).amax(0)

    def activation_norms(self) -> State:
        """Give the norm of each state at every step, (time, batch) each, 0 behind an end."""
        return {name: norms(s) * self.active for name, s in self.states.items()}


@dataclass(frozen=True)
class Leaves:
    """Tensors whose gradient is that by the states: one for all steps, or one a step and state."""

    tensors: tuple[Tensor, ...]
    sizes: dict[str, tuple[int, ...]]
    whole: bool  # one for all steps: (time, batch, all states)

    def by_state(self, gradients: Sequence[Tensor]) -> State:
        """Sort the gradients by the leaves: (time, batch, *size) for each state."""
        names = list(self.sizes)
        if self.whole:
            parts = gradients[0].split(
                [size.numel() for size in map(torch.Size, self.sizes.values())], -1
            )
            return {n: p.unflatten(-1, self.sizes[n]) for n, p in zip(names, parts, strict=True)}
        return {n: torch.stack(tuple(gradients[i :: len(names)])) for i, n in enumerate(names)}


@dataclass(frozen=True)
class Recording:
    """What a run gave, and every recurrence in it in the order in which they ran."""

    result: Any
    recurrences: tuple[Recurrence, ...]

    def state_gradients(self, of: Tensor, *, keep: bool = True) -> tuple[State, ...]:
        """Differentiate a number by every state at every step.

        Args:
            of: a scalar that was computed from the result.
            keep: keep the graph for another call.

        Returns:
            For each recurrence and state (time, batch, *size): all that follows from the state,
            in the same step and later; 0 behind a sequence's end.

        Raises:
            ConfigError: the run was not recorded for gradients, or `of` does not depend on it.
        """
        if not self.recurrences:
            return ()
        if any(r.leaves is None for r in self.recurrences) or not of.requires_grad:
            raise ConfigError(
                "there are no gradients by states: the run was recorded under no_grad, or with "
                "gradients=False, or the number does not come from it. Record it with gradients on"
            )
        leaves = [r.leaves for r in self.recurrences if r.leaves is not None]
        flat = [tensor for leaf in leaves for tensor in leaf.tensors]
        found = iter(
            torch.autograd.grad(
                of, flat, retain_graph=keep, allow_unused=True, materialize_grads=True
            )
        )
        return tuple(leaf.by_state([next(found) for _ in leaf.tensors]) for leaf in leaves)


def norms(states: Tensor) -> Tensor:
    """Give the Euclidean norm of each row's state: (time, batch, *size) -> (time, batch)."""
    return torch.linalg.vector_norm(states.detach().flatten(2), dim=2)


def record(
    run: Callable[[], Any],
    model: nn.Module | None = None,
    *,
    gradients: bool = True,
    measure_gates: bool = True,
) -> Recording:
    """Run something and note what every recurrence in it does.

    Works on every cell and backend: a captured step runs as a kernel, with its states opened for
    gradients; others run as a loop over time. What comes out is what would have come out.

    Args:
        run: what to run, for instance ``lambda: model(xs)``.
        model: names the recurrences by their places in it.
        gradients: whether gradients by the states will be asked for.
        measure_gates: whether to measure the gates; it takes every step once more.

    Returns:
        The recording.

    Example:
        >>> from unrolled import Recurrent, zoo
        >>> layers = Recurrent(zoo.GRU, 3, 5, layers=2)
        >>> seen = record(lambda: layers(torch.randn(7, 2, 3)), layers)
        >>> [r.name for r in seen.recurrences]
        ['layer 0', 'layer 1']
        >>> ys, _ = seen.result
        >>> seen.state_gradients(ys[-1].sum())[0]["h"].shape
        torch.Size([7, 2, 5])
    """
    notes: list[Recurrence] = []
    places = Places(model)

    def note(row: str, run_row: Backend, cell: Cell, call: Call) -> Result:
        wanted = gradients and torch.is_grad_enabled() and call.xs.shape[0] > 0
        result, leaves = _run(row, run_row, cell, replace(call, keep_states=True), wanted)
        assert result.states is not None
        seen = tuple(s.detach() for s in result.states)
        place = places.of(cell)
        recurrence = Recurrence(
            name=place.name,
            cell=type(cell).__name__,
            backend=row,
            states=dict(zip(cell.states, seen, strict=True)),
            lengths=call.lengths,
            gates=gates(cell, call, seen) if measure_gates else {},
            trouble=first_non_finite(cell, call, seen),
            last=dict(zip(cell.states, result.state, strict=True)),
            leaves=leaves,
            resets=call.resets,
            stack=place.stack,
        )
        notes.append(recurrence)
        return result if call.keep_states else replace(result, states=None)

    with _listening(note), places.followed():
        result = run()
    return Recording(result, tuple(notes))


Note = Callable[[str, Backend, Cell, Call], Result]
LISTENER: ContextVar[Note | None] = ContextVar("LISTENER", default=None)
LOCK = RLock()
ORIGINAL: dict[str, Backend] = {}
"""The rows of `BACKENDS` while a recording lasts, and how many recordings do."""
DEPTH = [0]


@contextmanager
def _listening(note: Note) -> Iterator[None]:
    with LOCK:
        DEPTH[0] += 1
        if DEPTH[0] == 1:
            ORIGINAL.update(BACKENDS)
            BACKENDS.update({name: _heard(name, row) for name, row in ORIGINAL.items()})
    token = LISTENER.set(note)
    try:
        yield
    finally:
        LISTENER.reset(token)
        with LOCK:
            DEPTH[0] -= 1
            if DEPTH[0] == 0:
                BACKENDS.update(ORIGINAL)


def _heard(name: str, row: Backend) -> Backend:
    def run(step: Any, call: Call) -> Result:
        note = LISTENER.get()
        if note is None or not isinstance(step, Cell):
            return row(step, call)

        def heard(step: Any, call: Call) -> Result:
            return note(name, row, step, call)

        return simplified(heard)(step, call)

    return run


def _run(
    row: str, run_row: Backend, cell: Cell, call: Call, wanted: bool
) -> tuple[Result, Leaves | None]:
    if not wanted:
        return run_row(cell, call), None
    return (_run_loop if row in LOOPS else _run_opened)(run_row, cell, call)


def _run_opened(run_row: Backend, cell: Cell, call: Call) -> tuple[Result, Leaves | None]:
    """Run the captured step with its states opened."""
    if not call.xs.is_floating_point():
        raise CaptureError(f"{type(cell).__name__} reads whole numbers: no kernel opens its states")
    features = call.xs.shape[2:]
    structure = trace(cell).structure
    step = CACHE.get(cell, structure, call.xs, call.state, call.constants).captured
    opened = Opened(cell, step, features).train(cell.training)
    added = call.xs.new_zeros(*call.xs.shape[:2], sum(widths(cell, features)[1:]))
    added.requires_grad_()
    xs = torch.cat([call.xs.flatten(2) if features else call.xs[..., None], added], -1)
    return run_row(opened, replace(call, xs=xs)), Leaves((added,), cell.states, whole=True)


def _run_loop(run_row: Backend, cell: Cell, call: Call) -> tuple[Result, Leaves | None]:
    """Run step by step; the new states themselves are the leaves."""
    found: list[Tensor] = []

    def step(x: Tensor, *state: Tensor, **constants: Tensor) -> tuple[Tensor, ...]:
        results = cell(x, *state, **constants)
        found.extend(results[1:])
        return results

    def followed(states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(s if s.requires_grad else s.detach().requires_grad_() for s in states)

    call = replace(call, state=followed(call.state), start=followed(call.start))
    result = run_row(step, call)
    missing = call.xs.shape[0] * len(cell.states) - len(found)
    found += [torch.zeros_like(s).requires_grad_() for s in call.state] * (
        missing // len(cell.states)
    )
    return result, Leaves(tuple(found), cell.states, whole=False)

"""A compiled cell over sequences: what comes before the loop, the loop, and what comes after it.

The parts around the loop are ordinary PyTorch with its autograd; the loop is one autograd function:
see `loop`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from unrolled.backends import Call, Compile, Result
from unrolled.backends.call import Step
from unrolled.cell import Cell
from unrolled.compiler import (
    RESET,
    Cache,
    Compiled,
    start_of,
    state_of,
    to_loop,
)
from unrolled.errors import CaptureError
from unrolled.loop import Kernels, Loop

CACHE = Cache()
"""What has been compiled in this process."""


def run_programs(step: Step, call: Call, compile: Compile) -> Result:
    """Run a cell's step as a program, on a backend that runs programs.

    Raises:
        CaptureError: the step cannot be one program.
    """
    if not isinstance(step, Cell):
        raise CaptureError(f"{type(step).__name__} cannot be captured: it is no Cell")
    _refuse(step, call)
    x = call.xs.new_empty(0, *call.xs.shape[2:])
    compiled = CACHE.get(step, x, call.state)
    lowered, batch = compiled.lowered, call.xs.shape[1]
    rows = _Rows(call)
    own = dict(step.named_parameters(remove_duplicate=False))
    own |= dict(step.named_buffers(remove_duplicate=False))
    given = {name: own[path] for name, path in lowered.tensors.items()}
    given |= {**lowered.values, "x": rows.packed(call.xs)}
    given |= lowered.fixed.run(given, rows.count)
    given |= lowered.hoisted.run(given, rows.count)
    loop = _loop(compiled, call, compile)
    inputs = {v.name: given[to_loop(v.name)] for v in loop.program.inputs if v.name != RESET}
    inputs = {name: rows.unpacked(value) for name, value in inputs.items()}
    constants: dict[str, Tensor] = {}
    if call.resets is not None:
        inputs[RESET] = call.resets[..., None].to(compiled.captured.dtype)
        constants = dict(zip(map(start_of, lowered.states), _flat(call.start), strict=True))
    outputs, last = loop.run(
        inputs,
        {v.name: constants[v.name] for v in loop.program.constants},
        dict(zip(lowered.states, _flat(call.state), strict=True)),
        {v.name: given[to_loop(v.name)] for v in loop.program.fixed},
    )
    given |= {name: rows.packed(outputs[name]) for name, _ in lowered.program.outputs}
    ys = rows.unpacked(lowered.sunk.run(given, rows.count)["y"])
    ends = tuple(last[n].reshape(batch, *size) for n, size in lowered.states.items())
    if not call.keep_states:
        return Result(ys, ends, None)
    histories = (outputs[state_of(name)] for name in lowered.states)
    return Result(ys, ends, tuple(map(rows.continued, histories, ends)))


def _flat(states: Sequence[Tensor]) -> list[Tensor]:
    """Give states (batch, *size) as rows, (batch, width)."""
    return [value.flatten(1) if value.dim() > 1 else value[:, None] for value in states]


def _refuse(cell: Cell, call: Call) -> None:
    """Raise for what no program does yet."""
    name = type(cell).__name__
    if call.constants:
        raise CaptureError(
            f"{name} cannot be captured: it reads the constants {', '.join(call.constants)} at "
            'every step. Run this cell with backend="eager".'
        )
    if torch.is_autocast_enabled(call.xs.device.type):
        raise CaptureError(
            f"{name} cannot be captured: autocast is on, and a program has one type. "
            'Run this cell with backend="eager".'
        )


class _Rows:
    """The rows of all steps of a call as one batch: those behind a sequence's end left out."""

    def __init__(self, call: Call) -> None:
        self.time, self.batch = call.xs.shape[:2]
        self.runs: Tensor | None = None
        if call.lengths is not None:
            steps = torch.arange(self.time, device=call.lengths.device)
            self.runs = steps[:, None] < call.lengths
        self.places = None if self.runs is None else self.runs.flatten().nonzero()[:, 0]
        self.count = self.time * self.batch if self.places is None else len(self.places)

    def packed(self, sequence: Tensor) -> Tensor:
        """Give (time, batch, ...) as (count, ...)."""
        flat = sequence.flatten(0, 1)
        return flat if self.places is None else flat.index_select(0, self.places)

    def unpacked(self, rows: Tensor) -> Tensor:
        """Give (count, ...) as (time, batch, ...), zero behind a sequence's end."""
        whole = rows
        if self.places is not None:
            whole = rows.new_zeros(self.time * self.batch, *rows.shape[1:])
            whole = whole.index_copy(0, self.places, rows)
        return whole.unflatten(0, (self.time, self.batch))

    def continued(self, history: Tensor, last: Tensor) -> Tensor:
        """Give every state of a history; behind a sequence's end, its last."""
        shaped = history.reshape(self.time, *last.shape)
        if self.runs is None:
            return shaped
        runs = self.runs.reshape(*self.runs.shape, *(1,) * (last.dim() - 1))
        return torch.where(runs, shaped, last)


def _loop(compiled: Compiled, call: Call, compile: Compile) -> Loop:
    kind = (call.resets is not None, call.keep_states)
    program, training = compiled.program(resets=kind[0], states=kind[1])
    with compiled.lock:
        kernels = compiled.kernels.get((compile, *kind))
        if not isinstance(kernels, Kernels):
            kernels = compiled.kernels[compile, *kind] = Kernels(program, training, compile)
    return Loop(kernels, call.xs.shape[0], call.lengths)

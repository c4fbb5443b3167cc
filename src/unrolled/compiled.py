"""A compiled cell over sequences: what comes before the loop, the loop, and what comes after it.

The parts around the loop are ordinary PyTorch with its autograd; for the loop see `loop`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from unrolled.backends import Call, Result, in_tiles
from unrolled.backends.call import Step
from unrolled.backends.precision import ROUNDED
from unrolled.backends.tracing import is_traced
from unrolled.backends.turned import cuts_backwards
from unrolled.backward import Again
from unrolled.cell import Cell
from unrolled.compiler import (
    RESET,
    ROWS,
    Cache,
    Piece,
    is_apart,
    start_of,
    state_of,
    to_loop,
    trace,
)
from unrolled.errors import CaptureError
from unrolled.loop import Loop
from unrolled.ways import way_of

CACHE = Cache()
"""What has been compiled in this process."""


def run_programs(step: Step, call: Call, backend: str) -> Result:
    """Run a cell's step as a program, on a backend that runs programs.

    Under autocast to bfloat16 the factors of products are rounded to it, where the machine has
    instructions for that. All else is in the type of the cell's states, sums and states too, as in
    `nn.LayerNorm`, since what is rounded at every step adds up over the steps.

    Raises:
        CaptureError: the step cannot be one program.
    """
    if not isinstance(step, Cell):
        raise CaptureError(f"{type(step).__name__} cannot be captured: it is no Cell")
    device = call.xs.device.type
    if torch.is_autocast_enabled(device):
        if torch.get_autocast_dtype(device) == torch.bfloat16:
            backend = in_tiles(backend, ROUNDED)
        with torch.autocast(device, enabled=False):
            return _run_programs(step, _in_own_type(call), backend)
    return _run_programs(step, call, backend)


def _in_own_type(call: Call) -> Call:
    """Give all numbers of a call in the type of the cell's states."""

    def cast(given: Tensor, like: Tensor = call.start[0]) -> Tensor:
        return given.to(like.dtype) if given.is_floating_point() else given

    return replace(
        call,
        xs=cast(call.xs),
        state=tuple(map(cast, call.state, call.start)),
        constants={name: cast(value) for name, value in call.constants.items()},
    )


def _run_programs(step: Cell, call: Call, backend: str) -> Result:
    _refuse(step, call)
    found = trace(step)
    compiled = CACHE.get(step, found.structure, call.xs, call.state, call.constants)
    way = way_of(compiled, call, backend)
    lowered, hoisted, dtype = way.lowered, way.hoisted, compiled.captured.dtype
    loop = Loop(way.kernels, call.xs.shape[0], call.lengths, call.reverse)
    rows = _Rows(call, call.lengths)
    after = _Rows(call, None) if lowered.only_views_behind else rows  # zeros stay zeros
    given = {name: found.tensor(path) for name, path in lowered.tensors.items()}
    given |= {**lowered.values, "x": rows.packed(call.xs)}
    for name, value in call.constants.items():
        if name in lowered.hoisted.reads or name in lowered.sunk.reads:
            given[name] = rows.packed(value.expand(rows.time, *value.shape))
    given |= lowered.fixed.run(given, rows.count)
    given |= hoisted.run(given, rows.count)
    inputs = {v.name: given[to_loop(v.name)] for v in loop.program.inputs if v.name != RESET}
    inputs = {name: rows.placed(value) for name, value in inputs.items()}
    held = [call.constants[own].to(dtype) for own in lowered.constants.values()]
    constants = dict(zip(lowered.constants, _flat(held), strict=True))
    if call.resets is not None:
        resets = cuts_backwards(call.resets) if call.reverse else call.resets
        inputs[RESET] = resets[..., None].to(dtype)
        constants |= zip(map(start_of, lowered.states), _flat(call.start), strict=True)
    outputs, last = loop.run(
        inputs,
        {v.name: constants[v.name] for v in loop.program.constants},
        dict(zip(lowered.states, _flat(call.state), strict=True)),
        {v.name: given[to_loop(v.name)] for v in loop.program.fixed},
        again=_again(hoisted, loop, rows, given),
    )
    given |= {name: after.packed(outputs[name]) for name, _ in lowered.program.outputs}
    ys = after.unpacked(lowered.sunk.run(given, after.count)["y"])
    ends = tuple(last[n].reshape(rows.batch, *size) for n, size in lowered.states.items())
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
    dtype, batch = call.state[0].dtype, call.xs.shape[1]
    for constant, value in call.constants.items():
        fits = value.shape[:1] == (batch,) and 0 not in value.shape[1:]
        if any(isinstance(size, torch.SymInt) for size in value.shape[1:]):
            raise CaptureError(
                f"{name} cannot be captured: a tracer leaves the size of its constant {constant} "
                "open, and a program has a size for each"
            )
        if not fits or value.dtype not in (dtype, torch.bool):
            raise CaptureError(
                f"{name} cannot be captured: it reads the constant {constant} of shape "
                f"{tuple(value.shape)} and type {value.dtype} at every step, and a program reads "
                f'({batch}, ...) of {dtype} or bool. Run this cell with backend="eager".'
            )
    if is_apart():
        raise CaptureError(f"{name} cannot be captured: it runs in a step that is being captured")


WORTH_LEAVING_OUT = 0.1
"""Share of rows behind the ends above which it pays to take the others out and to put them back."""


class _Rows:
    """The rows of all steps of a call as one batch: those behind a sequence's end left out.

    Where they are few, or a tracer cannot know how many they are, rows that are steps stand in
    their places: numbers that the cell gets to see anyway, and never the zeros of the padding.
    """

    def __init__(self, call: Call, lengths: Tensor | None) -> None:
        self.time, self.batch = call.xs.shape[:2]
        self.runs: Tensor | None = None
        self.places: Tensor | None = None
        self.traced, self.filled = is_traced(call.xs), True
        self.count = self.time * self.batch
        if lengths is None:
            return
        steps = torch.arange(self.time, device=lengths.device)
        self.runs = steps[:, None] < lengths
        flat = self.runs.reshape(self.count)
        if not self.traced:
            left_out = self.count - int(flat.sum())
            self.filled = left_out < self.count and left_out <= WORTH_LEAVING_OUT * self.count
        if self.filled:
            own = torch.arange(self.count, device=flat.device)
            self.places = torch.where(flat, own, flat.int().argmax())
        else:
            self.places = flat.nonzero()[:, 0]
            self.count = len(self.places)

    def packed(self, sequence: Tensor) -> Tensor:
        """Give (time, batch, ...) as (count, ...)."""
        flat = sequence.reshape(self.time * self.batch, *sequence.shape[2:])
        if self.places is not None:
            return flat.index_select(0, self.places)
        # as a view, its strides would tie the batch to more than 0 rows
        return flat.clone(memory_format=torch.contiguous_format) if self.traced else flat

    def unpacked(self, rows: Tensor) -> Tensor:
        """Give (count, ...) as (time, batch, ...), zero behind a sequence's end."""
        shaped = self.placed(rows)
        if self.runs is None or not self.filled:
            return shaped
        return torch.where(self._over(shaped), shaped, 0)

    def placed(self, rows: Tensor) -> Tensor:
        """Give (count, ...) as (time, batch, ...), with anything behind a sequence's end."""
        whole = rows
        if self.places is not None and not self.filled:
            whole = rows.new_zeros(self.time * self.batch, *rows.shape[1:])
            whole = whole.index_copy(0, self.places, rows)
        return whole.reshape(self.time, self.batch, *rows.shape[1:])

    def _over(self, sequence: Tensor) -> Tensor:
        """Shape `runs` so that it spreads over the features of a sequence."""
        assert self.runs is not None
        return self.runs.reshape(*self.runs.shape, *(1,) * (sequence.dim() - 2))

    def continued(self, history: Tensor, last: Tensor) -> Tensor:
        """Give every state of a history; behind a sequence's end, its last."""
        shaped = history.reshape(self.time, *last.shape)
        if self.runs is None:
            return shaped
        return torch.where(self._over(shaped), shaped, last)


def _again(hoisted: Piece, loop: Loop, rows: "_Rows", given: Mapping[str, Tensor]) -> Again | None:
    """Say how those of the loop's inputs are made once more that its backward does not read."""
    gives = (name for name in loop.kernels.unread if to_loop(name) in hoisted.gives)
    unread = frozenset(name for name in gives if given[to_loop(name)].requires_grad)
    if not unread or hoisted.draws:
        return None
    names = [name for name in hoisted.reads if name != ROWS]

    def make(sources: Sequence[Tensor]) -> dict[str, Tensor]:
        with torch.autocast(sources[0].device.type, enabled=False):
            made = hoisted.run(dict(zip(names, sources, strict=True)), rows.count)
        return {name: rows.placed(made[to_loop(name)]) for name in unread}

    return Again(unread, tuple(given[name] for name in names), make)

"""`unroll`: one cell over whole sequences, forward and back through time."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, overload

import torch
from torch import Tensor, nn

from unrolled.backends import Call, Result, choose
from unrolled.backends.tracing import is_traced, opaque, own
from unrolled.cell import Cell, State, wrap
from unrolled.compiled import is_apart, run_programs
from unrolled.complex_states import RealStates, with_real_states
from unrolled.errors import ShapeError


@overload
def unroll(
    cell: nn.Module,
    xs: Tensor,
    state: Mapping[str, Tensor] | None = None,
    *,
    lengths: Tensor | Sequence[int] | None = None,
    resets: Tensor | None = None,
    constants: Mapping[str, Tensor] | None = None,
    reverse: bool = False,
    backend: str = "auto",
    return_states: Literal[False] = False,
) -> tuple[Tensor, State]: ...
@overload
def unroll(
    cell: nn.Module,
    xs: Tensor,
    state: Mapping[str, Tensor] | None = None,
    *,
    lengths: Tensor | Sequence[int] | None = None,
    resets: Tensor | None = None,
    constants: Mapping[str, Tensor] | None = None,
    reverse: bool = False,
    backend: str = "auto",
    return_states: Literal[True],
) -> tuple[Tensor, State, State]: ...
def unroll(
    cell: nn.Module,
    xs: Tensor,
    state: Mapping[str, Tensor] | None = None,
    *,
    lengths: Tensor | Sequence[int] | None = None,
    resets: Tensor | None = None,
    constants: Mapping[str, Tensor] | None = None,
    reverse: bool = False,
    backend: str = "auto",
    return_states: bool = False,
) -> tuple[Tensor, State] | tuple[Tensor, State, State]:
    """Run one cell over whole sequences.

    Args:
        cell: a `Cell`, or one of torch.nn's cells (see `wrap` for other modules).
        xs: the inputs, (time, batch, features); time may be 0.
        state: the state before the first step, (batch, *size) for each of the cell's names; by
            default the cell's initial state.
        lengths: the true number of steps of each sequence, (batch,) integers from 0 to time, in
            any order and on any device. What lies behind them is never read, NaN included.
        resets: (time, batch) bool; where true, the sequence starts afresh before that step, from
            the cell's initial state. Backwards too, no state goes from one side to the other.
        constants: tensors (batch, ...) that every step is given by name, such as the memory that
            an attention inside the step reads.
        reverse: read each sequence from its own last step to its first. Outputs and states stay in
            the order of xs; `state` is then that before the last step, and the state that comes
            back the one after the first.
        backend: "auto", or a name from `unrolled.backends.BACKENDS`.
        return_states: also return the states after every step.

    Returns:
        The outputs (time, batch, *outputs), zero behind each sequence's end; the state after each
        sequence's own last step; and with `return_states` every state at every step,
        (time, batch, *size), an ended sequence keeping its last. They can be differentiated
        even where no sequence has a step.

    Raises:
        ShapeError: a shape, a length or a name does not fit.
        BackendError: the backend is unknown.
        CaptureError: the backend runs programs, and the cell's step cannot be one.

    Example:
        >>> cell = nn.GRUCell(3, 5)
        >>> ys, state = unroll(cell, torch.zeros(7, 2, 3), lengths=[7, 4])
        >>> ys.shape, state["h"].shape
        (torch.Size([7, 2, 5]), torch.Size([2, 5]))
    """
    if torch.compiler.is_dynamo_compiling():
        _watch(cell, xs, constants or {})
    given = {"state": state, "lengths": lengths, "resets": resets, "constants": constants}
    given = {name: value for name, value in given.items() if value is not None}
    options = {"reverse": reverse, "backend": backend, "return_states": return_states}
    return opaque(_unroll)(cell, xs, **options, **given)


def _watch(cell: nn.Module, xs: Tensor, constants: Mapping[str, Tensor]) -> None:
    """Let `torch.compile` see one step, whose results nobody reads.

    So it learns what the step depends on, and compiles anew when an attribute changes, the mode
    or a global value.
    """
    batch = xs.shape[1]
    x = xs.new_zeros(batch, *xs.shape[2:])
    if not isinstance(cell, Cell):  # one of torch.nn's: they make their state themselves
        cell(x)
        return
    cell(x, *cell.initial_state(batch, device=xs.device).values(), **constants)


def _unroll(
    cell: nn.Module,
    xs: Tensor,
    state: Mapping[str, Tensor] | None = None,
    *,
    lengths: Tensor | Sequence[int] | None = None,
    resets: Tensor | None = None,
    constants: Mapping[str, Tensor] | None = None,
    reverse: bool,
    backend: str,
    return_states: bool,
) -> tuple[Tensor, State] | tuple[Tensor, State, State]:
    """Do what `unroll` does, out of sight of `torch.compile`."""
    cell = wrap(own(cell))
    if xs.dim() < 2:
        raise ShapeError(f"xs has shape {tuple(xs.shape)}: expected (time, batch, features)")
    time, batch = xs.shape[:2]
    start = cell.initial_state(batch, device=xs.device)
    if lengths is not None:
        lengths = checked_lengths(lengths, time, batch, xs.device)
    if resets is not None and (resets.dtype != torch.bool or resets.shape != (time, batch)):
        raise ShapeError(
            f"resets has shape {tuple(resets.shape)} and type {resets.dtype}: "
            f"expected bool of shape ({time}, {batch}), (time, batch)"
        )
    if resets is not None and lengths is not None:
        resets = resets & ~padding(lengths, time)
    before = tuple(start.values()) if state is None else _ordered(cell, state, batch)
    first, ours = tuple(start.values()), cell
    if backend != "eager":
        ours = with_real_states(cell, first, before)
    if isinstance(ours, RealStates):
        first, before = ours.as_real(first), ours.as_real(before)
    xs = cell.draw(xs)
    call = Call(
        xs=xs,
        state=before,
        start=first,
        constants=constants or {},
        lengths=lengths,
        resets=resets,
        reverse=reverse,
        keep_states=return_states,
        join=run_programs,
    )
    if is_apart() and backend == "auto":
        backend = "eager"  # this runs in a step that is being captured: its loop is part of it
    result = choose(backend)(ours, call)
    # In this order: to look at lengths is to wait for their device.
    if torch.is_grad_enabled() and not result.ys.requires_grad and _has_no_step(call):
        result = _tied(result, (xs, *call.state, *call.constants.values(), *cell.parameters()))
    last, states = result.state, result.states
    if isinstance(ours, RealStates):
        last = ours.as_complex(last)
        states = None if states is None else ours.as_complex(states)
    named = dict(zip(cell.states, last, strict=True))
    if states is None:
        return result.ys, named
    return result.ys, named, dict(zip(cell.states, states, strict=True))


def checked_lengths(
    lengths: Tensor | Sequence[int], time: int, batch: int, device: torch.device
) -> Tensor | None:
    """Give `lengths` as int64 on `device`, or None where every one is `time`.

    Raises:
        ShapeError: they are no lengths of such a batch.
    """
    lengths = torch.as_tensor(lengths, device=device)
    if lengths.numel() == 0:
        lengths = lengths.long()  # torch takes an empty list for floats
    if lengths.shape != (batch,) or lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise ShapeError(
            f"lengths has shape {tuple(lengths.shape)} and type {lengths.dtype}: "
            f"expected integers of shape ({batch},), one for each sequence"
        )
    if is_traced(lengths):
        return lengths.long()  # their numbers are checked when the loop runs
    if batch and (lengths.min() < 0 or lengths.max() > time):
        wrong = lengths[(lengths < 0) | (lengths > time)][0].item()
        raise ShapeError(f"lengths holds {wrong}: expected 0 to {time}, the steps of the batch")
    return None if bool((lengths == time).all()) else lengths.long()


def padding(lengths: Tensor, time: int) -> Tensor:
    """Mark what lies behind each sequence's end: (time, batch) bool.

    Example:
        >>> padding(torch.tensor([2, 0]), 3).int().tolist()
        [[0, 1], [0, 1], [1, 1]]
    """
    return torch.arange(time, device=lengths.device)[:, None] >= lengths


def _ordered(cell: Cell, state: Mapping[str, Tensor], batch: int) -> tuple[Tensor, ...]:
    """Give the tensors of `state` in the cell's order, or raise a ShapeError."""
    if not isinstance(state, Mapping):
        raise ShapeError(
            f"state is a {type(state).__name__}: expected a mapping, "
            f"{{{', '.join(f'{name!r}: tensor' for name in cell.states)}}}"
        )
    if set(state) != set(cell.states):
        raise ShapeError(
            f"{type(cell).__name__} has the states {', '.join(cell.states)}: "
            f"state holds {', '.join(state) or 'none'}"
        )
    for name, size in cell.states.items():
        if tuple(state[name].shape) != (batch, *size):
            raise ShapeError(
                f"state {name!r} has shape {tuple(state[name].shape)}: "
                f"expected {(batch, *size)}, (batch, size)"
            )
    return tuple(state[name] for name in cell.states)


def _has_no_step(call: Call) -> bool:
    if is_traced(call.xs):
        return False
    return len(call.xs) == 0 or (call.lengths is not None and not call.lengths.any())


def _tied(result: Result, sources: tuple[Tensor, ...]) -> Result:
    """Give the result of no step a gradient by all that a step reads: zeros.

    A batch in which every sequence happens to be empty can then be trained on like any other.
    """
    parts = (source.flatten()[:0].sum() for source in sources if source.requires_grad)
    zero = sum(parts, torch.zeros((), device=result.ys.device))

    def tie(tensor: Tensor) -> Tensor:
        return tensor + zero.to(tensor.dtype)

    states = None if result.states is None else tuple(map(tie, result.states))
    return replace(result, ys=tie(result.ys), state=tuple(map(tie, result.state)), states=states)

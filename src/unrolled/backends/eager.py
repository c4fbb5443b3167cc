"""The eager backend: a Python loop over time, and the definition of what the others compute."""

import torch
from torch import Tensor

from unrolled.backends.call import Call, Result, Step
from unrolled.errors import ShapeError


def run_eager(step: Step, call: Call) -> Result:
    """Run `step` once for every time, and let autograd follow.

    Ended sequences cost a selection per step and no step beyond the longest one; a batch without
    lengths costs nothing extra.
    """
    time = call.xs.shape[0]
    shortest, longest = _span(call.lengths, time)
    state, ys, history = call.state, [], []
    for t in range(longest):
        if call.resets is not None:
            state = _select(call.resets[t], call.start, state)
        y, new = _outputs(step(call.xs[t], *state, **call.constants), state, first=t == 0)
        if call.lengths is not None and t >= shortest:
            active = t < call.lengths
            y, new = torch.where(_over(active, y), y, 0), _select(active, new, state)
        state = new
        ys.append(y)
        history.append(state)
    if not ys:
        return _no_steps(step, call)
    ended = time - longest
    ys += [torch.zeros_like(ys[0])] * ended
    history += [state] * ended
    states = tuple(map(torch.stack, zip(*history, strict=True))) if call.keep_states else None
    return Result(torch.stack(ys), state, states)


def _span(lengths: Tensor | None, time: int) -> tuple[int, int]:
    """Give the shortest and the longest sequence."""
    if lengths is None or lengths.numel() == 0:
        return time, time
    shortest, longest = torch.stack(lengths.aminmax()).tolist()
    return shortest, longest


def _select(take: Tensor, new: tuple[Tensor, ...], old: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(torch.where(_over(take, n), n, o) for n, o in zip(new, old, strict=True))


def _over(rows: Tensor, like: Tensor) -> Tensor:
    """Shape a (batch,) selection so that it spreads over the features of `like`."""
    return rows.reshape(-1, *(1,) * (like.dim() - 1))


def _outputs(
    results: tuple[Tensor, ...], state: tuple[Tensor, ...], *, first: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    if first:
        _check(results, state)
    return results[0], tuple(results[1:])


def _check(results: tuple[Tensor, ...], state: tuple[Tensor, ...]) -> None:
    """Raise a ShapeError unless a step gave an output and every state in its own shape."""
    if not isinstance(results, tuple) or len(results) != 1 + len(state):
        found = f"{len(results)} values" if isinstance(results, tuple) else type(results).__name__
        raise ShapeError(
            f"the step returned {found}: expected a tuple of {1 + len(state)}, "
            "the output and then each state"
        )
    for i, (new, old) in enumerate(zip(results[1:], state, strict=True)):
        if new.shape != old.shape:
            raise ShapeError(
                f"the step turned state {i} of shape {tuple(old.shape)} into {tuple(new.shape)}: "
                "a state keeps its shape"
            )
    if results[0].dim() == 0 or results[0].shape[0] != state[0].shape[0]:
        raise ShapeError(
            f"the step's output has shape {tuple(results[0].shape)}: expected (batch, ...) with "
            f"a batch of {state[0].shape[0]}"
        )


def _no_steps(step: Step, call: Call) -> Result:
    """Give the result of no step at all: one step on zeros tells the shape of an output."""
    x = call.xs.new_zeros(call.xs.shape[1:])
    with torch.no_grad():
        y, _ = _outputs(step(x, *call.state, **call.constants), call.state, first=True)
    time = call.xs.shape[0]
    states = tuple(s.expand(time, *s.shape) for s in call.state) if call.keep_states else None
    return Result(y.new_zeros(time, *y.shape), call.state, states)

"""Where the first number that is none appeared: its step, its state and the operation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from unrolled.backends import Call
from unrolled.cell import Cell
from unrolled.inspect.gates import before_steps


@dataclass(frozen=True)
class NonFinite:
    """The first NaN or infinity of a recurrence."""

    step: int
    row: int
    state: str
    operation: str | None  # torch's name; None where it was already in what the step was given
    given: str | None  # what already held one: the input, the state h, the parameter U.weight


def first_non_finite(cell: Cell, call: Call, states: Sequence[Tensor]) -> NonFinite | None:
    """Find the first step at which a state is no longer finite.

    Args:
        cell: the cell.
        call: what it ran on.
        states: after every step, (time, batch, *size) each, in the cell's order.
    """
    bad = [~torch.isfinite(s).flatten(2).all(2) for s in states]  # (time, batch) each
    if not any(bool(b.any()) for b in bad):
        return None
    any_state = torch.stack(bad).any(0)
    step = int(any_state.any(1).nonzero()[0])
    row = int(any_state[step].nonzero()[0])
    state = next(name for name, b in zip(cell.states, bad, strict=True) if b[step, row])
    one = slice(row, row + 1)
    before = [s[one] for s in before_steps(call, states, slice(step, step + 1))]
    x = call.xs[step, one].detach()
    given = {"the input": x}
    given |= {f"the state {n}": s for n, s in zip(cell.states, before, strict=True)}
    given |= {f"the parameter {n}": p.detach() for n, p in cell.named_parameters()}
    held = next((n for n, value in given.items() if not bool(torch.isfinite(value).all())), None)
    constants = {name: value[one] for name, value in call.constants.items()}
    with torch.no_grad(), _FirstBad() as found:
        cell(x, *before, **constants)
    return NonFinite(step, row, state, None if held else found.operation, held)


class _FirstBad(TorchDispatchMode):
    """Notes the first operation whose value is not finite."""

    def __init__(self) -> None:
        super().__init__()
        self.operation: str | None = None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation."""
        value = func(*args, **(kwargs or {}))
        tensors = value if isinstance(value, tuple) else (value,)
        for tensor in tensors:
            if isinstance(tensor, Tensor) and tensor.is_floating_point() and not self.operation:
                if not bool(torch.isfinite(tensor).all()):
                    self.operation = func.overloadpacket.__name__
        return value

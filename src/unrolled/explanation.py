"""`explain`: what the compiler makes of a cell, and which backend runs it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unrolled.cell import Cell, wrap
from unrolled.compiler import Compiled, compile_cell, run_apart
from unrolled.compiler.classify import Recurrence, classify
from unrolled.complex_states import with_real_states
from unrolled.errors import CaptureError, ConfigError


@dataclass(frozen=True)
class Explanation:
    """What is known of a cell; it prints as a page."""

    cell: str
    compiled: Compiled | None
    obstacle: str | None  # why there is no program

    @property
    def recurrence(self) -> Recurrence | None:
        """The class of the recurrence."""
        return None if self.compiled is None else classify(self.compiled.lowered.program)

    @property
    def backend(self) -> str:
        """The backend that "auto" takes on a processor for two steps or more, and why."""
        if self.obstacle is not None:
            return "torch or eager: the step cannot be captured"
        return "llvm: the step is one program"

    def __str__(self) -> str:
        if self.compiled is None:
            return f"{self.obstacle}\n\nbackend: {self.backend}"
        program, training = self.compiled.program(resets=False, states=False)
        pages = {
            "captured": str(self.compiled.captured),
            "parts": str(self.compiled.parts),
            "program": str(program),
            "stored for the backward": ", ".join(training.stored) or "nothing",
            "backward program": str(training.backward),
        }
        text = "\n\n".join(f"{title}:\n{_indented(page)}" for title, page in pages.items())
        return f"{self.cell}: {self.recurrence}\n\n{text}\n\nbackend: {self.backend}"


def explain(
    cell: nn.Module,
    inputs: int | None = None,
    *,
    constants: Mapping[str, Tensor] | None = None,
) -> Explanation:
    """Say what is captured of a cell, how it is split, its class, its program and its backend.

    Args:
        cell: a `Cell`, or one of torch.nn's cells, in the mode in which it is to run.
        inputs: the number of features that it takes; by default the first that it accepts among
            the sizes of its parameters and states.
        constants: what every step is given by name, (batch, ...) each, as for `unroll`.

    Returns:
        The explanation; print it.

    Raises:
        ConfigError: no number of features is given and none that was tried fits.

    Example:
        >>> from unrolled.zoo import GRU
        >>> print(explain(GRU(3, 5)).recurrence)
        full mixing
    """
    ready = with_real_states(wrap(cell))
    constants = constants or {}
    x = _input(ready, inputs, constants)
    try:
        compiled = run_apart(lambda: compile_cell(ready, x, constants=constants))
        return Explanation(type(ready).__name__, compiled, None)
    except CaptureError as error:
        return Explanation(type(ready).__name__, None, str(error))


def _input(cell: Cell, inputs: int | None, constants: Mapping[str, Tensor]) -> Tensor:
    like = next(iter(cell.initial_state(1).values()))
    batch = next((len(value) for value in constants.values()), 2)
    if inputs is not None:
        return cell.draw(like.new_zeros(1, batch, inputs))[0]
    for size in dict.fromkeys(_sizes(cell)):
        x = cell.draw(like.new_zeros(1, batch, size))[0]
        try:
            with torch.no_grad():
                cell(x, *cell.initial_state(batch).values(), **constants)
        except (RuntimeError, ValueError):
            continue
        return x
    raise ConfigError(
        f"the number of features that {type(cell).__name__} takes is unknown: give it, as in "
        "explain(cell, inputs=3)"
    )


def _sizes(cell: Cell) -> Iterator[int]:
    for parameter in cell.parameters():
        yield from reversed(parameter.shape)
    for size in cell.states.values():
        yield from size


def _indented(page: str) -> str:
    return "\n".join(f"  {line}" for line in page.splitlines())

"""A cell's captured step with room for something to be added to each new state.

The gradient by what is added, which is zero, is the gradient by the state itself, with everything
that follows from it in the same step and in all later ones. The opened cell is a cell like any
other, so that it runs as a kernel.
"""

from collections.abc import Sequence
from math import prod
from operator import attrgetter

import torch
from torch import Tensor
from torch.fx import Node, map_arg

from unrolled.cell import Cell, State
from unrolled.compiler.step import Step


class Opened(Cell):
    """The captured step of a cell; its input is x, flat, and then what each state is given.

    Args:
        cell: the cell; its parameters are shared.
        step: its captured step.
        features: the shape of its x without the batch.

    Example:
        >>> from unrolled.compiler import compile_cell
        >>> from unrolled.zoo import Elman
        >>> cell = Elman(3, 5)
        >>> opened = Opened(cell, compile_cell(cell, torch.zeros(2, 3)).captured, (3,))
        >>> x, more, h = torch.ones(2, 3), torch.ones(2, 5), torch.zeros(2, 5)
        >>> y, h_1 = opened(torch.cat([x, more], -1), h)
        >>> torch.equal(h_1, cell(x, h)[0] + 1)
        True
    """

    def __init__(self, cell: Cell, step: Step, features: Sequence[int]) -> None:
        super().__init__(**cell.states)
        self.outputs = cell.outputs
        self.inner, self.graph, self.features = cell, _Graph(step), tuple(features)

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """Give the cell's own."""
        return self.inner.initial_state(batch, device=device, dtype=dtype)

    def forward(self, x: Tensor, *state: Tensor, **constants: Tensor) -> tuple[Tensor, ...]:
        """Take the captured step; a new state is what it was and what x brings for it."""
        step = self.graph.step
        own, *added = x.split(widths(self.inner, self.features), -1)
        values: dict[Node, Tensor] = {step.x: own.unflatten(-1, self.features)}
        values |= dict(zip(step.before, state, strict=True))
        values |= {node: constants[name] for name, node in step.constants.items()}
        values |= {node: attrgetter(path)(self.inner) for node, path in step.tensors.items()}
        values |= step.values
        adds = dict(zip(step.after, added, strict=True))
        for node in step.nodes:
            args, kwargs = map_arg((node.args, node.kwargs), values.__getitem__)
            value = node.target(*args, **kwargs)  # pyright: ignore[reportCallIssue]
            values[node] = value + adds.pop(node).reshape(value.shape) if node in adds else value
        for node, more in adds.items():  # a state that is one of the step's arguments
            values[node] = values[node] + more.reshape(values[node].shape)
        return values[step.y], *(values[node] for node in step.after)


def widths(cell: Cell, features: Sequence[int]) -> list[int]:
    """Give how many of an opened cell's inputs are x and how many are for each state.

    Example:
        >>> widths(Cell(h=4, S=(2, 3)), (5,))
        [5, 4, 6]
    """
    return [prod(features), *(prod(size) for size in cell.states.values())]


class _Graph:
    """A captured step as an attribute of a cell: the same to the compiler if it is the same."""

    def __init__(self, step: Step) -> None:
        self.step = step

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Graph) and self.step is other.step

    def __hash__(self) -> int:
        return id(self.step)

    def __deepcopy__(self, memo: object) -> "_Graph":
        return self

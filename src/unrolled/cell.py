"""A cell: one step of a recurrence, written as plain PyTorch over named states."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import index

import torch
from torch import Tensor, nn

from unrolled.errors import ConfigError, ShapeError

State = dict[str, Tensor]
"""A recurrence's state as a value: a tensor (batch, *size) for each name, in the cell's order."""

CellFactory = Callable[[int, int], nn.Module]
"""(inputs, hidden) -> a cell: a class of the zoo, one of torch.nn's, or a function."""

RESERVED = frozenset({"x", "y", "self"})


@dataclass(frozen=True)
class TorchForm:
    """The recurrence of torch that a cell is, so that torch's own kernels can run it.

    Args:
        kind: lstm, gru, rnn_tanh or rnn_relu.
        gates: the ends of the names of its matrices W and U, in the order in which torch stacks
            them: ("_r", "_z", "_n") for W_r, W_z and W_n.
    """

    kind: str
    gates: tuple[str, ...]


class Cell(nn.Module):
    """One step of a recurrence.

    A subclass names its states with their sizes, and its ``forward`` takes the input and the states
    of the step before, in that order, and returns the output and the new states::

        super().__init__(h=hidden, c=hidden)
        forward(x, h, c) -> (y, h, c)

    A step works row by row: what it does for one row of the batch may not depend on the others.
    ``self.outputs`` is the width of y: that of the first state, unless the subclass sets another.

    Args:
        **states: the size of each state, features or a shape: ``h=256``, ``S=(16, 16)``.

    Raises:
        ConfigError: there is no state, a size is no whole number or below 1, or a name is taken.

    Example:
        >>> class Average(Cell):
        ...     def __init__(self, features: int) -> None:
        ...         super().__init__(m=features)
        ...     def forward(self, x, m):
        ...         m = 0.5 * (m + x)
        ...         return m, m
        >>> cell = Average(3)
        >>> cell.states
        {'m': (3,)}
        >>> y, m = cell(torch.ones(2, 3), **cell.initial_state(2))
        >>> y[0].tolist()
        [0.5, 0.5, 0.5]
    """

    states: dict[str, tuple[int, ...]]
    torch_form: TorchForm | None = None
    outputs: int
    noise: int = 0
    """How many random numbers `draw` puts before each input in training."""

    def __init__(self, **states: int | Sequence[int]) -> None:
        super().__init__()
        if not states:
            raise ConfigError(
                f"{type(self).__name__} has no state: name at least one, "
                "as in super().__init__(h=hidden)"
            )
        self.states = {name: _size(type(self).__name__, name, s) for name, s in states.items()}
        self.outputs = (1, *next(iter(self.states.values())))[-1]

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """Give the state before the first step: zeros, unless a cell overrides this.

        Args:
            batch: number of rows.
            device: where the state lies; by default, where the cell's parameters do.
            dtype: its type; by default, that of the cell's parameters.

        Returns:
            A tensor (batch, *size) for each state.

        Example:
            >>> {name: s.shape for name, s in Cell(h=4, c=2).initial_state(3).items()}
            {'h': torch.Size([3, 4]), 'c': torch.Size([3, 2])}
        """
        like = _first_float(self)
        like = torch.empty(0) if like is None else like
        device, dtype = device or like.device, dtype or like.dtype
        return {
            name: torch.zeros(batch, *size, device=device, dtype=dtype)
            for name, size in self.states.items()
        }

    def draw(self, xs: Tensor) -> Tensor:
        """Draw what the steps of one run leave to chance: nothing, unless a cell overrides this.

        `unroll` calls it once, before the first step: a step that drew numbers itself could not be
        one program. Their generator is torch's, so that `torch.manual_seed` repeats a run.

        Args:
            xs: the inputs, (time, batch, features).

        Returns:
            (time, batch, noise + features) in training: each step's numbers, then its input.

        Example:
            >>> xs = torch.ones(7, 2, 3)
            >>> Cell(h=4).draw(xs) is xs
            True
        """
        return xs


class _Wrapped(Cell):
    """A module with ``forward(x, *states) -> (y, *states)`` that is not itself a Cell."""

    def __init__(self, module: nn.Module, **states: int | Sequence[int]) -> None:
        super().__init__(**states)
        self.module = module

    def forward(self, x: Tensor, *state: Tensor, **constants: Tensor) -> tuple[Tensor, ...]:
        return self.module(x, *state, **constants)


class _WrappedHidden(_Wrapped):
    """`nn.RNNCell` and `nn.GRUCell`: they return h alone, which is the output too."""

    def forward(self, x: Tensor, *state: Tensor, **constants: Tensor) -> tuple[Tensor, ...]:
        _refuse(constants, self.module)
        h = self.module(x, *state)
        return h, h


class _WrappedLSTM(_Wrapped):
    """`nn.LSTMCell`: it takes and returns the pair (h, c)."""

    def forward(self, x: Tensor, *state: Tensor, **constants: Tensor) -> tuple[Tensor, ...]:
        _refuse(constants, self.module)
        h, c = self.module(x, state)
        return h, h, c


def _refuse(constants: Mapping[str, Tensor], module: nn.Module) -> None:
    if constants:
        raise ShapeError(
            f"{type(module).__name__} of torch.nn was given {', '.join(constants)} by name: it "
            "takes its states in their order and no constants; write a Cell whose forward reads "
            "them, or leave them out"
        )


TORCH_CELLS: dict[type[nn.Module], tuple[type[_Wrapped], tuple[str, ...]]] = {
    nn.RNNCell: (_WrappedHidden, ("h",)),
    nn.GRUCell: (_WrappedHidden, ("h",)),
    nn.LSTMCell: (_WrappedLSTM, ("h", "c")),
}


def wrap(module: nn.Module, **states: int | Sequence[int]) -> Cell:
    """Make a cell of any module with ``forward(x, *states) -> (y, *states)``.

    Args:
        module: the module; `torch.nn`'s RNNCell, GRUCell and LSTMCell need no states named.
        **states: the size of each state, in the order in which the module takes them.

    Returns:
        A cell that shares the module's parameters; a module that is a cell comes back as it is.

    Raises:
        ConfigError: the states of a module that unrolled does not know are not named.

    Example:
        >>> wrap(nn.LSTMCell(3, 5)).states
        {'h': (5,), 'c': (5,)}
    """
    if isinstance(module, Cell):
        return module
    if states:
        return _Wrapped(module, **states)
    for kind in type(module).__mro__:
        if kind in TORCH_CELLS:
            adapter, names = TORCH_CELLS[kind]
            return adapter(module, **dict.fromkeys(names, module.hidden_size))  # pyright: ignore
    raise ConfigError(
        f"{type(module).__name__} is not a Cell and its states are unknown: name them with their "
        f"sizes, as in wrap(module, h=64)"
    )


def _first_float(module: nn.Module) -> Tensor | None:
    """Give the first of `parameters()` that holds floats; looked for at every call."""
    for parameter in module._parameters.values():
        if parameter is not None and parameter.is_floating_point():
            return parameter
    children = (child for child in module._modules.values() if child is not None)
    return next((found for found in map(_first_float, children) if found is not None), None)


def _size(cell: str, name: str, size: int | Sequence[int]) -> tuple[int, ...]:
    if name in RESERVED:
        raise ConfigError(f"{cell} names a state {name!r}: that name is taken, choose another")
    try:
        shape = tuple(map(index, size if isinstance(size, Sequence) else (size,)))
    except TypeError:
        raise ConfigError(
            f"{cell} has a state {name!r} of size {size!r}: "
            "expected whole numbers, as in h=256 or S=(16, 16)"
        ) from None
    if any(n < 1 for n in shape):
        raise ConfigError(f"{cell} has a state {name!r} of size {shape}: sizes start at 1")
    return shape

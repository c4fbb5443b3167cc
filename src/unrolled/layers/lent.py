"""Cells that are lent the stacked parameters of `torch.nn`'s layers for the length of a call.

torch.nn stacks the matrices of all gates in one parameter; `CELLS` and `MATRICES` say how it is cut
into the matrices of a cell of the zoo. The cut is a view, so gradients arrive in the parameter.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from threading import RLock
from typing import Any, cast

import torch
from torch import Tensor, nn

from unrolled import zoo
from unrolled.cell import Cell, State
from unrolled.compiler import run_apart, seal
from unrolled.errors import ShapeError
from unrolled.recurrence import unroll

CELLS: dict[str, tuple[Callable[..., Cell], tuple[str, ...]]] = {
    # torch.nn's mode -> the cell, and its gates in the order in which they are stacked
    "RNN_TANH": (partial(zoo.Elman, activation="tanh"), ("",)),
    "RNN_RELU": (partial(zoo.Elman, activation="relu"), ("",)),
    "LSTM": (zoo.LSTM, ("_i", "_f", "_g", "_o")),
    "LSTM projected": (zoo.LSTMP, ("_i", "_f", "_g", "_o")),
    "GRU": (zoo.GRU, ("_r", "_z", "_n")),
}

MATRICES = {
    # torch.nn's name -> the cell's symbol and its parameter
    "weight_ih": ("W", "weight"),
    "weight_hh": ("U", "weight"),
    "bias_ih": ("W", "bias"),
    "bias_hh": ("U", "bias"),
    "weight_hr": ("P", "weight"),
}

Hidden = tuple[Tensor, ...]
"""torch.nn's hx as a tuple for every mode: h, or h and c, each (layers * directions, batch, _)."""


def run_lent(
    kind: str,
    bias: bool,
    sizes: tuple[int, ...],
    xs: Tensor,
    named: Mapping[str, Tensor],
    hidden: Hidden | None = None,
    **given: Any,
) -> tuple[Tensor, State]:
    """Run a cell by torch.nn's parameters, out of sight of `torch.compile`.

    Args:
        kind: a name from `CELLS`.
        bias: whether it has biases.
        sizes: what the cell is built with, behind the number of its inputs.
        xs: (time, batch, inputs).
        named: a layer's parameters in one direction, by torch.nn's names.
        hidden: before the first step; None: zeros.
        given: what else `unroll` is given.

    Returns:
        What `unroll` gives.
    """
    inputs = next(weight.shape[1] for name, weight in named.items() if "weight_ih" in name)
    types = tuple((weight.dtype, weight.device) for weight in named.values())
    objects = list(map(id, named.values()))
    ties = tuple(map(objects.index, objects))
    template = _template(kind, bias, (int(inputs), *sizes), types, ties)
    return template.run(named, xs, hidden, **given)


@cache
def _template(
    kind: str,
    bias: bool,
    sizes: tuple[int, ...],
    types: tuple[tuple[torch.dtype, torch.device], ...],
    ties: tuple[int, ...],  # of each parameter, the first that is the same tensor
) -> "Template":
    make, gates = CELLS[kind]

    def made() -> "Template":
        with torch.device("meta"):
            return Template(make(*sizes, bias=bias), gates)

    return run_apart(made)  # an export that is going on would hold how its numbers are drawn


class Template:
    """A cell without values: it is lent a layer's matrices for the length of one call.

    One stands for all layers of its sizes, outside of their modules: what a backend learns about
    the cell is learnt once, and a layer's parameters remain torch.nn's. The lock keeps threads from
    lending it their matrices at the same time.
    """

    def __init__(self, cell: Cell, gates: tuple[str, ...]) -> None:
        self.cell, self.cuts, self.lock = cell, Cuts(), RLock()
        linears = {symbol: self._stack(symbol, gates) for symbol in "WU"}
        if isinstance(cell, zoo.LSTMP):
            linears["P"] = cell.P
        self.places = {symbol: linear._parameters for symbol, linear in linears.items()}
        self.shapes = {
            (symbol, kind): parameter.shape
            for symbol, parameters in self.places.items()
            for kind, parameter in parameters.items()
            if parameter is not None
        }

    def _stack(self, symbol: str, gates: tuple[str, ...]) -> nn.Linear:
        """Give all gates' linear maps of one symbol as one, of which they become rows."""
        names = [f"{symbol}{gate}" for gate in gates]
        own = cast("list[nn.Linear]", [self.cell.get_submodule(name) for name in names])
        if len(own) == 1:
            return own[0]
        (sizes,) = {(one.in_features, one.out_features) for one in own}
        stacked = nn.Linear(sizes[0], sizes[1] * len(own), own[0].bias is not None)
        for number, name in enumerate(names):
            setattr(self.cell, name, Gate(stacked, self.cuts, number, len(names)))
        return stacked

    def run(self, named: Mapping[str, Any], xs: Tensor, hidden: Hidden | None, **given: Any) -> Any:
        """Lend the cell torch.nn's stacked parameters, run it, and take them back.

        Raises:
            ShapeError: a parameter was replaced by one of another shape.
        """
        state = None if hidden is None else dict(zip(self.cell.states, hidden, strict=True))
        lent = {_place(name): stacked for name, stacked in named.items()}
        if [stacked.shape for stacked in lent.values()] != [self.shapes[place] for place in lent]:
            self._refuse(named)
        with self.lock:  # this thread may come again, from a hook
            before = {symbol: dict(parameters) for symbol, parameters in self.places.items()}
            kept = self.cuts.kept
            try:
                for (symbol, kind), stacked in lent.items():
                    self.places[symbol][kind] = stacked
                self.cuts.kept = None
                seal(self.cell)
                self.cuts.kept = {}
                return unroll(self.cell, xs, state, **given)
            finally:
                self.cuts.kept = kept
                for symbol, parameters in before.items():
                    self.places[symbol].update(parameters)

    def _refuse(self, named: Mapping[str, Tensor]) -> None:
        for name, stacked in named.items():
            found, expected = tuple(stacked.shape), tuple(self.shapes[_place(name)])
            if found != expected:
                raise ShapeError(f"{name} has shape {found}: expected {expected}")


@cache
def _place(name: str) -> tuple[str, str]:
    """Give the cell's symbol and parameter for torch.nn's name of a layer's parameter."""
    return MATRICES[name.rsplit("_l", 1)[0]]


class Gate(nn.Linear):
    """A linear map by some rows of a stacked matrix and bias."""

    is_linear = True  # see `torch_kernels`

    def __init__(self, stacked: nn.Linear, cuts: "Cuts", number: int, gates: int) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = stacked.in_features, stacked.out_features // gates
        self.stacked, self.cuts, self.number, self.gates = stacked, cuts, number, gates

    @property
    def weight(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """(outputs, inputs)."""
        return self.cuts.of(self.stacked.weight, self.gates)[self.number]

    @property
    def bias(self) -> Tensor | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """(outputs,)."""
        bias = self.stacked.bias
        return None if bias is None else self.cuts.of(bias, self.gates)[self.number]


class Cuts:
    """Stacked tensors cut into those of gates: once for each call, and not for every step."""

    def __init__(self) -> None:
        self.kept: dict[int, tuple[Tensor, ...]] | None = None  # None: there is no call

    def of(self, stacked: Tensor, gates: int) -> tuple[Tensor, ...]:
        """Cut a tensor, or give what it was cut into."""
        if self.kept is None:
            return stacked.chunk(gates)
        if id(stacked) not in self.kept:
            self.kept[id(stacked)] = stacked.chunk(gates)
        return self.kept[id(stacked)]

    def __deepcopy__(self, memo: object) -> "Cuts":
        return Cuts()  # a step that is captured cuts for itself

"""`RNN`, `LSTM` and `GRU`: torch.nn's layers, run by unrolled's cells.

Each takes the arguments of torch.nn's class of that name and has its parameters, so a model keeps
its constructor calls and its `state_dict`::

    from unrolled import LSTM  # was: from torch.nn import LSTM

All are `torch.nn.RNNBase`; they are no `torch.nn.LSTM` and so on, because `torch.compile` refuses
whatever is one.

torch.nn stacks the matrices of all gates in one parameter; `CELLS` and `MATRICES` say how it is cut
into the matrices of a cell of the zoo. The cut is a view, so gradients arrive in the parameter.

They depart from torch.nn in: time may be 0; under autocast they run in their parameters' type;
TorchScript cannot compile them.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from threading import RLock
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout
from torch.nn.utils.rnn import PackedSequence

from unrolled import zoo
from unrolled.backends.tracing import opaque
from unrolled.cell import Cell, State
from unrolled.compiler import run_apart, seal
from unrolled.errors import ShapeError
from unrolled.layers.ragged import pack, unpack
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


class _DropIn(nn.RNNBase):
    """What the three classes share: torch.nn's arguments and results around `unroll`."""

    original: type[nn.RNNBase]
    """torch.nn's class: its errors are given in its own words."""

    backend = "auto"
    """The backend that `unroll` is given; set it on the class or on one module."""

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """Run all layers, as the forward of torch.nn's class does.

        Args:
            input: (time, batch, inputs), or (batch, time, inputs) with `batch_first`, or
                (time, inputs), or a PackedSequence.
            hx: the state before the first step, (layers * directions, batch, hidden), without
                batch if the input has none; for LSTM the pair (h, c); by default zeros.

        Returns:
            The outputs, in the form of the input, and the last state, in that of hx.

        Raises:
            RuntimeError, ValueError: a shape or a type does not fit; the errors are torch.nn's.
        """
        if not torch.compiler.is_compiling():
            self._update_flat_weights()
        if isinstance(input, PackedSequence):
            return self._run_packed(input, hx)
        rank = input.dim()
        if rank not in (2, 3) or (hx is not None and any(h.dim() != rank for h in _hidden(hx))):
            return self.original.forward(self, input, hx)  # which refuses it
        return self._run_padded(input, hx) if rank == 3 else self._run_single(input, hx)

    def _run_single(self, input: Tensor, hx: Any) -> tuple[Tensor, Any]:
        axis = 0 if self.batch_first else 1
        if hx is not None:
            hx = self._hx(tuple(h.unsqueeze(1) for h in _hidden(hx)))
        ys, hx = self._run_padded(input.unsqueeze(axis), hx)
        return ys.squeeze(axis), self._hx(tuple(h.squeeze(1) for h in _hidden(hx)))

    def _run_padded(self, input: Tensor, hx: Any) -> tuple[Tensor, Any]:
        hidden = self._checked(input, hx, None)
        xs = input.transpose(0, 1) if self.batch_first else input
        ys, hidden = self._run_layers(xs, hidden, None, partial(dropout, p=self.dropout))
        return (ys.transpose(0, 1) if self.batch_first else ys), self._hx(hidden)

    def _run_packed(self, packed: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        hidden = self._checked(packed.data, hx, packed.batch_sizes)
        if hidden is not None:
            hidden = _permuted(hidden, packed.sorted_indices)
        xs, lengths = unpack(packed)
        drop = partial(_drop_packed, p=self.dropout, packed=packed)
        ys, hidden = self._run_layers(xs, hidden, lengths, drop)
        return pack(ys, packed), self._hx(_permuted(hidden, packed.unsorted_indices))

    def _run_layers(
        self,
        xs: Tensor,
        hidden: Hidden | None,
        lengths: Tensor | None,
        drop: Callable[[Tensor], Tensor],
    ) -> tuple[Tensor, Hidden]:
        weights = self._weights()
        lasts: list[State] = []
        for layer in range(self.num_layers):
            outputs: list[Tensor] = []
            for direction in range(2 if self.bidirectional else 1):
                number = len(lasts)
                named = {name: weights[name] for name in self._all_weights[number]}
                before = None if hidden is None else tuple(h[number] for h in hidden)
                ys, last = self._run_cell(xs, before, lengths, named, reverse=direction == 1)
                outputs.append(ys)
                lasts.append(last)
            xs = torch.cat(outputs, -1) if self.bidirectional else outputs[0]
            if self.training and self.dropout and layer < self.num_layers - 1:
                xs = drop(xs)
        return xs, tuple(torch.stack([last[name] for last in lasts]) for name in lasts[0])

    def _weights(self) -> dict[str, Any]:
        """Give the parameters, or what a parametrization makes of them, by their names."""
        if torch.compiler.is_compiling():  # the list holds weak references, which it cannot follow
            return {name: getattr(self, name) for name in self._flat_weights_names}
        return dict(zip(self._flat_weights_names, self._flat_weights, strict=True))

    def _run_cell(
        self,
        xs: Tensor,
        hidden: Hidden | None,
        lengths: Tensor | None,
        named: Mapping[str, Tensor],
        *,
        reverse: bool,
    ) -> tuple[Tensor, State]:
        kind, sizes = self.mode, (self.hidden_size,)
        if self.proj_size:
            kind, sizes = "LSTM projected", (self.hidden_size, self.proj_size)
        given = {"hidden": hidden, "lengths": lengths}
        given = {name: value for name, value in given.items() if value is not None}
        options = {"backend": self.backend, "reverse": reverse, **given}
        return opaque(_run_lent)(kind, self.bias, sizes, xs, named, **options)

    def _checked(self, input: Tensor, hx: Any, batch_sizes: Tensor | None) -> Hidden | None:
        """Give hx as a tuple, or let torch.nn raise its error."""
        if hx is None:
            self.check_input(input, batch_sizes)
            return None
        self.check_forward_args(input, hx, batch_sizes)
        return _hidden(hx)

    def _hx(self, hidden: Hidden) -> Any:
        return hidden if self.mode == "LSTM" else hidden[0]


class RNN(_DropIn):
    """`torch.nn.RNN`, run by `zoo.Elman`: its arguments, parameters, results and errors.

    Elman 1990, doi:10.1207/s15516709cog1402_1.

    Example:
        >>> rnn = RNN(3, 5, nonlinearity="relu", batch_first=True)
        >>> ys, h = rnn(torch.zeros(2, 7, 3))
        >>> ys.shape, h.shape
        (torch.Size([2, 7, 5]), torch.Size([1, 2, 5]))
    """

    original = nn.RNN

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        *args: Any,
        **kwargs: Any,
    ) -> None:
        _refuse_projection(kwargs)
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        mode = f"RNN_{nonlinearity.upper()}"
        super().__init__(mode, input_size, hidden_size, num_layers, *args, **kwargs)
        self.nonlinearity = nonlinearity


class LSTM(_DropIn):
    """`torch.nn.LSTM`, run by `zoo.LSTM` or `zoo.LSTMP`: its arguments, parameters and errors.

    Hochreiter & Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; with ``proj_size`` Sak, Senior &
    Beaufays 2014, arXiv:1402.1128.

    Example:
        >>> lstm = LSTM(3, 5, num_layers=2)
        >>> nn.LSTM(3, 5, num_layers=2).load_state_dict(lstm.state_dict())
        <All keys matched successfully>
        >>> ys, (h, c) = lstm(torch.zeros(7, 2, 3))
        >>> ys.shape, h.shape, c.shape
        (torch.Size([7, 2, 5]), torch.Size([2, 2, 5]), torch.Size([2, 2, 5]))
    """

    original = nn.LSTM
    check_forward_args = nn.LSTM.check_forward_args  # pyright: ignore[reportAssignmentType]
    get_expected_cell_size = nn.LSTM.get_expected_cell_size

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)


class GRU(_DropIn):
    """`torch.nn.GRU`, run by `zoo.GRU`: its arguments, parameters, results and errors.

    Cho et al. 2014, arXiv:1406.1078.

    Example:
        >>> gru = GRU(3, 5, bidirectional=True)
        >>> ys, h = gru(torch.zeros(7, 2, 3))
        >>> ys.shape, h.shape
        (torch.Size([7, 2, 10]), torch.Size([2, 2, 5]))
    """

    original = nn.GRU

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse_projection(kwargs)
        super().__init__("GRU", *args, **kwargs)


def _refuse_projection(kwargs: Mapping[str, Any]) -> None:
    if "proj_size" in kwargs:
        raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")


class _Gate(nn.Linear):
    """A linear map by some rows of a stacked matrix and bias."""

    is_linear = True  # see `torch_kernels`

    def __init__(self, stacked: nn.Linear, cuts: "_Cuts", number: int, gates: int) -> None:
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


class _Cuts:
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

    def __deepcopy__(self, memo: object) -> "_Cuts":
        return _Cuts()  # a step that is captured cuts for itself


class _Template:
    """A cell without values: it is lent a layer's matrices for the length of one call.

    One stands for all layers of its sizes, outside of their modules: what a backend learns about
    the cell is learnt once, and a layer's parameters remain torch.nn's. The lock keeps threads from
    lending it their matrices at the same time.
    """

    def __init__(self, cell: Cell, gates: tuple[str, ...]) -> None:
        self.cell, self.cuts, self.lock = cell, _Cuts(), RLock()
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
            setattr(self.cell, name, _Gate(stacked, self.cuts, number, len(names)))
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


def _run_lent(
    kind: str,
    bias: bool,
    sizes: tuple[int, ...],
    xs: Tensor,
    named: Mapping[str, Tensor],
    hidden: Hidden | None = None,
    **given: Any,
) -> tuple[Tensor, State]:
    """Run a cell by torch.nn's parameters, out of sight of `torch.compile`."""
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
) -> _Template:
    make, gates = CELLS[kind]

    def made() -> _Template:
        with torch.device("meta"):
            return _Template(make(*sizes, bias=bias), gates)

    return run_apart(made)  # an export that is going on would hold how its numbers are drawn


def _hidden(hx: Any) -> Hidden:
    return (hx,) if isinstance(hx, Tensor) else tuple(hx)


def _permuted(hidden: Hidden, order: Tensor | None) -> Hidden:
    return hidden if order is None else tuple(h.index_select(1, order) for h in hidden)


def _drop_packed(xs: Tensor, p: float, packed: PackedSequence) -> Tensor:
    """Drop the elements that torch.nn drops with the same seed: it draws none for padding."""
    data = dropout(pack(xs, packed).data, p)
    return unpack(PackedSequence(data, *packed[1:]))[0]

"""`RNN`, `LSTM` and `GRU`: torch.nn's layers, run by unrolled's cells.

Each takes the arguments of torch.nn's class of that name and has its parameters, so a model keeps
its constructor calls and its `state_dict`::

    from unrolled import LSTM  # was: from torch.nn import LSTM

All are `torch.nn.RNNBase`; they are no `torch.nn.LSTM` and so on, because `torch.compile` refuses
whatever is one.

The cell that runs is one of the zoo's, which is lent the layer's parameters, see `lent`.

They depart from torch.nn in: time may be 0; under autocast they run in their parameters' type;
TorchScript cannot compile them.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout
from torch.nn.utils.rnn import PackedSequence

from unrolled.backends.tracing import opaque
from unrolled.cell import State
from unrolled.layers.lent import Hidden, run_lent
from unrolled.layers.ragged import pack, unpack


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
        return opaque(run_lent)(kind, self.bias, sizes, xs, named, **options)

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


def _hidden(hx: Any) -> Hidden:
    return (hx,) if isinstance(hx, Tensor) else tuple(hx)


def _permuted(hidden: Hidden, order: Tensor | None) -> Hidden:
    return hidden if order is None else tuple(h.index_select(1, order) for h in hidden)


def _drop_packed(xs: Tensor, p: float, packed: PackedSequence) -> Tensor:
    """Drop the elements that torch.nn drops with the same seed: it draws none for padding."""
    data = dropout(pack(xs, packed).data, p)
    return unpack(PackedSequence(data, *packed[1:]))[0]

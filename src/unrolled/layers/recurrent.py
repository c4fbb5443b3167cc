"""Recurrent layers over any cell: stacked, in both directions, with residuals, norm and dropout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from unrolled.cell import Cell, CellFactory, State, wrap
from unrolled.errors import ConfigError, ShapeError
from unrolled.layers.dropout import SharedDropout
from unrolled.recurrence import checked_lengths, padding, unroll


class Recurrent(nn.Module):
    """Layers of one kind of cell, in one direction or in both.

    Layer l reads the outputs x of the layer below and gives::

        y = norm(cells(dropout(x)))          the first layer, without the dropout
        y = x + norm(cells(dropout(x)))      with residual: the layers above it, if as wide as x

    `cells` runs the layer's cell forwards and, if bidirectional, a second one backwards, their
    outputs side by side. The residual is added after the norm, so x passes all layers unchanged.

    Args:
        cell: makes a cell from (inputs, hidden): a class such as `zoo.GRU` or `torch.nn.GRUCell`,
            or a function such as ``partial(zoo.Elman, activation="relu")``.
        inputs: features of the sequences.
        hidden: size of each cell.
        layers: how many layers, at least 1.
        bidirectional: whether a second cell of each layer reads the sequences backwards.
        residual: whether each layer from the second on is added to what it reads.
        layer_norm: whether each layer's output is normalised over its features (`nn.LayerNorm`).
        dropout: rate, from 0 to below 1, on what each layer from the second on reads; one mask
            for all times (`SharedDropout`), in training only.
        backend: "auto", or a name from `unrolled.backends.BACKENDS`.

    Attributes:
        outputs: the width of ys, both directions together.
        states: for each of the cell's names, the shape (layers * directions, *size) of its state.
        cells: layer 0 forward, layer 0 backward, layer 1 forward and so on, as in `torch.nn`.
        states: the size of each state without its batch, (layers * directions, *size).

    Raises:
        ConfigError: there is no layer, the rate is out of its range, or the cell is unknown.

    Example:
        >>> layers = Recurrent(nn.GRUCell, 3, 5, layers=2, bidirectional=True)
        >>> ys, state = layers(torch.zeros(7, 2, 3), lengths=[7, 4])
        >>> ys.shape, state["h"].shape
        (torch.Size([7, 2, 10]), torch.Size([4, 2, 5]))
    """

    def __init__(
        self,
        cell: CellFactory,
        inputs: int,
        hidden: int,
        *,
        layers: int = 1,
        bidirectional: bool = False,
        residual: bool = False,
        layer_norm: bool = False,
        dropout: float = 0.0,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if layers < 1:
            raise ConfigError(f"Recurrent has {layers} layers: expected at least 1")
        self.inputs, self.outputs = inputs, inputs
        self.directions = 2 if bidirectional else 1
        self.residual, self.backend = residual, backend
        self.dropout = SharedDropout(dropout)
        self.norms = nn.ModuleList()
        cells: list[Cell] = []
        for layer in range(layers):
            row = [wrap(cell(self.outputs, hidden)) for _ in range(self.directions)]
            self.outputs = sum(c.outputs for c in row)
            cells += row
            if row[0].states != cells[0].states:
                raise ConfigError(
                    f"layer {layer} has the states {row[0].states} and layer 0 "
                    f"{cells[0].states}: the layers of a stack need the same"
                )
            self.norms.append(nn.LayerNorm(self.outputs) if layer_norm else nn.Identity())
        self.cells = nn.ModuleList(cells)
        self.states = {name: (len(cells), *size) for name, size in cells[0].states.items()}

    def forward(
        self,
        xs: Tensor,
        state: Mapping[str, Tensor] | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Tensor | None = None,
        constants: Mapping[str, Tensor] | None = None,
        return_states: bool = False,
    ) -> tuple[Tensor, State] | tuple[Tensor, State, State]:
        """Run all layers over whole sequences.

        Args:
            xs: the inputs, (time, batch, inputs).
            state: the state before the first step (backwards: before the last), for each of the
                cell's names (layers * directions, batch, *size) in the order of `cells`; by
                default each cell's initial state.
            lengths: as in `unroll`; going backwards starts at each sequence's own last step.
            resets: as in `unroll`; neither direction looks across the cut before such a step.
            constants: as in `unroll`, the same for every cell.
            return_states: also return the states after every step.

        Returns:
            ys (time, batch, outputs), zero behind each sequence's end; the state after the last
            step that each cell reads, shaped as `state`; and with `return_states` every state,
            (layers * directions, time, batch, *size), where time t holds the state that has just
            read step t.

        Raises:
            ShapeError: a shape, a length or a name does not fit.
            BackendError: the backend is unknown.
        """
        self._check(xs, state)
        time, batch, _ = xs.shape
        ends = None if lengths is None else checked_lengths(lengths, time, batch, xs.device)
        given = _Given(state, ends, resets, constants, return_states)
        lasts: list[State] = []
        histories: list[State] = []
        for layer, norm in enumerate(self.norms):
            read = self.dropout(xs) if layer else xs
            outputs: list[Tensor] = []
            for direction in range(self.directions):
                ys, last, history = self._one_way(layer, direction, read, given)
                outputs.append(ys)
                lasts.append(last)
                histories += history
            ys = norm(torch.cat(outputs, -1) if self.directions > 1 else outputs[0])
            if ends is not None and isinstance(norm, nn.LayerNorm):  # that of zeros is its bias
                ys = ys.masked_fill(padding(ends, time)[..., None], 0)
            residual = self.residual and layer > 0 and xs.shape == ys.shape
            xs = xs + ys if residual else ys
        return (xs, _stack(lasts), _stack(histories)) if return_states else (xs, _stack(lasts))

    def _check(self, xs: Tensor, state: Mapping[str, Tensor] | None) -> None:
        if xs.dim() != 3 or xs.shape[-1] != self.inputs:
            raise ShapeError(
                f"xs has shape {tuple(xs.shape)}: expected (time, batch, {self.inputs})"
            )
        for name, tensor in (state or {}).items():
            if tensor.shape[:1] != (len(self.cells),):
                raise ShapeError(
                    f"state {name!r} has shape {tuple(tensor.shape)}: expected "
                    f"({len(self.cells)}, batch, size), a row for each layer and direction"
                )

    def _one_way(
        self, layer: int, direction: int, xs: Tensor, given: "_Given"
    ) -> tuple[Tensor, State, list[State]]:
        """Run one cell over xs."""
        number = layer * self.directions + direction
        cell = self.cells[number]
        run = partial(
            unroll,
            cell,
            xs,
            None if given.state is None else {n: s[number] for n, s in given.state.items()},
            lengths=given.lengths,
            resets=given.resets,
            constants=given.constants,
            reverse=direction == 1,
            backend=self.backend,
        )
        ys, last, *history = run(return_states=True) if given.keep_states else run()
        if ys.shape[2:] != (cell.outputs,):
            raise ShapeError(
                f"cell {number} gave outputs of shape {tuple(ys.shape[2:])} where its attribute "
                f"outputs is {cell.outputs}: set self.outputs in the cell's __init__"
            )
        return ys, last, history


@dataclass(frozen=True)
class _Given:
    """What every cell of a call is given alike."""

    state: Mapping[str, Tensor] | None
    lengths: Tensor | None
    resets: Tensor | None
    constants: Mapping[str, Tensor] | None
    keep_states: bool


def _stack(states: Sequence[State]) -> State:
    return {name: torch.stack([s[name] for s in states]) for name in states[0]}

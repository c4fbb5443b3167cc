"""Cells over cells: what can be put around any cell, and around each other.

A wrapper takes a cell and is one: it runs on every backend and in every layer as its cell does::

    def Regularised(inputs, hidden):
        return zoo.Zoneout(zoo.WeightDrop(zoo.LSTM(inputs, hidden), 0.5), h=0.05, c=0.5)

    ys, state = unroll(Regularised(32, 64), xs)
    layers = Recurrent(Regularised, 32, 64, layers=2)
    unrolled train ... --cell 'Zoneout(WeightDrop(LSTM, 0.5), h=0.05, c=0.5)'

On the command line a cell's own options stand in brackets too, by name, as in
``Elman(activation=relu)`` or ``WeightDrop(MinGRU, 0.5, only=(W_z, W_n))``, and ``module:Class`` may
stand wherever a cell does.

Each does in training what its paper says, and in evaluation what follows from it without chance.
Masks come from torch's generator before the first step of a call: after `torch.manual_seed` two
runs agree, whatever backend runs them. A step alone, ``cell(x, h)``, is given what `Cell.draw` made
of its input.
"""

from unrolled.zoo.wrappers.dropout import RecurrentDropout, WeightDrop
from unrolled.zoo.wrappers.layer_norm import LayerNormed
from unrolled.zoo.wrappers.shape import MultiHead, Residual
from unrolled.zoo.wrappers.wrapper import Wrapper
from unrolled.zoo.wrappers.zoneout import Zoneout

__all__ = [
    "LayerNormed",
    "MultiHead",
    "RecurrentDropout",
    "Residual",
    "WeightDrop",
    "Wrapper",
    "Zoneout",
]

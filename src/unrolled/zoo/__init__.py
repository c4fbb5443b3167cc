"""The zoo: published recurrences, each a class that reads like its paper.

`CELLS` has them by name; every one is built as ``Name(inputs, hidden)``.
"""

from unrolled.cell import CellFactory
from unrolled.zoo.elman import Elman
from unrolled.zoo.gru import GRU
from unrolled.zoo.lstm import LSTM, LSTMP

CELLS: dict[str, CellFactory] = {kind.__name__: kind for kind in (Elman, LSTM, LSTMP, GRU)}

__all__ = ["CELLS", "GRU", "LSTM", "LSTMP", "Elman"]

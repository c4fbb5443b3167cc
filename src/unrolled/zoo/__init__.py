"""The zoo: published recurrences, each a class that reads like its paper.

`CELLS` has them by name; every one is built as ``Name(inputs, hidden)``.
"""

from unrolled.cell import CellFactory
from unrolled.zoo.elman import Elman
from unrolled.zoo.gru import GRU, GRUv3, LiGRU
from unrolled.zoo.lstm import LSTM, LSTMP

FAMILIES: tuple[tuple[CellFactory, ...], ...] = (
    (Elman,),
    (LSTM, LSTMP),
    (GRU, GRUv3, LiGRU),
)

CELLS: dict[str, CellFactory] = {kind.__name__: kind for family in FAMILIES for kind in family}

__all__ = [
    "CELLS",
    "FAMILIES",
    "GRU",
    "LSTM",
    "LSTMP",
    "Elman",
    "GRUv3",
    "LiGRU",
]

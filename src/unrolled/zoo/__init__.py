"""The zoo: published recurrences, each a class that reads like its paper.

`CELLS` has them by name; every one is built as ``Name(inputs, hidden)``.
"""

from unrolled.cell import CellFactory
from unrolled.zoo.elman import Elman
from unrolled.zoo.fast import FastGRNN, FastRNN
from unrolled.zoo.gru import GRU, GRUv3, LiGRU
from unrolled.zoo.light import ATR, CFN, LightRU, MinimalRNN
from unrolled.zoo.lstm import LSTM, LSTMP
from unrolled.zoo.lstm_variants import CIFG, JANET, RAN, OriginalLSTM, PeepholeLSTM
from unrolled.zoo.mgu import MGU, MGU1, MGU2, MGU3
from unrolled.zoo.mut import MUT1, MUT2, MUT3
from unrolled.zoo.ugrnn import UGRNN, IntersectionRNN

FAMILIES: tuple[tuple[CellFactory, ...], ...] = (
    (Elman,),
    (LSTM, LSTMP),
    (OriginalLSTM, PeepholeLSTM, CIFG, JANET, RAN),
    (GRU, GRUv3, LiGRU),
    (MUT1, MUT2, MUT3),
    (MGU, MGU1, MGU2, MGU3),
    (UGRNN, IntersectionRNN),
    (LightRU, CFN, ATR, MinimalRNN),
    (FastRNN, FastGRNN),
)

CELLS: dict[str, CellFactory] = {kind.__name__: kind for family in FAMILIES for kind in family}

__all__ = [
    "ATR",
    "CELLS",
    "CFN",
    "CIFG",
    "FAMILIES",
    "GRU",
    "JANET",
    "LSTM",
    "LSTMP",
    "MGU",
    "MGU1",
    "MGU2",
    "MGU3",
    "MUT1",
    "MUT2",
    "MUT3",
    "RAN",
    "UGRNN",
    "Elman",
    "FastGRNN",
    "FastRNN",
    "GRUv3",
    "IntersectionRNN",
    "LiGRU",
    "LightRU",
    "MinimalRNN",
    "OriginalLSTM",
    "PeepholeLSTM",
]

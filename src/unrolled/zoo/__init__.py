"""The zoo: published recurrences, each a class that reads like its paper.

`CELLS` has them by name; every one is built as ``Name(inputs, hidden)``.
"""

from unrolled.cell import CellFactory
from unrolled.zoo.delta_rule import DeltaNet, GatedDeltaNet
from unrolled.zoo.elman import Elman
from unrolled.zoo.gru import GRU
from unrolled.zoo.linear_attention import GLA, RetNet
from unrolled.zoo.linear_recurrence import HGRN, LRU, RGLRU
from unrolled.zoo.lstm import LSTM, LSTMP
from unrolled.zoo.min_gru import MinGRU, MinLSTM
from unrolled.zoo.para_rnn import ParaGRU, ParaLSTM
from unrolled.zoo.quasi_recurrent import QRNN, SRU, SRU2017
from unrolled.zoo.rwkv import RWKV4
from unrolled.zoo.state_space import S6
from unrolled.zoo.xlstm import MatrixLSTM, ScalarLSTM

FAMILIES: tuple[tuple[CellFactory, ...], ...] = (
    (Elman,),
    (LSTM, LSTMP),
    (GRU,),
    (QRNN, SRU2017, SRU),
    (MinGRU, MinLSTM),
    (ParaGRU, ParaLSTM),
    (LRU, RGLRU, HGRN),
    (S6,),
    (RWKV4,),
    (RetNet, GLA),
    (DeltaNet, GatedDeltaNet),
    (MatrixLSTM, ScalarLSTM),
)

CELLS: dict[str, CellFactory] = {kind.__name__: kind for family in FAMILIES for kind in family}

__all__ = [
    "CELLS",
    "FAMILIES",
    "GLA",
    "GRU",
    "HGRN",
    "LRU",
    "LSTM",
    "LSTMP",
    "QRNN",
    "RGLRU",
    "RWKV4",
    "S6",
    "SRU",
    "SRU2017",
    "DeltaNet",
    "Elman",
    "GatedDeltaNet",
    "MatrixLSTM",
    "MinGRU",
    "MinLSTM",
    "ParaGRU",
    "ParaLSTM",
    "RetNet",
    "ScalarLSTM",
]

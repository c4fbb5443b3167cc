"""The zoo: published recurrences, each a class that reads like its paper.

`CELLS` has them by name; every one is built as ``Name(inputs, hidden)``. `wrappers` are cells over
cells, such as ``Zoneout(LSTM(inputs, hidden), c=0.5)``.
"""

from unrolled.cell import Cell, CellFactory
from unrolled.zoo.antisymmetric import AntisymmetricRNN, GatedAntisymmetricRNN, LipschitzRNN
from unrolled.zoo.clockwork import ClockworkRNN
from unrolled.zoo.continuous import CfC
from unrolled.zoo.delta_rule import DeltaNet, GatedDeltaNet
from unrolled.zoo.elman import Elman
from unrolled.zoo.fast import FastGRNN, FastRNN
from unrolled.zoo.gru import GRU, GRUv3, LiGRU
from unrolled.zoo.highway import RHN
from unrolled.zoo.independent import BRC, NBRC, IndRNN
from unrolled.zoo.leaky import SCRN, MiRU1, MiRU2
from unrolled.zoo.legendre import LMU
from unrolled.zoo.light import ATR, CFN, LightRU, MinimalRNN
from unrolled.zoo.linear_attention import GLA, HGRN2, RetNet
from unrolled.zoo.linear_recurrence import HGRN, LRU, RGLRU
from unrolled.zoo.lstm import LSTM, LSTMP
from unrolled.zoo.lstm_gates import WMCLSTM, LayerNormLSTM, MogrifierLSTM
from unrolled.zoo.lstm_variants import CIFG, JANET, RAN, OriginalLSTM, PeepholeLSTM
from unrolled.zoo.mgu import MGU, MGU1, MGU2, MGU3
from unrolled.zoo.min_gru import MinGRU, MinLSTM
from unrolled.zoo.multiplicative import MultiplicativeLSTM, MultiplicativeRNN
from unrolled.zoo.mut import MUT1, MUT2, MUT3
from unrolled.zoo.ordered import ONLSTM
from unrolled.zoo.orthogonal import ExpRNN
from unrolled.zoo.oscillators import LEM, CoRNN, UnICORNN
from unrolled.zoo.para_rnn import ParaGRU, ParaLSTM
from unrolled.zoo.quasi_recurrent import QRNN, SRU, SRU2017
from unrolled.zoo.rwkv import RWKV4
from unrolled.zoo.searched import NAS
from unrolled.zoo.stackable import SGRN, STAR
from unrolled.zoo.state_space import S6
from unrolled.zoo.typed import TGRU, TLSTM, TRNN
from unrolled.zoo.ugrnn import UGRNN, IntersectionRNN
from unrolled.zoo.wrappers import (
    LayerNormed,
    MultiHead,
    RecurrentDropout,
    Residual,
    WeightDrop,
    Wrapper,
    Zoneout,
)
from unrolled.zoo.xlstm import MatrixLSTM, ScalarLSTM

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
    (IndRNN, BRC, NBRC),
    (SCRN, MiRU1, MiRU2),
    (STAR, SGRN),
    (RHN,),
    (ClockworkRNN,),
    (MultiplicativeRNN, MultiplicativeLSTM),
    (NAS,),
    (ONLSTM,),
    (WMCLSTM, MogrifierLSTM, LayerNormLSTM),
    (AntisymmetricRNN, GatedAntisymmetricRNN, LipschitzRNN),
    (ExpRNN,),
    (CoRNN, UnICORNN, LEM),
    (CfC,),
    (LMU,),
    (TRNN, TGRU, TLSTM),
    (QRNN, SRU2017, SRU),
    (MinGRU, MinLSTM),
    (ParaGRU, ParaLSTM),
    (LRU, RGLRU, HGRN),
    (S6,),
    (RWKV4,),
    (RetNet, GLA, HGRN2),
    (DeltaNet, GatedDeltaNet),
    (MatrixLSTM, ScalarLSTM),
)

WRAPPERS: tuple[type[Cell], ...] = (
    Zoneout,
    RecurrentDropout,
    WeightDrop,
    LayerNormed,
    Residual,
    MultiHead,
)

CELLS: dict[str, CellFactory] = {kind.__name__: kind for family in FAMILIES for kind in family}

__all__ = [
    "CELLS",
    "FAMILIES",
    "WRAPPERS",
    "Wrapper",
    "Zoneout",
    "RecurrentDropout",
    "WeightDrop",
    "LayerNormed",
    "Residual",
    "MultiHead",
    "Elman",
    "LSTM",
    "LSTMP",
    "OriginalLSTM",
    "PeepholeLSTM",
    "CIFG",
    "JANET",
    "RAN",
    "GRU",
    "GRUv3",
    "LiGRU",
    "MUT1",
    "MUT2",
    "MUT3",
    "MGU",
    "MGU1",
    "MGU2",
    "MGU3",
    "UGRNN",
    "IntersectionRNN",
    "LightRU",
    "CFN",
    "ATR",
    "MinimalRNN",
    "FastRNN",
    "FastGRNN",
    "IndRNN",
    "BRC",
    "NBRC",
    "SCRN",
    "MiRU1",
    "MiRU2",
    "STAR",
    "SGRN",
    "RHN",
    "ClockworkRNN",
    "MultiplicativeRNN",
    "MultiplicativeLSTM",
    "NAS",
    "ONLSTM",
    "WMCLSTM",
    "MogrifierLSTM",
    "LayerNormLSTM",
    "AntisymmetricRNN",
    "GatedAntisymmetricRNN",
    "LipschitzRNN",
    "ExpRNN",
    "CoRNN",
    "UnICORNN",
    "LEM",
    "CfC",
    "LMU",
    "TRNN",
    "TGRU",
    "TLSTM",
    "QRNN",
    "SRU2017",
    "SRU",
    "MinGRU",
    "MinLSTM",
    "ParaGRU",
    "ParaLSTM",
    "LRU",
    "RGLRU",
    "HGRN",
    "S6",
    "RWKV4",
    "RetNet",
    "GLA",
    "HGRN2",
    "DeltaNet",
    "GatedDeltaNet",
    "MatrixLSTM",
    "ScalarLSTM",
]

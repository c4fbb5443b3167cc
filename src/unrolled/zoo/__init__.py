"""The zoo: published recurrences, each a class that reads like its paper.

`CELLS` has them by name; every one is built as ``Name(inputs, hidden)``.
"""

from unrolled.cell import CellFactory
from unrolled.zoo.antisymmetric import AntisymmetricRNN, GatedAntisymmetricRNN, LipschitzRNN
from unrolled.zoo.clockwork import ClockworkRNN
from unrolled.zoo.elman import Elman
from unrolled.zoo.gru import GRU
from unrolled.zoo.highway import RHN
from unrolled.zoo.independent import BRC, NBRC, IndRNN
from unrolled.zoo.leaky import SCRN, MiRU1, MiRU2
from unrolled.zoo.lstm import LSTM, LSTMP
from unrolled.zoo.lstm_gates import WMCLSTM, LayerNormLSTM, MogrifierLSTM
from unrolled.zoo.multiplicative import MultiplicativeLSTM, MultiplicativeRNN
from unrolled.zoo.oscillators import LEM, CoRNN, UnICORNN
from unrolled.zoo.searched import NAS
from unrolled.zoo.stackable import SGRN, STAR
from unrolled.zoo.typed import TGRU, TLSTM, TRNN

FAMILIES = (
    (Elman,),
    (LSTM, LSTMP),
    (GRU,),
    (IndRNN, BRC, NBRC),
    (SCRN, MiRU1, MiRU2),
    (STAR, SGRN),
    (RHN,),
    (ClockworkRNN,),
    (MultiplicativeRNN, MultiplicativeLSTM),
    (NAS,),
    (WMCLSTM, MogrifierLSTM, LayerNormLSTM),
    (AntisymmetricRNN, GatedAntisymmetricRNN, LipschitzRNN),
    (CoRNN, UnICORNN, LEM),
    (TRNN, TGRU, TLSTM),
)

CELLS: dict[str, CellFactory] = {kind.__name__: kind for family in FAMILIES for kind in family}

__all__ = [
    "BRC",
    "CELLS",
    "GRU",
    "LEM",
    "LSTM",
    "LSTMP",
    "NAS",
    "NBRC",
    "RHN",
    "SCRN",
    "SGRN",
    "STAR",
    "TGRU",
    "TLSTM",
    "TRNN",
    "WMCLSTM",
    "AntisymmetricRNN",
    "ClockworkRNN",
    "CoRNN",
    "Elman",
    "GatedAntisymmetricRNN",
    "IndRNN",
    "LayerNormLSTM",
    "LipschitzRNN",
    "MiRU1",
    "MiRU2",
    "MogrifierLSTM",
    "MultiplicativeLSTM",
    "MultiplicativeRNN",
    "UnICORNN",
]

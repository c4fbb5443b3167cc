"""Recurrent sequence models for PyTorch: write one step, run it over whole sequences.

The names below are found when they are first used, so that `import unrolled` costs nothing and the
command line answers before torch is there.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from unrolled import zoo as zoo
    from unrolled.cell import Cell as Cell
    from unrolled.cell import wrap as wrap
    from unrolled.explanation import explain as explain
    from unrolled.layers.recurrent import Recurrent as Recurrent
    from unrolled.layers.torch_nn import GRU as GRU
    from unrolled.layers.torch_nn import LSTM as LSTM
    from unrolled.layers.torch_nn import RNN as RNN
    from unrolled.recurrence import unroll as unroll

HOMES = {
    "Cell": "unrolled.cell",
    "wrap": "unrolled.cell",
    "unroll": "unrolled.recurrence",
    "explain": "unrolled.explanation",
    "Recurrent": "unrolled.layers.recurrent",
    "RNN": "unrolled.layers.torch_nn",
    "LSTM": "unrolled.layers.torch_nn",
    "GRU": "unrolled.layers.torch_nn",
}


def __getattr__(name: str) -> object:
    if name == "zoo":
        return import_module("unrolled.zoo")
    if name in HOMES:
        found = getattr(import_module(HOMES[name]), name)
        globals()[name] = found  # `unroll` is a module too: keep the function before it
        return found
    raise AttributeError(f"module 'unrolled' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*HOMES, "zoo", "__version__"])

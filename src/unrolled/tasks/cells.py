"""Cells by name: of the zoo, or a user's own."""

import importlib
import sys

from torch import nn

from unrolled.cell import CellFactory
from unrolled.errors import ConfigError
from unrolled.zoo import CELLS


def find_cell(name: str) -> CellFactory:
    """Find what makes the cells of that name.

    Args:
        name: a name of the zoo, or ``module:Class`` for a class of your own, which is imported
            from Python's path or the current folder and built as ``Class(inputs, hidden)``.

    Raises:
        ConfigError: there is no such cell.

    Example:
        >>> find_cell("GRU").__name__, find_cell("torch.nn:GRUCell").__name__
        ('GRU', 'GRUCell')
    """
    if name in CELLS:
        return CELLS[name]
    module, colon, kind = name.partition(":")
    if not colon:
        raise ConfigError(
            f"there is no cell {name!r}: choose one of {', '.join(CELLS)}, or module:Class"
        )
    if "" not in sys.path:
        sys.path.append("")
    try:
        found = getattr(importlib.import_module(module), kind, None)
    except ImportError as error:
        raise ConfigError(f"cell {name!r} cannot be imported: {error}") from None
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ConfigError(f"cell {name!r} is no class of modules: write module:Class")
    return found

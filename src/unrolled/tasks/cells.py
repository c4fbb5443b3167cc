"""Cells by name: of the zoo, or a user's own."""

import importlib
import sys

import torch

from unrolled.cell import CellFactory, wrap
from unrolled.errors import ConfigError
from unrolled.zoo import CELLS


def find_cell(name: str) -> CellFactory:
    """Find what makes the cells of that name.

    Args:
        name: a name of the zoo, or ``module:Class`` for a class of your own, which is imported
            from Python's path or the current folder and built as ``Class(inputs, hidden)``.

    Raises:
        ConfigError: there is no such cell, or it cannot be imported or built.

    Example:
        >>> find_cell("GRU").__name__, find_cell("torch.nn:GRUCell").__name__
        ('GRU', 'GRUCell')
    """
    if name in CELLS:
        return CELLS[name]
    module, colon, kind = name.partition(":")
    if not colon:
        raise ConfigError(
            f"there is no cell {name!r}; choose one of {', '.join(CELLS)}, or module:Class"
        )
    if "" not in sys.path:
        sys.path.append("")
    # A user's module may raise anything: say what, in a line, and not by a traceback through us.
    try:
        found = getattr(importlib.import_module(module), kind)
    except Exception as error:
        raise ConfigError(
            f"cell {name!r} cannot be imported ({_named(error)}); correct it, or its name"
        ) from error
    try:
        with torch.random.fork_rng(devices=[]):  # the trial must not change the weights to come
            wrap(found(2, 3))
    except Exception as error:
        raise ConfigError(
            f"cell {name!r} cannot be built as {kind}(2, 3) ({_named(error)}); "
            "make it a Cell that takes inputs and hidden"
        ) from error
    return found


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"

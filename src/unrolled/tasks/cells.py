"""Cells as a command names them: of the zoo or a user's own, with options, inside wrappers."""

import importlib
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import NoReturn, TypeAlias

import torch

from unrolled.cell import Cell, CellFactory, wrap
from unrolled.errors import ConfigError, UnrolledError
from unrolled.zoo import CELLS, WRAPPERS, MultiHead

WRAPPED: dict[str, Callable[..., Cell]] = {kind.__name__: kind for kind in WRAPPERS}
WORDS = {"true": True, "false": False, "none": None}
TOKEN = re.compile(
    r"\s*(?:(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
    r"|(?P<word>[A-Za-z_][\w.]*(?::[A-Za-z_]\w*)?)|(?P<sign>[(),=]))\s*"
)
FORMS = "write LSTM, module:Class, Elman(activation=relu) or Zoneout(LSTM, h=0.05, c=0.5)"


def find_cell(text: str) -> CellFactory:
    """Find what makes the cells that a text names.

    A text is a name of the zoo, or ``module:Class`` for a class of your own, which is imported from
    Python's path or the current folder and built as ``Class(inputs, hidden)``. Brackets behind it
    hold its options by name; those behind a wrapper hold the cell that it is put around, then what
    else it is given. Values are numbers, words, true, false and none, or several in brackets, as in
    ``ClockworkRNN(periods=(1, 2))``. The text itself is only read, never evaluated.

    Raises:
        ConfigError: the text cannot be read, there is no such cell, or it cannot be imported or
            built.

    Example:
        >>> find_cell("GRU").__name__, find_cell("torch.nn:GRUCell").__name__
        ('GRU', 'GRUCell')
        >>> find_cell("Zoneout(WeightDrop(LSTM, 0.5), h=0.05, c=0.5)")(3, 5).states
        {'h': (5,), 'c': (5,)}
    """
    if text in CELLS:
        return CELLS[text]
    reader = _Reader(text)
    named = reader.read()
    make, heads = _maker(named, reader), _heads(named)
    # A user's class may raise anything: say what, in a line, and not by a traceback through us.
    try:
        with torch.random.fork_rng(devices=[]):  # the trial must not change the weights to come
            wrap(make(3 * heads, 3 * heads))
    except UnrolledError as error:
        raise ConfigError(f"cell {text!r} cannot be built: {error}") from error
    except Exception as error:
        raise ConfigError(
            f"cell {text!r} cannot be built ({_said(error)}); see that it takes inputs, hidden and "
            "what stands in its brackets"
        ) from error
    return make


@dataclass(frozen=True)
class _Named:
    """A name, and what stands in brackets behind it."""

    name: str
    values: "list[_Value]" = field(default_factory=list)
    options: "dict[str, _Value]" = field(default_factory=dict)


_Value: TypeAlias = "_Named | str | int | float | bool | tuple[_Value, ...] | None"


class _Reader:
    """Reads a text from left to right; a name without brackets is a word until it is a cell."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str]] = []
        place = 0
        while place < len(text):
            match = TOKEN.match(text, place)
            if match is None or match.lastgroup is None:
                self.refuse(f"{text[place]!r} has no meaning there")
            self.tokens.append((match.lastgroup, match[match.lastgroup]))
            place = match.end()
        self.tokens.reverse()  # the next one is the last

    def read(self) -> _Named:
        """Read all of it as one cell."""
        found = self._name()
        if self.tokens:
            self.refuse(f"{self.tokens[-1][1]!r} is left over")
        return found if isinstance(found, _Named) else _Named(found)

    def refuse(self, why: str) -> NoReturn:
        """Say why it cannot be read."""
        raise ConfigError(f"cell {self.text!r} cannot be read: {why}; {FORMS}")

    def _took(self, sign: str) -> bool:
        if self.tokens[-1:] != [("sign", sign)]:
            return False
        self.tokens.pop()
        return True

    def _name(self) -> _Named | str:
        kind, name = self.tokens.pop() if self.tokens else ("", "")
        if kind != "word":
            self.refuse(f"a name is missing before {name!r}" if name else "a name is missing")
        if not self._took("("):
            return name
        found = _Named(name)
        self._until_closed(lambda: self._argument(found))
        return found

    def _until_closed(self, read: Callable[[], None]) -> None:
        """Read what stands between brackets, with commas between."""
        more = not self._took(")")
        while more:
            read()
            more = self._took(",")
            if not more and not self._took(")"):
                self.refuse("a comma or a closing bracket is missing")

    def _argument(self, found: _Named) -> None:
        value = self._value()
        if not self._took("="):
            found.values.append(value)
        elif isinstance(value, str) and value not in found.options:
            found.options[value] = self._value()
        else:
            self.refuse("what stands before '=' is no option's name, or is there twice")

    def _value(self) -> _Value:
        if self.tokens and self.tokens[-1][0] == "number":
            number = self.tokens.pop()[1]
            return int(number) if re.fullmatch(r"[-+]?\d+", number) else float(number)
        if self._took("("):
            several: list[_Value] = []
            self._until_closed(lambda: several.append(self._value()))
            return tuple(several)
        found = self._name()
        return WORDS.get(found, found) if isinstance(found, str) else found


def _maker(named: _Named, reader: _Reader) -> CellFactory:
    """Give what makes a cell, or a wrapper around what its first value makes."""
    name, options = named.name, named.options
    if name not in WRAPPED:
        if named.values:
            reader.refuse(f"what {name} is given needs its name: {name}(option=value)")
        kind = CELLS[name] if name in CELLS else _own(name)
        return partial(kind, **options) if options else kind
    inner, *values = named.values or [None]
    inner = _Named(inner) if isinstance(inner, str) else inner
    if not isinstance(inner, _Named):
        reader.refuse(f"{name} is put around a cell: {name}(LSTM, ...)")
    make, wrapper = _maker(inner, reader), WRAPPED[name]
    if wrapper is MultiHead:  # it makes its cells itself, one for each head
        return partial(MultiHead, make, *values, **options)
    return lambda inputs, hidden: wrapper(make(inputs, hidden), *values, **options)


def _own(name: str) -> CellFactory:
    """Import a user's class."""
    module, colon, kind = name.partition(":")
    if not colon:
        raise ConfigError(
            f"there is no cell {name!r}; choose one of {', '.join(CELLS)}, or module:Class, or put "
            f"one of {', '.join(WRAPPED)} around a cell"
        )
    if "" not in sys.path:
        sys.path.append("")
    try:
        return getattr(importlib.import_module(module), kind)
    except Exception as error:
        raise ConfigError(
            f"cell {name!r} cannot be imported ({_said(error)}); correct it, or its name"
        ) from error


def _heads(named: _Named) -> int:
    """Give how many units make whole heads at every depth, so that a trial can be built."""
    heads = named.options.get("heads")
    inner = prod(_heads(value) for value in named.values if isinstance(value, _Named))
    return max(1, heads if isinstance(heads, int) else 1) * inner


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"

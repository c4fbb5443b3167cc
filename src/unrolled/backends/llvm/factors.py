"""What a product of two matrices is made of: its factors, blocks of its result, who makes them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from unrolled.backends.llvm.code import Code, Value
from unrolled.backends.llvm.frame import Rows


@dataclass(frozen=True)
class Lines:
    """One factor of a product: the rows of the left matrix, or the columns of the right one."""

    base: Value
    line: Value  # stride from one of them to the next
    term: Value  # stride from term to term

    def after(self, code: Code, line: Value) -> "Lines":
        """Give the lines from one of them on."""
        return Lines(code.at(self.base, code.times(line, self.line)), self.line, self.term)


@dataclass(frozen=True)
class Block:
    """A block of the result, which one thread makes over all terms."""

    left: Lines  # its rows
    right: Lines  # its columns
    result: Rows  # columns lie side by side
    rows: Value
    columns: Value
    terms: Value
    at_once: Value  # terms that are multiplied before more of the factors are copied
    room: Value  # where the thread copies factors


class Unit(ABC):
    """What of a processor multiplies, and how it makes a block."""

    most: tuple[int, int]
    """Rows and columns of a block of the result."""
    unit: tuple[int, int]
    """Rows and columns that are multiplied at once: a block has so many, or twice as many, ..."""
    room: int
    """Numbers of factors that a thread copies at most."""

    @abstractmethod
    def at_once(self, terms: int) -> int:
        """Give the terms, of so many, that are multiplied before more of the factors are copied."""

    @abstractmethod
    def write(self, code: Code, block: Block) -> None:
        """Write one block of the result: all terms of it, some at a time."""

    def begin(self, code: Code) -> None:  # noqa: B027
        """Write what a thread does first."""

    def end(self, code: Code) -> None:  # noqa: B027
        """Write what a thread does last."""


def times_in(code: Code, whole: Value, part: "Value | int") -> Value:
    """Give how often a part is in a whole, the last time perhaps not all of it."""
    part = code.index(part)
    return code.builder.udiv(code.add(whole, code.add(part, -1)), part)

"""The language between compiler and backends: programs of typed operations, one step each."""

from unrolled.ir.ops import OPS, Op, Spec, Type, fixed, mask, rows
from unrolled.ir.program import Operand, Operation, Program, Value, parse
from unrolled.ir.unread import without_slopes, without_unread
from unrolled.ir.verify import verify

__all__ = [
    "OPS",
    "Op",
    "Operand",
    "Operation",
    "Program",
    "Spec",
    "Type",
    "Value",
    "fixed",
    "mask",
    "parse",
    "rows",
    "verify",
    "without_slopes",
    "without_unread",
]

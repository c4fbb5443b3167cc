"""The interpreter: a program in PyTorch, an operation at a time."""

from unrolled.backends.interpreter.kernel import Interpreted, interpret
from unrolled.backends.interpreter.operations import INTERPRET

__all__ = ["INTERPRET", "Interpreted", "interpret"]

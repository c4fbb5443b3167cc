"""`PARTS`: operations of PyTorch that a loop has in parts, written in others that it has whole.

Only in the loop: before and behind it PyTorch runs them as they are, but for those of `everywhere`.
"""

from unrolled.compiler.blame import Unrecordable
from unrolled.compiler.parts.along import ALONG
from unrolled.compiler.parts.everywhere import EVERYWHERE
from unrolled.compiler.parts.moved import MOVED
from unrolled.compiler.parts.numbers import NUMBERS
from unrolled.compiler.parts.products import PRODUCTS
from unrolled.compiler.parts.table import Parts

__all__ = ["EVERYWHERE", "PARTS", "refuse_places"]

PARTS: dict[object, Parts] = {**NUMBERS, **ALONG, **MOVED, **PRODUCTS}


def refuse_places(target: object) -> Unrecordable:
    """Give the error for who asks an operation in parts for places, not values."""
    return Unrecordable(f"it reads where {target} has found its values: no program has that")

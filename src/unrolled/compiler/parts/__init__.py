"""`PARTS`: operations of PyTorch that a loop has in parts, written in others that it has whole.

Only in the loop: before and behind it PyTorch runs them as they are, but for those of `everywhere`
and what is `drawn`.
"""

from unrolled.compiler.blame import Unrecordable
from unrolled.compiler.parts.along import ALONG
from unrolled.compiler.parts.attention import Attends
from unrolled.compiler.parts.drawn import DRAWN, DRAWS, Drawn
from unrolled.compiler.parts.everywhere import EVERYWHERE
from unrolled.compiler.parts.moved import MOVED
from unrolled.compiler.parts.numbers import NUMBERS
from unrolled.compiler.parts.places import ONE_HOT, PLACES
from unrolled.compiler.parts.products import PRODUCTS
from unrolled.compiler.parts.table import Parts

__all__ = ["AT_ONCE", "DRAWS", "PARTS", "Attends", "Drawn", "refuse_places"]

AT_ONCE: dict[object, Parts] = {**EVERYWHERE, **DRAWN, **ONE_HOT}
"""Those that a graph has in parts from the first, wherever they are."""

PARTS: dict[object, Parts] = {**NUMBERS, **ALONG, **MOVED, **PLACES, **PRODUCTS}


def refuse_places(target: object) -> Unrecordable:
    """Give the error for who asks an operation in parts for places, not values."""
    return Unrecordable(f"it reads where {target} has found its values: no program has that")

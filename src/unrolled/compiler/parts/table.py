"""What a row of the tables is."""

from collections.abc import Callable
from typing import Any

Parts = Callable[..., Any]
"""What PyTorch's operation is given -> what it gives, by other operations; or NotImplemented."""

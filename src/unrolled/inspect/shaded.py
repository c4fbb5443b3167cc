"""Texts in a report: as they are, or each symbol shaded by how much it surprised a model."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from unrolled.errors import ShapeError
from unrolled.inspect.figures import macros, number

LINE_END = "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}"


def shaded_text(
    symbols: Sequence[str], values: Sequence[float], *, title: str, unit: str, most: float
) -> Markup:
    r"""Draw a text, each symbol on a shade from none, at 0, to the strongest, at `most` or more.

    A line end is shown as an arrow. The number of a symbol shows when the pointer is on it; put a
    table beside it for those who have none.

    Args:
        symbols: in their order; a symbol has its own spaces.
        values: of each, at least 0; one that is not finite has no shade.
        title: what is drawn.
        unit: of the values.
        most: above 0.

    Raises:
        ShapeError: there is not one value for each symbol.

    >>> text = shaded_text("ab\n", [0.5, 3.0, 1.0], title="ab", unit="bits", most=8)
    >>> "b: 3 bits" in text
    True
    """
    if len(symbols) != len(values):
        found = f"shaded text {title!r} has {len(symbols)} symbols and {len(values)} values"
        raise ShapeError(f"{found}; expected as many: give one value for each")
    names = [symbol.replace("\n", LINE_END) for symbol in symbols]
    shares = [min(max(value / most, 0.0), 1.0) if math.isfinite(value) else 0.0 for value in values]
    hints = [
        f"{name.strip() or 'space'}: {number(round(value, 2))} {unit}"
        for name, value in zip(names, values, strict=True)
    ]
    ends = f"0 {unit}", f"{number(most)} {unit} or more"
    return macros()["shaded_text"](title, *ends, list(zip(names, shares, hints, strict=True)))


def plain_text(text: str, *, title: str) -> Markup:
    r"""Draw a text line by line, as a model wrote it.

    >>> "to be<br>or not" in plain_text("to be\nor not", title="A sample")
    True
    """
    return macros()["plain_text"](title, text.split("\n"))

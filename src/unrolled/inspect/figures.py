"""Figures as markup: learning curves, attention maps and bars, drawn without scripts.

This file decides what goes where; `page.html.jinja` holds the markup and both colour themes.
"""

import math
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import chain, groupby, pairwise
from typing import Final, Literal

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from numpy.typing import ArrayLike

from unrolled.errors import ShapeError

WIDTH, HEIGHT, TOP, RIGHT, BOTTOM = 640, 350, 34, 18, 56  # a chart; its left margin fits labels
STEPS: Final = 6  # between the ticks of an axis, about
TOOLTIPS: Final = 400  # positions in a chart that answer the pointer; more would only add bytes
LARGEST: Final = 1e300  # what is drawn: differences must not overflow
ALONE: Final = frozenset({"Mn", "Mc", "Me", "Cf"})  # combining marks and joiners
REORDERING: Final = (0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
PICTURES: Final[dict[int, int]] = {
    **dict.fromkeys((*range(0x80, 0xA0), *range(0xD800, 0xE000), *REORDERING), 0xFFFD),
    **{code: 0x2400 + code for code in range(0x20)},
    0x7F: 0x2421,
}


@dataclass(frozen=True)
class Series:
    """One curve: its name, its points and which of them to mark as the best, if any."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    best: Literal["lowest", "highest"] | None = None

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            found = f"series {self.name!r} has {len(self.x)} x and {len(self.y)} y"
            raise ShapeError(f"{found}; expected as many: give one y for each x")


@dataclass(frozen=True)
class Band:
    """What lies between two curves: its name and, at each x, where it begins and ends."""

    name: str
    x: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]

    def __post_init__(self) -> None:
        if not len(self.x) == len(self.low) == len(self.high):
            found = f"band {self.name!r} has {len(self.x)} x, {len(self.low)} low"
            raise ShapeError(f"{found} and {len(self.high)} high; give one of each")


@dataclass(frozen=True)
class Bar:
    """One row of a bar table: a value >= 0, its interval if known; a baseline is drawn muted."""

    label: str
    value: float
    interval: tuple[float, float] | None = None
    muted: bool = False


def shown(text: str) -> str:
    r"""Return the text with every control character, which nobody would see, as a picture.

    >>> shown("a\tb\x00"), shown("\u202egnp.exe")
    ('a␉b␀', '�gnp.exe')
    """
    return text.translate(PICTURES)


def number(value: float) -> str:
    """Return a value as a person writes it: four digits, or whole if it is or is large.

    >>> number(0.123456), number(60.0), number(123456.7)
    ('0.1235', '60', '123,457')
    """
    whole = abs(value) < 1e15 and (abs(value) >= 1e4 or value == round(value))
    return f"{value:,.0f}" if whole else f"{value:.4g}"


@cache
def macros() -> dict[str, Callable[..., Markup]]:
    """Return the macros of the template, by name; all text that they are given is escaped."""
    environment = Environment(
        autoescape=True,
        finalize=lambda value: value if hasattr(value, "__html__") else shown(str(value)),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["number"] = number
    source = (files("unrolled.inspect") / "page.html.jinja").read_text(encoding="utf-8")
    return vars(environment.from_string(source).module)


def ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Return round numbers, 1, 2 or 5 times a power of ten apart, that cover low to high.

    low <= high are finite; about six steps come back, of at least 1 if they are to be whole.

    >>> ticks(0.07, 0.93)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if low == high:
        low, high = low - (abs(low) / 10 or 0.5), high + (abs(high) / 10 or 0.5)
    span = max(high - low, 1e-9 * max(-low, high), 1 / LARGEST)  # finer steps drown in rounding
    power = 10.0 ** math.floor(math.log10(span / STEPS))
    step = next((m * power for m in (1, 2, 5) if m * power * STEPS >= span), 10 * power)
    step = max(step, 1.0) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, _decimals(step)) for k in range(first, max(last, first + 1) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten that cover low to high > 0, or only powers if many.

    >>> log_ticks(0.03, 0.9), log_ticks(0.001, 30)
    ([0.02, 0.05, 0.1, 0.2, 0.5, 1.0], [0.001, 0.01, 0.1, 1.0, 10.0, 100.0])
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    marks = [float(f"{m}e{power}") for power in range(first - 1, last + 2) for m in (1, 2, 5)]
    start = bisect_right(marks, low) - 1
    marks = marks[start : max(bisect_left(marks, high), start + 1) + 1]
    every = math.ceil((last - first) / STEPS) or 1
    powers = [float(f"1e{power}") for power in range(first, last + every, every)]
    return marks if len(marks) <= 9 else powers


def _decimals(step: float) -> int:
    return max(0, -math.floor(math.log10(step) + 1e-9))


@dataclass(frozen=True)
class _Axis:
    """One axis: the values at its ends, where these are drawn, and its ticks between them."""

    low: float
    high: float
    start: float
    stop: float
    ticks: list[float]
    scale: Callable[[float], float] = float

    def at(self, value: float) -> float:
        low, here, high = map(self.scale, (self.low, value, self.high))
        return round(self.start + (here - low) / (high - low) * (self.stop - self.start), 1)

    @property
    def labels(self) -> list[str]:
        step, largest = self.ticks[1] - self.ticks[0], max(map(abs, self.ticks))
        if self.scale is not float:
            return [f"{tick:g}" for tick in self.ticks]
        if step < 1e-4 or largest >= 1e7:
            return [f"{tick:.{math.ceil(math.log10(largest / step)) + 1}g}" for tick in self.ticks]
        return [f"{tick:,.{_decimals(step)}f}" for tick in self.ticks]


def _x_axis(values: list[float], start: float) -> _Axis:
    """Return an axis that ends where the values end, if two ticks are left: curves fill it."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    marks = ticks(low, high, whole=all(value == round(value) for value in values))
    inside = [tick for tick in marks if low <= tick <= high]
    if len(inside) > 1:
        return _Axis(low, high, start, WIDTH - RIGHT, inside)
    return _Axis(marks[0], marks[-1], start, WIDTH - RIGHT, marks)


def _y_axis(values: list[float], log: bool) -> _Axis:
    low, high = (min(values), max(values)) if values else (1.0, 2.0)
    marks, scale = (log_ticks(low, high), math.log10) if log else (ticks(low, high), float)
    return _Axis(marks[0], marks[-1], HEIGHT - BOTTOM, TOP, marks, scale)


@dataclass(frozen=True)
class _Curve:
    """A series ready to draw: its points in unbroken runs, and the best of them if one is asked."""

    name: str
    runs: list[list[tuple[float, float]]]
    best: tuple[float, float] | None
    kind: str | None

    @property
    def points(self) -> list[tuple[float, float]]:
        return list(chain.from_iterable(self.runs))


def _curve(series: Series, log: bool) -> _Curve:
    def drawn(point: tuple[float, float]) -> bool:
        return abs(point[0]) < LARGEST and (1 / LARGEST if log else -LARGEST) < point[1] < LARGEST

    points = zip(map(float, series.x), map(float, series.y), strict=True)
    runs = [list(run) for kept, run in groupby(points, key=drawn) if kept]
    choose = max if series.best == "highest" else min
    best = choose(chain.from_iterable(runs), key=lambda point: point[1], default=None)
    return _Curve(series.name, runs, best if series.best else None, series.best)


def line_chart(
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    title: str,
    log_y: bool = False,
    bands: Sequence[Band] = (),
) -> Markup:
    """Draw named curves on common axes, with their values on hover, and shaded bands behind them.

    A point that is not finite, or not positive on a logarithmic axis, is left out and parts its
    curve. A chart of more than 400 different x answers the pointer at evenly chosen ones.

    >>> loss = Series("loss", [1, 2], [0.5, 0.25])
    >>> "loss: 0.25" in line_chart([loss], x_label="epoch", y_label="nats", title="Loss")
    True
    """
    curves = [_curve(one, log_y) for one in series]
    points = list(chain.from_iterable(curve.points for curve in curves))
    edges = [_edges(band, log_y) for band in bands]
    y = _y_axis([y for _, y in points + list(chain.from_iterable(edges))], log_y)
    x = _x_axis([x for x, _ in points], start=16 + 9 * max(map(len, y.labels)))
    texts, size = (title, x_label, y_label), (WIDTH, HEIGHT)
    shades = [(band.name, edge) for band, edge in zip(bands, edges, strict=True)]
    return macros()["line_chart"](*texts, size, x, y, curves, _strips(curves, x), shades)


def _edges(band: Band, log: bool) -> list[tuple[float, float]]:
    """Go along a band's high edge and back along its low one, past what cannot be drawn."""
    there = list(zip(band.x, band.high, strict=True))
    back = list(zip(band.x, band.low, strict=True))[::-1]
    least = 1 / LARGEST if log else -LARGEST
    return [(float(x), float(y)) for x, y in there + back if least < y < LARGEST]


@dataclass(frozen=True)
class _Strip:
    """The part of a chart that answers for one x: from start to stop, the curves' values there."""

    x: float
    start: float
    stop: float
    values: list[float | None]


def _strips(curves: Sequence[_Curve], axis: _Axis) -> list[_Strip]:
    values = [dict(curve.points) for curve in curves]
    places = sorted(set(chain.from_iterable(values)))
    places = places[:: math.ceil(len(places) / TOOLTIPS) or 1]
    between = [round((axis.at(a) + axis.at(b)) / 2, 1) for a, b in pairwise(places)]
    heights = [[own.get(place) for own in values] for place in places]
    starts, stops = [axis.start, *between], [*between, axis.stop]  # one each, even for no place
    return list(map(_Strip, places, starts, stops, heights))


def heat_map(
    rows: Sequence[str],
    columns: Sequence[str],
    values: ArrayLike,
    *,
    title: str,
    row_title: str,
    column_title: str,
    verb: str = "looks at",
) -> Markup:
    """Draw weights as a table of shaded cells, one row per thing that looks at the columns.

    values (rows, columns) in 0..1; the larger the weight, the stronger the shade; one that is not
    finite is struck out. verb says what a row does to a column. Raises ShapeError if values do not
    have one weight per row and column.

    >>> table = heat_map(["OW"], ["o"], [[0.83]], title="o", row_title="", column_title="")
    >>> "OW looks at o: 0.83" in table
    True
    """
    weights = np.asarray(values, dtype=np.float64)
    expected = (len(rows), len(columns))
    if weights.shape != expected:
        found = f"heat map {title!r} has weights of shape {weights.shape}"
        raise ShapeError(f"{found}; expected {expected}: give one for each row and column label")
    names = list(map(_symbol, columns))
    finite = np.where(np.isfinite(weights), weights, -np.inf)
    body = [
        (_symbol(label), own.tolist(), most.argmax() if np.isfinite(most).any() else None)
        for label, own, most in zip(rows, weights, finite, strict=True)
    ]
    tall = max(map(len, names), default=0) > 3
    return macros()["heat_map"](title, row_title, column_title, names, body, tall, verb)


def _symbol(label: str) -> str:
    """Show a label that alone would be invisible or would join its neighbour."""
    text = shown(label).replace(" ", "\N{OPEN BOX}") or "\N{EMPTY SET}"
    return "\N{DOTTED CIRCLE}" + text if unicodedata.category(text[0]) in ALONE else text


def bar_table(
    bars: Sequence[Bar],
    *,
    title: str,
    label: str,
    value: str,
    show: Callable[[float], str] = number,
) -> Markup:
    """Draw a table of values, each with a bar that starts at zero and its interval as a whisker.

    label and value head their columns; show writes a value, "{:.1%}".format for instance. A value
    that is negative or not finite has no bar.

    >>> table = bar_table([Bar("AH to IH", 12)], title="Confused", label="sounds", value="times")
    >>> "AH to IH: 12" in table
    True
    """
    ends = chain.from_iterable((bar.value, *(bar.interval or ())) for bar in bars)
    full = 1.02 * max((end for end in ends if 0 < end < math.inf), default=1.0)

    def share(value: float) -> str:
        return f"{100 * min(max(value / full, 0.0), 1.0) if math.isfinite(value) else 0:.2f}%"

    return macros()["bar_table"](title, label, value, bars, show, share)

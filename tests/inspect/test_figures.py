"""Laws of the figures: ticks are round and cover, every value is told, no text becomes markup."""

import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from unrolled.errors import ShapeError
from unrolled.inspect.figures import (
    Band,
    Bar,
    Series,
    bar_table,
    heat_map,
    line_chart,
    log_ticks,
    number,
    shown,
    ticks,
)

LAW = settings(deadline=None, max_examples=60, database=None)
NASTY = (
    "<script>alert(1)</script>",
    "\"' onmouseover='x",
    "</title></svg></table>",
    "&amp;{{ 7 * 7 }}{% raw %}",
    "a\x00b\x1b[31m\x85\ud800",
    "\u202egnp.exe\u2066",
    "\u0301\u200d",
    "سلام 12",
    "",
)
texts = st.text(st.characters(), max_size=8) | st.sampled_from(NASTY)
floats = st.floats(-1e9, 1e9, allow_subnormal=False)


class Reader(HTMLParser):
    """Collects tags and text, and fails on a tag that is left open or closes another."""

    VOID = ("meta", "path", "circle", "rect", "line")

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, list[str]] = {}
        self.feed(markup)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"an attribute of {tag} stands twice"
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in self.VOID
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.setdefault(self.open[-1] if self.open else "", []).append(data)

    def said(self, tag: str) -> str:
        return "\n".join(self.text.get(tag, []))

    def values(self, tag: str, name: str) -> list[str]:
        return [attrs[name] or "" for other, attrs in self.tags if other == tag and name in attrs]


def chart(*series: Series, log_y: bool = False, text: str = "t") -> Reader:
    return Reader(line_chart(series, x_label=text, y_label=text, title=text, log_y=log_y))


def is_round(value: float, multiples: tuple[int, ...]) -> bool:
    power = 10.0 ** math.floor(math.log10(value) + 1e-9)
    return any(math.isclose(value, m * power, rel_tol=1e-6) for m in multiples)


@LAW
@given(st.tuples(floats, floats).map(sorted), st.booleans())
def test_ticks_are_round_and_cover(ends, whole):
    low, high = ends
    marks = ticks(low, high, whole=whole)
    step = marks[1] - marks[0]
    slack = 1e-6 * step
    assert marks[0] <= low + slack and high - slack <= marks[-1]
    assert 2 <= len(marks) <= 8
    assert is_round(step, (1, 2, 5)) or step < 1e-6 * abs(high)
    assert np.allclose(np.diff(marks), step, rtol=1e-3)
    assert not whole or all(mark == int(mark) for mark in marks)


@LAW
@given(st.tuples(st.floats(1e-12, 1e12), st.floats(1e-12, 1e12)).map(sorted))
def test_log_ticks_are_round_and_cover(ends):
    low, high = ends
    marks = log_ticks(low, high)
    assert marks[0] <= low and high <= marks[-1]
    assert 2 <= len(marks) <= 9
    assert all(is_round(mark, (1, 2, 5)) for mark in marks)
    assert all(a < b for a, b in zip(marks, marks[1:], strict=False))


@pytest.mark.parametrize("value", [0.0, 5e-324, 1e299, -1e299], ids=str)
@pytest.mark.parametrize("log_y", [False, True], ids=["linear", "log"])
def test_extreme_values_are_drawn(value, log_y):
    for series in (
        Series("a", [0, 1, 2], [value, abs(value) + 1, value]),
        Series("a", [value], [1.0]),
        Series("a", [0, 1], [0.0, value]),
    ):
        drawn = [text for _, given in chart(series, log_y=log_y).tags for text in given.values()]
        assert not [
            text for text in drawn if re.search(r"(?<![a-z])(nan|inf)(?![a-z])", text or "")
        ]


@LAW
@given(st.lists(st.tuples(floats, floats), max_size=30, unique_by=lambda point: point[0]))
def test_every_point_is_a_tooltip(points):
    x, y = [x for x, _ in points], [y for _, y in points]
    said = chart(Series("loss", x, y)).said("title")
    assert said.count("loss:") == len(points)
    assert all(f"t {number(a)}\nloss: {number(b)}\n" in said for a, b in points)


def test_two_curves_share_the_tooltip_of_an_x():
    reader = chart(Series("a", [1, 2], [3, 4]), Series("b", [2], [5]))
    assert reader.text["title"][1:] == ["t 1\na: 3\n", "t 2\na: 4\nb: 5\n"]


def test_many_points_keep_the_page_small():
    y = np.linspace(1, 0, 5_000).tolist()
    drawn = line_chart([Series("a", y, y)], x_label="x", y_label="y", title="t")
    assert drawn.count("<g>") <= 400
    assert drawn.count("L") >= 4_999


@pytest.mark.parametrize("hole", [math.nan, math.inf, -math.inf], ids=str)
def test_a_point_that_is_not_finite_parts_its_curve(hole):
    reader = chart(Series("a", [1, 2, 3, 4], [4, hole, 2, 1], "lowest"))
    curve = reader.values("path", "d")[-4]
    assert curve.count("M") == curve.count("h0") == 2 and curve.count("L") == 1
    assert "nan" not in curve and "inf" not in curve
    assert "lowest 1 at 4" in reader.said("span")


def test_a_logarithmic_axis_leaves_out_what_is_not_positive():
    said = chart(Series("a", [1, 2, 3], [0, -1, 0.5]), log_y=True).said("title")
    assert said.count("a:") == 1 and "a: 0.5" in said


@pytest.mark.parametrize(("best", "label"), [("lowest", "1"), ("highest", "9")])
def test_the_best_point_is_marked(best, label):
    reader = chart(Series("a", [1, 2, 3], [5, int(label), 6], best))
    assert f"{best} {label} at 2" in reader.said("span") and label in reader.text["text"]
    assert f"{best} {label} at 2" in reader.said("desc")
    assert "best s0" in reader.values("circle", "class")


@pytest.mark.parametrize("y", [[], [math.nan, math.nan]], ids=["empty", "nan"])
def test_nothing_to_draw_is_said(y):
    assert "no finite point" in chart(Series("a", range(len(y)), y, "lowest")).said("desc")


def test_colour_is_not_the_only_difference():
    reader = chart(*(Series(str(i), [0, 1], [i, i]) for i in range(30)))
    looks = [(a["class"], a["stroke-dasharray"]) for _, a in reader.tags if "stroke-dasharray" in a]
    assert len(set(looks)) == 30
    assert all(a[1] != b[1] for a, b in zip(looks[:29], looks[1:30], strict=True))


def test_curves_stay_inside_the_chart():
    reader = chart(Series("a", [3, 5, 9], [-7.3, 12, 4]))
    path = reader.values("path", "d")[-4].replace("M", "").replace("h0", "").split("L")
    points = np.array([[float(v) for v in point.split(",")] for point in path])
    assert (points >= 0).all() and (points <= [640, 350]).all()
    assert (np.diff(points[:, 0]) > 0).all() and points[1, 1] < points[2, 1] < points[0, 1]


def test_a_band_goes_along_its_high_edge_and_back_along_its_low_one():
    curve = Series("middle", [0, 1, 2], [5, 5, 5])
    band = Band("90 % interval", [0, 1, 2], [4, 3, -math.inf], [6, 7, 8])
    read = Reader(line_chart([curve], bands=[band], x_label="x", y_label="y", title="t"))
    (edge,) = [a["d"] for t, a in read.tags if t == "path" and a.get("class") == "shade"][1:]
    places = [tuple(map(float, place.split(","))) for place in str(edge)[1:-1].split("L")]
    assert [x for x, _ in places] == [places[i][0] for i in (0, 1, 2, 1, 0)]
    heights = [y for _, y in places]
    assert heights == sorted(heights[:3], reverse=True) + sorted(heights[3:], reverse=True)
    assert "90 % interval" in str(read.text)
    with pytest.raises(ShapeError, match="band 'a' has 2 x, 1 low and 2 high"):
        Band("a", [0, 1], [0], [1, 1])


@LAW
@given(st.integers(0, 4), st.integers(0, 4), st.randoms(use_true_random=False))
def test_every_weight_is_a_tooltip(height, width, random):
    rows, columns = [f"R{i}" for i in range(height)], [f"c{j}" for j in range(width)]
    values = np.array([[random.random() for _ in columns] for _ in rows]).reshape(height, width)
    markup = heat_map(rows, columns, values, title="t", row_title="r", column_title="c")
    reader = Reader(markup)
    assert reader.values("td", "title") == [
        f"{row} looks at {column}: {value:.2f}"
        for row, weights in zip(rows, values, strict=True)
        for column, value in zip(columns, weights, strict=True)
    ]
    most = [
        f" looks at, most of all, c{own.argmax()}: {own.max():.2f}" for own in values if own.size
    ]
    assert [said for said in reader.text.get("span", []) if "most" in said] == most


def test_a_shade_stays_between_none_and_full():
    markup = heat_map(
        "ab", "cde", [[-0.1, 0.5, 1.7], [math.nan] * 3], title="", row_title="", column_title=""
    )
    shades = ["--w:0.00", "--w:0.50", "--w:1.00", *["--w:0.00"] * 3]
    assert Reader(markup).values("td", "style") == shades
    assert "looks at nothing" in markup and markup.count('class="none"') == 3


def test_a_label_that_would_not_show_is_made_visible():
    columns = [" ", "\u0301", "", "\u200d"]
    markup = heat_map("a", columns, [[0.25] * 4], title="", row_title="", column_title="")
    heads = Reader(markup).text["bdi"]
    assert heads == ["\u2423", "\u25cc\u0301", "\u2205", "\u25cc\u200d", "a"]


def test_bars_have_the_proportions_of_their_values():
    bars = [Bar("a", 0.4, (0.3, 0.5)), Bar("b", 0.2, muted=True), Bar("c", math.nan), Bar("d", -1)]
    markup = bar_table(bars, title="t", label="l", value="v", show="{:.1%}".format)
    reader = Reader(markup)
    a, b, c, d = (float(width.rstrip("%")) for width in reader.values("rect", "width"))
    low, high = (float(reader.values("line", end)[0].rstrip("%")) for end in ("x1", "x2"))
    assert a == pytest.approx(2 * b, abs=0.02) and c == d == 0
    assert (low, high) == pytest.approx((0.75 * a, 1.25 * a), abs=0.02) and high < 100
    assert reader.text["title"] == ["a: 40.0% (30.0%–50.0%)", "b: 20.0%", "c: nan%", "d: -100.0%"]
    assert markup.count('class="muted"') == 1


def test_a_drawing_has_a_name_and_a_table_its_heads():
    assert chart(Series("a", [1], [2]), text="T").text["title"][0] == "T"
    reader = Reader(bar_table([Bar("a", 1)], title="T", label="l", value="v"))
    assert reader.text["caption"] == ["T"]
    assert reader.values("th", "scope") == ["col", "col", "row"]


@LAW
@given(texts)
def test_no_text_becomes_markup(text):
    def figures(word: str) -> list[Markup]:
        curve, bars = Series(word, [1, 2], [1, 2], "lowest"), [Bar(word, 1.0, (0.5, 1.5))]
        return [
            line_chart([curve], x_label=word, y_label=word, title=word),
            heat_map([word], [word], [[0.5]], title=word, row_title=word, column_title=word),
            bar_table(bars, title=word, label=word, value=word, show=lambda value: word),
        ]

    for nasty, plain in zip(figures(text), figures("abc"), strict=True):
        found, expected = Reader(nasty), Reader(plain)
        assert [tag for tag, _ in found.tags] == [tag for tag, _ in expected.tags]
        assert [[*a] for _, a in found.tags] == [[*a] for _, a in expected.tags]
        nasty.encode()
        assert not set(nasty) & {*map(chr, range(9)), "\x1b", "\x85", "\u202e", "\u2066"}


@LAW
@given(texts)
def test_shown_text_has_no_control_character(text):
    seen = shown(text)
    assert len(seen) == len(text) and seen == shown(seen)
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000 for c in seen)


def test_sizes_that_disagree_are_refused():
    with pytest.raises(ShapeError, match=r"series 'a' has 2 x and 1 y; expected as many: give one"):
        Series("a", [1, 2], [1])
    with pytest.raises(ShapeError, match=r"weights of shape \(1, 2\); expected \(2, 1\): give one"):
        heat_map("ab", "c", [[1, 2]], title="t", row_title="r", column_title="c")

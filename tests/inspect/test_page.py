"""Laws of the page: it is whole, fetches nothing, can be read by all, and is written at once."""

import errno
import os
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.errors import RunError, ShapeError
from unrolled.inspect.figures import Bar, Series, bar_table, heat_map, line_chart
from unrolled.inspect.page import (
    Expander,
    Figure,
    Grid,
    Page,
    Prose,
    Section,
    Table,
    render,
    write,
)

NASTY = (
    "<script>alert(1)</script>",
    "\"' onmouseover='x",
    "</style></title></details>",
    "&amp;{{ 7 * 7 }}{% raw %}",
    "a\x00b\x1b[31m\x85\ud800",
    "\u202egnp.exe\u2066",
)


def sample(text: str = "word") -> Page:
    """A page with every kind of block and the text in every slot."""
    curves = line_chart([Series(text, [1, 2], [2, 1])], x_label=text, y_label=text, title=text)
    bars = bar_table([Bar(text, 1, (0, 2))], title=text, label=text, value=text)
    heat = heat_map([text], [text], [[0.5]], title=text, row_title=text, column_title=text)
    blocks = [
        Prose(f"{text}\n\n{text}"),
        Figure(curves, text),
        Grid([Figure(heat, text), Figure(bars, "")]),
        Table(text, [text, "count"], [[text, text]], numeric=["count"]),
        Expander(text, [Prose(text), Expander(text, [Figure(bars, text)])]),
    ]
    return Page(text, text, {text: text}, [Section(text, blocks), Section(text, [])])


class Reader(HTMLParser):
    """Collects the tags, and fails on one that is left open or closes another."""

    VOID = ("meta", "path", "circle", "rect", "line")

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(markup)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def names(self) -> list[str]:
        return [tag for tag, _ in self.tags]


def test_the_same_page_is_the_same_file():
    assert render(sample()) == render(sample())


@settings(deadline=None, max_examples=30, database=None)
@given(st.text(st.characters(), min_size=1, max_size=8) | st.sampled_from(NASTY))
def test_no_text_becomes_markup(text):
    text = text.replace("\n", " ")
    found = render(sample(text))
    assert Reader(found).names() == Reader(render(sample())).names()
    assert "<script" not in found and ("7 * 7" in found) == ("7 * 7" in text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", found)
    found.encode()


def test_control_characters_are_seen():
    found = render(Page("a\x00b", "c\x1bd", {"\ud800": "\u202e"}))
    assert "<h1>a␀b</h1>" in found and "c␛d" in found
    assert "<dt>\ufffd</dt><dd>\ufffd</dd>" in found


def test_the_page_fetches_nothing_and_runs_nothing():
    found = render(sample())
    policy = re.search('Content-Security-Policy" content="([^"]*)"', found)
    assert policy and policy[1].startswith("default-src 'none'; style-src 'unsafe-inline';")
    assert not re.search(r"//|url\(|@import|<script|<link|<img|\bsrc=|\bon\w+=", found)
    links = [attrs["href"] or "" for _, attrs in Reader(found).tags if "href" in attrs]
    assert links and all(link.startswith("#") for link in links)


def test_links_lead_somewhere_and_names_are_unique():
    tags = Reader(render(sample())).tags
    names = [attrs["id"] for _, attrs in tags if "id" in attrs]
    wanted = {(attrs["href"] or "")[1:] for _, attrs in tags if "href" in attrs}
    wanted |= {attrs["aria-labelledby"] for _, attrs in tags if "aria-labelledby" in attrs}
    assert len(names) == len(set(names)) and wanted == set(names)


def test_a_screen_reader_finds_its_way():
    reader = Reader(render(sample()))
    names = reader.names()
    assert [name for name in names if re.fullmatch("h[1-6]", name)] == ["h1", "h2", "h2"]
    assert all(names.count(landmark) == 1 for landmark in ("header", "nav", "main", "h1"))
    assert names.index("a") == names.index("body") + 1  # the link that skips to the content
    assert names.count("table") == names.count("caption") == 4
    assert all("scope" in attrs for tag, attrs in reader.tags if tag == "th")
    for place, (tag, attrs) in enumerate(reader.tags):
        if tag == "svg" and attrs.get("role") == "img":
            assert names[place + 1 : place + 3] == ["title", "desc"]
    assert reader.tags[0] == ("html", {"lang": "en"})


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2, 1 to 21."""
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["paper", "panel"])
def test_contrast(theme, ground):
    block = re.findall(r":root \{(.*?)\}", render(Page("", "")), re.DOTALL)[theme]
    colours = dict(re.findall(r"--(\w+): (#\w{6});", block))
    for name in ("ink", "soft", "accent"):
        assert contrast(colours[name], colours[ground]) >= 4.5, name
    for name in ("s0", "s1", "s2", "s3", "s4", "s5", "bar", "rule"):
        assert contrast(colours[name], colours[ground]) >= 3, name
    assert contrast(colours["heat"], colours["cell"]) >= 7


def test_an_empty_page_is_a_page():
    names = Reader(render(Page("t", "l"))).names()
    assert "nav" not in names and "dl" not in names and "main" in names


def test_numbers_align_and_the_first_column_names_its_row():
    page = Page("t", "l", {}, [Section("s", [Table("c", ["word", "n"], [["a", "1"]], ["n"])])])
    found = render(page)
    assert '<th scope="row">a</th>' in found and '<td class="n">1</td>' in found
    assert '<th scope="col" class="n">n</th>' in found


def test_a_column_of_text_keeps_room_for_it_on_a_phone():
    row = ["a", "no forget gate", "goes on, " * 9, "1,234,567,890"]
    found = render(Page("t", "l", {}, [Section("s", [Table("c", [*"wxyz"], [row], ["z"])])]))
    assert '<td class="some">no forget' in found and '<td class="much">goes on' in found
    assert '<td class="n">1,234' in found


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ShapeError, match="table 'c' has 1 cells in row 1; expected 2: give one"):
        Table("c", ["a", "b"], [["1", "2"], ["1"]])


def test_write_leaves_one_whole_file(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    write(sample(), path)
    assert path.read_text(encoding="utf-8") == render(sample())
    assert os.listdir(tmp_path) == ["report.html"]


def test_a_page_that_cannot_be_written_keeps_the_old_report(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RunError, match=r"report\.html could not be written: No space left on dev"):
        write(sample(), path)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["report.html"]


@pytest.mark.parametrize("place", ["missing/report.html", "file/report.html"])
def test_a_place_that_is_no_folder_is_named(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=f"{place} could not be written: No"):
        write(sample(), tmp_path / place)

"""A line that is not UTF-8 is one fault of a file: what comes after it is read."""

import gzip
import io
from pathlib import Path

import pytest

from unrolled.errors import DataError
from unrolled.tasks.classify.config import Fields
from unrolled.tasks.classify.items import read_items
from unrolled.tasks.faults import Faults
from unrolled.tasks.forecast.config import Columns
from unrolled.tasks.forecast.series import read_series
from unrolled.tasks.lines import all_lines, lines

BROKEN = "byte 0xff at column"


def test_reading_goes_on_behind_what_cannot_be_used() -> None:
    data = b"\xef\xbb\xbfone\r\n\xff\nthree\n" + b"x" * 50 + b"\n\nsix"
    found = list(all_lines(io.BytesIO(data), "here", 10))
    assert [(number, text) for number, text, _ in found] == [
        (1, "one"), (2, "\ufffd"), (3, "three"), (4, ""), (5, ""), (6, "six"),
    ]  # fmt: skip
    faults = [fault for *_, fault in found]
    assert faults[1].startswith(f"{BROKEN} 1 is not UTF-8")
    assert faults[3].startswith("is longer than 10 characters")
    assert not any(faults[place] for place in (0, 2, 4, 5))
    with pytest.raises(DataError, match="^here:2: byte 0xff"):
        list(lines(io.BytesIO(data), "here", 10))


def test_a_stream_that_breaks_ends_the_reading(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "a", "label": "b"}\n' * 999)[:-20])
    with pytest.raises(DataError, match="cannot be read"):
        read_items(path, Fields(), Faults(skip=True))


FILES = {
    "texts.csv": b'label,text\na,one\nb,t\xffo\na,"three\nand \xff more"\nb,four\n',
    "texts.tsv": b"label\ttext\na\tone\nb\tt\xffo\n\xff\nb\tfour\n",
    "texts.jsonl": b'{"text":"one","label":"a"}\n{"\xff\n\xff\n{"text":"four","label":"b"}\n',
    "waves.ts": b"@classLabel true a b\n@data\n1,2:a\n1,\xff:b\n\xff:a\n3,4:b\n",
}


@pytest.mark.parametrize("name", FILES)
def test_items_after_a_broken_line_are_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name])
    faults = Faults(skip=True)
    items = read_items(path, Fields(), faults)
    assert [item.label for item in items] == ["a", "b"]
    assert faults.count == 2 and BROKEN in faults.first
    first = FILES[name].split(b"\xff")[0].count(b"\n") + 1
    assert faults.summary().startswith(f"2 items are left out; the first: {path}:{first}: byte")
    last = FILES[name].count(b"\n")
    assert items[-1].where == f"{path}:{last}"
    with pytest.raises(DataError, match=f":{first}: {BROKEN}"):
        read_items(path, Fields(), Faults(skip=False))


def test_a_head_that_is_broken_ends_the_reading(tmp_path: Path) -> None:
    for name in ("texts.csv", "waves.ts"):
        (tmp_path / name).write_bytes(b"@\xff\n" + FILES[name])
        with pytest.raises(DataError, match=f":1: {BROKEN}"):
            read_items(tmp_path / name, Fields(), Faults(skip=True))


@pytest.mark.parametrize(
    ("layout", "text", "names"),
    [
        ("rows", b"a,1,2,3\nb,\xff,2\nc,4,5,6\n", ["a", "c"]),
        ("long", b"id,time,value\na,1,5\na,2,6\nb,1,\xff\nc,1,7\nc,2,8\n", ["a", "c"]),
    ],
)
def test_series_after_a_broken_line_are_read(
    tmp_path: Path, layout: str, text: bytes, names: list[str]
) -> None:
    path = tmp_path / "series.csv"
    path.write_bytes(text)
    columns, faults = Columns(layout=layout), Faults(skip=True)  # pyright: ignore
    assert [series.name for series in read_series(path, columns, faults)] == names
    assert faults.count == 1 and BROKEN in faults.first
    with pytest.raises(DataError, match=BROKEN):
        read_series(path, columns, Faults(skip=False))

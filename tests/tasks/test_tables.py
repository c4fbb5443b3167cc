from pathlib import Path

import numpy as np
import pytest

from unrolled.errors import DataError
from unrolled.tasks.scaling import Scaling
from unrolled.tasks.tables import column, read_table


@pytest.mark.parametrize(
    ("name", "text", "cells"),
    [
        ("a.csv", 'x,y\n\n1,"2, 3"\n"a\nb",""\n', [(3, ["1", "2, 3"]), (5, ["a\nb", ""])]),
        ("a.tsv", 'x\ty\n"1\t2\n', [(2, ['"1', "2"])]),
        ("a.csv", "\ufeffx,y\r\n1,2\r\n", [(2, ["1", "2"])]),
    ],
    ids=["commas", "tabs", "windows"],
)
def test_a_table_is_read(tmp_path: Path, name: str, text: str, cells: object) -> None:
    path = tmp_path / name
    path.write_text(text, newline="")
    names, rows = read_table(path, 100)
    assert names == ["x", "y"]
    assert [(row.line, row.cells) for row in rows] == cells


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is empty"),
        (b"x,x\n", "1: two columns are called 'x'"),
        (b'x,y\n1,"2\n', "is no CSV"),
        (b"x,\xff\n1,2\n", "1: byte 0xff at column 3 is not UTF-8"),
        (b"x,y\n" + b"1" * 101, "2: is longer than 100"),
    ],
    ids=["empty", "twice", "quotes", "utf-8", "long"],
)
def test_a_bad_table_is_named_with_its_line(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(text)
    with pytest.raises(DataError, match=f"a.csv:?.*{message}"):
        list(read_table(path, 100)[1])


def test_a_row_with_other_cells_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x,y\n1\n1,2\n")
    faults = [row.fault for row in read_table(path, 100)[1]]
    assert faults == ["cells: 1; the first row names 2 columns", ""]


def test_a_column_that_is_missing_is_named_with_its_flag() -> None:
    with pytest.raises(DataError, match="no column 'z', only 'x', 'y'; name it with --text-field"):
        column(Path("a.csv"), ["x", "y"], "z", "--text-field")


def test_a_scale_is_kept(tmp_path: Path) -> None:
    series = [np.random.default_rng(0).normal(3, 2, (50, 2)), np.full((10, 2), 7.0)]
    scaling = Scaling.of(series)
    scaled = scaling.scale(np.concatenate(series))
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.std(0), 1)
    scaling.save(tmp_path / "scaling.json")
    again = Scaling.load(tmp_path / "scaling.json")
    np.testing.assert_array_equal(again.unscale(scaled), scaling.unscale(scaled))
    (tmp_path / "scaling.json").write_text('{"mean": [1], "std": [0]}')
    with pytest.raises(DataError, match="is damaged"):
        Scaling.load(tmp_path / "scaling.json")

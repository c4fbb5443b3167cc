from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch

from unrolled.errors import DataError
from unrolled.tasks.faults import Faults
from unrolled.tasks.forecast.clock import Clock, find_clock, read_time
from unrolled.tasks.forecast.config import Columns, Model
from unrolled.tasks.forecast.data import spans
from unrolled.tasks.forecast.metrics import Yardstick, errors, pinball
from unrolled.tasks.forecast.series import Series, join, read_series
from unrolled.tasks.forecast.windows import Pool

LONG = Columns(layout="long")
ROWS = Columns(layout="rows")


def write(folder: Path, text: str) -> Path:
    path = folder / "a.csv"
    path.write_text(text)
    return path


def read(path: Path, columns: Columns | None = None, skip: bool = False) -> list[Series]:
    return read_series(path, columns or Columns(), Faults(skip))


@pytest.mark.parametrize(
    ("times", "season", "after"),
    [
        (["2016-07-01 22:00:00", "2016-07-01 23:00"], 24, "2016-07-02 00:00:00"),
        (["2016-02-27", "2016-02-28"], 7, "2016-02-29"),
        (["1949-11", "1949-12"], 12, "1950-01"),
        (["2020-01-01", "2020-04-01", "2020-07-01"], 4, "2020-10-01"),
        (["2020-01-15", "2021-01-15"], 1, "2022-01-15"),
        (["7", "9"], 1, "11"),
        (["2016-07-01T05:00+02:00", "2016-07-01T06:00+02:00"], 24, "2016-07-01 05:00:00+00:00"),
    ],
    ids=["hours", "days", "months", "quarters", "years", "numbers", "offset"],
)
def test_times_go_on(times: list[str], season: int, after: str) -> None:
    read = [read_time(text) for text in times]
    clock = find_clock([time for time, _ in read], read[-1][1])
    assert clock.season == season
    assert clock.text(len(times)) == after


def test_the_calendar_tells_what_varies() -> None:
    hours = Clock("second", 0, 3600).calendar(-24, 48)
    assert hours.shape == (48, 6)
    np.testing.assert_allclose(hours[:24, :2], hours[24:, :2], atol=1e-9)
    assert Clock("second", 0, 86_400).calendar(0, 3).shape == (3, 4)
    assert Clock("month", 0, 1).calendar(0, 3).shape == (3, 2)
    assert Clock("number", 0, 1).calendar(0, 3).shape == (3, 0)


def test_layouts_hold_the_same_series(tmp_path: Path) -> None:
    wide = read(write(tmp_path, "day,a,b\n2020-01-01,1,5\n2020-01-02,2,6\n"))
    text = "id,day,value\na,2020-01-01,1\nb,2020-01-01,5\nb,2020-01-02,6\na,2020-01-02,2\n"
    long = read(write(tmp_path, text), LONG)
    rows = read(write(tmp_path, "V1,V2,V3\na,1,2\nb,5,6,\n"), ROWS)
    for series in (wide, long, rows):
        assert [one.name for one in series] == ["a", "b"]
        assert [one.values.tolist() for one in series] == [[1, 2], [5, 6]]
    assert wide[1].clock == long[1].clock


def test_covariates_go_on_where_the_values_end(tmp_path: Path) -> None:
    columns = Columns(covariates=("heat",))
    path = write(tmp_path, "day,a,heat\n2020-01-01,1,5\n2020-01-02,,6\n2020-01-03,,7\n")
    (series,) = read(path, columns)
    assert series.values.tolist() == [1] and series.known.tolist() == [[5], [6], [7]]
    path = write(tmp_path, "day,a,heat\n2020-01-01,1,5\n2020-01-02,,6\n2020-01-03,3,7\n")
    with pytest.raises(DataError, match="a.csv:3: a is empty, and goes on later; fill the gap"):
        read(path, columns)


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("day,a\n2020-01-01,1\n2020-01-02,2\n2020-01-04,3\n", Columns(), "4: .* 2020-01-03 is exp"),
        ("day,a\n2020-01-01,1\n2020-01-02,2\n2020-01-02,3\n", Columns(), "4: .* is there twice"),
        ("day,a\n1,1\n2,2\n3,3\n1,3\n", Columns(), "5: .* is earlier than the line before"),
        ("day,a\n2020-01-01,1\n3,2\n", Columns(), "3: .* some times are whole numbers"),
        ("day,a\n2020-01-01,1\n2020-01-02,x\n", Columns(), "3: a is 'x'; write a finite number"),
        ("day,a\n2020-01-01,nan\n", Columns(), "2: a is 'nan'; write a finite number"),
        ("day,a\n2020-01-01,\n", Columns(), "2: a is empty; fill the gap"),
        ("day,a\n1.1.2020,1\n", Columns(), "2: '1.1.2020' is no time"),
        ("day,a\n2020-01-01\n", Columns(), "2: cells: 1; the first row names 2"),
        ("day\n1\n", Columns(), "1: has no column beside the time"),
        ("day,a\n", Columns(), "has no lines below its first"),
        ("day,a\n1,2\n", Columns(time_column="date"), "1: has no column 'date', only 'day', 'a'"),
        ("id,day,value\n,2020-01-01,1\n", LONG, "2: the series has no name"),
        ("id,day,value\na,1,1\na,2,2\na,4,3\n", LONG, "4: a: 4 comes where 3 is expected"),
        ("id,day,value\na,1,1\na,2,2\nb,0,3\nb,5,3\n", LONG, "4: the steps of 'b' are not as long"),
        ("a,1,,2\n", ROWS, "1: a is empty; fill the gap"),
        ("a,1\na,2\n", ROWS, "2: the name 'a' is empty or there twice"),
        ("a,\n", ROWS, "1: a has no values"),
        ("", ROWS, "has no series"),
    ],
)
def test_a_bad_file_is_named_with_line_and_reason(
    tmp_path: Path, text: str, columns: Columns, message: str
) -> None:
    with pytest.raises(DataError, match=f"a.csv:? ?{message}"):
        read(write(tmp_path, text), columns)


def test_bad_series_are_left_out_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path, "id,day,value\na,1,1\nb,1,x\nb,2,2\na,2,2\nc,1,1\nc,1,1\n")
    faults = Faults(skip=True)
    assert [one.name for one in read_series(path, LONG, faults)] == ["a"]
    assert faults.count == 2 and "a.csv:3: b is 'x'" in faults.summary()


def test_what_comes_later_has_to_go_on_right_there(tmp_path: Path) -> None:
    here = read(write(tmp_path, "day,a\n2020-01-01,1\n2020-01-02,2\n"))
    there = read(write(tmp_path, "day,a\n2020-01-03,3\n"))
    assert join(here, there)[0].values.tolist() == [1, 2, 3]
    there = read(write(tmp_path, "day,a\n2020-01-04,3\n"))
    with pytest.raises(DataError, match="goes on at 2020-01-04, but .* ends before 2020-01-03"):
        join(here, there)
    with pytest.raises(DataError, match="'b' has no history"):
        join(here, read(write(tmp_path, "day,b\n2020-01-03,3\n")))


def plain(values: np.ndarray, name: str = "a") -> Series:
    return Series(name, Clock("number", 0, 1), values, np.zeros((len(values), 0)), "here:1")


def test_windows_hold_the_past_and_nothing_of_what_comes() -> None:
    long, short = np.arange(100.0, 130), np.array([5.0, 6, 7])
    pool = Pool([plain(long), plain(short)], [1, 2], [3, 1], 4, Model(context=6, scaling="none"))
    cut = pool.cut([0, 1], [20, 2])
    windows = cut.windows
    assert windows.values.T.tolist() == [[114, 115, 116, 117, 118, 119], [0, 0, 0, 0, 5, 6]]
    assert windows.present[:, 1].tolist() == [0, 0, 0, 0, 1, 1]
    assert windows.past_lags[:, 0, 0].tolist() == [111, 112, 113, 114, 115, 116]
    assert windows.future_lags[:, 0].tolist() == [[117, 119], [118, 119], [119, 119], [117, 119]]
    assert windows.future_lags[:, 1].tolist() == [[0, 6], [5, 6], [6, 6], [0, 6]]
    assert pool.targets([0], [20]).flatten().tolist() == [120, 121, 122, 123]
    assert pool.naive([0, 1], [20, 2], 3).T.tolist() == [[117, 118, 119, 117], [5, 5, 6, 5]]


@pytest.mark.parametrize("scaling", ["standard", "mean", "none"])
def test_a_window_is_scaled_by_its_own_past_and_brought_back(scaling: str) -> None:
    values = np.random.default_rng(0).normal(1e5, 3, 60)
    values[30:] += 1e6
    pool = Pool([plain(values)], [1], [2], 5, Model(context=8, scaling=scaling))  # pyright: ignore[reportArgumentType]
    cut = pool.cut([0, 0], [20, 29])
    truth = pool.targets([0, 0], [20, 29])
    torch.testing.assert_close(cut.back(cut.scaled(truth)), truth, rtol=1e-5, atol=1e-5)
    assert cut.windows.values.abs().max() < {"standard": 4, "mean": 1.1, "none": 2e6}[scaling]
    flat = Pool([plain(np.full(20, 7.0))], [1], [2], 5, Model(context=8)).cut([0], [10])
    assert flat.windows.values.isfinite().all() and flat.back(torch.zeros(5, 1)).unique() == 7


def test_spans_leave_no_window_out() -> None:
    found = spans([1, 4], [9, 6], horizon=3, stride=2)
    assert list(zip(found.which.tolist(), found.origins.tolist(), strict=True)) == [
        (0, 1), (0, 3), (0, 5),
    ]  # fmt: skip


def test_errors_are_those_of_the_competition() -> None:
    history = np.array([2.0, 4, 3, 5, 4, 6])
    stick = Yardstick.of(history, 2)
    truth, forecast = np.array([[5.0, 7.0]]), np.array([[4.0, 9.0]])
    found = errors(truth, forecast, np.array([0]), [stick])
    assert found.mase == pytest.approx(1.5)  # the history's seasonal differences are all 1
    assert found.smape == pytest.approx(100 * (2 / 9 + 4 / 16) / 2)
    assert found.mse == pytest.approx(2.5 / history.var())
    assert pinball(truth, forecast[..., None], [0.9]) == pytest.approx(2 * (0.9 + 0.2) / 12)


def test_hours_across_a_change_of_clocks_are_a_gap() -> None:
    hours = [datetime(2020, 3, 29, 0) + timedelta(hours=h) for h in (0, 1, 3, 4)]
    with pytest.raises(DataError, match="comes where 2020-03-29 02:00 is expected"):
        find_clock(hours, "%Y-%m-%d %H:%M")

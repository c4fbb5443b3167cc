"""When the steps of a series are: times read, checked to be evenly spaced, and gone on with."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np

from unrolled.errors import DataError

Unit = Literal["number", "month", "second"]

DAY, WEEK, YEAR = 86_400, 7 * 86_400, 365.2425 * 86_400  # seconds
EPOCH = datetime(1970, 1, 1)
MONTH = re.compile(r"(\d{4})-(\d{2})")


@dataclass(frozen=True)
class Clock:
    """Evenly spaced times: step i is at start + i * step.

    unit: what start and step count: numbers without a calendar, months since 1970, or seconds since
    1970. within: of months, the seconds after the month's beginning. style: how strftime writes it.
    """

    unit: Unit
    start: int
    step: int
    within: int = 0
    style: str = ""

    def text(self, place: int) -> str:
        """Write the time of a step.

        >>> Clock("month", 0, 1, style="%Y-%m").text(13)
        '1971-02'
        """
        value = self.start + place * self.step
        return str(value) if self.unit == "number" else self._time(value).strftime(self.style)

    def _time(self, value: int) -> datetime:
        if self.unit == "second":
            return EPOCH + timedelta(seconds=value)
        year, month = divmod(value, 12)
        return datetime(1970 + year, month + 1, 1) + timedelta(seconds=self.within)

    @property
    def season(self) -> int:
        """Steps of the season that such times have most often; 1 where there is none.

        >>> Clock("second", 0, 3600).season, Clock("month", 0, 3).season
        (24, 4)
        """
        if self.unit == "month":
            return 12 // self.step if 12 % self.step == 0 else 1
        if self.unit == "number" or (self.step < DAY and DAY % self.step):
            return 1
        return {DAY: 7, WEEK: 52}.get(self.step, max(1, DAY // self.step))

    def calendar(self, first: int, count: int) -> np.ndarray:
        """Tell the time of the day, the week and the year, where it varies from step to step.

        Gives sine and cosine of each, (count, 0 to 6), for the steps from `first` on.
        """
        places = np.arange(first, first + count, dtype=np.float64)
        value = self.start + self.step * places
        if self.unit == "number":
            return np.zeros((count, 0))
        if self.unit == "month":
            turns = [value / 12] if self.step % 12 else []
        else:
            turns = [value / cycle for cycle in (DAY, WEEK, YEAR) if self.step < cycle]
        waves = [wave(2 * np.pi * turn) for turn in turns for wave in (np.sin, np.cos)]
        return np.stack(waves, -1) if waves else np.zeros((count, 0))


class NotEven(DataError):
    """Times are not evenly spaced.

    Args:
        place: the first time that is wrong.
        reason: why.
    """

    def __init__(self, place: int, reason: str) -> None:
        super().__init__(reason)
        self.place = place


def read_time(text: str, style: str = "") -> tuple[datetime | int, str]:
    """Read a time: ISO 8601, a month such as 1949-01, a whole number, or as `style` says.

    Gives the time, in UTC if it has an offset, and how to write it.

    >>> read_time("2016-07-01 05:00")
    (datetime.datetime(2016, 7, 1, 5, 0), '%Y-%m-%d %H:%M:%S')
    """
    text = text.strip()
    try:
        if style:
            return _in_utc(datetime.strptime(text, style)), style
        if re.fullmatch(r"-?\d{1,15}", text):
            return int(text), ""
        if found := MONTH.fullmatch(text):
            return datetime(int(found[1]), int(found[2]), 1), "%Y-%m"
        time = datetime.fromisoformat(text)
        style = "%Y-%m-%d" if len(text) <= len("2016-07-01") else "%Y-%m-%d %H:%M:%S"
        return _in_utc(time), style + ("+00:00" if time.tzinfo else "")
    except (ValueError, OverflowError):
        wanted = style or "ISO 8601 (2016-07-01 05:00), or name --time-format"
        raise DataError(f"{text[:40]!r} is no time; write it as {wanted}") from None


def find_clock(times: Sequence[datetime | int], style: str) -> Clock:
    """Tell the even spacing of times; raise NotEven with the first one that does not keep to it.

    >>> find_clock([datetime(2020, 1, 31, 6), datetime(2020, 1, 31, 12)], "%Y-%m-%d %H").step
    21600
    """
    if any(type(time) is not type(times[0]) for time in times):
        place = next(i for i, time in enumerate(times) if type(time) is not type(times[0]))
        raise NotEven(place, "some times are whole numbers and others are not; write all alike")
    if isinstance(times[0], int):
        return _even("number", np.array(times), 0, "")
    seconds = np.array([_seconds(time) for time in times])
    firsts = [datetime(t.year, t.month, 1) for t in times if isinstance(t, datetime)]
    within = seconds - [_seconds(first) for first in firsts]
    if len(times) > 1 and (within == within[0]).all() and within[0] < 28 * DAY:
        months = np.array([12 * (first.year - 1970) + first.month - 1 for first in firsts])
        if (np.diff(months) > 0).all():
            return _even("month", months, int(within[0]), style)
    return _even("second", seconds, 0, style)


def _even(unit: Unit, values: np.ndarray, within: int, style: str) -> Clock:
    steps = np.diff(values)
    if len(steps) == 0:
        return Clock(unit, int(values[0]), 1 if unit == "number" else DAY, within, style)
    lengths, counts = np.unique(steps[steps > 0], return_counts=True)
    step = int(lengths[counts.argmax()]) if len(lengths) else 1
    clock = Clock(unit, int(values[0]), step, within, style)
    wrong = np.flatnonzero(steps != step)
    if len(wrong):
        place = int(wrong[0]) + 1
        if steps[place - 1] == 0:
            reason = "is there twice; keep one line of it"
        elif steps[place - 1] < 0:
            reason = "is earlier than the line before it; sort the lines by time"
        else:
            before = Clock(unit, int(values[place - 1]), clock.step, within, style)
            reason = f"comes where {before.text(1)} is expected: fill the gap, with a line for each"
        raise NotEven(place, reason)
    return clock


def _seconds(time: datetime | int) -> int:
    return time if isinstance(time, int) else round((time - EPOCH).total_seconds())


def _in_utc(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time

"""Nights: their hours in any zone, and the area of most minutes."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo.matching.nights import MAX_APART_MS, NOWHERE, Night, night_of, night_rows, nights_touched

SEOUL = ZoneInfo("Asia/Seoul")
MIN = 60_000
HOUR = 60 * MIN
NIGHT = night_of(date(2026, 11, 23), SEOUL)


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def rows(fixes: list[tuple[int, float, int]], night: Night = NIGHT) -> list[tuple[int, int, float, int]]:
    """(device, area, minutes, fixes) of fixes (device, minutes after the night began, area)."""
    columns = np.array(fixes, float).reshape(-1, 3).T
    found = night_rows(
        device=columns[0].astype(np.int64),
        at_ms=night.from_ms + np.round(columns[1] * MIN).astype(np.int64),
        area=columns[2].astype(np.int64),
        night=night,
    )
    listed = (found.device, found.area, found.near_ms / MIN, found.fixes)
    return list(zip(*(column.tolist() for column in listed), strict=True))


def test_a_night_of_seoul() -> None:
    assert NIGHT.from_ms == ms("2026-11-23T00:00:00+09:00")
    assert NIGHT.until_ms == ms("2026-11-23T06:00:00+09:00")


@pytest.mark.parametrize(
    ("zone", "day", "since", "until"),
    [
        # clocks go from 02:00 to 03:00: five hours
        ("America/New_York", "2026-03-08", "2026-03-08T05:00Z", "2026-03-08T10:00Z"),
        # and from 02:00 back to 01:00: seven
        ("America/New_York", "2026-11-01", "2026-11-01T04:00Z", "2026-11-01T11:00Z"),
        # 00:00 does not exist: clocks go from 00:00 to 01:00
        ("America/Santiago", "2026-09-06", "2026-09-06T04:00Z", "2026-09-06T09:00Z"),
        ("Africa/Cairo", "2026-04-24", "2026-04-23T22:00Z", "2026-04-24T03:00Z"),
        # 00:00 comes twice: clocks go from 01:00 back to 00:00
        ("America/Havana", "2026-11-01", "2026-11-01T04:00Z", "2026-11-01T11:00Z"),
        # half an hour only
        ("Australia/Lord_Howe", "2026-10-04", "2026-10-03T13:30Z", "2026-10-03T19:00Z"),
        ("Pacific/Kiritimati", "2026-01-01", "2025-12-31T10:00Z", "2025-12-31T16:00Z"),
    ],
)
def test_a_night_where_clocks_are_changed(zone: str, day: str, since: str, until: str) -> None:
    night = night_of(date.fromisoformat(day), ZoneInfo(zone))
    assert (night.from_ms, night.until_ms) == (ms(since), ms(until))


@pytest.mark.parametrize(
    ("fixes", "expected"),
    [
        # every instant goes to the nearest fix: 10 min lie between, 5 are each one's
        ([(1, 0, 7), (1, 10, 8), (1, 20, 8)], [(1, 8, 15, 2)]),
        # exactly 30 min are known, 30 min and 1 ms are not
        ([(1, 0, 7), (1, 30, 7)], [(1, 7, 30, 2)]),
        ([(1, 0, 7), (1, 30 + 1 / MIN, 7)], [(1, 7, 0, 2)]),
        # one fix: no minutes, yet a night
        ([(1, 100, 7)], [(1, 7, 0, 1)]),
        # the first instant belongs to the night, the last does not
        ([(1, 0, 7)], [(1, 7, 0, 1)]),
        ([(1, 360, 7)], []),
        ([(1, -1 / MIN, 7)], []),
        # what lies before midnight and after six is cut off
        ([(1, -10, 7), (1, 10, 7)], [(1, 7, 10, 1)]),
        ([(1, -5, 8), (1, 15, 7)], [(1, 7, 10, 1)]),
        ([(1, 350, 7), (1, 370, 7)], [(1, 7, 10, 1)]),
        # both neighbours outside, and nothing in the night
        ([(1, -10, 7), (1, 370, 7)], []),
        # most minutes, not most fixes
        ([(1, 0, 7), (1, 1, 7), (1, 2, 7), (1, 100, 8), (1, 120, 8)], [(1, 8, 20, 2)]),
        # equal minutes: more fixes, then the smaller serial
        ([(1, 0, 8), (1, 10, 8), (1, 100, 7), (1, 105, 7), (1, 110, 7)], [(1, 7, 10, 3)]),
        ([(1, 0, 8), (1, 100, 7)], [(1, 7, 0, 1)]),
        # an area wins over nowhere, however long that was
        ([(1, 0, NOWHERE), (1, 30, NOWHERE), (1, 200, 9)], [(1, 9, 0, 1)]),
        ([(1, 0, NOWHERE), (1, 30, NOWHERE)], [(1, NOWHERE, 30, 2)]),
        # two fixes of one instant are one
        ([(1, 0, 7), (1, 0, 8), (1, 10, 7)], [(1, 7, 10, 2)]),
        # devices are apart
        ([(2, 0, 7), (1, 10, 7), (2, 20, 7)], [(1, 7, 0, 1), (2, 7, 20, 2)]),
        ([], []),
    ],
)
def test_where_a_device_was(
    fixes: list[tuple[int, float, int]], expected: list[tuple[int, int, float, int]]
) -> None:
    assert rows(fixes) == [(d, a, pytest.approx(m, abs=1 / MIN), n) for d, a, m, n in expected]


def test_a_night_of_seven_hours_has_seven_hours() -> None:
    night = night_of(date(2026, 11, 1), ZoneInfo("America/New_York"))
    fixes = [(1, float(minute), 7) for minute in range(0, 421, 30)]
    assert rows(fixes, night) == [(1, 7, 420.0, 14)]


def test_the_nights_that_fixes_touch() -> None:
    at = ["2026-11-22T15:00Z", "2026-11-22T21:00Z", "2026-11-23T12:00Z"]  # 00:00, 06:00, 21:00 in Seoul
    assert nights_touched(np.array([ms(t) for t in at]), SEOUL) == [date(2026, 11, 23)]
    margin = ["2026-11-23T14:30:00.001Z", "2026-11-25T21:29:59.999Z", "2026-11-26T21:30Z"]
    touched = nights_touched(np.array([ms(t) for t in margin]), SEOUL)
    assert touched == [date(2026, 11, 24), date(2026, 11, 26)]


def test_the_ends_of_the_calendar_have_no_nights() -> None:
    far = np.array([-(2**62), ms("0001-01-01T00:00Z"), ms("9999-12-31T23:59Z"), 2**62])
    assert nights_touched(far, ZoneInfo("Pacific/Kiritimati")) == []
    assert nights_touched(np.zeros(0, np.int64), SEOUL) == []


@given(
    st.lists(
        st.tuples(
            st.integers(1, 3),
            st.sampled_from([-31, -30, -29, 0, 1, 29, 30, 31, 60, 330, 359, 360, 361, 389, 390]),
            st.integers(NOWHERE, 2),
        ),
        max_size=40,
        unique_by=lambda fix: fix[:2],
    )
)
def test_nights_are_what_a_look_at_each_half_minute_says(fixes: list[tuple[int, int, int]]) -> None:
    """The twin: each half minute of the night is asked for its nearest fix."""
    said: dict[int, dict[int, list[float]]] = {}
    for device in {fix[0] for fix in fixes}:
        own = sorted((at, area) for d, at, area in fixes if d == device)
        counts = said.setdefault(device, {})
        for at, area in own:
            counts.setdefault(area, [0.0, 0])[1] += 0 <= at < 360
        for (at, area), (later, next_area) in pairwise(own):
            if (later - at) * MIN <= MAX_APART_MS:
                for half in range(2 * at, 2 * later):
                    middle = half / 2 + 0.25
                    if 0 <= middle < 360:
                        counts[area if middle - at < later - middle else next_area][0] += 0.5
    expected = []
    for device, counts in sorted(said.items()):
        areas = {a: c for a, c in counts.items() if c[1]}
        if areas and set(areas) != {NOWHERE}:
            areas.pop(NOWHERE, None)
        if areas:
            area = min(areas, key=lambda a: (-areas[a][0], -areas[a][1], a))
            expected.append((device, area, areas[area][0], areas[area][1]))
    assert rows([(d, float(at), area) for d, at, area in fixes]) == expected


def test_utc_is_a_zone_too() -> None:
    night = night_of(date(2026, 2, 28), ZoneInfo("UTC"))
    began = datetime(2026, 2, 28, tzinfo=UTC).timestamp() * 1000
    assert (night.from_ms, night.until_ms - night.from_ms) == (began, 6 * HOUR)

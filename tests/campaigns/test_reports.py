"""The pure parts of a report: local days over summer time, intervals, rows and their order."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import binomtest

from campaigns.measuring.reports import (
    DAY_MS,
    Figures,
    NamedFence,
    date_of,
    day_number,
    days_between,
    merged,
    offsets_of,
    per_day,
    per_fence,
    wilson,
)

ZONES = ["Asia/Seoul", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "UTC", "Asia/Kolkata"]


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@given(
    st.sampled_from(ZONES),
    st.integers(_ms("2009-01-01T00:00Z"), _ms("2028-12-31T00:00Z")),
    st.integers(0, 400),
    st.floats(0, 1),
)
@example("Pacific/Apia", _ms("2011-12-01T00:00Z"), 60, 0.5)  # a whole day left out
def test_a_local_day_is_what_the_calendar_says(zone: str, start: int, days: int, share: float) -> None:
    until = start + days * DAY_MS + 1
    offsets = offsets_of(zone, start, until)
    at_ms = start + int(share * (until - 1 - start))
    local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(zone))
    assert date_of(day_number(at_ms, offsets)) == local.date()


@pytest.mark.parametrize(
    ("at", "day"),
    [
        ("2026-03-08T04:59:59.999+00:00", "2026-03-07"),
        ("2026-03-08T05:00:00.000+00:00", "2026-03-08"),
        ("2026-03-09T03:59:59.999+00:00", "2026-03-08"),  # this day has 23 hours
        ("2026-03-09T04:00:00.000+00:00", "2026-03-09"),
        ("2026-11-02T04:59:59.999+00:00", "2026-11-01"),  # and this one 25
        ("2026-11-02T05:00:00.000+00:00", "2026-11-02"),
    ],
)
def test_days_of_summer_time(at: str, day: str) -> None:
    offsets = offsets_of("America/New_York", _ms("2026-01-01T00:00Z"), _ms("2027-01-01T00:00Z"))
    assert date_of(day_number(_ms(at), offsets)) == date.fromisoformat(day)


def test_the_changes_are_found_to_the_millisecond() -> None:
    found = offsets_of("America/New_York", _ms("2026-01-01T00:00Z"), _ms("2027-01-01T00:00Z"))
    assert [(since, offset / 3_600_000) for since, offset in found] == [
        (_ms("2026-01-01T00:00Z"), -5),
        (_ms("2026-03-08T07:00Z"), -4),
        (_ms("2026-11-01T06:00Z"), -5),
    ]


def test_a_zone_without_summer_time_has_one_offset() -> None:
    found = offsets_of("Asia/Seoul", _ms("2020-01-01T00:00Z"), _ms("2030-01-01T00:00Z"))
    assert found == [(_ms("2020-01-01T00:00Z"), 9 * 3_600_000)]


@given(st.integers(1, 10_000), st.data())
def test_wilsons_interval_is_the_textbooks(of: int, data: st.DataObject) -> None:
    part = data.draw(st.one_of(st.just(0), st.just(of), st.integers(0, of)))
    low, high = wilson(part, of)
    known = binomtest(part, of).proportion_ci(0.95, method="wilson")
    assert (low, high) == pytest.approx((known.low, known.high), abs=1e-9)
    assert 0.0 <= low <= part / of <= high <= 1.0


def test_a_rate_needs_somebody_who_received() -> None:
    assert Figures(clickers=0, receivers=0).response_rate is None
    assert Figures(clickers=0, receivers=0).response_interval is None
    assert Figures(clickers=1, receivers=4).response_rate == 0.25


def test_days_without_anything_are_listed_too() -> None:
    rows = per_day({20_001: {"messages": 2, "receivers": 1}}, days_between(20_000, 20_002))
    assert [(row.day - date(1970, 1, 1)) // timedelta(days=1) for row in rows] == [
        20_000,
        20_001,
        20_002,
    ]
    assert [row.messages for row in rows] == [0, 2, 0]


def test_a_period_of_centuries_lists_only_what_happened() -> None:
    rows = per_day({20_001: {"messages": 2}}, days_between(0, 400))
    assert len(rows) == 1
    assert len(days_between(1, 400)) == 400


def test_fences_come_the_most_visited_first() -> None:
    fences = {n: NamedFence(id=n, external_id=None, name=f"{n}호점", brand="소담결") for n in (1, 2, 3)}
    counts = {1: {"messages": 9}, 2: {"visits": 1}, 3: {"messages": 9, "visits": 1}}
    rows = per_fence(counts, fences)
    assert [row.fence_id for row in rows] == [3, 2, 1]
    assert (rows[0].name, rows[0].brand, rows[0].messages) == ("3호점", "소담결", 9)


def test_counts_of_different_figures_meet_at_their_key() -> None:
    found = merged({1: {"targets": 3}}, {1: {"visits": 2}, 4: {"visits": 1}})
    assert found == {1: {"targets": 3, "visits": 2}, 4: {"visits": 1}}

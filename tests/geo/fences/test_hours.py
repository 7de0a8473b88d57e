"""Weekly hours: what they hold, what they refuse, and that they read back."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geo.fences.hours import WEEKDAYS, InvalidHours, WeeklyHours

MONDAY = datetime(2026, 11, 23)  # noqa: DTZ001 - a wall clock has no zone


def at(day: int, minute: int) -> datetime:
    return MONDAY + timedelta(days=day, minutes=minute)


def clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


@settings(max_examples=30)
@given(
    day=st.integers(0, 6),
    start=st.sampled_from([0, 1, 1439]) | st.integers(0, 1439),
    length=st.sampled_from([1, 1439, 1440]) | st.integers(1, 1440),
)
def test_a_span_holds_its_start_and_not_its_end(day: int, start: int, length: int) -> None:
    end = (start + length) % 1440
    hours = WeeklyHours.parse({WEEKDAYS[day]: [f"{clock(start)}-{clock(end)}"]})
    assert hours.hold(at(day, start))
    assert hours.hold(at(day, start + length - 1))
    assert not hours.hold(at(day, start + length))
    assert not hours.hold(at(day, start - 1))
    held = sum(hours.hold(at(0, minute)) for minute in range(7 * 1440))
    assert held == length


@given(
    st.dictionaries(
        st.sampled_from(WEEKDAYS),
        st.lists(st.tuples(st.integers(0, 1439), st.integers(0, 1440)), max_size=3),
    )
)
def test_hours_read_back_as_they_were_written(week: dict[str, list[tuple[int, int]]]) -> None:
    hours = WeeklyHours.parse({day: [f"{clock(a)}-{clock(b)}" for a, b in s] for day, s in week.items()})
    assert WeeklyHours.parse(hours.to_json()) == hours


def test_a_night_on_sunday_goes_on_on_monday() -> None:
    hours = WeeklyHours.parse({"sun": ["22:00-02:00"]})
    assert hours.hold(at(6, 22 * 60))
    assert hours.hold(at(7, 119))
    assert not hours.hold(at(7, 120))
    assert hours.to_json() == {"mon": ["00:00-02:00"], "sun": ["22:00-24:00"]}


def test_the_whole_day_and_a_closed_week() -> None:
    assert WeeklyHours.parse({"tue": ["00:00-24:00"]}).spans == ((1, 0, 1440),)
    assert not WeeklyHours.parse({}).hold(at(0, 600))
    assert not WeeklyHours.parse({"mon": []}).hold(at(0, 600))


@pytest.mark.parametrize(
    "span",
    [
        "9:00-18:00",
        "09:00-18:00\n",
        " 09:00-18:00",
        "09:00–18:00",
        "09:60-18:00",
        "25:00-26:00",
        "09:00-24:01",
        "24:00-02:00",
        "09:00",
        "",
        "٠٩:٠٠-١٨:٠٠",
        None,
        900,
    ],
)
def test_what_is_no_span_is_refused_with_its_day(span: object) -> None:
    with pytest.raises(InvalidHours, match=r"^wed: ") as refused:
        WeeklyHours.parse({"wed": [span]})  # type: ignore[list-item]
    assert refused.value.code == "invalid_hours"


@pytest.mark.parametrize("texts", ["09:00-18:00", None, 7, {"09:00-18:00": 1}, {"09:00-18:00"}])
def test_a_day_that_is_no_list_is_refused(texts: object) -> None:
    with pytest.raises(InvalidHours, match="fri: give a list"):
        WeeklyHours.parse({"fri": texts})  # type: ignore[dict-item]


@pytest.mark.parametrize("day", ["Mon", "monday", "월", "", "0"])
def test_an_unknown_day_is_refused_with_the_known_ones(day: str) -> None:
    with pytest.raises(InvalidHours, match="use one of mon, tue, wed, thu, fri, sat, sun"):
        WeeklyHours.parse({day: ["09:00-18:00"]})

"""The kinds of fields that request bodies are made of; JSON types are not bent into one another."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, Strict, WithJsonSchema

from geo.fences.hours import InvalidHours, WeeklyHours
from nearcast.services.ids import public

#: years that every database and library here can hold, whatever the zone
_YEARS = (1970, 9998)


def _instant(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        raise ValueError("give an RFC 3339 time with its zone, such as 2026-11-23T09:00:00+09:00")
    fault = f"'{value[:40]}' is no RFC 3339 time with its zone, such as 2026-11-23T09:00:00+09:00"
    try:
        at = datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError(fault) from error
    if at.tzinfo is None or not _YEARS[0] <= at.year <= _YEARS[1]:
        raise ValueError(fault)
    return at.astimezone(UTC)


def _hours(week: dict[str, list[str]]) -> dict[str, list[str]]:
    try:
        WeeklyHours.parse(week)
    except InvalidHours as error:
        raise ValueError(error.message) from error
    return week


def _readable(text: str) -> str:
    if not text.strip():
        raise ValueError("this is blank")
    return text.strip()


#: an aware instant, UTC inside
Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Number = Annotated[float, Strict()]
Whole = Annotated[int, Strict()]
Flag = Annotated[bool, Strict()]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_readable)]
Key = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_readable)]
Text = Annotated[str, Field(max_length=1_000)]
Hours = Annotated[
    dict[str, Annotated[list[str], Field(max_length=24)]],
    AfterValidator(_hours),
    Field(examples=[{"mon": ["09:00-18:00"], "sat": ["22:00-02:00"]}]),
]


def public_id(kind: str, serial: int | None) -> str | None:
    """A public id, None for none."""
    return None if serial is None else public(kind, serial)

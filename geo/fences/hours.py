"""Weekly hours in local time: when a store is open, when a campaign may speak."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from geo.errors import NearcastError

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTES_A_DAY = 24 * 60
_SPAN = re.compile(r"([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)", re.ASCII)


class InvalidHours(NearcastError):
    """The weekly hours cannot be read."""

    code = "invalid_hours"


@dataclass(frozen=True, kw_only=True)
class WeeklyHours:
    """Spans of a local week.

    Attributes:
        spans: (weekday 0 = Monday, first minute, minute after the last) – each `[start, end)` within
            one day. A span that passes midnight is given as two.
    """

    spans: tuple[tuple[int, int, int], ...]

    @classmethod
    def parse(cls, week: Mapping[str, Sequence[str]]) -> WeeklyHours:
        """Read `{"mon": ["09:00-12:00", "22:00-02:00"]}`; a day left out is closed.

        A span whose end is not after its start passes midnight and ends on the next day;
        `00:00-24:00` is the whole day. Raises `InvalidHours` naming the day and the span.
        """
        spans: list[tuple[int, int, int]] = []
        for day, texts in week.items():
            if day not in WEEKDAYS:
                raise InvalidHours(f"'{day}' is no weekday; use one of {', '.join(WEEKDAYS)}.")
            if isinstance(texts, str) or not isinstance(texts, Sequence):
                raise InvalidHours(f'{day}: give a list of spans such as ["09:00-18:00"].')
            for text in texts:
                spans.extend(_read_span(WEEKDAYS.index(day), text))
        return cls(spans=tuple(sorted(spans)))

    def to_json(self) -> dict[str, list[str]]:
        """The form that `parse` reads; spans that pass midnight come as two."""
        week: dict[str, list[str]] = {}
        for day, start, end in self.spans:
            text = f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"
            week.setdefault(WEEKDAYS[day], []).append(text)
        return week

    def hold(self, local: datetime) -> bool:
        """Whether this local wall-clock time lies in a span; the end is excluded."""
        minute = local.hour * 60 + local.minute
        return any(day == local.weekday() and start <= minute < end for day, start, end in self.spans)


def _read_span(day: int, text: str) -> list[tuple[int, int, int]]:
    found = _SPAN.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise InvalidHours(f"{WEEKDAYS[day]}: '{text}' is no span; write it like 09:00-18:00.")
    start, end = (int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4]))
    if start >= MINUTES_A_DAY or end > MINUTES_A_DAY:
        raise InvalidHours(f"{WEEKDAYS[day]}: '{text}' leaves the day; times go from 00:00 to 24:00.")
    if start < end:
        return [(day, start, end)]
    over = [((day + 1) % 7, 0, end)] if end else []
    return [(day, start, MINUTES_A_DAY), *over]

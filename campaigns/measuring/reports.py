"""A campaign's report: whom it meant, whom it reached, who answered, who came (product R1–R3)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

DAY_MS = 86_400_000
#: so many days are listed whether or not anything happened on them
MAX_EMPTY_DAYS = 400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Z_95 = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What is counted, persons and messages both; tests are in none of it.

    Attributes:
        targets, triggers: persons for whom the campaign was a candidate and who passed audience and
            location, and how often that was.
        receivers, messages: persons a message was handed to and did not fail, and the messages.
        clickers, clicked: persons who opened a link, and the messages whose link was opened.
        visitors, visits: persons who came after it, and their visits.
    """

    targets: int = 0
    triggers: int = 0
    receivers: int = 0
    messages: int = 0
    clickers: int = 0
    clicked: int = 0
    visitors: int = 0
    visits: int = 0

    @property
    def response_rate(self) -> float | None:
        """Clickers ÷ receivers, 0 to 1; None where nobody received anything."""
        return self.clickers / self.receivers if self.receivers else None

    @property
    def response_interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the response rate (Wilson); None where nobody received anything."""
        return wilson(self.clickers, self.receivers) if self.receivers else None


@dataclass(frozen=True, kw_only=True)
class DayFigures(Figures):
    """One day of the campaign's zone: of the trigger for messages, of the arrival for visits."""

    day: date


@dataclass(frozen=True, kw_only=True)
class FenceFigures(Figures):
    """One fence: of the trigger for messages, the one visited for visits."""

    fence_id: int
    external_id: str | None
    name: str
    brand: str | None


@dataclass(frozen=True, kw_only=True)
class ReasonCount:
    """How many decisions ended with a reason, and about how many persons they were."""

    code: str
    count: int
    persons: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """One campaign over one period.

    Attributes:
        from_ms, until_ms: triggers in `[from, until)` are counted.
        visits_until_ms: visits that arrived in `[from, visits_until)` are counted.
        as_of_ms: the clock when it was made.
        fences_total: the fences the campaign aims at now, deleted ones included.
        has_visits: False where the workspace's plan has no visit performance: visits are all 0.
        per_day: in order, without a gap up to `as_of` where the period is at most 400 days.
        per_fence: fences with any figure, the most visited first.
        reasons: the most frequent first.
    """

    campaign_id: int
    name: str
    state: str
    time_zone: str
    from_ms: int
    until_ms: int
    visits_until_ms: int
    as_of_ms: int
    has_visits: bool
    fences_total: int
    totals: Figures
    per_day: tuple[DayFigures, ...]
    per_fence: tuple[FenceFigures, ...]
    reasons: tuple[ReasonCount, ...]

    @property
    def decisions(self) -> int:
        """How many decisions there were, whatever their reason."""
        return sum(reason.count for reason in self.reasons)


@dataclass(frozen=True, kw_only=True)
class NamedFence:
    """A fence as a report names it."""

    id: int
    external_id: str | None
    name: str
    brand: str | None


#: day number or fence serial → figure name → count
Counts = Mapping[int, Mapping[str, int]]


def offsets_of(time_zone: str, from_ms: int, until_ms: int) -> list[tuple[int, int]]:
    """Where a zone's distance from UTC changes: (from this instant on, offset in ms), ascending.

    The first entry holds from before `from_ms`. A local day number is `(at_ms + offset) // DAY_MS`,
    also over a change of summer time, where a day has 23 or 25 hours.
    """
    zone = ZoneInfo(time_zone)
    found = [(from_ms, _offset_ms(zone, from_ms))]
    at = from_ms
    while at < until_ms:
        later = min(at + 7 * DAY_MS, until_ms)  # no zone changes there and back within a week
        if _offset_ms(zone, later) != _offset_ms(zone, at):
            found.append(_change(zone, at, later))
        at = later
    return found


def day_number(at_ms: int, offsets: Sequence[tuple[int, int]]) -> int:
    """The local day of an instant, counted from 1970-01-01."""
    offset = next(o for since, o in reversed(offsets) if since <= at_ms or since == offsets[0][0])
    return (at_ms + offset) // DAY_MS


def date_of(day: int) -> date:
    """The date of a day number."""
    return (_EPOCH + timedelta(days=day)).date()


def days_between(first: int, last: int) -> range:
    """The days listed between two day numbers, both included; none where that would be too many."""
    return range(first, last + 1) if last - first < MAX_EMPTY_DAYS else range(0)


def per_day(counts: Counts, listed: Iterable[int]) -> tuple[DayFigures, ...]:
    """Rows by day: those with any count, and those listed anyway."""
    days = sorted(set(counts) | set(listed))
    return tuple(DayFigures(day=date_of(day), **counts.get(day, {})) for day in days)


def per_fence(counts: Counts, fences: Mapping[int, NamedFence]) -> tuple[FenceFigures, ...]:
    """Rows by fence, the most visited first, then the most messages, then the oldest."""
    rows = [
        FenceFigures(
            fence_id=fence_id,
            external_id=fences[fence_id].external_id,
            name=fences[fence_id].name,
            brand=fences[fence_id].brand,
            **figures,
        )
        for fence_id, figures in counts.items()
    ]
    return tuple(sorted(rows, key=lambda r: (-r.visits, -r.messages, -r.triggers, r.fence_id)))


def merged(*parts: Counts) -> dict[int, dict[str, int]]:
    """Counts of different figures put together by their key."""
    found: dict[int, dict[str, int]] = {}
    for part in parts:
        for key, figures in part.items():
            found.setdefault(key, {}).update(figures)
    return found


def wilson(part: int, of: int, *, z: float = Z_95) -> tuple[float, float]:
    """Wilson's score interval of a share; `of` must be above 0. Stays within 0 and 1.

    Source: Wilson 1927; Brown, Cai, DasGupta 2001 recommend it for any size.
    """
    share, z2 = part / of, z * z
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = z / (1 + z2 / of) * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    low = 0.0 if part == 0 else max(0.0, middle - half)
    return low, 1.0 if part == of else min(1.0, middle + half)


def _offset_ms(zone: ZoneInfo, at_ms: int) -> int:
    offset = (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds() * 1000)


def _change(zone: ZoneInfo, before: int, after: int) -> tuple[int, int]:
    """The first instant with the later offset, by bisection."""
    wanted = _offset_ms(zone, after)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset_ms(zone, middle) == wanted:
            after = middle
        else:
            before = middle
    return after, wanted

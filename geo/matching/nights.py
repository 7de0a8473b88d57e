"""Nights: where a device was between midnight and six in the morning (product P12)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from geo.matching.pings import Bools, Ints

#: local hours of a night, `[0, 6)`
FROM_HOUR = 0
UNTIL_HOUR = 6
#: between fixes further apart than this nobody knows where the device was (the gap of P6)
MAX_APART_MS = 30 * 60_000
#: a fix that no area holds
NOWHERE = -1
_DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1)
#: days since the epoch that have nights: a date and its zone must stay within the years 1 to 9999
_FIRST_DAY, _LAST_DAY = -718_000, 2_932_000


@dataclass(frozen=True, kw_only=True)
class Night:
    """One local night as an interval `[from_ms, until_ms)`: five hours to seven where clocks change."""

    day: date
    from_ms: int
    until_ms: int


@dataclass(frozen=True, kw_only=True)
class NightRows:
    """One row a device, ascending by device.

    Attributes:
        device: serials.
        area: the area of most minutes, `NOWHERE` where no fix of the night lies in any.
        near_ms: how long the device was there.
        fixes: how many of its fixes in the night lie there; one an instant.
    """

    device: Ints
    area: Ints
    near_ms: Ints
    fixes: Ints

    def __len__(self) -> int:
        return len(self.device)


def night_of(day: date, zone: ZoneInfo) -> Night:
    """The night that begins a local day.

    Where clocks are changed at midnight, so that 00:00 does not exist, it begins with the day's first
    instant; where 00:00 comes twice, with the first one.
    """
    from_ms, until_ms = (_instant_ms(day, hour, zone) for hour in (FROM_HOUR, UNTIL_HOUR))
    return Night(day=day, from_ms=from_ms, until_ms=until_ms)


def nights_touched(at_ms: Ints, zone: ZoneInfo) -> list[date]:
    """The local days in whose night, or within `MAX_APART_MS` of it, one of the instants lies; sorted.

    Those are the nights whose rows may change when these fixes come. The first and the last few years
    that a calendar can name have no nights.
    """
    days = np.unique(np.floor_divide(at_ms, _DAY_MS))
    days = days[(days > _FIRST_DAY) & (days < _LAST_DAY)]
    # a local day begins up to 14 h before its UTC day and up to 12 h after it
    about = np.unique(np.concatenate([days - 1, days, days + 1]))
    ordered = np.sort(at_ms)
    found = []
    for number in about.tolist():
        night = night_of(_EPOCH + timedelta(days=number), zone)
        first = np.searchsorted(ordered, night.from_ms - MAX_APART_MS, side="right")
        if first < np.searchsorted(ordered, night.until_ms + MAX_APART_MS, side="left"):
            found.append(night.day)
    return found


def night_rows(*, device: Ints, at_ms: Ints, area: Ints, night: Night) -> NightRows:
    """Where each device was in a night.

    The time between two fixes in a row of a device, at most `MAX_APART_MS` apart, is given half to the
    place of the one and half to that of the other: every instant to its nearest fix. What lies outside
    the night is cut off, so fixes within `MAX_APART_MS` of it should be given too. Of several areas the
    one with the most time wins, then the one with more fixes, then the smaller serial; "nowhere" wins
    only where there is no area at all.

    Args:
        device, at_ms: fixes in any order; of several at one instant the first counts.
        area: the area that holds each fix, `NOWHERE` if none.
    Returns:
        A row for each device with at least one fix in `[night.from_ms, night.until_ms)`.
    Source: product P12; the rule of halves is ours.
    """
    order = np.lexsort((at_ms, device))  # stable: the first given of an instant stays first
    device, at_ms, area = device[order], at_ms[order], area[order]
    first = np.ones(len(device), bool)
    first[1:] = (device[1:] != device[:-1]) | (at_ms[1:] != at_ms[:-1])
    device, at_ms, area = device[first], at_ms[first], area[first]
    near_ms = _near_ms(device, at_ms, night)
    inside = (at_ms >= night.from_ms) & (at_ms < night.until_ms)
    return _best(device, area, near_ms, inside)


def _near_ms(device: Ints, at_ms: Ints, night: Night) -> Ints:
    """For each fix, the ms of the night to which it is the nearest fix of its device."""
    if not len(at_ms):
        return np.zeros(0, np.int64)
    apart = np.diff(at_ms)
    joined = (device[1:] == device[:-1]) & (apart <= MAX_APART_MS)
    half = at_ms[:-1] + apart // 2
    since, until = at_ms.copy(), at_ms.copy()
    since[1:][joined] = half[joined]
    until[:-1][joined] = half[joined]
    return np.maximum(np.minimum(until, night.until_ms) - np.maximum(since, night.from_ms), 0)


def _best(device: Ints, area: Ints, near_ms: Ints, inside: Bools) -> NightRows:
    order = np.lexsort((area, device))
    device, area = device[order], area[order]
    starts = np.ones(len(device), bool)
    starts[1:] = (device[1:] != device[:-1]) | (area[1:] != area[:-1])
    at = np.flatnonzero(starts)
    if not len(at):
        empty = np.zeros(0, np.int64)
        return NightRows(device=empty, area=empty, near_ms=empty, fixes=empty)
    device, area = device[at], area[at]
    near_ms = np.add.reduceat(near_ms[order], at)
    fixes = np.add.reduceat(inside[order].astype(np.int64), at)
    seen = fixes > 0
    seen &= (area != NOWHERE) | ~np.isin(device, device[seen & (area != NOWHERE)])
    device, area, near_ms, fixes = device[seen], area[seen], near_ms[seen], fixes[seen]
    # the best of each device comes first
    order = np.lexsort((area, -fixes, -near_ms, device))
    best = order[np.unique(device[order], return_index=True)[1]]
    return NightRows(device=device[best], area=area[best], near_ms=near_ms[best], fixes=fixes[best])


def _instant_ms(day: date, hour: int, zone: ZoneInfo) -> int:
    local = datetime.combine(day, time(hour), zone)
    return int(local.astimezone(UTC).timestamp()) * 1000

"""Phones: when they look at the sky on the way, and what they think they saw.

Often on the move, seldom at rest, never underground or switched off. Each fix carries an error that
drifts and an accuracy that is honest about it on the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from api.demo import itineraries
from api.demo.itineraries import DAY_S, Bools, Floats, Ints, Stays

#: accuracy divided by sigma: 68 % radius, root of both variances, 95 % radius (product.md P3)
_ACCURACY_PER_SIGMA = np.array([1.510, 1.414, 2.448])
MOVING_EVERY_S = 75.0
#: the first fixes of a rest; after `AWAKE_FIXES` of them the phone dozes
RESTING_EVERY_S, DOZING_EVERY_S, AWAKE_FIXES = 600.0, 1_500.0, 4
FIRST_REST_FIX_S = 90.0
MEDIAN_ACCURACY_M, ACCURACY_SPREAD = 12.0, 0.45
ERROR_MEMORY_S = 60.0
LATE_SHARE, VERY_LATE_SHARE = 0.03, 0.003


Points = tuple[Floats, Floats]


@dataclass(frozen=True, kw_only=True)
class Segments:
    """Straight pieces of the true ways, evenly walked; times in seconds from the first midnight."""

    device: Ints
    resting: Bools
    from_s: Floats
    until_s: Floats
    lon: Floats
    lat: Floats
    to_lon: Floats
    to_lat: Floats


@dataclass(frozen=True, kw_only=True)
class Fixes:
    """When and truly where a phone looked, ordered by device and time."""

    device: Ints
    at_s: Floats
    lon: Floats
    lat: Floats
    moving: Bools


def segments(rng: np.random.Generator, stays: Stays) -> Segments:
    """Rests, ways on foot and rides under the sky; rides underground leave no segment."""
    device, column = np.nonzero(stays.present)
    rest = (device, column)
    spot = (stays.lon[rest], stays.lat[rest])
    times = (stays.arrive_s[rest], stays.leave_s[rest])
    pieces = [_segment(device, times, (spot, spot), resting=True)]
    device, column = np.nonzero(stays.present[:, 1:])
    here, there = (device, column), (device, column + 1)
    from_s, until_s = stays.leave_s[here], stays.arrive_s[there]
    begin, end = (stays.lon[here], stays.lat[here]), (stays.lon[there], stays.lat[there])
    access_m = stays.access_m[there]
    foot_s = access_m / stays.gait_mps[there]
    board, alight = _stops(rng, (begin, end), access_m)
    ridden, sky = access_m > 0, ~stays.underground[there]
    on_s, off_s = from_s + foot_s, until_s - foot_s
    for kept, times, ends in (
        (~ridden, (from_s, until_s), (begin, end)),
        (ridden, (from_s, on_s), (begin, board)),
        (ridden & sky, (on_s, off_s), (board, alight)),
        (ridden, (off_s, until_s), (alight, end)),
    ):
        piece = _segment(device, times, ends, resting=False)
        pieces.append(_rows(piece, kept))
    return _joined(pieces)


def _stops(
    rng: np.random.Generator, ends: tuple[Points, Points], access_m: Floats
) -> tuple[Points, Points]:
    """Where the ride begins and ends: `access_m` from either end, roughly towards the other."""
    (lon, lat), (to_lon, to_lat) = ends
    ahead = np.arctan2(to_lat - lat, (to_lon - lon) * np.cos(np.radians(lat)))
    bend = rng.uniform(-0.7, 0.7, (2, access_m.size))
    first = itineraries.offset(lon=lon, lat=lat, away_m=access_m, turn=ahead + bend[0])
    last = itineraries.offset(lon=to_lon, lat=to_lat, away_m=access_m, turn=ahead + np.pi + bend[1])
    return first, last


def _segment(device: Ints, times: Points, ends: tuple[Points, Points], *, resting: bool) -> Segments:
    (lon, lat), (to_lon, to_lat) = ends
    return Segments(
        device=device,
        resting=np.full(device.size, resting),
        from_s=times[0],
        until_s=times[1],
        lon=lon,
        lat=lat,
        to_lon=to_lon,
        to_lat=to_lat,
    )


def _rows(piece: Segments, kept: Bools) -> Segments:
    return Segments(**{name: getattr(piece, name)[kept] for name in Segments.__dataclass_fields__})


def _joined(parts: list[Segments]) -> Segments:
    return Segments(
        **{
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in Segments.__dataclass_fields__
        }
    )


def sample(rng: np.random.Generator, ways: Segments, devices: int, days: int) -> Fixes:
    """Looks at the sky along every segment, less those the phone slept through.

    Every 60 to 90 s on the move; at rest every 8 to 12 min, after half an hour every 23 to 27 min (still
    within the 30 min that keep a visit together), at night half of those.
    """
    lasts_s = ways.until_s - ways.from_s
    resting = ways.resting
    count = np.where(resting, _rest_fixes(lasts_s), np.ceil(lasts_s / MOVING_EVERY_S))
    count = np.maximum(count, 0).astype(np.int64)
    way = np.repeat(np.arange(count.size), count)
    nth = np.arange(way.size) - np.repeat(np.cumsum(count) - count, count)
    chance = rng.random(way.size)
    dozing = np.maximum(nth - AWAKE_FIXES + 1, 0)
    rest_s = FIRST_REST_FIX_S + RESTING_EVERY_S * (nth - dozing) + DOZING_EVERY_S * dozing
    after_s = np.where(
        resting[way], rest_s + 120 * (chance - 0.5), MOVING_EVERY_S * (nth + 0.2 * chance)
    )
    at_s = ways.from_s[way] + after_s
    share = np.clip(after_s / np.maximum(lasts_s[way], 1e-9), 0.0, 1.0)
    fixes = Fixes(
        device=ways.device[way],
        at_s=at_s,
        lon=ways.lon[way] + share * (ways.to_lon - ways.lon)[way],
        lat=ways.lat[way] + share * (ways.to_lat - ways.lat)[way],
        moving=~resting[way],
    )
    awake = _awake(rng, fixes, devices, days) & (after_s < lasts_s[way])
    fixes = take(fixes, awake)
    return take(fixes, np.lexsort((fixes.at_s, fixes.device)))


def _rest_fixes(lasts_s: Floats) -> Floats:
    """How many of a rest's fixes may fall into it; the jitter decides about the last."""
    awake = (lasts_s + 60 - FIRST_REST_FIX_S) / RESTING_EVERY_S
    last_awake = AWAKE_FIXES - 1
    dozing = last_awake + (awake - last_awake) * RESTING_EVERY_S / DOZING_EVERY_S
    return np.asarray(np.floor(np.where(awake < last_awake, awake, dozing)) + 1, dtype=float)


def _awake(rng: np.random.Generator, fixes: Fixes, devices: int, days: int) -> Bools:
    """Not switched off for hours, not off all day, and half of the looks at night left out."""
    day = np.clip(fixes.at_s // DAY_S, 0, days - 1).astype(np.int64)
    off_s = DAY_S * (np.arange(days) + rng.random((devices, days)))
    lasts_s = np.where(
        rng.random((devices, days)) < 0.18, rng.uniform(3_600, 18_000, (devices, days)), 0.0
    )
    out = rng.random((devices, days)) < 0.1
    since_s = fixes.at_s - off_s[fixes.device, day]
    off = ((since_s >= 0) & (since_s < lasts_s[fixes.device, day])) | out[fixes.device, day]
    night = (fixes.at_s % DAY_S < 6 * 3_600) & ~fixes.moving
    return ~off & ~(night & (rng.random(fixes.at_s.size) < 0.5))


def take(fixes: Fixes, rows: npt.NDArray[np.generic]) -> Fixes:
    """Some of the fixes, by mask or by row."""
    return Fixes(**{name: getattr(fixes, name)[rows] for name in Fixes.__dataclass_fields__})


def accuracy(
    rng: np.random.Generator, fixes: Fixes, platform: npt.NDArray[np.uint8]
) -> tuple[Floats, Floats]:
    """(reported accuracy, true sigma) in metres: honest up to 15 %, now and then very coarse."""
    size = fixes.at_s.size
    accuracy_m = np.maximum(MEDIAN_ACCURACY_M * rng.lognormal(0.0, ACCURACY_SPREAD, size), 3.0)
    coarse = rng.random(size) < np.where(fixes.moving, 0.012, 0.028)
    accuracy_m = np.round(np.where(coarse, rng.uniform(100.0, 300.0, size), accuracy_m), 1)
    sigma_m = accuracy_m / _ACCURACY_PER_SIGMA[platform] * rng.lognormal(0.0, 0.15, size)
    return np.where(rng.random(size) < 0.006, np.nan, accuracy_m), sigma_m


def drift(rng: np.random.Generator, device: Ints, at_s: Floats) -> tuple[Floats, Floats]:
    """Unit errors east and north that fade with `ERROR_MEMORY_S` (first-order Gauss-Markov).

    Rows are ordered by device and time; every device starts afresh. One step of the recursion is
    taken for all devices together.
    """
    first = np.flatnonzero(np.r_[True, device[1:] != device[:-1]]) if device.size else device
    counts = np.diff(np.r_[first, device.size])
    error = rng.standard_normal((2, device.size))
    since_s = np.diff(at_s, prepend=0.0)
    since_s[first] = np.inf
    keep = np.exp(-since_s / ERROR_MEMORY_S)
    fresh = np.sqrt(1 - keep**2)
    for step in range(1, int(counts.max(initial=0))):
        row = first[counts > step] + step
        error[:, row] = keep[row] * error[:, row - 1] + fresh[row] * error[:, row]
    return error[0], error[1]


def delay_ms(rng: np.random.Generator, size: int) -> Ints:
    """Seconds mostly; minutes for a few; up to three hours for very few."""
    delay_s = 0.2 + rng.exponential(1.5, size)
    luck = rng.random(size)
    delay_s += np.where(luck < LATE_SHARE, 60 * rng.lognormal(np.log(3.0), 0.7, size), 0.0)
    delay_s += np.where(luck > 1 - VERY_LATE_SHARE, rng.uniform(1_200, 10_800, size), 0.0)
    return np.rint(delay_s * 1000).astype(np.int64)

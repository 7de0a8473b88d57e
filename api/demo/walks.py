"""Walks: what the phones of made-up people would have sent, and where those people truly were.

`itineraries` says where they mean to be, `phones` what is seen of it; here both become columns of
pings, with late ones and repeated ones. Everything follows from one seed.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from api.demo import itineraries, phones
from api.demo.itineraries import DAY_S, Bools, Floats, Ints, PlaceColumns, Stays
from geo.errors import NearcastError

SEOUL = ZoneInfo("Asia/Seoul")
PLATFORMS = ("android", "ios", "web")
_PLATFORM_SHARES = (0.68, 0.29, 0.03)
ZERO_AD_ID = str(uuid.UUID(int=0))
#: sent again by a phone that missed the answer
REPEATED_SHARE = 0.01


class BadWalk(NearcastError):
    """These walks cannot be made."""

    code = "bad_walk"


@dataclass(frozen=True, kw_only=True)
class Walkers:
    """Who walks; tuples and arrays of shape (devices,).

    Attributes:
        ad_ids: a few are all zeros (tracking refused); None in browsers.
        user_ids: None where nobody logged in; a person may hold two devices.
        platform: index into `PLATFORMS`.
        marketing, night: consents; night only with marketing. Location consent is everybody's.
    """

    device_ids: tuple[str, ...]
    ad_ids: tuple[str | None, ...]
    user_ids: tuple[str | None, ...]
    platform: npt.NDArray[np.uint8]
    marketing: Bools
    night: Bools


@dataclass(frozen=True, kw_only=True)
class WalkTruth:
    """Intended stays at stores, `[from_ms, until_ms)`, ordered by device and time."""

    device: npt.NDArray[np.int32]
    place: npt.NDArray[np.int32]
    from_ms: Ints
    until_ms: Ints


@dataclass(frozen=True, kw_only=True)
class WalkColumns:
    """Pings in the order of `at_ms`, then device; shape (pings,).

    Attributes:
        device: row of `walkers`.
        lon, lat: degrees, seven decimals.
        accuracy_m: NaN where the phone gave none.
        at_ms, sent_ms: ms since the epoch, when fixed and when sent; `sent_ms >= at_ms`.
        platform: index into `PLATFORMS`.
        walkers, truth: who walked, and where they meant to be.
    """

    device: npt.NDArray[np.int32]
    lon: Floats
    lat: Floats
    accuracy_m: Floats
    at_ms: Ints
    sent_ms: Ints
    platform: npt.NDArray[np.uint8]
    walkers: Walkers
    truth: WalkTruth

    def arrival_order(self) -> npt.NDArray[np.intp]:
        """The rows as a server meets them: by `sent_ms`, else as they stand."""
        return np.argsort(self.sent_ms, kind="stable")


def generate(
    *, seed: int, devices: int = 2000, days: int = 3, start: datetime, places: PlaceColumns
) -> WalkColumns:
    """Walk `devices` phones through `days` × 24 h from `start`; the day's rhythm is Seoul's.

    Args:
        seed: the same seed and arguments give the same columns.
        devices, days: at least 1 each; about 75 pings a device and day.
        start: aware; pings lie in `[start, start + days)`, `sent_ms` may lie a little later.
        places: stores to visit, at least one and at most a few thousand.
    Raises: `BadWalk` naming the argument.
    """
    _check(devices, days, start, places)
    rng = np.random.default_rng(seed)
    midnight = start.astimezone(SEOUL).replace(hour=0, minute=0, second=0, microsecond=0)
    begin_s = (start - midnight).total_seconds()
    local_days = days + (begin_s > 0)
    stays = itineraries.plan(
        rng, walkers=devices, first_day=midnight.date(), days=local_days, places=places
    )
    walkers = _walkers(rng, devices)
    fixes = phones.sample(rng, phones.segments(rng, stays), devices, local_days)
    fixes = phones.take(fixes, (fixes.at_s >= begin_s) & (fixes.at_s < begin_s + days * DAY_S))
    epoch_ms = round(midnight.timestamp() * 1000)
    begin_ms = epoch_ms + int(begin_s * 1000)
    window_ms = (begin_ms, begin_ms + int(days * DAY_S * 1000))
    return _observe(rng, fixes, walkers, epoch_ms, _truth(stays, epoch_ms, window_ms))


def _check(devices: int, days: int, start: datetime, places: PlaceColumns) -> None:
    if devices < 1 or days < 1:
        raise BadWalk(f"devices and days must be at least 1, not {devices} and {days}.")
    if start.tzinfo is None:
        raise BadWalk("start needs a time zone; write it like 2026-11-23T00:00:00+09:00.")
    if not places.lon.size == places.lat.size == places.radius_m.size > 0:
        raise BadWalk("places needs lon, lat and radius_m of one length, at least one row.")


def _walkers(rng: np.random.Generator, devices: int) -> Walkers:
    platform = np.searchsorted(np.cumsum(_PLATFORM_SHARES)[:-1], rng.random(devices), side="right")
    zero = rng.random(devices) < 0.02
    ad_ids = tuple(
        None if PLATFORMS[kind] == "web" else ZERO_AD_ID if blank else _uuid(rng.bytes(16))
        for kind, blank in zip(platform, zero, strict=True)
    )
    marketing = rng.random(devices) < 0.72
    return Walkers(
        device_ids=tuple(f"demo-{number:05}" for number in range(1, devices + 1)),
        ad_ids=ad_ids,
        user_ids=_users(rng, devices),
        platform=platform.astype(np.uint8),
        marketing=marketing,
        night=marketing & (rng.random(devices) < 0.22),
    )


def _uuid(noise: bytes) -> str:
    return str(uuid.UUID(bytes=noise, version=4))


def _users(rng: np.random.Generator, devices: int) -> tuple[str | None, ...]:
    """Two in five are logged in; one in forty of them with the account of the device before."""
    logged_in, shared = rng.random(devices) < 0.4, rng.random(devices) < 0.025
    users: list[str | None] = []
    for number in range(devices):
        own = f"user-{number + 1:05}" if logged_in[number] else None
        before = users[-1] if users and shared[number] else None
        users.append(before if own and before else own)
    return tuple(users)


def _truth(stays: Stays, epoch_ms: int, window_ms: tuple[int, int]) -> WalkTruth:
    device, column = np.nonzero(stays.present & (stays.place >= 0))
    from_ms = epoch_ms + np.rint(stays.arrive_s[device, column] * 1000).astype(np.int64)
    until_ms = epoch_ms + np.rint(stays.leave_s[device, column] * 1000).astype(np.int64)
    from_ms, until_ms = np.maximum(from_ms, window_ms[0]), np.minimum(until_ms, window_ms[1])
    seen = from_ms < until_ms
    return WalkTruth(
        device=device[seen].astype(np.int32),
        place=stays.place[device, column][seen].astype(np.int32),
        from_ms=from_ms[seen],
        until_ms=until_ms[seen],
    )


def _observe(
    rng: np.random.Generator, fixes: phones.Fixes, walkers: Walkers, epoch_ms: int, truth: WalkTruth
) -> WalkColumns:
    """What the phone thought, when it was sent, and what was sent twice."""
    platform = walkers.platform[fixes.device]
    accuracy_m, sigma_m = phones.accuracy(rng, fixes, platform)
    east, north = phones.drift(rng, fixes.device, fixes.at_s)
    off_m, turn = sigma_m * np.hypot(east, north), np.arctan2(north, east)
    lon, lat = itineraries.offset(lon=fixes.lon, lat=fixes.lat, away_m=off_m, turn=turn)
    at_ms = epoch_ms + (fixes.at_s * 1000).astype(np.int64)
    sent_ms = at_ms + phones.delay_ms(rng, at_ms.size)
    again = np.nonzero(rng.random(at_ms.size) < REPEATED_SHARE)[0]
    resent_ms = sent_ms[again] + rng.integers(5_000, 90_000, again.size)
    row = np.concatenate([np.arange(at_ms.size), again])
    sent_ms = np.concatenate([sent_ms, resent_ms])
    order = np.lexsort((sent_ms, fixes.device[row], at_ms[row]))
    row = row[order]
    return WalkColumns(
        device=fixes.device[row].astype(np.int32),
        lon=np.round(lon[row], 7),
        lat=np.round(lat[row], 7),
        accuracy_m=accuracy_m[row],
        at_ms=at_ms[row],
        sent_ms=sent_ms[order],
        platform=platform[row],
        walkers=walkers,
        truth=truth,
    )

"""Pings as columns, and their admission: what counts, what is kept apart, what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

FUTURE_MS = 5 * 60_000  # product P1: more than 5 min ahead is rejected
MAX_ACCURACY_M = 10_000.0  # product P8: a coarser fix is quarantined
NULL_ISLAND_DEG = 1e-6  # product P8: (0, 0) is a missing fix, not a place in the Gulf of Guinea


class Platform(IntEnum):
    """Whose accuracy radius this is; each platform means another share (notes/certainty.md §1)."""

    ANDROID = 0
    IOS = 1
    WEB = 2


class Outcome(IntEnum):
    """What became of one ping, in order of precedence (product P1)."""

    REJECTED = 0
    DUPLICATE = 1
    QUARANTINED = 2
    LATE = 3
    ACCEPTED = 4


class PingReason(StrEnum):
    """Why a ping was rejected or quarantined; stable, shown in the API."""

    INVALID_ITEM = "invalid_item"
    NO_IDENTITY = "no_identity"
    APP_UNKNOWN = "app_unknown"
    NOT_FINITE = "not_finite"
    OUT_OF_RANGE = "out_of_range"
    NEGATIVE_ACCURACY = "negative_accuracy"
    IN_FUTURE = "in_future"
    TOO_OLD = "too_old"
    LOCATION_CONSENT_MISSING = "location_consent_missing"
    MOCKED = "mocked"
    NULL_ISLAND = "null_island"
    ACCURACY_TOO_LOW = "accuracy_too_low"


@dataclass(frozen=True, kw_only=True)
class Pings:
    """A batch of location fixes, one row each; all columns have the same length.

    Attributes:
        device: serial of the device (int64), -1 where the ping names none.
        lon, lat: WGS84 degrees.
        accuracy_m: the platform's accuracy radius; NaN where the ping gave none.
        at_ms: when the fix was taken, ms since the epoch.
        now_ms: what the clock said when the ping was seen. Under the wall clock one value; under
            the replay clock the newest `at` seen so far, so it never falls within a batch.
        platform: `Platform` codes (int8).
        mocked: the phone says that the fix is made up.
    """

    device: Ints
    lon: Floats
    lat: Floats
    accuracy_m: Floats
    at_ms: Ints
    now_ms: Ints
    platform: NDArray[np.int8]
    mocked: Bools

    def __len__(self) -> int:
        return len(self.at_ms)

    def take(self, rows: Ints | Bools) -> Pings:
        """The rows chosen by an index or mask, in that order."""
        return Pings(
            device=self.device[rows],
            lon=self.lon[rows],
            lat=self.lat[rows],
            accuracy_m=self.accuracy_m[rows],
            at_ms=self.at_ms[rows],
            now_ms=self.now_ms[rows],
            platform=self.platform[rows],
            mocked=self.mocked[rows],
        )


@dataclass(frozen=True, kw_only=True)
class Admission:
    """The outcome of each ping and the reason of those rejected or quarantined.

    Attributes:
        outcome: `Outcome` codes (int8), one per ping.
        held: rows kept apart (mocked, null island, too coarse), also where they come again.
        reason: ping row → reason; rows without an entry were taken.
    """

    outcome: NDArray[np.int8]
    held: Bools
    reason: dict[int, PingReason]

    @property
    def counts(self) -> Bools:
        """Rows whose fix counts for visits: accepted, late or seen before."""
        return (self.outcome != Outcome.REJECTED) & ~self.held

    def part(self, first: int, last: int) -> Admission:
        """Of the rows from `first` to before `last`."""
        rows = slice(first, last)
        reason = {row - first: why for row, why in self.reason.items() if first <= row < last}
        return Admission(outcome=self.outcome[rows], held=self.held[rows], reason=reason)


def refuse(
    pings: Pings, *, refused: Mapping[int, PingReason], amend_horizon_ms: int
) -> dict[int, PingReason]:
    """The rows that are rejected, by their own numbers and clock, with the reason (product P1).

    Args:
        refused: rows rejected before (identity, consent, a malformed item); their reason stands.
        amend_horizon_ms: older than this is rejected; exactly that old is still taken.
    """
    reason = dict(refused)
    for mask, why in _rejections(pings, amend_horizon_ms):
        if mask.any():
            for row in np.flatnonzero(mask).tolist():
                reason.setdefault(row, why)
    return reason


def admit(
    pings: Pings,
    *,
    refused: Mapping[int, PingReason],
    repeated: Bools,
    is_test: Bools,
    staleness_ms: int,
) -> Admission:
    """The outcome of every ping (product P1, P8).

    Args:
        refused: what `refuse` said.
        repeated: rows known to have been taken before: same device, instant and place.
        is_test: rows of registered test ids, which are never quarantined (product P8).
        staleness_ms: older than this by the clock is late: counts for visits, never sends.
    """
    reason = dict(refused)
    outcome = np.full(len(pings), Outcome.ACCEPTED, np.int8)
    outcome[pings.now_ms - pings.at_ms > staleness_ms] = Outcome.LATE
    held = np.zeros(len(pings), bool)
    for mask, why in _quarantines(pings):
        if mask.any():
            for row in np.flatnonzero(mask & ~is_test & ~repeated).tolist():
                reason.setdefault(row, why)
            held |= mask & ~is_test
    outcome[held] = Outcome.QUARANTINED
    outcome[repeated] = Outcome.DUPLICATE
    if refused:
        outcome[list(refused)] = Outcome.REJECTED
    return Admission(outcome=outcome, held=held, reason=reason)


def _rejections(pings: Pings, amend_horizon_ms: int) -> list[tuple[Bools, PingReason]]:
    finite = np.isfinite(pings.lon) & np.isfinite(pings.lat) & ~np.isinf(pings.accuracy_m)
    inside = (np.abs(pings.lon) <= 180) & (np.abs(pings.lat) <= 90)
    return [
        (~finite, PingReason.NOT_FINITE),
        (finite & ~inside, PingReason.OUT_OF_RANGE),
        (pings.accuracy_m < 0, PingReason.NEGATIVE_ACCURACY),
        (pings.at_ms - pings.now_ms > FUTURE_MS, PingReason.IN_FUTURE),
        (pings.now_ms - pings.at_ms > amend_horizon_ms, PingReason.TOO_OLD),
    ]


def _quarantines(pings: Pings) -> list[tuple[Bools, PingReason]]:
    near_zero = (np.abs(pings.lon) < NULL_ISLAND_DEG) & (np.abs(pings.lat) < NULL_ISLAND_DEG)
    return [
        (pings.mocked, PingReason.MOCKED),
        (near_zero, PingReason.NULL_ISLAND),
        (pings.accuracy_m > MAX_ACCURACY_M, PingReason.ACCURACY_TOO_LOW),
    ]

"""Fixes that cannot be true: impossible speed, and one place shared by many devices (product P8).

They are only marked: their evidence counts, and they never send.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from geo.matching.mixing import Hashes, hashes
from geo.matching.pings import Bools, Floats, Ints, Pings
from geo.matching.recent import Looked
from geo.measure import distance_m

#: product P8: a KTX does 84 m/s, an airliner 250 m/s
MAX_SPEED_M_S = 350.0
MIN_JUMP_M = 5_000.0
#: product P8: identical coordinates from so many devices within so long
SHARED_DEVICES = 20
SHARED_WITHIN_MS = 10 * 60_000
#: metres of the longest degree, of longitude or latitude
_MOST_M_A_DEGREE = 111_700.0
_WAYS = 4
#: told apart at one place; more than `SHARED_DEVICES`, of which some may be older than ten minutes
_MOST_DEVICES = 32
#: rows looked at together: few of them meet in one bucket
_TOGETHER = 4_096


class Suspicion(IntEnum):
    """Why a fix is suspect."""

    NONE = 0
    SPEED = 1
    SHARED_PLACE = 2


class Suspects:
    """Marks suspect fixes; remembers who shares places. Not for several threads at once."""

    def __init__(self) -> None:
        self._places = SharedPlaces()

    def look(self, pings: Pings, before: Looked, *, counts: Bools, is_test: Bools) -> NDArray[np.int8]:
        """`Suspicion` codes of these pings, whose places are remembered from now on.

        To look again, after a transaction that was rolled back, changes nothing.

        Args:
            before: what came before each of them.
            counts: pings that are fixes of today: neither rejected nor quarantined nor history.
            is_test: pings of registered test ids, which are never suspect.
        """
        why = np.zeros(len(pings), np.int8)
        asked = np.flatnonzero(counts & ~is_test)
        shared = self._places.see(
            device=pings.device[asked],
            at_ms=pings.at_ms[asked],
            lon=pings.lon[asked],
            lat=pings.lat[asked],
        )
        why[asked[shared]] = Suspicion.SHARED_PLACE
        too_fast = asked[impossible(pings, before, asked)]
        why[too_fast] = Suspicion.SPEED
        return why

    def remember(self, *, device: Ints, at_ms: Ints, lon: Floats, lat: Floats) -> None:
        """Fixes that other processes have taken."""
        self._places.see(device=device, at_ms=at_ms, lon=lon, lat=lat)


def impossible(pings: Pings, before: Looked, rows: Ints) -> Bools:
    """Which of these rows lie too far from the fix before, for the time between.

    The distance less both accuracies (none given: 0) is above 5 km, and above 350 m/s; two such places
    at one instant are suspect too. Both bounds are open.
    """
    lat, before_lat = pings.lat[rows], before.before_lat[rows]
    turn = pings.lon[rows] - before.before_lon[rows]
    turn -= 360.0 * np.round(turn / 360.0)
    # along a meridian and a parallel it is no shorter; unknown fixes are NaN, which is no jump
    most_m = _MOST_M_A_DEGREE * (np.abs(turn) + np.abs(lat - before_lat))
    far = np.flatnonzero(most_m > MIN_JUMP_M)
    found = np.zeros(len(rows), bool)
    if len(far):
        some = rows[far]
        metres = distance_m(
            lon1=pings.lon[some],
            lat1=lat[far],
            lon2=before.before_lon[some],
            lat2=before_lat[far],
        )
        metres -= np.nan_to_num(pings.accuracy_m[some])
        metres -= np.nan_to_num(before.before_accuracy_m[some])
        seconds = (pings.at_ms[some] - before.before_at_ms[some]) / 1000
        found[far] = (metres > MIN_JUMP_M) & (metres > MAX_SPEED_M_S * seconds)
    return found


@dataclass(frozen=True, kw_only=True)
class _Table:
    """Places that one device was seen at lately: buckets of four, by hash."""

    of: Hashes
    device: Ints
    at_ms: Ints

    @classmethod
    def empty(cls, buckets: int) -> _Table:
        return cls(
            of=np.zeros((buckets, _WAYS), np.uint64),
            device=np.zeros((buckets, _WAYS), np.int64),
            at_ms=np.zeros((buckets, _WAYS), np.int64),
        )


class SharedPlaces:
    """Which coordinates were given by many devices within ten minutes.

    A place that one device has given stands in a table of fixed size; the second device moves it to an
    exact dictionary, where the 32 newest devices are told apart. A place is known by 64 bits of its two
    numbers.

    The price of the fixed size: when a bucket of four is full, its oldest place is forgotten, and
    counting begins anew with the next device there. With up to 50,000 different places in ten minutes
    that happens to one place in 500,000, so the answer is exact; at 100,000 pings a second the table
    (25 MB, a million places) holds the last ten seconds. A place that 20 devices give in ten minutes is
    then found when two of them come within about that time, so a little later than at the twentieth;
    one that hundreds give is found all the same.

    Args:
        buckets: of the table; a power of two.
        most_places: in the dictionary; when there are more, the stale ones are dropped, then
            those of the fewest devices.
    """

    def __init__(self, *, buckets: int = 1 << 18, most_places: int = 20_000) -> None:
        self._table = _Table.empty(buckets)
        self._mask = np.uint64(buckets - 1)
        self._most_places = most_places
        self._places: dict[int, dict[int, int]] = {}
        self._maybe = np.zeros(1 << 16, bool)

    def see(self, *, device: Ints, at_ms: Ints, lon: Floats, lat: Floats) -> Bools:
        """Add sightings in this order; which of them are at a place that many devices share.

        A sighting is counted with those of other devices that are at most ten minutes older or newer;
        the earlier ones of many are not marked afterwards.
        """
        of = hashes(lon, lat)
        found = np.zeros(len(of), bool)
        for first in range(0, len(of), _TOGETHER):
            some = slice(first, first + _TOGETHER)
            found[some] = self._see(of[some], device[some], at_ms[some])
        return found

    def _see(self, of: Hashes, device: Ints, at_ms: Ints) -> Bools:
        bucket = (of & self._mask).view(np.int64)
        order = np.argsort(bucket)
        again = np.flatnonzero(np.diff(bucket[order]) == 0)
        together = self._maybe[of >> np.uint64(48)]
        together[order[again]] = together[order[again + 1]] = True
        found = np.zeros(len(of), bool)
        alone = np.flatnonzero(~together)
        self._see_columns(of[alone], bucket[alone], device[alone], at_ms[alone])
        rows = np.flatnonzero(together)
        columns = (rows, of[rows], bucket[rows], device[rows], at_ms[rows])
        for row, *sighting in zip(*(column.tolist() for column in columns), strict=True):
            found[row] = self._see_one(*sighting)
        return found

    def _see_columns(self, of: Hashes, bucket: Ints, device: Ints, at_ms: Ints) -> None:
        """Sightings of different buckets, none of a place in the dictionary."""
        table = self._table
        there = table.of.take(bucket, axis=0)
        ages = table.at_ms.take(bucket, axis=0)
        low, high = ages[:, 1] < ages[:, 0], ages[:, 3] < ages[:, 2]
        first = np.where(low, ages[:, 1], ages[:, 0])
        second = np.where(high, ages[:, 3], ages[:, 2])
        way = np.where(second < first, 2 + high, low + 0)  # the oldest, unless it is there already
        row, held = np.divmod(np.flatnonzero(there == of[:, None]), _WAYS)
        way[row] = held
        place = bucket * _WAYS + way
        was, was_ms = table.device.ravel()[place[row]], ages[row, held]
        other = was != device[row]
        newest_ms = np.maximum(at_ms[row], was_ms)
        stays = other & (was_ms == newest_ms)
        other &= np.abs(was_ms - at_ms[row]) <= SHARED_WITHIN_MS
        for column, now in ((table.of, of), (table.device, device), (table.at_ms, at_ms)):
            column.ravel()[place] = now
        table.at_ms.ravel()[place[row]] = newest_ms
        table.device.ravel()[place[row[stays]]] = was[stays]
        second_devices = row[other]
        firsts = zip(was[other].tolist(), was_ms[other].tolist(), strict=True)
        for key, one, now, now_ms in zip(
            of[second_devices].tolist(),
            firsts,
            device[second_devices].tolist(),
            at_ms[second_devices].tolist(),
            strict=True,
        ):
            self._share(key, one, (now, now_ms))

    def _see_one(self, of: int, bucket: int, device: int, at_ms: int) -> bool:
        """One sighting, plainly."""
        place = self._places.get(of)
        if place is None:
            table = self._table
            ways = table.of[bucket].tolist()
            if of not in ways:
                way = int(table.at_ms[bucket].argmin())
                table.of[bucket, way], table.device[bucket, way] = of, device
                table.at_ms[bucket, way] = at_ms
                return False
            way = ways.index(of)
            was, was_ms = int(table.device[bucket, way]), int(table.at_ms[bucket, way])
            if at_ms > was_ms:
                table.device[bucket, way], table.at_ms[bucket, way] = device, at_ms
            if was != device and abs(was_ms - at_ms) <= SHARED_WITHIN_MS:
                self._share(of, (was, was_ms), (device, at_ms))
            return False
        place[device] = max(at_ms, place.pop(device, at_ms))  # the newest stands last
        if len(place) > _MOST_DEVICES:
            del place[next(iter(place))]
        if len(place) < SHARED_DEVICES:
            return False
        near = [1 for seen_ms in place.values() if abs(seen_ms - at_ms) <= SHARED_WITHIN_MS]
        return len(near) >= SHARED_DEVICES

    def _share(self, of: int, one: tuple[int, int], other: tuple[int, int]) -> None:
        """A place that a second device was seen at: from now on it is counted exactly."""
        self._places[of] = dict([one, other])
        self._maybe[of >> 48] = True
        if len(self._places) > self._most_places:
            self._drop(max(one[1], other[1]))

    def _drop(self, now_ms: int) -> None:
        """Forget the places that nobody was at lately; if too many are left, those of fewest devices."""
        fresh = {
            of: place
            for of, place in self._places.items()
            if next(reversed(place.values())) >= now_ms - SHARED_WITHIN_MS
        }
        surplus = max(0, len(fresh) - self._most_places * 3 // 4)
        for of in sorted(fresh, key=lambda of: len(fresh[of]))[:surplus]:
            del fresh[of]
        self._places = fresh
        self._maybe[:] = False
        self._maybe[np.fromiter(fresh, np.uint64, len(fresh)) >> np.uint64(48)] = True

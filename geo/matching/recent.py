"""The newest fix of each device, in columns: what came before a ping, and which pings come again.

Only committed pings are remembered (the caller feeds its own batches and those of other processes), and
remembering one twice changes nothing. No promise rests on it: it labels duplicates, marks an enter as
initial and is what speed and crossings are measured from. A device takes some 125 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geo.matching.mixing import Hashes, hashes
from geo.matching.pings import Bools, Floats, Ints, Pings

#: so many of its newest pings are known again
RING = 8
FORGET_EVERY_MS = 10 * 60_000
#: far before any instant, and near enough to 0 that differences stay in 64 bits
_NEVER = -(1 << 61)
_NOBODY = -1


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What is known of the time before each ping, one row a ping.

    Attributes:
        initial: the device was not seen within the gap before the fix's instant.
        before_at_ms, before_lon, before_lat, before_accuracy_m: the fix that came before it, of the
            batch or remembered; -1 and NaN where none is known. Of two fixes of one instant the one
            that arrived first comes before the other. A remembered device whose newest fix is later
            than this one has no earlier fix but those of the batch.
        cached: same coordinates as that fix, to the last digit.
    """

    initial: Bools
    before_at_ms: Ints
    before_lon: Floats
    before_lat: Floats
    before_accuracy_m: Floats
    cached: Bools


class RecentFixes:
    """Each device's newest fix, the start of its unbroken streak, and a ring of hashes of its pings.

    Not for several threads at once. Fixes of one device that arrive out of order are remembered by
    their hash alone, and the streak reaches back to them if no gap lies between.

    Args:
        keep_ms: devices not seen for so long, by the newest instant seen, are forgotten now and then;
            at least the longest gap that is asked for.
    """

    def __init__(self, *, keep_ms: int) -> None:
        self._keep_ms = keep_ms
        self._newest_ms = self._forgotten_ms = _NEVER
        self._slot_of = np.full(1, _NOBODY, np.int32)
        self._count = 0
        self._make(0)

    def __len__(self) -> int:
        return self._count

    @property
    def used_bytes(self) -> int:
        """Memory of the columns."""
        return sum(column.nbytes for column in (self._slot_of, self._last, *self._columns()))

    def repeated(self, pings: Pings) -> Bools:
        """Pings that were taken lately, or stand earlier in the batch: same device, instant and place.

        Pings without a device (-1) never are; below -1 stand new devices, which share a number.
        """
        keys = hashes(pings.device, pings.at_ms, pings.lon, pings.lat)
        slot = self._slots(pings.device)
        found = _any_of_8(self._ring.take(slot, axis=0) == keys[:, None])
        several = self._several(pings.device, slot)
        if len(several):
            found[several] |= _seen_before(keys[several])
        return found & (pings.device != _NOBODY)

    def look(self, pings: Pings, *, gap_ms: int | Ints, counts: Bools | None = None) -> Looked:
        """What came before each ping.

        Args:
            gap_ms: silence that ends a stay, for all pings or one a ping.
            counts: the pings that are fixes; the others are looked over, and their rows know nothing.
        """
        real = pings.device != _NOBODY
        if counts is not None:
            real &= counts
        device = np.where(real, pings.device, _NOBODY)
        slot = self._slots(device)
        at_ms = pings.at_ms
        before_at = self._at_ms.take(slot)
        initial = at_ms - before_at > gap_ms
        behind = np.flatnonzero(before_at >= at_ms)  # late, or of the same instant
        initial[behind] = self._streak_ms[slot[behind]] >= at_ms[behind]
        late = behind[before_at[behind] > at_ms[behind]]
        before_at[late] = _NEVER
        before = [column.take(slot) for column in (self._lon, self._lat, self._accuracy_m)]
        for column in before:
            column[late] = np.nan
        several = self._several(device, slot)
        if len(several):
            self._look_in_batch(pings, device, several, gap_ms, initial, before_at, before)
        lon, lat, accuracy_m = before
        return Looked(
            initial=initial,
            before_at_ms=np.where(before_at == _NEVER, -1, before_at),
            before_lon=lon,
            before_lat=lat,
            before_accuracy_m=accuracy_m,
            cached=(lon == pings.lon) & (lat == pings.lat),
        )

    def remember(
        self,
        *,
        device: Ints,
        at_ms: Ints,
        lon: Floats,
        lat: Floats,
        accuracy_m: Floats,
        gap_ms: int | Ints,
        held: Bools | None = None,
    ) -> None:
        """Add fixes, in any order; those that are known already change nothing.

        Args:
            device: serials; rows below 0 are left out.
            accuracy_m: NaN where there is none.
            gap_ms: silence that ends a streak, for all or one a row.
            held: rows that were kept apart: they are known again, and nobody was where they say.
        """
        if held is not None and held.any():
            self._note_held(device[held], at_ms[held], lon[held], lat[held])
            kept = ~held
            device, at_ms, lon, lat = device[kept], at_ms[kept], lon[kept], lat[kept]
            accuracy_m = accuracy_m[kept]
            gap_ms = gap_ms[kept] if isinstance(gap_ms, np.ndarray) else gap_ms
        slot = self._opened(device, at_ms)
        keys = hashes(device, at_ms, lon, lat)
        new = ~_any_of_8(self._ring.take(slot, axis=0) == keys[:, None]) & (slot != _NOBODY)
        several = self._several(device, slot)
        if len(several):
            new[several] &= ~_seen_before(keys[several])
        alone = new.copy()
        alone[several] = False
        several = several[new[several]]
        by_time = (lat[several], lon[several], at_ms[several], slot[several])
        rows = np.concatenate([np.flatnonzero(alone), several[np.lexsort(by_time)]])
        if len(rows):
            gaps = np.broadcast_to(np.asarray(gap_ms, np.int64), len(device))[rows]
            place = lon[rows], lat[rows], accuracy_m[rows]
            self._add(slot[rows], at_ms[rows], place, keys[rows], gaps)

    def _note_held(self, device: Ints, at_ms: Ints, lon: Floats, lat: Floats) -> None:
        slot = self._opened(device, at_ms)
        keys = hashes(device, at_ms, lon, lat)
        new = ~_any_of_8(self._ring.take(slot, axis=0) == keys[:, None]) & (slot != _NOBODY)
        rows = np.flatnonzero(new & ~_seen_before(keys))
        rows = rows[np.lexsort((at_ms[rows], slot[rows]))]
        if len(rows):
            first = np.append(True, slot[rows][1:] != slot[rows][:-1])
            last = np.append(np.flatnonzero(first)[1:], len(rows)) - 1
            self._note(slot[rows], keys[rows], first, last)

    # --- one pass over rows that stand together by device, in time order -------------------------

    def _add(
        self,
        slot: Ints,
        at_ms: Ints,
        place: tuple[Floats, Floats, Floats],
        keys: Hashes,
        gap_ms: Ints,
    ) -> None:
        first = np.empty(len(slot), bool)
        first[0], first[1:] = True, slot[1:] != slot[:-1]
        self._stretch(slot, at_ms, first, gap_ms)
        last = np.append(np.flatnonzero(first)[1:], len(slot)) - 1
        self._note(slot, keys, first, last)
        slot, at_ms = slot[last], at_ms[last]
        lon, lat, accuracy_m = (column[last] for column in place)
        known_ms = self._at_ms.take(slot)
        newer = at_ms > known_ms
        tied = np.flatnonzero(at_ms == known_ms)
        if len(tied):  # whatever came first, one of the two stands
            x, y = self._lon[slot[tied]], self._lat[slot[tied]]
            newer[tied] = (lon[tied] > x) | ((lon[tied] == x) & (lat[tied] > y))
        slot = slot[newer]
        self._at_ms[slot] = at_ms[newer]
        self._lon[slot], self._lat[slot] = lon[newer], lat[newer]
        self._accuracy_m[slot] = accuracy_m[newer]
        self._newest_ms = max(self._newest_ms, int(at_ms.max()))

    def _stretch(self, slot: Ints, at_ms: Ints, first: Bools, gap_ms: Ints) -> None:
        """Begin streaks anew after a gap, or let them reach back to fixes that come late."""
        newest, began = self._at_ms.take(slot), self._streak_ms.take(slot)
        earlier = np.empty(len(at_ms), np.int64)
        earlier[0], earlier[1:] = _NEVER, at_ms[:-1]
        earlier[first] = _NEVER
        anew = (at_ms > newest) & (at_ms - np.maximum(earlier, newest) > gap_ms)
        self._streak_ms[slot[anew]] = at_ms[anew]  # ascending: the last one stays
        back = np.flatnonzero(at_ms < began)
        back = back[self._streak_ms[slot[back]] == began[back]][::-1]
        if not len(back):
            return
        of, at = slot[back], at_ms[back]
        later = np.empty(len(back), np.int64)
        begins = np.empty(len(back), bool)
        begins[0], begins[1:] = True, of[1:] != of[:-1]
        later[1:] = at[:-1]
        later[begins] = began[back][begins]
        broken = later - at > gap_ms[back]
        faults = np.cumsum(broken)
        size = np.diff(np.append(np.flatnonzero(begins), len(of)))
        joined = faults == np.repeat((faults - broken)[begins], size)
        self._streak_ms[of[joined]] = at[joined]  # descending: the earliest one stays

    def _note(self, slot: Ints, keys: Hashes, first: Bools, last: Ints) -> None:
        """Put the newest hashes of each device into its ring."""
        size = np.diff(last, prepend=-1)
        left = np.repeat(last, size) - np.arange(len(slot))
        put = left < RING
        noted = np.minimum(size, RING)
        behind = self._place[slot[put]] + np.repeat(noted, size)[put] - 1 - left[put]
        self._ring[slot[put], behind & (RING - 1)] = keys[put]
        self._place[slot[last]] = (self._place[slot[last]] + noted) & (RING - 1)

    def _look_in_batch(
        self,
        pings: Pings,
        device: Ints,
        several: Ints,
        gap_ms: int | Ints,
        initial: Bools,
        before_at: Ints,
        before: list[Floats],
    ) -> None:
        """Let fixes of the batch come before one another."""
        rows = several[np.lexsort((several, pings.at_ms[several], device[several]))]
        at_ms, of = pings.at_ms[rows], device[rows]
        same = of[1:] == of[:-1]
        now, then = rows[1:][same], rows[:-1][same]
        nearer = pings.at_ms[then] >= before_at[now]
        now, then = now[nearer], then[nearer]
        before_at[now] = pings.at_ms[then]
        for column, given in zip(before, (pings.lon, pings.lat, pings.accuracy_m), strict=True):
            column[now] = given[then]
        # strictly earlier: the row before the first of the same device and instant
        begins = np.empty(len(rows), bool)
        begins[0], begins[1:] = True, ~same | (at_ms[1:] != at_ms[:-1])
        earlier = np.maximum.accumulate(np.where(begins, np.arange(len(rows)), 0)) - 1
        known = (earlier >= 0) & (of[earlier] == of)
        gap = gap_ms[rows] if isinstance(gap_ms, np.ndarray) else gap_ms
        initial[rows[known & (at_ms - at_ms[earlier] <= gap)]] = False

    # --- slots -----------------------------------------------------------------------------------

    def _make(self, room: int) -> None:
        """Empty columns; the last place stands for every device that is not known."""
        self._device = np.full(room + 1, _NOBODY, np.int64)
        self._at_ms = np.full(room + 1, _NEVER, np.int64)
        self._streak_ms = np.full(room + 1, _NEVER, np.int64)
        self._lon, self._lat = np.full(room + 1, np.nan), np.full(room + 1, np.nan)
        self._accuracy_m = np.full(room + 1, np.nan)
        self._ring = np.zeros((room + 1, RING), np.uint64)
        self._place = np.zeros(room + 1, np.int8)
        self._last = np.zeros(room + 1, np.int32)

    def _columns(self) -> tuple[NDArray[np.generic], ...]:
        return (
            self._device,
            self._at_ms,
            self._streak_ms,
            self._lon,
            self._lat,
            self._accuracy_m,
            self._ring,
            self._place,
        )

    def _slots(self, device: Ints) -> Ints:
        """The slot of each device, -1 for one that is not known."""
        nobody = len(self._slot_of) - 1
        if len(device) and int(device.min()) >= 0 and int(device.max()) < nobody:
            return self._slot_of.take(device).astype(np.int64)
        known = np.where((device >= 0) & (device < nobody), device, nobody)
        return self._slot_of.take(known).astype(np.int64)

    def _opened(self, device: Ints, at_ms: Ints) -> Ints:
        """`_slots`, with slots for those that are new."""
        slot = self._slots(device)
        new = np.unique(device[(slot == _NOBODY) & (device >= 0)])
        room = len(self._at_ms) - 1
        newest_ms = max(self._newest_ms, int(at_ms.max(initial=_NEVER)))
        aged = newest_ms - self._forgotten_ms > FORGET_EVERY_MS
        if aged or self._count + len(new) > room:
            self._forget(newest_ms)
            slot = self._slots(device)
            new = np.unique(device[(slot == _NOBODY) & (device >= 0)])
        if not len(new):
            return slot
        self._grow(self._count + len(new), int(new[-1]) + 1)
        slots = np.arange(self._count, self._count + len(new), dtype=np.int32)
        self._slot_of[new] = slots
        self._device[slots] = new
        self._count += len(new)
        return self._slots(device)

    def _grow(self, devices: int, serials: int) -> None:
        known = len(self._slot_of) - 1
        if serials > known:
            more = max(serials, known + known // 2) - known
            self._slot_of = np.append(self._slot_of, np.full(more, _NOBODY, np.int32))
        room = len(self._at_ms) - 1
        if devices > room:
            self._fill(slice(0, self._count), max(devices, room + room // 2, 1024))

    def _forget(self, newest_ms: int) -> None:
        """Drop who was not seen for long; it looks at every device, so only now and then."""
        self._forgotten_ms = newest_ms
        kept = np.flatnonzero(self._at_ms[: self._count] >= newest_ms - self._keep_ms)
        if len(kept) < self._count:
            self._slot_of[:] = _NOBODY
            self._slot_of[self._device[kept]] = np.arange(len(kept), dtype=np.int32)
            self._count = len(kept)
            self._fill(kept, max(len(kept) + len(kept) // 4, 1024))

    def _fill(self, kept: Ints | slice, room: int) -> None:
        """Columns of another size, with these slots in front."""
        old = self._columns()
        self._make(room)
        for column, before in zip(self._columns(), old, strict=True):
            column[: self._count] = before[kept]

    def _several(self, device: Ints, slot: Ints) -> Ints:
        """Rows, ascending, of devices that may have several in the batch: all others have one."""
        row = np.arange(len(slot), dtype=np.int32)
        last = self._last
        last[slot] = row
        shared = last[slot] != row
        last[slot[shared]] = -1
        last[-1] = 0
        several = last[slot] == -1
        strange = slot == _NOBODY
        several[strange] = device[strange] != _NOBODY
        return np.flatnonzero(several)


def _any_of_8(flags: Bools) -> Bools:
    """`flags.any(axis=1)` of (n, 8) flags, eight at a time."""
    return np.asarray(flags.view(np.uint64)[:, 0] != 0)


def _seen_before(keys: Hashes) -> Bools:
    """Rows whose hash stands in an earlier row."""
    again = np.ones(len(keys), bool)
    again[np.unique(keys, return_index=True)[1]] = False
    return again

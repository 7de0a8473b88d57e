"""The memory of recent fixes in columns, beside its plain twin."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo.matching.mixing import hashes
from geo.matching.pings import Pings
from geo.matching.recent import RING, RecentFixes

GAP_MS = 10
NONE = (-1, math.nan, math.nan, math.nan)


def pings_of(rows):
    """Pings from (device, at_ms, lon, lat, accuracy_m)."""
    device, at_ms, lon, lat, accuracy_m = np.array(rows, float).reshape(-1, 5).T
    return Pings(
        device=device.astype(np.int64),
        lon=lon,
        lat=lat,
        accuracy_m=accuracy_m,
        at_ms=at_ms.astype(np.int64),
        now_ms=at_ms.astype(np.int64),
        platform=np.zeros(len(rows), np.int8),
        mocked=np.zeros(len(rows), bool),
    )


def remember(recent, rows, gap_ms=GAP_MS):
    pings = pings_of(rows)
    recent.remember(
        device=pings.device,
        at_ms=pings.at_ms,
        lon=pings.lon,
        lat=pings.lat,
        accuracy_m=pings.accuracy_m,
        gap_ms=gap_ms,
    )


class Plain:
    """The same memory, a device and a fix at a time."""

    def __init__(self):
        self.devices = {}

    def repeated(self, rows):
        found, earlier = [], set()
        for row in rows:
            fix = row[:4]
            known = self.devices.get(row[0])
            found.append(row[0] != -1 and (fix in earlier or (known is not None and fix in known.ring)))
            earlier.add(fix)
        return found

    def look(self, rows, counts):
        return [
            self._before(rows, counts, place) if counts[place] and row[0] != -1 else (True, NONE)
            for place, row in enumerate(rows)
        ]

    def _before(self, rows, counts, place):
        device, at = rows[place][:2]
        known = self.devices.get(device)
        earlier = [
            (other[1], n, other[1:])
            for n, other in enumerate(rows)
            if counts[n] and other[0] == device and (other[1], n) < (at, place)
        ]
        initial = all(at - one[0] > GAP_MS for one in earlier if one[0] < at)
        if known is not None:
            if known.newest[0] < at:
                initial &= at - known.newest[0] > GAP_MS
            else:
                initial &= known.streak >= at
            if known.newest[0] <= at:
                earlier.append((known.newest[0], -1, known.newest))
        return initial, max(earlier)[2] if earlier else NONE

    def remember(self, rows):
        for device in {row[0] for row in rows if row[0] >= 0}:
            self._remember(device, sorted({row for row in rows if row[0] == device}, key=by_time))

    def _remember(self, device, rows):
        known = self.devices.setdefault(device, Known())
        fresh = []
        for row in rows:
            if row[:4] not in known.ring and row[:4] not in [one[:4] for one in fresh]:
                fresh.append(row)
        if not fresh:
            return
        times = [row[1] for row in fresh]
        if known.newest is not None:
            times += [known.streak, known.newest[0]]
        start = max(times)
        for at in sorted(times, reverse=True):
            if known.newest is not None and known.streak <= start <= known.newest[0]:
                start = known.streak
            if at < start and start - at <= GAP_MS:
                start = at
        known.streak = start
        known.ring = [*known.ring, *(row[:4] for row in fresh)][-RING:]
        newest = max((row[1:] for row in fresh), key=lambda fix: fix[:3])
        if known.newest is None or newest[:3] > known.newest[:3]:
            known.newest = newest


class Known:
    def __init__(self):
        self.newest, self.streak, self.ring = None, None, []


def by_time(row):
    return row[1], row[2], row[3]


def same(got, expected):
    return all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(got, expected, strict=True))


# the same place has the same accuracy, so that of two equal pings it does not matter which is kept
fixes = st.tuples(
    st.sampled_from([-3, -2, -1, 0, 1, 2, 9]),
    st.one_of(st.integers(0, 60), st.sampled_from([0, 9, 10, 11, 20, 21, 22])),
    st.sampled_from([127.0, 127.000000000000014, 180.0]),
    st.sampled_from([0.0, 37.0]),
).map(lambda fix: (*fix, 5.0 + fix[3]))
batches = st.lists(st.lists(st.tuples(fixes, st.booleans()), max_size=25), max_size=8)


@given(drawn=batches)
def test_as_the_plain_twin(drawn):
    recent, plain = RecentFixes(keep_ms=1 << 40), Plain()
    for batch in drawn:
        rows, counts = [row for row, _ in batch], [flag for _, flag in batch]
        pings = pings_of(rows)
        assert recent.repeated(pings).tolist() == plain.repeated(rows)
        looked = recent.look(pings, gap_ms=GAP_MS, counts=np.array(counts, bool))
        expected = plain.look(rows, counts)
        assert looked.initial.tolist() == [initial for initial, _ in expected]
        columns = (
            looked.before_at_ms,
            looked.before_lon,
            looked.before_lat,
            looked.before_accuracy_m,
        )
        for got, (_, before) in zip(zip(*columns, strict=True), expected, strict=True):
            assert same(got, before)
        cached = [row[2:4] == before[1:3] for row, (_, before) in zip(rows, expected, strict=True)]
        assert looked.cached.tolist() == cached
        kept = [row for row, flag in batch if flag]
        remember(recent, kept)
        plain.remember(kept)
        remember(recent, kept[: len(kept) // 2])
        plain.remember(kept[: len(kept) // 2])


@given(rows=st.lists(fixes.filter(lambda row: row[0] >= 0), min_size=1, max_size=30), data=st.data())
def test_remembering_in_any_order_and_again_leaves_the_same_newest_fix(rows, data):
    one, other = RecentFixes(keep_ms=1 << 40), RecentFixes(keep_ms=1 << 40)
    remember(one, rows)
    for row in data.draw(st.permutations(rows + rows)):
        remember(other, [row])
    asked = pings_of([(device, 99, 0.0, 0.0, 1.0) for device in sorted({row[0] for row in rows})])
    first, second = (memory.look(asked, gap_ms=GAP_MS) for memory in (one, other))
    assert first.before_at_ms.tolist() == second.before_at_ms.tolist()
    assert first.before_lon.tolist() == second.before_lon.tolist()
    assert first.before_lat.tolist() == second.before_lat.tolist()


def test_a_ping_comes_again_only_with_device_instant_and_place():
    recent = RecentFixes(keep_ms=1000)
    remember(recent, [(1, 10, 127.0, 0.0, 5)])
    rows = [
        (1, 10, 127.0, 0.0, 99),
        (1, 10, 127.1, 0.0, 5),
        (2, 10, 127.0, 0.0, 5),
        (1, 11, 127.0, 0.0, 5),
        (2, 10, 127.0, -0.0, 5),
        (-1, 10, 127.0, 0.0, 5),
        (-1, 10, 127.0, 0.0, 5),
        (-2, 10, 127.0, 0.0, 5),
        (-3, 10, 127.0, 0.0, 5),
        (-2, 10, 127.0, 0.0, 5),
    ]
    again = [True, False, False, False, True, False, False, False, False, True]
    assert recent.repeated(pings_of(rows)).tolist() == again


@pytest.mark.parametrize(("late", "initial"), [(10, False), (11, True)])
def test_the_gap_itself_is_no_gap(late, initial):
    recent = RecentFixes(keep_ms=1000)
    remember(recent, [(1, 100, 127.0, 0.0, 5)])
    looked = recent.look(pings_of([(1, 100 + late, 127.0, 0.0, 5)]), gap_ms=10)
    assert looked.initial.tolist() == [initial]
    assert looked.cached.tolist() == [True]
    gap_ms = np.array([late], np.int64)
    assert not recent.look(pings_of([(1, 100 + late, 0.0, 0.0, 5)]), gap_ms=gap_ms).initial[0]


def test_a_late_fix_within_the_streak_is_not_initial():
    recent = RecentFixes(keep_ms=1000)
    remember(recent, [(1, at, 0, 0, 5) for at in (100, 112, 119, 130)])
    assert initial_at(recent, 112, 130, 131, 140, 141) == [True, True, False, False, True]
    # what came before the gap is forgotten, but a fix that comes late may close a later part of it
    remember(recent, [(1, at, 0, 0, 5) for at in (122, 121, 108)])
    assert initial_at(recent, 120, 121, 122, 130) == [True, True, False, False]


def initial_at(recent, *instants):
    """Each asked for by itself."""
    return [bool(recent.look(pings_of([(1, at, 0, 0, 5)]), gap_ms=GAP_MS).initial[0]) for at in instants]


def test_devices_unseen_for_long_are_forgotten_and_memory_stays_small():
    hour = 3_600_000
    recent = RecentFixes(keep_ms=hour)
    for start in range(20):
        rows = [(start * 500 + n, start * hour, n / 1000, 1.0, 5) for n in range(1000)]
        remember(recent, rows)
    assert len(recent) <= 2000
    assert recent.used_bytes < 4000 * 160 + 20_000 * 4
    assert recent.look(pings_of([(1, 20 * hour, 0, 0, 5)]), gap_ms=GAP_MS).before_at_ms[0] == -1
    known = recent.look(pings_of([(19 * 500 + 3, 20 * hour, 0, 0, 5)]), gap_ms=GAP_MS)
    assert known.before_lon.tolist() == [3 / 1000]


def test_no_ping_is_looked_at_without_complaint():
    recent = RecentFixes(keep_ms=1000)
    assert len(recent.look(pings_of([]), gap_ms=1).initial) == len(recent.repeated(pings_of([]))) == 0
    remember(recent, [])
    assert len(recent) == 0


def test_coordinates_that_are_no_numbers_are_looked_over():
    recent = RecentFixes(keep_ms=1000)
    rows = [(1, 10, math.nan, math.inf, 5), (1, 11, 127.0, 37.0, 5)]
    looked = recent.look(pings_of(rows), gap_ms=GAP_MS, counts=np.array([False, True]))
    assert looked.before_at_ms.tolist() == [-1, -1]
    assert looked.cached.tolist() == [False, False]


def test_few_hashes_share_their_bits():
    rng = np.random.default_rng(5)
    device = np.repeat(np.arange(1000), 100)
    at_ms = np.tile(np.arange(100), 1000) + 1_700_000_000_000
    lon = np.round(127 + rng.random(len(device)) / 100, 5)
    keys = hashes(device, at_ms, lon, np.full(len(device), 37.5))
    for shift in (0, 16, 32, 48):
        counts = np.bincount((keys >> np.uint64(shift)).astype(np.int64) & 0xFFF, minlength=4096)
        # the lowest bit is always set
        counts = counts[counts > 0]
        assert counts.max() < 2.0 * counts.mean()
    assert len(np.unique(keys)) == len(keys)


@pytest.mark.parametrize("together", [1, 3, 8, 20])
def test_the_eight_newest_pings_of_a_device_are_known_again(together):
    recent = RecentFixes(keep_ms=1 << 40)
    rows = [(1, at, 127.0, 37.0, 5) for at in range(20)]
    for first in range(0, 20, together):
        remember(recent, rows[first : first + together])
        remember(recent, rows[first : first + together][-RING:])
    assert recent.repeated(pings_of(rows)).tolist() == [False] * (20 - RING) + [True] * RING

"""Impossible speed and shared places, beside their plain rules."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo.matching.pings import Pings
from geo.matching.recent import RecentFixes
from geo.matching.suspects import (
    SHARED_DEVICES,
    SHARED_WITHIN_MS,
    SharedPlaces,
    Suspects,
    Suspicion,
)
from geo.measure import destination, distance_m
from tests.strategies import ANCHORS, AZIMUTHS_DEG

START_MS = 1_700_000_000_000
SEOUL = (126.9707, 37.5547)
BUSAN = (129.0415, 35.1150)


def pings_of(rows):
    """Pings from (device, seconds, lon, lat, accuracy_m)."""
    device, seconds, lon, lat, accuracy_m = np.array(rows, float).T
    at_ms = START_MS + np.round(seconds * 1000).astype(np.int64)
    return Pings(
        device=device.astype(np.int64),
        lon=lon,
        lat=lat,
        accuracy_m=accuracy_m,
        at_ms=at_ms,
        now_ms=at_ms,
        platform=np.zeros(len(rows), np.int8),
        mocked=np.zeros(len(rows), bool),
    )


def looked(rows, *, test=False):
    pings = pings_of(rows)
    before = RecentFixes(keep_ms=1 << 40).look(pings, gap_ms=1 << 40)
    everything = np.ones(len(rows), bool)
    return Suspects().look(pings, before, counts=everything, is_test=everything & test).tolist()


def moved(metres, seconds, *, accuracy_m=(math.nan, math.nan), start=SEOUL, azimuth_deg=77.0):
    """The suspicion of a fix so far from the one before."""
    lon, lat = destination(lon=start[0], lat=start[1], azimuth_deg=azimuth_deg, distance_m=metres)
    rows = [
        (1, 0, *start, accuracy_m[0]),
        (1, seconds, float(lon), float(lat), accuracy_m[1]),
    ]
    why = looked(rows)
    assert why[0] == Suspicion.NONE
    return why[1]


@pytest.mark.parametrize("seconds", [1, 10, 60, 300, 3600])
@pytest.mark.parametrize("km_h", [4, 120, 300, 430, 900, 1200])
def test_trains_and_airliners_are_no_spoofers(km_h, seconds):
    assert moved(km_h / 3.6 * seconds, seconds) == Suspicion.NONE


@pytest.mark.parametrize(
    ("metres", "seconds", "accuracy_m", "suspect"),
    [
        (5_000.5, 0, (math.nan, math.nan), True),
        (4_999.5, 0, (math.nan, math.nan), False),
        (5_000.5, 14, (math.nan, math.nan), True),
        (5_000.5, 14.4, (math.nan, math.nan), False),
        (35_001, 100, (math.nan, math.nan), True),
        (34_999, 100, (math.nan, math.nan), False),
        (35_001, 100, (1, 0), False),
        (35_101, 100, (50, 49), True),
        (35_101, 100, (50, 52), False),
        (325_000, 60, (10, 10), True),
        (10_000_000, 3600, (10, 10), True),
    ],
)
def test_both_bounds_count_after_both_accuracies(metres, seconds, accuracy_m, suspect):
    assert (moved(metres, seconds, accuracy_m=accuracy_m) == Suspicion.SPEED) is suspect


@given(
    start=st.sampled_from(ANCHORS),
    azimuth_deg=st.sampled_from(AZIMUTHS_DEG),
    metres=st.sampled_from([0.0, 4_999.9, 5_000.1, 21_000.0, 34_999.0, 35_001.0, 70_001.0]),
    seconds=st.sampled_from([0, 1, 14, 60, 100, 200]),
)
def test_as_the_plain_rule_at_awkward_places(start, azimuth_deg, metres, seconds):
    lon, lat = destination(lon=start[0], lat=start[1], azimuth_deg=azimuth_deg, distance_m=metres)
    far_m = float(distance_m(lon1=start[0], lat1=start[1], lon2=lon, lat2=lat))
    expected = far_m > 5_000 and far_m > 350 * seconds
    why = moved(metres, seconds, start=start, azimuth_deg=azimuth_deg)
    assert (why == Suspicion.SPEED) is bool(expected)


def test_seoul_to_busan_in_a_minute_is_suspect_and_by_train_is_not():
    assert looked([(1, 0, *SEOUL, 10), (1, 60, *BUSAN, 10)]) == [0, Suspicion.SPEED]
    assert looked([(1, 0, *SEOUL, 10), (1, 9000, *BUSAN, 10)]) == [0, 0]


def test_across_180_is_no_jump():
    assert looked([(1, 0, 179.9999, 10, 5), (1, 1, -179.9999, 10, 5)]) == [0, 0]
    assert looked([(1, 0, 180.0, 10, 5), (1, 0, -180.0, 10, 5)]) == [0, 0]


def test_test_devices_and_pings_that_do_not_count_are_never_suspect():
    rows = [(1, 0, *SEOUL, 10), (1, 60, *BUSAN, 10)]
    assert looked(rows, test=True) == [0, 0]
    farm = [(n, 0, *SEOUL, 10) for n in range(40)]
    assert looked(farm, test=True) == [0] * 40
    pings = pings_of(farm)
    nothing = np.zeros(len(farm), bool)
    suspects = Suspects()
    before = RecentFixes(keep_ms=1).look(pings, gap_ms=1)
    assert not suspects.look(pings, before, counts=nothing, is_test=nothing).any()
    # and they are not counted with others
    one = pings_of([(99, 0, *SEOUL, 10)])
    before = RecentFixes(keep_ms=1).look(one, gap_ms=1)
    asked, none = np.ones(1, bool), np.zeros(1, bool)
    assert not suspects.look(one, before, counts=asked, is_test=none).any()


def test_the_twentieth_device_at_one_place_is_suspect():
    rows = [(n, n, *SEOUL, 10) for n in range(SHARED_DEVICES + 5)]
    assert looked(rows) == [0] * 19 + [Suspicion.SHARED_PLACE] * 6
    beside = [(n, n, SEOUL[0] + n * 1e-12, SEOUL[1], 10) for n in range(40)]
    assert looked(beside) == [0] * 40


def test_one_device_that_sends_a_cached_fix_again_and_again_is_normal():
    assert looked([(1, n, *SEOUL, 10) for n in range(100)]) == [0] * 100
    assert looked([(n % 19, n, *SEOUL, 10) for n in range(100)]) == [0] * 100


def test_other_processes_count_too():
    suspects = Suspects()
    others = pings_of([(n, 0, *SEOUL, 10) for n in range(19)])
    suspects.remember(device=others.device, at_ms=others.at_ms, lon=others.lon, lat=others.lat)
    one = pings_of([(99, 5, *SEOUL, 10)])
    before = RecentFixes(keep_ms=1).look(one, gap_ms=1)
    yes, no = np.ones(1, bool), np.zeros(1, bool)
    assert suspects.look(one, before, counts=yes, is_test=no).tolist() == [Suspicion.SHARED_PLACE]


class Plain:
    """The rule, with everything remembered."""

    def __init__(self):
        self.seen = {}

    def see(self, rows):
        found = []
        for device, at_ms, lon, lat in rows:
            place = self.seen.setdefault((lon, lat), {})
            place[device] = max(at_ms, place.get(device, at_ms))
            near = [1 for other_ms in place.values() if abs(other_ms - at_ms) <= SHARED_WITHIN_MS]
            found.append(len(near) >= SHARED_DEVICES)
        return found


def see(places, rows):
    device, at_ms, lon, lat = np.array(rows, float).reshape(-1, 4).T
    columns = {"device": device.astype(np.int64), "at_ms": at_ms.astype(np.int64)}
    return places.see(**columns, lon=lon, lat=lat).tolist()


def crowd(seed, *, sightings, places, devices):
    """Sightings in time order, at a few places and at places of their own."""
    rng = np.random.default_rng(seed)
    step_ms = rng.choice([0, 1000, 20_000, SHARED_WITHIN_MS // 20, SHARED_WITHIN_MS], sightings)
    step_ms[rng.random(sightings) < 0.98] = 0
    at_ms = START_MS + np.cumsum(step_ms)
    lon = 127.0 + rng.integers(0, places, sightings) / 1000
    lon[rng.random(sightings) < 0.3] += rng.random()
    device = rng.integers(0, devices, sightings)
    return list(zip(device, at_ms, lon, np.full(sightings, 37.5), strict=True))


@pytest.mark.parametrize("seed", range(12))
def test_shared_places_are_exact_at_low_rates(seed):
    places, plain = SharedPlaces(), Plain()
    rows = crowd(seed, sightings=3000, places=2 + 3 * (seed % 3), devices=40)
    expected = plain.see(rows)
    assert any(expected)
    assert not all(expected)
    cuts = [0, 1, 3, 50, 700, 3000]
    got = [flag for a, b in pairwise(cuts) for flag in see(places, rows[a:b])]
    assert got == expected
    assert see(places, rows[-50:]) == plain.see(rows[-50:])


def test_a_late_sighting_takes_no_newer_one_away():
    places = SharedPlaces()
    late_ms = START_MS - SHARED_WITHIN_MS - 1
    for _ in range(2):  # by columns, and one by one
        see(places, [(1, START_MS, *SEOUL)])
        see(places, [(2, late_ms, *SEOUL)])
    rows = [(n, START_MS, *SEOUL) for n in range(3, 22)]
    assert see(places, rows) == [False] * 18 + [True]


def test_memory_stays_bounded_and_a_farm_is_found_at_full_rate():
    rng = np.random.default_rng(7)
    places = SharedPlaces(buckets=1 << 12, most_places=50)
    found = 0
    for batch in range(60):
        count = 2000
        at_ms = START_MS + batch * 1000 + np.arange(count) // 2
        lon, lat = 127 + rng.random(count), np.full(count, 37.0)
        pairs = np.repeat(rng.random(20), 2)  # places that two devices share
        lon[:40] = pairs
        lon[100:400:100] = 126.5
        flags = places.see(device=np.arange(count) + batch * count, at_ms=at_ms, lon=lon, lat=lat)
        found += int(flags[100:400:100].sum())
        flags[100:400:100] = False
        assert not flags.any()
        assert len(places._places) <= 50
        assert all(len(place) <= 32 for place in places._places.values())
    assert found > 60 * 3 * 0.5

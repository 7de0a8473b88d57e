"""The index finds what brute force finds, on every rim, edge, vertex, pole and instant.

And the boundary strategy is sharp: each old mistake, made again, is found by it.
"""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from geo.matching import circles as circles_module
from geo.matching import index_columns as columns_module
from geo.matching.circles import Circles
from geo.matching.hits import Hits
from geo.matching.index import FenceIndex
from geo.matching.plain import PlainIndex
from geo.matching.polygons import Polygons
from geo.measure import circle_boxes, destination
from tests.strategies import Case, cases


def pairs(hits: Hits) -> list[tuple[int, int]]:
    return list(zip(hits.ping.tolist(), hits.fence.tolist(), strict=True))


def found_by_index(case: Case) -> list[tuple[int, int]]:
    index = FenceIndex.build(case.versions)
    return pairs(index.match(lon=case.lon, lat=case.lat, at_ms=case.at_ms))


def found_plainly(case: Case) -> list[tuple[int, int]]:
    plain = PlainIndex.build(case.versions)
    return pairs(plain.match(lon=case.lon, lat=case.lat, at_ms=case.at_ms))


@settings(max_examples=200)
@given(cases())
def test_index_equals_brute_force(case: Case):
    assert found_by_index(case) == found_plainly(case)


@settings(max_examples=60)
@given(cases())
def test_one_ping_by_rtree_equals_the_columns_by_strtree(case: Case):
    index = FenceIndex.build(case.versions)
    hits = index.match(lon=case.lon, lat=case.lat, at_ms=case.at_ms)
    one_by_one = [
        (ping, fence)
        for ping, (lon, lat, at_ms) in enumerate(zip(case.lon, case.lat, case.at_ms, strict=True))
        for fence in index.match_one(lon, lat, at_ms=at_ms)
    ]
    assert one_by_one == pairs(hits)


@settings(max_examples=60)
@given(cases())
def test_without_instants_time_does_not_matter(case: Case):
    index = FenceIndex.build(case.versions)
    plain = PlainIndex.build(case.versions)
    assert pairs(index.match(lon=case.lon, lat=case.lat, at_ms=None)) == pairs(
        plain.match(lon=case.lon, lat=case.lat)
    )


@settings(max_examples=60)
@given(cases(), st.floats(0, 500))
def test_candidates_hold_every_match(case: Case, accuracy_m: float):
    index = FenceIndex.build(case.versions)
    columns = {"lon": case.lon, "lat": case.lat, "at_ms": case.at_ms}
    wider = index.candidates(**columns, accuracy_m=np.full(len(case.lon), accuracy_m))
    found = pairs(wider)
    assert found == sorted(set(found))
    assert set(pairs(index.match(**columns))) <= set(found)


@settings(max_examples=60)
@given(cases())
def test_a_listing_box_around_a_ping_shows_the_fences_that_hold_it(case: Case):
    index = FenceIndex.build(case.versions)
    hits = index.match(lon=case.lon, lat=case.lat, at_ms=None)
    for ping, fence in pairs(hits):
        lon, lat = case.lon[ping], case.lat[ping]
        assert fence in index.in_box(lon, lat, lon, lat)
        assert fence in index.in_box(lon - 1, max(lat - 1, -90), lon + 1, min(lat + 1, 90))


# --- the strategy is sharp: each old mistake, made again, is found by it -------------------------


def box_ten_percent_small(*, lon, lat, radius_m):
    return circle_boxes(lon=lon, lat=lat, radius_m=np.asarray(radius_m) * 0.9)


def box_by_walking(*, lon, lat, radius_m):
    """Radius to north, east, south and west: too narrow, as the widest place lies nearer the pole."""
    west, south, east, north = circle_boxes(lon=lon, lat=lat, radius_m=radius_m)
    for azimuth, side, sign in ((90.0, east, 1), (270.0, west, -1)):
        walked, _ = destination(lon=lon, lat=lat, azimuth_deg=azimuth, distance_m=radius_m)
        width = np.abs((walked - lon + 180.0) % 360.0 - 180.0)
        side[:] = np.where(east - west >= 360, side, lon + sign * (width + 1e-9))
    return west, south, east, north


def box_by_mean_radius(*, lon, lat, radius_m):
    shrunk = np.asarray(radius_m) * (6_335_439.0 / 6_371_008.8)
    return circle_boxes(lon=lon, lat=lat, radius_m=shrunk)


def hold_by_haversine(self, *, lon, lat, ping, fence):
    phi1, phi2 = np.radians(lat[ping]), np.radians(self.lat[fence])
    half = np.sin((phi2 - phi1) / 2) ** 2
    turn = np.radians(self.lon[fence] - lon[ping]) / 2
    half += np.cos(phi1) * np.cos(phi2) * np.sin(turn) ** 2
    return 2 * 6_371_008.8 * np.arcsin(np.sqrt(np.clip(half, 0, 1))) <= self.radius_m[fence]


def bound_too_bold(cls, *, lon, lat, radius_m):
    """The chord taken for the geodesic: 0.13 m at 50 km."""
    made = BUILD(lon=lon, lat=lat, radius_m=radius_m)
    return type(made)(**{**vars(made), "sure_in_m2": radius_m**2, "sure_out_m2": radius_m**2})


def hold_without_turning(self, *, lon, lat, ping, fence):
    return np.asarray(shapely.intersects_xy(self.geometry[fence], lon[ping], lat[ping]))


def live_to_the_end(self, at_ms, ping, fence):
    at = at_ms[ping]
    live = (self.live_from_ms[fence] <= at) & (at <= self.live_until_ms[fence])
    return ping[live], fence[live]


BUILD = Circles.build
MISTAKES = {
    "box of a circle 10 % too small": (columns_module, "circle_boxes", box_ten_percent_small),
    "box of a circle by walking": (columns_module, "circle_boxes", box_by_walking),
    "box by the mean radius": (columns_module, "circle_boxes", box_by_mean_radius),
    "haversine": (Circles, "hold", hold_by_haversine),
    "no micrometre on the rim": (circles_module, "RIM_TOLERANCE_M", 0.0),
    "chord for geodesic": (Circles, "build", classmethod(bound_too_bold)),
    "polygon across 180° asked once": (Polygons, "hold", hold_without_turning),
    "live until the last instant": (FenceIndex, "_live", live_to_the_end),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_boundary_strategy_finds_old_mistakes(mistake: str, monkeypatch: pytest.MonkeyPatch):
    owner, name, wrong = MISTAKES[mistake]
    monkeypatch.setattr(owner, name, wrong)
    hunt = settings(
        max_examples=2_000,
        database=None,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    try:
        find(cases(), lambda case: found_by_index(case) != found_plainly(case), settings=hunt)
    except NoSuchExample:
        pytest.fail(f"{mistake}: the strategy never shows it")

"""The nearest fences are those of brute force, and stay so for as far as is said."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from geo.fences.fence import CircleShape, FenceVersion
from geo.matching.index import FenceIndex
from geo.matching.nearest import nearest, to_edges_m
from geo.measure import destination, distance_m
from tests.strategies import AZIMUTHS_DEG, Case, cases, polygon_shape, version_of

NOW_MS = 1_000
#: what edges are cut into here: brute force, and the error that it leaves
PIECES = 3_000


def plain_rim_m(index: FenceIndex, row: int, *, lon: float, lat: float) -> tuple[float, float]:
    """Signed metres to one rim, and how wrong they may be: every edge by thousands of points."""
    here = {"lon": np.array([lon]), "lat": np.array([lat])}
    held = bool(index.hold(**here, ping=np.array([0]), fence=np.array([row]))[0])
    if index.is_circle[row]:
        circles = index.circles
        centre_m = distance_m(lon1=lon, lat1=lat, lon2=circles.lon[row], lat2=circles.lat[row])
        return float(centre_m - circles.radius_m[row]), 1e-6
    polygons = index.polygons
    first = polygons.first[row]
    ends = polygons.ends[first : first + polygons.count[row]]
    share = np.linspace(0, 1, PIECES)
    at = ends[:, None, :2] + (ends[:, None, 2:] - ends[:, None, :2]) * share[None, :, None]
    x, y = at.reshape(-1, 2).T
    away = distance_m(lon1=lon, lat1=lat, lon2=x, lat2=y)
    steps = np.hypot(*(ends[:, 2:] - ends[:, :2]).T).max() * 111_700 / PIECES
    return float(-away.min() if held else away.min()), float(steps) + 0.05


def normal(lon: float) -> float:
    return (lon + 180) % 360 - 180


@settings(max_examples=60)
@given(case=cases(), limit=st.integers(1, 4), place=st.integers(0, 11))
def test_the_nearest_are_those_of_brute_force(case: Case, limit: int, place: int):
    lon, lat = normal(float(case.lon[place])), float(case.lat[place])
    index, at_ms = FenceIndex.build(case.versions), int(case.at_ms[place])
    found = nearest(index, lon=lon, lat=lat, at_ms=at_ms, limit=limit)
    live = [row for row, v in enumerate(case.versions) if v.live_from_ms <= at_ms < v.live_until_ms]
    plain = {row: plain_rim_m(index, row, lon=lon, lat=lat) for row in live}

    assert set(found.rows) <= set(live)
    assert len(found.rows) == min(limit, len(live))
    assert (found.ask_again_after_m is None) == (len(live) <= limit)
    for row, metres, inside in zip(found.rows, found.distance_m, found.inside, strict=True):
        rim_m, error_m = plain[row]
        assert metres == pytest.approx(max(rim_m, 0.0), abs=error_m + 2e-4 * abs(rim_m))
        assert inside == (metres == 0) or metres < 1e-5
    assert found.distance_m == sorted(found.distance_m)
    for row in set(live) - set(found.rows):
        rim_m, error_m = plain[row]
        assert max(rim_m, 0.0) >= found.distance_m[-1] - error_m


@settings(max_examples=60)
@given(
    case=cases(),
    limit=st.integers(1, 3),
    place=st.integers(0, 11),
    azimuth=st.sampled_from(AZIMUTHS_DEG),
    share=st.sampled_from([0.1, 0.9, 0.999]),
)
def test_the_list_stays_right_for_as_far_as_it_says(
    case: Case, limit: int, place: int, azimuth: float, share: float
):
    versions = [version_of(v.fence.shape, fence_id=n) for n, v in enumerate(case.versions)]
    index = FenceIndex.build(versions)
    lon, lat = normal(float(case.lon[place])), float(case.lat[place])
    before = nearest(index, lon=lon, lat=lat, at_ms=NOW_MS, limit=limit)
    assume(before.ask_again_after_m)
    way_m = share * float(before.ask_again_after_m or 0)
    x, y = destination(lon=lon, lat=lat, azimuth_deg=azimuth, distance_m=way_m)
    after = nearest(index, lon=normal(float(x)), lat=float(y), at_ms=NOW_MS, limit=len(versions))
    metres = dict(zip(after.rows, after.distance_m, strict=True))
    listed = max(metres[row] for row in before.rows)
    others = min(metres[row] for row in set(metres) - set(before.rows))

    assert listed <= others + 0.1


def circle(lon: float, lat: float, radius_m: float, fence_id: int) -> FenceVersion:
    return version_of(CircleShape(lon=lon, lat=lat, radius_m=radius_m), fence_id=fence_id)


def test_across_the_antimeridian_and_over_a_pole():
    index = FenceIndex.build(
        [
            circle(-179.999, 10.0, 50.0, 1),
            circle(179.0, 10.0, 50.0, 2),
            circle(0.0, 89.99, 50.0, 3),
        ]
    )

    assert nearest(index, lon=179.999, lat=10.0, at_ms=NOW_MS, limit=1).rows == [0]
    assert nearest(index, lon=180.0, lat=89.99, at_ms=NOW_MS, limit=1).rows == [2]
    assert nearest(index, lon=-180.0, lat=10.0, at_ms=NOW_MS, limit=2).rows == [0, 1]


def test_from_the_other_side_of_the_earth():
    index = FenceIndex.build([circle(127.0, 37.5, 50.0, 1), circle(126.0, 37.5, 50.0, 2)])
    found = nearest(index, lon=-53.0, lat=-37.5, at_ms=NOW_MS, limit=1)
    far_m = distance_m(lon1=-53.0, lat1=-37.5, lon2=126.0, lat2=37.5)

    assert found.rows == [1]
    assert found.distance_m[0] == pytest.approx(float(far_m) - 50, abs=1e-6)


def test_a_place_in_many_fences_names_the_deepest_first():
    index = FenceIndex.build([circle(127.0, 37.5, radius, n) for n, radius in enumerate((80, 500, 90))])
    found = nearest(index, lon=127.0, lat=37.5, at_ms=NOW_MS, limit=2)

    assert (found.rows, found.inside, found.distance_m) == ([1, 2], [True, True], [0.0, 0.0])
    assert found.ask_again_after_m == 0


def test_none_at_all():
    found = nearest(FenceIndex.build([]), lon=0.0, lat=0.0, at_ms=NOW_MS, limit=5)

    assert (found.rows, found.ask_again_after_m) == ([], None)


def test_a_long_edge_bends_on_the_ground():
    """A parallel of 60° from 0° to 40° lies up to 400 km south of the geodesic between its ends."""
    geometry = shapely.box(0.0, 50.0, 40.0, 60.0)
    index = FenceIndex.build([version_of(polygon_shape(geometry))])
    found = nearest(index, lon=20.0, lat=61.0, at_ms=NOW_MS, limit=1)

    assert found.distance_m[0] == pytest.approx(
        float(distance_m(lon1=20.0, lat1=61.0, lon2=20.0, lat2=60.0)), abs=0.02
    )


def test_no_edges_are_infinitely_far():
    assert math.isinf(to_edges_m(np.zeros((0, 4)), lon=0.0, lat=0.0))


def test_few_shapes_of_many_are_measured(monkeypatch: pytest.MonkeyPatch):
    """A work count: 3,000 polygons, of which only those about the place are looked at closely."""
    asked = []
    original = to_edges_m
    monkeypatch.setattr(
        "geo.matching.nearest.to_edges_m", lambda *a, **k: asked.append(1) or original(*a, **k)
    )
    side = np.arange(60) * 0.01
    boxes = [shapely.box(120 + x, 30 + y, 120.004 + x, 30.004 + y) for x in side for y in side[:50]]
    index = FenceIndex.build([version_of(polygon_shape(b), fence_id=n) for n, b in enumerate(boxes)])
    found = nearest(index, lon=120.3, lat=30.25, at_ms=NOW_MS, limit=20)

    assert len(found.rows) == 20
    assert len(asked) < 300

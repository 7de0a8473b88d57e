"""The index by hand: rims, poles, 180°, times, boxes, candidates, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from geo.fences.fence import CircleShape, PolygonShape
from geo.matching import circles as circles_module
from geo.matching.hits import Hits
from geo.matching.index import BadCoordinates, FenceIndex
from geo.measure import destination, distance_m, geodesic_area_m2
from tests.strategies import polygon_shape, version_of

SEOUL = (127.0276, 37.4979)


def pairs(hits: Hits) -> list[tuple[int, int]]:
    return list(zip(hits.ping.tolist(), hits.fence.tolist(), strict=True))


def circle(lon: float, lat: float, radius_m: float = 100.0) -> CircleShape:
    return CircleShape(lon=lon, lat=lat, radius_m=radius_m)


def index_of(*shapes: CircleShape | PolygonShape) -> FenceIndex:
    return FenceIndex.build([version_of(shape, fence_id=i) for i, shape in enumerate(shapes)])


def rows_at(index: FenceIndex, lon: float, lat: float) -> list[int]:
    return index.match(lon=np.array([lon]), lat=np.array([lat]), at_ms=None).fence.tolist()


def test_points_set_exactly_on_a_rim_are_inside_all_of_them():
    azimuth = np.linspace(0.0, 360.0, 2_001)
    for radius_m in (50.0, 1_234.5, 50_000.0):
        lon, lat = destination(lon=126.9, lat=37.5, azimuth_deg=azimuth, distance_m=radius_m)
        assert (distance_m(lon1=126.9, lat1=37.5, lon2=lon, lat2=lat) > radius_m).any()
        hits = index_of(circle(126.9, 37.5, radius_m)).match(lon=lon, lat=lat, at_ms=None)
        assert hits.ping.tolist() == list(range(len(azimuth)))


@pytest.mark.parametrize(("off_m", "inside"), [(0.9e-6, True), (1.1e-6, False), (-1e-3, True)])
def test_the_micrometre_beyond_the_rim_belongs_to_the_fence_and_no_more(off_m: float, inside: bool):
    lon, lat = destination(lon=126.9, lat=37.5, azimuth_deg=90.0, distance_m=500.0 + off_m)
    assert rows_at(index_of(circle(126.9, 37.5, 500.0)), float(lon), float(lat)) == [0] * inside


def test_nearly_no_pair_needs_the_geodesic(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(7)
    made = [circle(x, y, 5_000.0) for x, y in rng.uniform((126.5, 37.0), (127.5, 38.0), (200, 2))]
    index = index_of(*made)
    lon, lat = rng.uniform((126.5, 37.0), (127.5, 38.0), (5_000, 2)).T
    measured = []
    exact = circles_module.distance_m

    def counted(**columns):
        measured.append(len(columns["lon1"]))
        return exact(**columns)

    monkeypatch.setattr(circles_module, "distance_m", counted)
    hits = index.match(lon=lon, lat=lat, at_ms=None)
    assert len(hits) > 5_000
    assert sum(measured) <= 2


def test_the_geodesic_lies_between_its_two_bounds():
    """Schur's bounds at their tightest: along meridians and the equator, at every latitude."""
    rng = np.random.default_rng(3)
    lat = np.concatenate([np.zeros(500), np.full(500, 90.0), rng.uniform(-90, 90, 4_000)])
    azimuth = np.where(rng.random(5_000) < 0.5, rng.choice([0.0, 90.0, 180.0], 5_000), 77.0)
    length_m = np.exp(rng.uniform(np.log(1.0), np.log(900_000.0), 5_000))
    lon2, lat2 = destination(lon=10.0, lat=lat, azimuth_deg=azimuth, distance_m=length_m)
    one = circles_module.from_earth_centre(lon=np.full(5_000, 10.0), lat=lat)
    two = circles_module.from_earth_centre(lon=lon2, lat=lat2)
    chord = np.sqrt(sum((a - b) ** 2 for a, b in zip(one, two, strict=True)))
    radius = 6_335_439.0
    assert (chord <= length_m + 1e-7).all()
    assert (length_m <= 2 * radius * np.arcsin(chord / (2 * radius)) + 1e-7).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_no_number_that_is_not_finite_reaches_a_tree(bad: float):
    index = index_of(circle(*SEOUL), polygon_shape(shapely.box(126.9, 37.4, 127.1, 37.6)))
    one = np.array([127.0])
    with pytest.raises(BadCoordinates, match="Ping 1"):
        index.match(lon=np.array([127.0, bad]), lat=np.array([37.5, 37.5]), at_ms=None)
    with pytest.raises(BadCoordinates):
        index.match_one(127.0, bad)
    with pytest.raises(BadCoordinates):
        index.candidates(lon=one, lat=np.array([bad]), at_ms=None, accuracy_m=one)
    with pytest.raises(BadCoordinates, match="no box"):
        index.in_box(126.0, 37.0, bad, 38.0)
    for shape in (circle(bad, 37.5), circle(127.0, 37.5, bad), broken_polygon(bad)):
        with pytest.raises(BadCoordinates, match="Fence 7"):
            FenceIndex.build([version_of(shape, fence_id=7)])


def broken_polygon(bad: float) -> PolygonShape:
    with np.errstate(invalid="ignore"):
        return PolygonShape(geometry=shapely.Polygon([(0, 0), (1, 0), (1, bad), (0, 1)]))


def test_a_latitude_beyond_a_pole_is_refused():
    with pytest.raises(BadCoordinates, match=r"90\.5"):
        index_of(circle(*SEOUL)).match(lon=np.array([127.0]), lat=np.array([90.5]), at_ms=None)


def test_an_empty_index_answers_everything_with_nothing():
    index = FenceIndex.build([])
    one = np.array([127.0])
    assert len(index.match(lon=one, lat=one / 4, at_ms=np.array([5]))) == 0
    assert len(index.candidates(lon=one, lat=one / 4, at_ms=None, accuracy_m=one)) == 0
    assert index.match_one(127.0, 37.0) == []
    assert index.in_box(-180, -90, 180, 90) == []
    assert index.rows_of(1) == ()


def test_no_pings_no_hits():
    none = np.zeros(0)
    index = index_of(circle(*SEOUL), HOLED)
    assert len(index.match(lon=none, lat=none, at_ms=np.zeros(0, np.int64))) == 0
    assert len(index.candidates(lon=none, lat=none, at_ms=None, accuracy_m=none)) == 0


def test_versions_of_one_fence_are_live_one_after_the_other():
    before = version_of(circle(*SEOUL), fence_id=9, live_from_ms=100, live_until_ms=200)
    after = version_of(circle(*SEOUL), fence_id=9, live_from_ms=200, live_until_ms=300)
    index = FenceIndex.build([before, after])
    at_ms = np.array([99, 100, 199, 200, 299, 300])
    lon, lat = np.full(6, SEOUL[0]), np.full(6, SEOUL[1])
    hits = index.match(lon=lon, lat=lat, at_ms=at_ms)
    assert pairs(hits) == [(1, 0), (2, 0), (3, 1), (4, 1)]
    assert index.rows_of(9) == (0, 1)
    assert index.match_one(*SEOUL, at_ms=200) == [1]
    assert index.fence_id.tolist() == [9, 9]
    assert index.live_from_ms.tolist() == [100, 200]
    assert [v.live_until_ms for v in index.versions] == index.live_until_ms.tolist()


HOLED = polygon_shape(shapely.box(126.9, 37.4, 127.1, 37.6) - shapely.box(126.99, 37.49, 127.01, 37.51))


def test_the_rim_of_a_hole_belongs_to_the_fence_its_inside_does_not():
    index = index_of(HOLED)
    assert rows_at(index, 127.0, 37.5) == []
    assert rows_at(index, 126.99, 37.5) == [0]
    assert rows_at(index, 126.95, 37.5) == [0]


def test_180_east_and_180_west_are_one_place():
    index = index_of(
        circle(179.9999, 0.0, 50.0),
        polygon_shape(shapely.box(179.5, -1.0, 180.0, 1.0)),
        polygon_shape(shapely.box(-180.0, -1.0, -179.5, 1.0)),
        polygon_shape(shapely.box(179.5, -1.0, 180.5, 1.0)),
    )
    for lon in (180.0, -180.0, 540.0, -540.0):
        assert rows_at(index, lon, 0.0) == [0, 1, 2, 3]
        assert index.match_one(lon, 0.0) == [0, 1, 2, 3]
    assert rows_at(index, -179.9998, 0.0) == [0, 2, 3]
    assert rows_at(index, 179.9998, 0.0) == [0, 1, 3]


def test_a_pole_is_one_place_whatever_its_longitude():
    index = index_of(
        circle(10.0, 89.9, 50_000.0),
        polygon_shape(shapely.box(0.0, 89.9, 20.0, 90.0)),
        polygon_shape(shapely.box(-180.0, 89.9, 180.0, 90.0)),
        polygon_shape(shapely.box(0.0, 89.8, 20.0, 89.9)),
    )
    for lon in (-180.0, -77.0, 10.0, 180.0):
        assert rows_at(index, lon, 90.0) == [0, 1, 2]
        assert index.match_one(lon, 90.0) == [0, 1, 2]
        assert rows_at(index, lon, -90.0) == []


def test_a_listing_box_may_cross_180_and_be_given_in_any_turn():
    index = index_of(circle(179.95, 0.0), circle(-179.95, 0.0), circle(0.0, 0.0), circle(180.0, 5.0))
    assert index.in_box(179.0, -1.0, -179.0, 1.0) == [0, 1]
    assert index.in_box(179.0, -1.0, 181.0, 1.0) == [0, 1]
    assert index.in_box(-181.0, -1.0, -179.0, 1.0) == [0, 1]
    assert index.in_box(-180.0, -1.0, 180.0, 1.0) == [0, 1, 2]
    assert index.in_box(-500.0, -90.0, 500.0, 90.0) == [0, 1, 2, 3]
    assert index.in_box(-180.0, 5.0, -180.0, 5.0) == [3]
    assert index.in_box(180.0, 5.0, 180.0, 5.0) == [3]
    assert index.in_box(-1.0, -1.0, 1.0, 1.0) == [2]
    with pytest.raises(BadCoordinates):
        index.in_box(0.0, 1.0, 1.0, 0.0)


def test_a_fix_in_a_hole_is_a_candidate_if_its_accuracy_reaches_the_fence():
    index = index_of(
        HOLED, circle(127.0, 37.48, 1_000.0), polygon_shape(shapely.box(127, 37, 127.5, 37.4999))
    )
    columns = {"lon": np.array([127.0]), "lat": np.array([37.5]), "at_ms": None}
    assert index.match(**columns).fence.tolist() == []
    # the circle's and the convex polygon's rims are nearer, but P beyond a convex rim is below 0.5
    assert index.candidates(**columns, accuracy_m=np.array([900.0])).fence.tolist() == [0]
    assert index.candidates(**columns, accuracy_m=np.array([np.nan])).fence.tolist() == []
    assert index.candidates(**columns, accuracy_m=np.array([0.0])).fence.tolist() == []


@pytest.mark.parametrize(("accuracy_m", "near"), [(100.0, 80.0), (2.0, 3.4), (50_000.0, 1_999.0)])
def test_how_far_a_candidate_reaches(accuracy_m: float, near: float):
    east, lat = 127.1, 37.5
    lon, _ = destination(lon=east, lat=lat, azimuth_deg=90.0, distance_m=near)
    beyond, _ = destination(lon=east, lat=lat, azimuth_deg=90.0, distance_m=near * 1.06)
    hits = index_of(HOLED).candidates(
        lon=np.array([lon, beyond]),
        lat=np.array([lat, lat]),
        at_ms=None,
        accuracy_m=np.full(2, accuracy_m),
    )
    assert pairs(hits) == [(0, 0)]


def test_candidates_reach_across_180():
    shape = polygon_shape(
        shapely.MultiPolygon([shapely.box(179.9, 0, 179.999, 1), shapely.box(179.5, 0, 179.6, 1)])
    )
    hits = index_of(shape).candidates(
        lon=np.array([-179.9995]), lat=np.array([0.5]), at_ms=None, accuracy_m=np.array([400.0])
    )
    assert pairs(hits) == [(0, 0)]


def test_building_leaves_the_shapes_of_others_alone():
    shape = polygon_shape(shapely.box(0, 0, 1, 1))
    index_of(shape)
    assert not shapely.is_prepared(shape.geometry)


def test_which_polygons_count_as_convex():
    shapes = [
        shapely.box(0, 0, 1, 1),
        shapely.segmentize(shapely.box(0, 0, 1, 1), 0.013),
        shapely.Point(5, 5).buffer(1, quad_segs=16),
        shapely.Polygon([(0, 0), (2, 0), (1, 1e-7), (0, 2)]),
        shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(2, 0, 3, 1)]),
        HOLED.geometry,
        shapely.box(0, 84, 1, 86),
        shapely.box(-180, 10, 180, 11),
        shapely.box(179, 0, 181, 1),
    ]
    index = index_of(*(polygon_shape(shape) for shape in shapes))
    assert index.polygons.is_convex.tolist() == [True, True, True, *[False] * 5, True]


def test_areas_of_the_compiled_polygons():
    shapes = [
        shapely.box(127.0, 37.0, 127.1, 37.1),
        shapely.box(179.9, 0.0, 180.1, 0.1),
        shapely.box(-180.0, 89.9, 180.0, 90.0),
        HOLED.geometry,
    ]
    index = index_of(*(polygon_shape(shape) for shape in shapes))
    truth = [geodesic_area_m2(polygon_shape(shape).geometry) for shape in shapes]
    assert index.polygons.area_m2 == pytest.approx(truth, rel=1e-5)

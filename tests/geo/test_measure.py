"""Distances, areas and boxes: against closed formulas, their twins and rims drawn on purpose."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geo.measure import (
    RIM_TOLERANCE_M,
    WGS84,
    circle_area_km2,
    circle_area_m2,
    circle_box,
    circle_boxes,
    circle_ring,
    destination,
    distance_m,
    geodesic_area_m2,
    projected_area_m2,
)

RADII = st.sampled_from([50.0, 50.0 + 1e-9, 1_000.0, 49_999.99, 50_000.0]) | st.floats(50, 50_000)
# equator, Korea, and places from which 50 km reach, just miss or pass over a pole
LATS = st.sampled_from(
    [0.0, 1e-9, 37.5, -37.5, 65.0, 80.0, 89.0, 89.5, 89.5523, 89.5524, 89.9996, 90.0, -89.5523, -90.0]
) | st.floats(-90, 90)
LONS = st.sampled_from([0.0, 127.0, 179.9999, 180.0, -180.0, -179.5]) | st.floats(-180, 180)
AZIMUTHS = np.concatenate([np.linspace(0, 360, 1440, endpoint=False), np.linspace(85, 95, 400)])


NODES, WEIGHTS = np.polynomial.legendre.leggauss(20)


def below_m2(lat: float | np.ndarray) -> np.ndarray:
    """Area from the equator to a parallel per radian of longitude (Snyder 1987, 3-12 and 14-11)."""
    e = math.sqrt(WGS84.es)
    s = e * np.sin(np.radians(lat))
    return WGS84.b**2 / 2 * (s / e / (1 - s * s) + np.arctanh(s) / e)


def zone_m2(south: float, north: float, width_deg: float) -> float:
    """Exact area between two parallels and two meridians."""
    return float(below_m2(north) - below_m2(south)) * math.radians(width_deg)


def exact_m2(polygon: shapely.Polygon) -> float:
    """Area under edges that are straight in longitude/latitude, by Gauss and Legendre; no holes."""
    ring = np.asarray(polygon.exterior.coords)
    lon, lat = ring.T
    middle, half = (lat[1:] + lat[:-1]) / 2, np.diff(lat) / 2
    height = below_m2(middle[:, None] + half[:, None] * NODES) - below_m2(lat.mean())
    return abs(float(np.radians(np.diff(lon)) @ (height @ WEIGHTS / 2)))


@st.composite
def star(draw: st.DrawFn) -> shapely.Polygon:
    """A star-shaped polygon, 10 m to 300 km across, in any latitude."""
    corners = draw(st.integers(3, 12))
    lat, size = draw(st.sampled_from([0.0, 37.0, -37.0, 65.0, -84.0])), draw(st.floats(1e-4, 2.5))
    far = np.array(draw(st.lists(st.floats(0.3, 1), min_size=corners, max_size=corners)))
    turn = np.arange(corners) / corners * 2 * np.pi
    lon0 = draw(st.sampled_from([0.0, 127.0, 180.0]))
    return shapely.Polygon(
        np.column_stack([lon0 + size * far * np.cos(turn), lat + size * far * np.sin(turn)])
    )


@settings(max_examples=30, deadline=None)
@given(
    south=st.sampled_from([-90.0, -65.0, 0.0, 37.0, 65.0, 89.0]) | st.floats(-90, 89),
    height=st.sampled_from([0.001, 0.02, 1.0, 29.999, 30.001]) | st.floats(0.001, 180),
    width=st.sampled_from([0.001, 10.8, 29.999, 30.001, 180.0, 360.0]) | st.floats(0.001, 360),
)
def test_projected_area_is_the_exact_zone_between_parallels(
    south: float, height: float, width: float
) -> None:
    north = min(90.0, south + height)
    box = shapely.box(-180, south, -180 + width, north)
    # near a pole the formula itself loses some cm²: the difference of two quarters of the Earth
    assert projected_area_m2(box) == pytest.approx(zone_m2(south, north, width), rel=1e-7, abs=0.05)


@settings(max_examples=60, deadline=None)
@given(star())
def test_both_ways_of_measuring_agree_to_a_millionth(polygon: shapely.Polygon) -> None:
    # a geodesic polygon of 4,000 points is good to some cm², whatever its size
    assert projected_area_m2(polygon) == pytest.approx(geodesic_area_m2(polygon), rel=1e-6, abs=0.05)


@settings(max_examples=60, deadline=None)
@given(star())
def test_the_measured_area_is_the_exact_one_under_straight_edges(polygon: shapely.Polygon) -> None:
    # shapes drawn here go far beyond 1,000 km² and near the poles; half of what F2 allows
    assert projected_area_m2(polygon) == pytest.approx(exact_m2(polygon), rel=5e-7, abs=1e-2)


@pytest.mark.parametrize("lat", [0.0, 37.0, -37.0, 65.0, 75.0])
@pytest.mark.parametrize("turn", [0.0, 0.5, 1.0])
def test_near_the_limit_the_measured_area_is_exact_to_a_ten_millionth(lat: float, turn: float) -> None:
    """A triangle has no opposite edges whose errors could cancel."""
    around = turn + np.arange(3) * 2 * np.pi / 3
    size = 0.25 / math.cos(math.radians(lat))
    triangle = shapely.Polygon(
        np.column_stack([127 + size * np.cos(around), lat + 0.25 * np.sin(around)])
    )
    assert projected_area_m2(triangle) == pytest.approx(exact_m2(triangle), rel=1e-7)


def test_a_long_strip_at_65_degrees_is_measured_along_its_edges_not_between_its_corners() -> None:
    """quality.md §2: four bare corners lose 4 km² of 1,000 and would let the strip through."""
    strip = shapely.box(0, 65, 10.6117, 65.0179295)
    corners = np.asarray(strip.exterior.coords)
    bare_m2 = abs(WGS84.polygon_area_perimeter(corners[:, 0], corners[:, 1])[0])
    assert bare_m2 / 1e6 == pytest.approx(996.21, abs=0.01)
    assert zone_m2(65, 65.0179295, 10.6117) / 1e6 == pytest.approx(1_000.39, abs=0.01)
    assert projected_area_m2(strip) == pytest.approx(zone_m2(65, 65.0179295, 10.6117), rel=1e-8)
    assert geodesic_area_m2(strip) == pytest.approx(zone_m2(65, 65.0179295, 10.6117), rel=1e-8)


def test_holes_are_subtracted_and_parts_added() -> None:
    shell, hole = shapely.box(127, 37, 127.2, 37.2), shapely.box(127.05, 37.05, 127.1, 37.1)
    pierced = shapely.Polygon(shell.exterior, [hole.exterior])
    apart = shapely.box(-60, -37.2, -59.8, -37)
    whole = projected_area_m2(shell)
    assert projected_area_m2(pierced) == pytest.approx(whole - projected_area_m2(hole), rel=1e-9)
    assert projected_area_m2(shapely.MultiPolygon([shell, apart])) == pytest.approx(2 * whole, rel=1e-9)


@pytest.mark.parametrize("empty", [shapely.Polygon(), shapely.MultiPolygon()])
def test_an_empty_shape_has_no_area(empty: shapely.Geometry) -> None:
    assert projected_area_m2(empty) == 0.0
    assert geodesic_area_m2(empty) == 0.0


@settings(max_examples=150, deadline=None)
@given(lon=LONS, lat=LATS, radius_m=RADII)
def test_every_point_of_the_rim_lies_in_the_box(lon: float, lat: float, radius_m: float) -> None:
    west, south, east, north = circle_box(lon=lon, lat=lat, radius_m=radius_m)
    x, y = destination(lon=lon, lat=lat, azimuth_deg=AZIMUTHS, distance_m=radius_m + RIM_TOLERANCE_M)
    assert (y >= south).all()
    assert (y <= north).all()
    middle = (west + east) / 2
    beside = (x - middle + 180) % 360 - 180
    assert (np.abs(beside) <= (east - west) / 2 + 1e-13).all()


@settings(max_examples=100, deadline=None)
@given(lon=LONS, lat=LATS, radius_m=RADII)
def test_no_box_is_larger_than_that_of_a_circle_two_per_cent_wider(
    lon: float, lat: float, radius_m: float
) -> None:
    west, south, east, north = circle_box(lon=lon, lat=lat, radius_m=radius_m)
    wider = 1.02 * radius_m
    x, y = destination(lon=lon, lat=lat, azimuth_deg=AZIMUTHS, distance_m=wider)
    assert y.min() <= south or distance_m(lon1=lon, lat1=lat, lon2=lon, lat2=-90) <= wider
    assert y.max() >= north or distance_m(lon1=lon, lat1=lat, lon2=lon, lat2=90) <= wider
    to_pole = min(distance_m(lon1=lon, lat1=lat, lon2=lon, lat2=pole) for pole in (-90.0, 90.0))
    # a circle with a pole in it is as wide as can be
    assert to_pole <= wider or np.abs((x - lon + 180) % 360 - 180).max() >= (east - west) / 2


@settings(max_examples=100, deadline=None)
@given(lon=LONS, lat=LATS, radius_m=RADII)
def test_a_circle_that_reaches_a_pole_has_a_box_around_the_world(
    lon: float, lat: float, radius_m: float
) -> None:
    west, south, east, north = circle_box(lon=lon, lat=lat, radius_m=radius_m)
    for pole, edge in ((-90.0, south), (90.0, north)):
        if distance_m(lon1=lon, lat1=lat, lon2=lon, lat2=pole) <= radius_m:
            assert (west, edge, east) == (-180.0, pole, 180.0)


def test_a_box_across_180_degrees_stays_unwrapped() -> None:
    west, _, east, _ = circle_box(lon=179.9, lat=0, radius_m=50_000)
    assert west < 179.9 < 180 < east < 181
    west, _, east, _ = circle_box(lon=-180, lat=0, radius_m=50_000)
    assert -181 < west < -180 < east


def test_boxes_of_columns_are_the_boxes_one_by_one() -> None:
    lon, lat = np.array([0.0, 180.0, -179.0, 10.0]), np.array([0.0, 89.9, -90.0, 37.0])
    radius_m = np.array([50.0, 50_000.0, 50.0, 12_345.6])
    columns = np.column_stack(circle_boxes(lon=lon, lat=lat, radius_m=radius_m))
    for row in range(4):
        one = circle_box(lon=lon[row], lat=lat[row], radius_m=radius_m[row])
        assert tuple(columns[row]) == one


def test_distances_broadcast_keep_their_shape_and_leave_the_input_alone() -> None:
    lon = np.array([[127.0, 128.0], [129.0, np.nan]])
    before = lon.copy()
    found = distance_m(lon1=lon, lat1=37.0, lon2=127.0, lat2=37.0)
    assert found.shape == (2, 2)
    assert found[0, 0] == 0.0
    assert np.isnan(found[1, 1])
    np.testing.assert_array_equal(lon, before)
    assert distance_m(lon1=0, lat1=0, lon2=0, lat2=90).shape == ()


@settings(max_examples=100, deadline=None)
@given(lon=LONS, lat=LATS, azimuth=st.floats(0, 360), radius_m=RADII)
def test_one_arrives_as_far_away_as_one_went(
    lon: float, lat: float, azimuth: float, radius_m: float
) -> None:
    x, y = destination(lon=lon, lat=lat, azimuth_deg=azimuth, distance_m=radius_m)
    back = float(distance_m(lon1=lon, lat1=lat, lon2=x, lat2=y))
    assert back == pytest.approx(radius_m, abs=2e-8)
    assert -180 <= x <= 180


@settings(max_examples=100, deadline=None)
@given(lon=LONS, lat=LATS, radius_m=RADII, points=st.sampled_from([8, 64, 180]))
def test_the_ring_of_a_circle_is_closed_valid_and_on_the_rim(
    lon: float, lat: float, radius_m: float, points: int
) -> None:
    ring = circle_ring(lon=lon, lat=lat, radius_m=radius_m, points=points)
    assert (ring[0] == ring[-1]).all()
    assert shapely.is_ccw(shapely.LinearRing(ring))
    assert shapely.Polygon(ring).is_valid
    away = distance_m(lon1=lon, lat1=lat, lon2=ring[:, 0], lat2=ring[:, 1])
    on_rim = np.abs(away - radius_m) < 1e-6
    around = np.ptp(ring[:, 0]) == 360
    assert on_rim.all() if not around else on_rim.sum() >= points - 1


@pytest.mark.parametrize(("lat", "pole"), [(89.9, 90.0), (-89.7, -90.0), (90.0, 90.0), (-90.0, -90.0)])
def test_a_ring_over_a_pole_holds_the_pole(lat: float, pole: float) -> None:
    ring = shapely.Polygon(circle_ring(lon=127, lat=lat, radius_m=50_000, points=360))
    assert ring.bounds[0] == -180
    assert ring.bounds[2] == 180
    assert all(ring.covers(shapely.Point(lon, pole)) for lon in (-180, 0, 33, 180))
    assert projected_area_m2(ring) == pytest.approx(circle_area_m2(50_000), rel=0.02)


@pytest.mark.parametrize("points", [0, 4, 7, 63, 66])
def test_a_ring_needs_points_at_the_four_winds(points: int) -> None:
    with pytest.raises(ValueError, match=f"points is {points}"):
        circle_ring(lon=0, lat=0, radius_m=50, points=points)


@pytest.mark.parametrize("lat", [0.0, 37.0, 65.0])
def test_the_area_of_a_circle_is_that_of_its_finest_ring(lat: float) -> None:
    ring = shapely.Polygon(circle_ring(lon=127, lat=lat, radius_m=50_000, points=2_000))
    assert geodesic_area_m2(ring) == pytest.approx(circle_area_m2(50_000), rel=2e-5)
    assert circle_area_km2(50) == pytest.approx(math.pi * 50**2 / 1e6, rel=1e-9)

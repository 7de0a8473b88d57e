"""Across 180°: splitting and joining keep every place and every square metre."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st

from geo.antimeridian import normalize_lon, spans_antimeridian, split, unwrap, unwrap_ring
from geo.measure import projected_area_m2

EDGES = [-180.0, 180.0, 540.0, -540.0, math.nextafter(-180, -181), math.nextafter(180, 181), 0.0, -0.0]


@st.composite
def crossing(draw: st.DrawFn) -> shapely.Polygon:
    """A polygon in continuous longitudes around 180, with a hole now and then."""
    corners = draw(st.integers(3, 10))
    far = np.array(draw(st.lists(st.floats(0.35, 1), min_size=corners, max_size=corners)))
    turn = (np.arange(corners) + draw(st.floats(0, 1))) / corners * 2 * np.pi
    middle = draw(st.sampled_from([180.0, -180.0, 179.999, 540.0]) | st.floats(179.5, 180.5))
    lat, size = draw(st.sampled_from([0.0, 37.0, -65.0, 88.0])), draw(st.sampled_from([0.001, 0.1, 1.0]))
    unit = np.column_stack([np.cos(turn), np.sin(turn)]) * far[:, None]
    hole = [[middle, lat] + unit[::-1] * size * 0.3] if draw(st.booleans()) and corners > 4 else []
    return shapely.Polygon([middle, lat] + unit * size, hole)


@given(st.sampled_from(EDGES) | st.floats(-1e4, 1e4))
def test_a_normal_longitude_is_the_same_meridian_in_range(lon: float) -> None:
    normal = float(normalize_lon(lon))
    assert -180 <= normal < 180
    turns = (lon - normal) / 360
    assert turns == pytest.approx(round(turns), abs=1e-9)
    if -180 <= lon < 180:
        assert normal == lon


def test_jumps_are_unwrapped_and_180_itself_is_no_jump() -> None:
    ring = np.array([[179.0, 0], [-179, 0], [-179, 1], [179, 1], [179, 0]])
    assert unwrap_ring(ring)[:, 0].tolist() == [179, 181, 181, 179, 179]
    level = np.array([[-90.0, 0], [90, 0], [90, 1], [-90, 0]])
    assert unwrap_ring(level).tolist() == level.tolist()


def test_an_odd_number_of_jumps_does_not_close() -> None:
    around = unwrap_ring(np.array([[0.0, 80], [120, 80], [-120, 80], [0, 80]]))
    assert around[-1, 0] - around[0, 0] == 360


@settings(max_examples=80, deadline=None)
@given(crossing())
def test_parts_of_a_split_lie_in_range_and_keep_the_area(polygon: shapely.Polygon) -> None:
    parts = split(polygon)
    assert parts.is_valid
    west, _, east, _ = parts.bounds
    assert west >= -180
    assert east <= 180
    assert parts.area == pytest.approx(polygon.area, rel=1e-9)
    assert projected_area_m2(parts) == pytest.approx(projected_area_m2(polygon), rel=1e-6, abs=0.01)


@settings(max_examples=80, deadline=None)
@given(crossing())
@example(shapely.box(179.5, 0, 180.5, 1))
def test_unwrapping_a_split_gives_the_polygon_back_without_a_seam(polygon: shapely.Polygon) -> None:
    joined = unwrap(split(polygon))
    turn = 360.0 * round((polygon.centroid.x - joined.centroid.x) / 360)
    moved = shapely.transform(joined, lambda xy: xy + np.array([turn, 0.0]))
    assert projected_area_m2(joined) == pytest.approx(projected_area_m2(polygon), rel=1e-6, abs=0.01)
    assert shapely.area(shapely.symmetric_difference(moved, polygon)) <= 1e-12 * max(1, polygon.area)
    if spans_antimeridian(split(polygon)):
        assert len(shapely.get_parts(joined)) == len(shapely.get_parts(polygon))
        seam = shapely.LineString([(180, -90), (180, 90)])
        assert shapely.length(shapely.intersection(joined.boundary, seam)) == 0


@settings(max_examples=80, deadline=None)
@given(crossing(), st.integers(0, 9))
def test_membership_survives_the_split_also_on_corners_and_on_180(
    polygon: shapely.Polygon, corner: int
) -> None:
    parts = split(polygon)
    lon, lat = polygon.exterior.coords[corner % len(polygon.exterior.coords)]
    meridian = 180.0 + 360 * round((lon - 180) / 360)
    for x in (lon, meridian):
        own = float(normalize_lon(x))
        found = any(
            parts.covers(shapely.Point(same, lat)) for same in {own, -own if own == -180 else own}
        )
        doubtful = polygon.boundary.distance(shapely.Point(x, lat)) < 1e-12
        assert doubtful or found == polygon.covers(shapely.Point(x, lat))
    inner = polygon.point_on_surface()
    assert parts.covers(shapely.Point(float(normalize_lon(inner.x)), inner.y))


@settings(max_examples=80, deadline=None)
@given(crossing())
def test_corners_keep_their_place_to_the_last_bit(polygon: shapely.Polygon) -> None:
    def normal(geometry: shapely.Geometry) -> set[tuple[float, float]]:
        lon, lat = shapely.get_coordinates(geometry).T
        return set(zip(normalize_lon(lon).tolist(), lat.tolist(), strict=True))

    assert normal(polygon) <= normal(split(polygon))


def test_parts_that_touch_180_without_meeting_stay_where_they_are() -> None:
    apart = shapely.MultiPolygon([shapely.box(179, 0, 180, 1), shapely.box(-180, 10, -179, 11)])
    assert not spans_antimeridian(apart)
    assert unwrap(apart) is apart
    corner = shapely.MultiPolygon([shapely.box(179, 0, 180, 1), shapely.box(-180, 1, -179, 2)])
    assert not spans_antimeridian(corner)


def test_only_the_parts_that_meet_move() -> None:
    third = shapely.box(-180, 40, -179, 41)
    parts = shapely.MultiPolygon([shapely.box(179, 0, 180, 1), shapely.box(-180, 0.5, -179, 2), third])
    joined = unwrap(parts)
    assert joined.bounds == (-180, 0, 181, 41)
    assert len(joined.geoms) == 2
    assert any(part.equals(third) for part in joined.geoms)


def test_a_band_around_the_globe_and_a_shape_in_range_stay_as_they_are() -> None:
    band = shapely.MultiPolygon([shapely.box(-180, 0, 180, 1), shapely.box(10, 5, 11, 6)])
    assert unwrap(band) is band
    seoul = shapely.box(126.9, 37.4, 127.1, 37.6)
    assert unwrap(seoul) is seoul
    assert split(seoul) is seoul


def test_what_lies_wholly_beyond_180_is_moved_not_cut() -> None:
    assert split(shapely.box(180, 0, 181, 1)).equals(shapely.box(-180, 0, -179, 1))
    assert split(shapely.box(-181, 0, -180, 1)).equals(shapely.box(179, 0, 180, 1))
    assert split(shapely.box(365, 0, 366, 1)).equals(shapely.box(5, 0, 6, 1))


def test_a_hole_across_180_opens_both_sides() -> None:
    ring = shapely.Polygon(shapely.box(178, 0, 182, 4).exterior, [shapely.box(179, 1, 181, 3).exterior])
    parts = split(ring)
    assert len(parts.geoms) == 2
    joined = unwrap(parts)
    assert len(joined.interiors) == 1
    assert joined.equals(ring)

"""Area layers: which areas hold a point, and what becomes of invalid ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geo.areas import Area, AreaLayer, repaired
from geo.measure import projected_area_m2

WEST, EAST = shapely.box(126, 37, 127, 38), shapely.box(127, 37, 128, 38)
PIERCED = shapely.Polygon(
    shapely.box(126, 37, 128, 38).exterior, [shapely.box(126.4, 37.4, 126.6, 37.6).exterior]
)
PACIFIC = shapely.MultiPolygon([shapely.box(179, -1, 180, 1), shapely.box(-180, -1, -179, 1)])
LAYER = AreaLayer(
    tuple(
        Area(name=name, code=None, geometry=geometry)
        for name, geometry in [
            ("west", WEST),
            ("east", EAST),
            ("pierced", PIERCED),
            ("pacific", PACIFIC),
        ]
    )
)


def names_at(lon: float, lat: float) -> list[str]:
    _, rows = LAYER.holding(lon=np.array([lon]), lat=np.array([lat]))
    return [LAYER.areas[row].name for row in rows]


@pytest.mark.parametrize(
    ("lon", "lat", "names"),
    [
        (126.5, 37.9, ["west", "pierced"]),
        (126.5, 37.5, ["west"]),  # in the hole
        (126.4, 37.5, ["west", "pierced"]),  # on the hole's rim
        (127.0, 37.5, ["west", "east", "pierced"]),  # on a common edge
        (126.0, 37.0, ["west", "pierced"]),  # on a corner
        (126.0, math.nextafter(37.0, 36), []),
        (180.0, 0.0, ["pacific"]),
        (-180.0, 0.0, ["pacific"]),
        (179.5, 0.0, ["pacific"]),
        (-179.5, 1.0, ["pacific"]),
        (0.0, 0.0, []),
        (math.nan, 37.5, []),
        (126.5, math.inf, []),
    ],
)
def test_areas_hold_their_boundary_and_not_their_holes(lon: float, lat: float, names: list[str]) -> None:
    assert names_at(lon, lat) == names


def test_an_area_that_only_touches_180_holds_minus_180_too() -> None:
    layer = AreaLayer((Area(name="fiji", code=None, geometry=shapely.box(179, 0, 180, 1)),))
    points, rows = layer.holding(lon=np.array([-180.0, 180.0, -179.9]), lat=np.array([0.5, 0.5, 0.5]))
    assert points.tolist() == [0, 1]
    assert rows.tolist() == [0, 0]


BORDERS = st.sampled_from([126.0, 126.4, 126.6, 127.0, 128.0, 179.0, 180.0, -180.0, -179.0])
HEIGHTS = st.sampled_from([37.0, 37.4, 37.6, 38.0, -1.0, 1.0])


@settings(max_examples=100)
@given(st.lists(st.tuples(BORDERS | st.floats(126, 128), HEIGHTS | st.floats(37, 38)), max_size=20))
def test_the_tree_answers_as_a_look_at_every_area_does(places: list[tuple[float, float]]) -> None:
    lon, lat = np.array(places).reshape(-1, 2).T
    found = list(zip(*(column.tolist() for column in LAYER.holding(lon=lon, lat=lat)), strict=True))
    expected = [
        (point, row)
        for point, (x, y) in enumerate(places)
        for row, area in enumerate(LAYER.areas)
        if any(
            area.geometry.covers(shapely.Point(same, y)) for same in ({x, -x} if abs(x) == 180 else {x})
        )
    ]
    assert found == expected


def test_no_points_and_no_areas_give_no_pairs() -> None:
    nothing = np.empty(0)
    for layer in (LAYER, AreaLayer(())):
        points, rows = layer.holding(lon=nothing, lat=nothing)
        assert (len(points), len(rows)) == (0, 0)
    points, _ = AreaLayer(()).warmed().holding(lon=np.array([127.0]), lat=np.array([37.0]))
    assert len(points) == 0


def test_an_invalid_area_is_mended_and_its_change_reported() -> None:
    tie = shapely.Polygon([(127, 37), (127.1, 37.1), (127.1, 37), (127, 37.08)])
    layer, repairs = repaired([WEST, tie], ["서구", "나비"], ["11", None])
    assert [area.name for area in layer.areas] == ["서구", "나비"]
    assert [area.code for area in layer.areas] == ["11", None]
    assert all(area.geometry.is_valid for area in layer.areas)
    (repair,) = repairs
    assert repair.name == "나비"
    assert repair.fault.startswith("Self-intersection[127.04")
    assert repair.area_before_m2 == pytest.approx(projected_area_m2(tie))
    assert repair.area_after_m2 == pytest.approx(projected_area_m2(layer.areas[1].geometry))
    assert repair.area_after_m2 > repair.area_before_m2 > 0


def test_rows_without_a_polygon_are_left_out_and_reported() -> None:
    given_rows = [
        None,
        shapely.Point(127, 37),
        shapely.Polygon(),
        WEST,
        shapely.LineString([(0, 0), (1, 1)]),
    ]
    layer, repairs = repaired(given_rows, list("abcde"), [None] * 5)
    assert [area.name for area in layer.areas] == ["d"]
    assert [(r.name, r.area_after_m2) for r in repairs] == [("a", 0), ("b", 0), ("c", 0), ("e", 0)]
    assert "Point" in repairs[1].fault


def test_only_the_polygons_of_a_collection_stay() -> None:
    mixed = shapely.GeometryCollection([shapely.Point(0, 0), shapely.MultiPolygon([WEST]), EAST])
    layer, repairs = repaired([mixed], ["mixed"], [None])
    assert projected_area_m2(layer.areas[0].geometry) == pytest.approx(
        projected_area_m2(WEST) + projected_area_m2(EAST)
    )
    assert repairs[0].fault == "GeometryCollection instead of a polygon"


def test_heights_go_and_longitudes_beyond_180_come_back() -> None:
    high = shapely.force_3d(WEST, 12.0)
    beyond = shapely.box(179, 0, 182, 1)
    layer, repairs = repaired([high, beyond], ["high", "beyond"], [None, None])
    assert repairs == []
    assert not layer.areas[0].geometry.has_z
    assert layer.areas[1].geometry.bounds == (-180, 0, 180, 1)
    points, rows = layer.holding(lon=np.array([-178.5, 179.5, 0.0]), lat=np.array([0.5, 0.5, 0.5]))
    assert points.tolist() == [0, 1]
    assert rows.tolist() == [1, 1]


def test_an_area_may_be_larger_than_any_fence() -> None:
    world = shapely.box(-180, -90, 180, 90)
    layer, repairs = repaired([world], ["world"], [None])
    assert repairs == []
    points, _ = layer.holding(lon=np.array([0.0, 180.0, -180.0]), lat=np.array([90.0, -90.0, 0.0]))
    assert points.tolist() == [0, 1, 2]

"""turf's own fixtures, whose folders are the expected answers: validity, kinks, points in polygons."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from geo.areas import Area, AreaLayer
from geo.fences.refusals import ShapeRefused
from geo.fences.shapes import read_geojson
from geo.matching.index import FenceIndex
from geo.measure import distance_m, geodesic_area_m2, projected_area_m2
from tests.strategies import polygon_shape, version_of

pytestmark = pytest.mark.real

TURF = Path(__file__).parents[2].parent / "shared/data/oracle_turf"


def needed(folder: str) -> Path:
    path = TURF / folder
    if not path.exists():
        pytest.skip(f"no real data: oracle_turf/{folder} is not in ../shared/data")
    return path


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def polygons(folder: str) -> dict[str, dict[str, Any]]:
    """File → the one polygonal geometry it holds."""
    found = {}
    for kind in ("Polygon", "MultiPolygon"):
        for path in sorted(needed(folder).glob(f"{kind}/*.geojson")):
            (feature,) = read(path)["features"]
            found[f"{kind}/{path.stem}"] = feature["geometry"]
    return found


def verdict(geometry: object) -> str:
    """The code of the refusal, or "taken"; too large is taken here: the limit is ours, not turf's."""
    try:
        read_geojson(geometry)
    except ShapeRefused as refused:
        return "taken" if refused.code == "area_too_large" else refused.code
    return "taken"


def test_what_turf_calls_valid_is_taken() -> None:
    found = {
        name: verdict(geometry) for name, geometry in polygons("turf-boolean-valid/test/true").items()
    }
    assert len(found) == 6
    assert set(found.values()) == {"taken"}


def test_what_turf_calls_invalid_is_refused_for_its_own_reason() -> None:
    """An open ring alone is mended here, with a note (F4)."""
    found = {
        name: verdict(geometry) for name, geometry in polygons("turf-boolean-valid/test/false").items()
    }
    assert found == {
        "Polygon/not-closing-ring": "taken",
        "Polygon/not-enough-coords": "too_few_points",
        "Polygon/polygon-with-hole-2-vertices-touching": "self_intersection",
        "Polygon/polygon-with-puncture": "self_intersection",
        "Polygon/polygon-with-spike": "self_intersection",
        "MultiPolygon/multipoly-with-2-vertices-touching": "self_intersection",
        "MultiPolygon/multipolygons-overlap": "self_intersection",
        "MultiPolygon/not-enough-coords": "too_few_points",
    }


@pytest.mark.parametrize(
    "name", ["hourglass", "switzerlandKinked", "triple", "multi-polygon", "issue-2627"]
)
def test_a_kink_is_refused_at_one_of_turfs_kinks(name: str) -> None:
    given = read(needed("turf-kinks/test/in") / f"{name}.geojson")
    with pytest.raises(ShapeRefused) as refused:
        read_geojson(given)
    assert refused.value.code == "self_intersection"
    kinks = [
        feature["geometry"]["coordinates"]
        for feature in read(needed("turf-kinks/test/out") / f"{name}.geojson")["features"]
        if feature["geometry"]["type"] == "Point"
    ]
    assert kinks
    lon, lat = refused.value.place or (np.nan, np.nan)
    away = distance_m(lon1=lon, lat1=lat, lon2=[k[0] for k in kinks], lat2=[k[1] for k in kinks])
    assert away.min() < 0.1


def pairs() -> Iterator[tuple[str, bool, list[Any], Any]]:
    """(file, whether all points are inside or on the rim, points, polygon) of three packages."""
    kinds = [(p, q) for p in ("Point", "MultiPoint") for q in ("Polygon", "MultiPolygon")]
    for package in ("boolean-within", "boolean-contains", "boolean-intersects"):
        for answer in ("true", "false"):
            for first, second in kinds + [(q, p) for p, q in kinds]:
                folder = needed(f"turf-{package}/test") / answer / first / second
                for path in sorted(folder.glob("*.geojson")):
                    shapes = [shapely.geometry.shape(f["geometry"]) for f in read(path)["features"]]
                    points, polygon = sorted(shapes, key=lambda s: "Polygon" in s.geom_type)
                    places = shapely.get_coordinates(points)
                    yield f"{package}/{path.stem}", answer == "true", places, polygon


def test_points_in_polygons_are_where_turf_says() -> None:
    """Within, contains: none outside and not all on the rim. Intersects: any inside or on the rim."""
    seen = 0
    for name, expected, places, polygon in pairs():
        layer = AreaLayer((Area(name=name, code=None, geometry=polygon),))
        points, _ = layer.holding(lon=places[:, 0], lat=places[:, 1])
        on_rim = shapely.intersects(polygon.boundary, shapely.points(places))
        if name.startswith("boolean-intersects"):
            answer = len(points) > 0
        else:
            answer = len(points) == len(places) and not on_rim.all()
        assert answer == expected, name
        seen += 1
    assert seen == 43


def test_turfs_polygons_hold_what_lies_in_them_and_not_what_lies_in_their_hole() -> None:
    """Four points: in the hole, in the ring around it, in the other part, beside both."""
    folder = needed("turf-boolean-point-in-polygon/test/in")
    hole, inside = (-86.69208526611328, 36.20373274711739), (-86.72229766845702, 36.20258997094334)
    other, beside = (-86.75079345703125, 36.18527313913089), (-86.75302505493164, 36.23015046460186)
    for name, expected in {
        "poly-with-hole": [False, True, False, False],
        "multipoly-with-hole": [False, True, True, False],
    }.items():
        shape = read_geojson(read(folder / f"{name}.geojson")).shape
        layer = AreaLayer((Area(name=name, code=None, geometry=shape.geometry),))
        lon, lat = np.array([hole, inside, other, beside]).T
        points, _ = layer.holding(lon=lon, lat=lat)
        assert [n in points for n in range(4)] == expected


def test_turfs_area_on_a_sphere_is_near_ours_on_the_ellipsoid() -> None:
    given = read(needed("turf-area/test/in") / "polygon.geojson")["geometry"]
    turf_m2 = read(needed("turf-area/test/out") / "polygon.json")
    australia = shapely.geometry.shape(given)
    assert projected_area_m2(australia) == pytest.approx(geodesic_area_m2(australia), rel=1e-6)
    assert projected_area_m2(australia) == pytest.approx(turf_m2, rel=0.01)


def test_turfs_circle_on_a_sphere_is_up_to_12_5_m_off_its_radius() -> None:
    """Why a circle stays a circle here: README of the data."""
    centre, ring = (
        feature["geometry"]["coordinates"]
        for feature in read(needed("turf-circle/test/out") / "circle1.geojson")["features"]
    )
    lon, lat = np.array(ring[0]).T
    away = distance_m(lon1=centre[0], lat1=centre[1], lon2=lon, lat2=lat)
    assert away.min() == pytest.approx(4_992.8, abs=0.1)
    assert away.max() == pytest.approx(5_012.5, abs=0.1)


def _points(geometry: dict[str, Any]) -> list[list[float]]:
    return [geometry["coordinates"]] if geometry["type"] == "Point" else geometry["coordinates"]


@pytest.mark.parametrize("engine", ["rtree", "cells"])
@pytest.mark.parametrize("way", ["within", "contains"])
def test_points_within_what_turf_says_contains_them(engine: str, way: str) -> None:
    """turf's predicates leave the boundary out, ours takes it in: there alone we may say more."""
    looked_at = 0
    for path in sorted(needed(f"turf-boolean-{way}/test").glob("**/*.geojson")):
        one, two = (feature["geometry"] for feature in read(path)["features"][:2])
        inner, outer = (one, two) if way == "within" else (two, one)
        if inner["type"] not in ("Point", "MultiPoint") or "Polygon" not in outer["type"]:
            continue
        looked_at += 1
        shape = shapely.geometry.shape(outer)
        index = FenceIndex.build([version_of(polygon_shape(shape))])
        if engine == "cells":
            index.compile()
        held = [index.match_one(*point) == [0] for point in _points(inner)]
        edge = [shapely.Point(point).touches(shape) for point in _points(inner)]
        if "/true/" in path.as_posix():
            assert all(held), path.name
        else:
            assert not all(held) or all(edge), path.name
        assert held == [bool(shape.covers(shapely.Point(point))) for point in _points(inner)]
    assert looked_at >= 8

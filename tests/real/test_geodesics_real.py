"""Distances, destinations and areas against GeographicLib's own test cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from geo.antimeridian import normalize_lon
from geo.fences.fence import CircleShape
from geo.matching.index import FenceIndex
from geo.measure import WGS84, destination, distance_m
from tests.strategies import version_of

pytestmark = pytest.mark.real

CASES = (
    Path(__file__).parents[2].parent / "shared/data/oracle_geographiclib_cases/geographiclib_cases.json"
)


@pytest.fixture(scope="module")
def cases() -> dict[str, Any]:
    if not CASES.exists():
        pytest.skip(f"no real data: {CASES.name} is not in ../shared/data")
    return json.loads(CASES.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def geodesics(cases: dict[str, Any]) -> dict[str, np.ndarray]:
    rows = np.array(cases["geodesics"], float)
    assert len(rows) == 20
    return dict(zip(cases["columns"], rows.T, strict=True))


def test_all_20_geodesics_are_measured_to_some_nanometres(geodesics: dict[str, np.ndarray]) -> None:
    g = geodesics
    there = distance_m(lon1=g["lon1"], lat1=g["lat1"], lon2=g["lon2"], lat2=g["lat2"])
    back = distance_m(lon1=g["lon2"], lat1=g["lat2"], lon2=g["lon1"], lat2=g["lat1"])
    assert np.abs(there - g["s12_m"]).max() < 1e-8
    assert np.abs(back - g["s12_m"]).max() < 1e-8


def test_all_20_arrive_where_they_should(geodesics: dict[str, np.ndarray]) -> None:
    g = geodesics
    lon, lat = destination(lon=g["lon1"], lat=g["lat1"], azimuth_deg=g["azi1"], distance_m=g["s12_m"])
    assert distance_m(lon1=lon, lat1=lat, lon2=g["lon2"], lat2=g["lat2"]).max() < 1e-8


@pytest.mark.parametrize("engine", ["rtree", "cells"])
def test_all_20_as_radii_are_in_at_a_millimetre_more_and_out_at_one_less(
    geodesics: dict[str, np.ndarray], engine: str
) -> None:
    """Circles of 2,300 to 17,100 km, over poles and around half the earth."""
    g = geodesics
    versions = [
        version_of(
            CircleShape(lon=float(normalize_lon(lon)), lat=lat, radius_m=length + off),
            fence_id=number,
        )
        for off in (1e-3, -1e-3)
        for number, (lon, lat, length) in enumerate(zip(g["lon1"], g["lat1"], g["s12_m"], strict=True))
    ]
    index = FenceIndex.build(versions)
    if engine == "cells":
        index.compile()
    for number, (lon, lat) in enumerate(zip(g["lon2"], g["lat2"], strict=True)):
        found = index.match_one(lon, lat)
        assert number in found
        assert number + 20 not in found


def test_the_ellipsoid_that_both_areas_rest_on_gives_the_planimeters_areas(
    cases: dict[str, Any],
) -> None:
    """Their edges are geodesics, ours are straight in degrees: so the `Geod` below our twin is asked."""
    assert len(cases["polygons"]) == 4
    for case in cases["polygons"]:
        lat, lon = np.array(case["pts_lat_lon"], float).T
        area_m2 = abs(WGS84.polygon_area_perimeter(lon, lat)[0])
        if "area" in case:
            assert area_m2 == pytest.approx(case["area"], rel=1e-10, abs=1)
        else:
            low, high = case["area_prefix"]
            assert low - 1 <= area_m2 <= high + 1
        assert shapely.MultiPoint(np.column_stack([lon, lat])).is_valid

"""Radius and area limits: drawn from both sides of each bound, in every latitude."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geo.fences.fence import CircleShape, PolygonShape
from geo.fences.limits import MAX_AREA_KM2, MAX_RADIUS_M, MIN_RADIUS_M, check_area, check_circle
from geo.fences.refusals import AreaTooLarge, RadiusOutOfBounds, ShapeRefused
from geo.fences.shapes import read_form, read_geojson
from geo.measure import WGS84, geodesic_area_m2


def circle(radius_m: float) -> CircleShape:
    return CircleShape(lon=127.0, lat=37.5, radius_m=radius_m)


def zone_km2(south: float, north: float, width_deg: float) -> float:
    """Exact area between two parallels and two meridians (Snyder 1987, 3-12 and 14-11)."""
    e = math.sqrt(WGS84.es)
    s = e * np.sin(np.radians([south, north]))
    below = WGS84.b**2 / 2 * (s / e / (1 - s * s) + np.arctanh(s) / e)
    return float(below[1] - below[0]) * math.radians(width_deg) / 1e6


def box_of(area_km2: float, *, west: float, south: float, height: float) -> shapely.Polygon:
    """A box between two parallels of exactly this area, in continuous longitudes."""
    width = area_km2 / zone_km2(south, south + height, 1.0)
    return shapely.box(west, south, west + width, south + height)


def wrapped(box: shapely.Polygon) -> dict[str, object]:
    """GeoJSON with longitudes that jump at 180, as people send it."""
    ring = [[lon - 360 if lon > 180 else lon, lat] for lon, lat in box.exterior.coords]
    return {"type": "Polygon", "coordinates": [ring]}


@pytest.mark.parametrize("radius_m", [50.0, math.nextafter(50, 51), 1_000, 49_999.99, 50_000.0])
def test_both_bounds_of_the_radius_belong_to_it(radius_m: float) -> None:
    check_circle(circle(radius_m))
    assert read_form(lat=37.5, lng=127, radius_m=radius_m).shape == circle(radius_m)


@pytest.mark.parametrize(
    ("radius_m", "code", "bound"),
    [
        (49.99, "radius_too_small", "50 m"),
        (math.nextafter(50, 0), "radius_too_small", "50 m"),
        (0.0, "radius_too_small", "50 m"),
        (-50.0, "radius_too_small", "50 m"),
        (50_000.01, "radius_too_large", "50000 m"),
        (math.nextafter(50_000, 1e9), "radius_too_large", "50000 m"),
    ],
)
def test_a_radius_out_of_bounds_is_refused_with_the_bound_and_the_value(
    radius_m: float, code: str, bound: str
) -> None:
    for refuse in (
        lambda: check_circle(circle(radius_m)),
        lambda: read_form(lat=37.5, lng=127, radius_m=radius_m),
    ):
        with pytest.raises(RadiusOutOfBounds) as refused:
            refuse()
        assert refused.value.code == code
        assert refused.value.pointer == "/radius_m"
        for lang in ("en", "ko"):
            assert bound in refused.value.text(lang)
            assert f"{radius_m!r}".removesuffix(".0") in refused.value.text(lang)


def test_the_upper_bound_is_a_setting() -> None:
    check_circle(circle(500), max_radius_m=500)
    with pytest.raises(RadiusOutOfBounds, match="501 m; the most is 500 m"):
        check_circle(circle(501), max_radius_m=500)
    with pytest.raises(RadiusOutOfBounds, match="the most is 500 m"):
        read_form(lat=37.5, lng=127, radius_m=501, max_radius_m=500)


@given(st.floats(MIN_RADIUS_M, MAX_RADIUS_M) | st.floats(allow_nan=False, allow_infinity=False))
def test_every_radius_is_taken_or_refused_by_its_bounds_alone(radius_m: float) -> None:
    if MIN_RADIUS_M <= radius_m <= MAX_RADIUS_M:
        check_circle(circle(radius_m))
    else:
        with pytest.raises(RadiusOutOfBounds):
            check_circle(circle(radius_m))


@pytest.mark.parametrize("south", [0.0, 37.0, 65.0, -37.0, -65.3, -0.1, 84.0])
@pytest.mark.parametrize("height", [0.02, 0.2])
@pytest.mark.parametrize("west", [126.5, 179.9, -180.0])
@pytest.mark.parametrize("excess", [-2e-6, -1e-7, 0.0, 1e-7, 9e-7, 1.1e-6, 2e-6])
def test_the_area_limit_is_the_same_in_every_latitude_and_across_180(
    south: float, height: float, west: float, excess: float
) -> None:
    box = box_of(MAX_AREA_KM2 * (1 + excess), west=west, south=south, height=height)
    if excess <= 1e-6:
        assert read_geojson(wrapped(box)).area_km2 == pytest.approx(
            MAX_AREA_KM2 * (1 + excess), rel=5e-8
        )
        return
    with pytest.raises(AreaTooLarge) as refused:
        read_geojson(wrapped(box))
    assert refused.value.code == "area_too_large"
    assert refused.value.area_km2 == pytest.approx(MAX_AREA_KM2 * (1 + excess), rel=5e-8)


def test_the_refusal_says_the_measured_area_and_by_how_much_it_is_over() -> None:
    box = box_of(1_002.44, west=128, south=36, height=0.3)
    with pytest.raises(AreaTooLarge) as refused:
        check_area(PolygonShape(geometry=box))
    for lang in ("en", "ko"):
        assert "1,002.44 km²" in refused.value.text(lang)
        assert "2.44 km²" in refused.value.text(lang)
        assert "1,000 km²" in refused.value.text(lang)
    assert isinstance(refused.value, ShapeRefused)


def test_a_hair_over_the_limit_does_not_read_as_the_limit() -> None:
    with pytest.raises(AreaTooLarge, match=r"1,000\.0020 km², 0\.0020 km² over the limit of 1,000 km²"):
        check_area(PolygonShape(geometry=box_of(1_000.002, west=10, south=50, height=0.3)))


def test_all_parts_count_and_holes_do_not() -> None:
    half = box_of(500.0, west=127, south=37, height=0.2)
    other = box_of(500.0004, west=-60, south=-37, height=0.2)
    assert check_area(PolygonShape(geometry=shapely.MultiPolygon([half, other]))) == pytest.approx(
        1_000.0004
    )
    third = box_of(0.01, west=10, south=10, height=0.001)
    with pytest.raises(AreaTooLarge):
        check_area(PolygonShape(geometry=shapely.MultiPolygon([half, other, third])))
    large = box_of(1_400.0, west=127.01, south=37.01, height=0.3)
    hole = box_of(500.0, west=127.1, south=37.1, height=0.1)
    pierced = shapely.Polygon(large.exterior, [hole.exterior])
    assert check_area(PolygonShape(geometry=pierced)) == pytest.approx(900.0, rel=1e-7)
    assert geodesic_area_m2(pierced) / 1e6 == pytest.approx(900.0, rel=1e-7)


def test_mercator_and_one_fixed_plane_would_judge_otherwise() -> None:
    """A 1,000 km² box at 65° is 5,600 km² in Mercator: the verdict must not come from there."""
    box = box_of(999.9, west=24, south=65, height=0.2)
    south, north = math.radians(65), math.radians(65.2)
    height = math.asinh(math.tan(north)) - math.asinh(math.tan(south))
    mercator_km2 = 6378.137**2 * math.radians(box.bounds[2] - box.bounds[0]) * height
    assert mercator_km2 > 5_000
    assert check_area(PolygonShape(geometry=box)) == pytest.approx(999.9, rel=1e-7)

"""P(inside) of circles and polygons against independent oracles (notes/certainty.md)."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ncx2

from geo.matching.certainty import p_circle, p_polygon
from tests.judging import P_ERROR, by_green, green, hard_places, metres_shape, shapes_of
from tests.strategies import polygon_shape

# --- the circle -----------------------------------------------------------------------------------


def test_circle_equals_the_noncentral_chi_square():
    u = np.array([0.05, 0.2, 0.5, 1, 2, 3, 4, 5, 5.99, 6, 6.01, 8, 10, 20, 50, 100, 200])
    v = np.linspace(-5, 5, 201)
    radius, distance = np.broadcast_arrays(u[:, None], u[:, None] - v)
    kept = distance >= 0
    p = p_circle(radius_m=radius[kept] * 7, distance_m=distance[kept] * 7, sigma_m=np.array(7.0))
    truth = ncx2.cdf(radius[kept] ** 2, 2, np.maximum(distance[kept] ** 2, 1e-12))
    assert np.abs(p - truth).max() < P_ERROR


@pytest.mark.parametrize("u", [200.0, 1_000.0, 25_000.0])
def test_large_circles_equal_a_polygon_of_the_same_rim(u: float):
    """Beyond the reach of ncx2: the rim near the fix, integrated by Green's theorem."""
    for v in (-4.0, -1.5, -0.3, 0.0, 0.7, 2.0, 4.0):
        angle = np.linspace(-1, 1, 20_001) * 12 / u
        rim = np.column_stack([u * np.sin(angle), u * (np.cos(angle) - 1) + v])
        below = np.vstack([[rim[-1, 0], -30], [rim[0, 0], -30]])
        ring = np.vstack([rim, below, rim[:1]])[::-1]
        one = np.array([u])
        p = p_circle(radius_m=one, distance_m=one - v, sigma_m=np.ones(1))
        assert p[0] == pytest.approx(green(ring[:-1], ring[1:]), abs=P_ERROR)


def test_circle_is_certain_far_from_its_rim():
    p = p_circle(
        radius_m=np.full(4, 100.0),
        distance_m=np.array([0.0, 80.0, 120.0, 1e7]),
        sigma_m=np.full(4, 4.0),
    )
    assert p.tolist() == [1.0, 1.0, 0.0, 0.0]


# --- the polygon ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(shapes_of(1.0)))
@pytest.mark.parametrize(("lon", "lat"), [(127.0, 37.5), (24.5, 65.0), (-180.0, 0.0)])
def test_polygon_equals_greens_theorem(name: str, lon: float, lat: float):
    for radius, sigma in [(30, 3), (30, 40), (100, 10), (1_000, 40), (1_000, 700), (15_000, 10)]:
        geometry = metres_shape(lon, lat, shapes_of(radius)[name])
        shape = polygon_shape(geometry)
        places = hard_places(geometry, sigma, 10)
        p = p_polygon(
            shape.geometry, lon=places[:, 0], lat=places[:, 1], sigma_m=np.full(11, float(sigma))
        )
        cut_deg = 0.0005 if radius < 10_000 else 0.001
        truth = [by_green(geometry, lon=x, lat=y, sigma=sigma, cut_deg=cut_deg) for x, y in places]
        assert np.abs(p - truth).max() < P_ERROR, (radius, sigma)


@pytest.mark.parametrize(
    ("geometry", "cut_deg"),
    [
        (shapely.box(-180.0, 89.9, 180.0, 90.0), 0.02),
        (shapely.box(10.0, 89.95, 60.0, 90.0), 0.002),
        (shapely.box(170.0, -89.99, 190.0, -89.98), 0.002),
        (shapely.box(30.0, 84.99, 30.1, 85.01), 0.0002),
        (metres_shape(30.0, 86.5, shapes_of(800.0)["hole"]), 0.0005),
    ],
)
def test_polygons_near_a_pole_equal_greens_theorem(geometry: shapely.Geometry, cut_deg: float):
    shape = polygon_shape(geometry)
    for sigma in (5.0, 60.0, 900.0):
        places = hard_places(geometry, sigma, 8)
        places[:, 1] = np.clip(places[:, 1], -90, 90)
        places = np.vstack([places, [[0.0, 90.0], [100.0, -90.0]]])
        p = p_polygon(
            shape.geometry,
            lon=places[:, 0],
            lat=places[:, 1],
            sigma_m=np.full(len(places), sigma),
        )
        truth = [by_green(shape.geometry, lon=x, lat=y, sigma=sigma, cut_deg=cut_deg) for x, y in places]
        assert np.abs(p - np.array(truth)).max() < P_ERROR


def test_a_coarse_fix_in_the_far_north_is_weighed_in_a_true_plane():
    geometry = metres_shape(20.0, 75.0, shapes_of(9_000.0)["L"])
    p = p_polygon(
        polygon_shape(geometry).geometry,
        lon=np.array([20.0, 20.2]),
        lat=np.array([75.0, 75.05]),
        sigma_m=np.full(2, 6_600.0),
    )
    truth = [
        by_green(geometry, lon=x, lat=y, sigma=6_600.0, cut_deg=0.001)
        for x, y in [(20.0, 75.0), (20.2, 75.05)]
    ]
    assert np.abs(p - truth).max() < P_ERROR


def test_on_a_long_straight_edge_p_is_a_half_at_a_right_corner_a_quarter():
    square = shapely.box(0.0, 0.0, 0.1, 0.1)
    lon, lat = np.array([0.05, 0.0, 0.1, 0.0]), np.array([0.0, 0.05, 0.1, 0.0])
    p = p_polygon(square, lon=lon, lat=lat, sigma_m=np.full(4, 10.0))
    assert p == pytest.approx([0.5, 0.5, 0.25, 0.25], abs=1e-5)


@settings(max_examples=100)
@given(st.floats(0, 2 * np.pi), st.integers(0, 63))
def test_an_edge_in_any_direction_through_the_fix_gives_a_half(turn: float, corner: int):
    """Also along the direction in which a fix on an edge is nudged."""
    nudge = np.arctan2(0.7, 1.3)
    for direction in (turn, nudge, nudge + np.pi):
        along = np.array([np.cos(direction), np.sin(direction)]) * 1e-2
        left = np.array([-along[1], along[0]])
        ring = [-along * (1 + corner / 64), along, along + left, -along + left]
        shape = shapely.Polygon(ring)
        p = p_polygon(shape, lon=np.zeros(1), lat=np.zeros(1), sigma_m=np.full(1, 12.0))
        assert p[0] == pytest.approx(0.5, abs=1e-4)

"""P(inside) against independent oracles, and the verdicts of product P3."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import ncx2

from geo.antimeridian import unwrap
from geo.fences.fence import CircleShape, PolygonShape
from geo.matching.certainty import (
    CertaintyPolicy,
    Judgement,
    Verdict,
    judge,
    p_circle,
    p_polygon,
    sigma_m,
)
from geo.matching.index import BadCoordinates, FenceIndex
from geo.matching.pings import Platform
from geo.measure import WGS84, destination
from tests.strategies import Case, cases, polygon_shape, version_of

ANDROID, IOS, WEB = Platform.ANDROID, Platform.IOS, Platform.WEB
POLICY = CertaintyPolicy()
P_ERROR = 2e-4


# --- oracles --------------------------------------------------------------------------------------


def by_green(geometry: shapely.Geometry, *, lon: float, lat: float, sigma: float, cut_deg: float):
    """P = - integral of phi(x) Phi(y) dx along the rings, in the azimuthal plane of the fix.

    No crossing number, no Owen's T, no equirectangular plane; edges are cut fine before they are
    projected, so they follow straight longitude/latitude.
    """
    fine = shapely.orient_polygons(shapely.segmentize(unwrap(geometry), cut_deg), exterior_cw=False)
    rings = shapely.get_rings(shapely.get_parts(fine))
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    size = len(xy)
    azimuth, _, metres = WGS84.inv(np.full(size, lon), np.full(size, lat), xy[:, 0], xy[:, 1])
    turn = np.radians(azimuth)
    flat = np.column_stack([metres * np.sin(turn), metres * np.cos(turn)]) / sigma
    joined = ring[:-1] == ring[1:]
    return _green(flat[:-1][joined], flat[1:][joined])


def _green(begin: np.ndarray[Any, Any], end: np.ndarray[Any, Any], reach: float = 8.5) -> float:
    low, high = np.minimum(begin[:, 0], end[:, 0]), np.maximum(begin[:, 0], end[:, 0])
    near = (low < reach) & (high > -reach) & (low < high)
    begin, end = begin[near], end[near]
    step = end - begin
    cuts = np.sort(np.clip((np.array([[-reach, reach]]) - begin[:, :1]) / step[:, :1], 0, 1), axis=1)
    long = np.hypot(*step.T) * (cuts[:, 1] - cuts[:, 0])
    pieces = np.clip(np.ceil(long / 0.25), 1, 4_000).astype(int)
    edge = np.repeat(np.arange(len(pieces)), pieces)
    place = np.arange(len(edge)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    width = (cuts[:, 1] - cuts[:, 0]) / pieces
    node, weight = np.polynomial.legendre.leggauss(6)
    t = cuts[edge, :1] + width[edge, None] * (place[:, None] + (node + 1) / 2)
    x = begin[edge, :1] + step[edge, :1] * t
    y = begin[edge, 1:] + step[edge, 1:] * t
    density = np.exp(-x * x / 2) / np.sqrt(2 * np.pi) * ndtr(y)
    return float(-(density * weight / 2 * (width * step[:, 0])[edge, None]).sum())


def metres_shape(lon: float, lat: float, shape: shapely.Geometry) -> shapely.Geometry:
    """A shape drawn in metres around a place, in degrees there; unwrapped."""
    north = 111_195.0
    scale = np.array([north * np.cos(np.radians(lat)), north])
    return shapely.transform(shape, lambda xy: xy / scale + [lon, lat])


def star(corners: int, radius: float, dent: float) -> shapely.Polygon:
    angle = 2 * np.pi * np.arange(corners) / corners
    reach = radius * np.where(np.arange(corners) % 2, dent, 1.0)
    return shapely.Polygon(np.column_stack([reach * np.cos(angle), reach * np.sin(angle)]))


def shapes_of(radius: float) -> dict[str, shapely.Geometry]:
    """Unit-like shapes of a size in metres."""
    big = shapely.box(-1, -1, 1, 1)
    unit = {
        "triangle": shapely.Polygon([(-1, -0.7), (1, -0.5), (0.1, 1)]),
        "L": big - shapely.box(0, 0, 1, 1),
        "hole": big - shapely.box(-0.4, -0.3, 0.5, 0.3),
        "parts": shapely.MultiPolygon(
            [shapely.box(-1, -1, -0.1, 1), shapely.box(0.1, -1, 1, 1), shapely.box(2, 2, 3, 3)]
        ),
        "spiky": star(60, 1.0, 0.3),
        "round": shapely.Point(0, 0).buffer(1.0, quad_segs=64),
    }
    return {name: shapely.transform(shape, lambda xy: xy * radius) for name, shape in unit.items()}


def hard_places(geometry: shapely.Geometry, sigma: float, count: int) -> np.ndarray[Any, Any]:
    """Vertices, places on edges and a hair off them up to 3 sigma, and the middle."""
    rng = np.random.default_rng(5)
    xy = shapely.get_coordinates(geometry)
    row = rng.integers(0, len(xy) - 1, count)
    share = rng.choice([0.0, 0.0, 0.5, 1e-6, 0.3, 1.0], count)[:, None]
    on_edge = xy[row] + (xy[row + 1] - xy[row]) * share
    off = sigma * np.exp(rng.uniform(np.log(1e-9), np.log(3.0), count)) * rng.choice([0, 1], count)
    turn = rng.uniform(0, 2 * np.pi, count)
    degree = 111_195.0
    off_lon = off * np.cos(turn) / (degree * np.cos(np.radians(on_edge[:, 1])))
    off_lat = off * np.sin(turn) / degree
    places = on_edge + np.column_stack([off_lon, off_lat])
    return np.vstack([places, xy.mean(axis=0)])


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
        assert p[0] == pytest.approx(_green(ring[:-1], ring[1:]), abs=P_ERROR)


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


def test_the_middle_of_a_small_hole_is_more_likely_in_than_out():
    sigma = 20.0
    ring = shapely.Point(0, 0).buffer(400, quad_segs=32) - shapely.Point(0, 0).buffer(
        1.1 * sigma, quad_segs=64
    )
    shape = polygon_shape(metres_shape(127.0, 37.5, ring))
    judged = judge_at(shape, 127.0, 37.5, accuracy_m=sigma * 1.41421356, platform=IOS)
    assert judged.p[0] == pytest.approx(np.exp(-(1.1**2) / 2), abs=2e-3)  # 0.546
    assert judged.rim_m[0] > 0
    assert judged.verdict[0] == Verdict.IN


def test_p_falls_along_a_ray_out_of_a_convex_fence():
    square = metres_shape(10.0, 50.0, shapely.box(-150, -100, 150, 100))
    circle = CircleShape(lon=10.0, lat=50.0, radius_m=150.0)
    for azimuth in (0.0, 33.0, 90.0, 200.0):
        lon, lat = destination(
            lon=10.0, lat=50.0, azimuth_deg=azimuth, distance_m=np.linspace(0, 400, 300)
        )
        for accuracy_m in (5.0, 45.0, 400.0):
            for shape in (polygon_shape(square), circle):
                p = judge_at(shape, lon, lat, accuracy_m=accuracy_m).p
                assert (np.diff(p) <= P_ERROR).all()
                assert p[-1] < p[0]


@settings(max_examples=60)
@given(
    st.integers(0, 5),
    st.floats(-1.2, 1.2),
    st.floats(-1.2, 1.2),
    st.sampled_from([5.0, 60.0, 800.0]),
)
def test_a_fence_across_180_is_judged_as_its_twin_elsewhere(
    which: int, x: float, y: float, accuracy_m: float
):
    drawn = list(shapes_of(900.0).values())[which]
    here = polygon_shape(metres_shape(100.0, -17.0, drawn))
    there = polygon_shape(metres_shape(180.0, -17.0, drawn))
    east, north = 900 * x / 111_195.0 / np.cos(np.radians(-17.0)), 900 * y / 111_195.0
    a = judge_at(here, 100.0 + east, -17.0 + north, accuracy_m=accuracy_m)
    b = judge_at(there, 180.0 + east, -17.0 + north, accuracy_m=accuracy_m)
    assert b.p == pytest.approx(a.p, abs=1e-7)
    assert b.rim_m == pytest.approx(a.rim_m, abs=1e-4)


def test_the_cut_at_180_is_no_rim():
    shape = polygon_shape(shapely.box(179.9, -0.1, 180.1, 0.1))
    assert shape.geometry.geom_type == "MultiPolygon"
    judged = judge_at(shape, np.array([180.0, -180.0, 179.999]), np.zeros(3), accuracy_m=50.0)
    assert judged.p.tolist() == [1.0, 1.0, 1.0]
    assert (judged.rim_m < -11_000).all()


def test_the_seam_and_the_pole_of_a_polar_cap_are_no_rim():
    cap = polygon_shape(shapely.box(-180.0, 89.9, 180.0, 90.0))
    judged = judge_at(cap, np.array([180.0, 10.0]), np.array([89.95, 90.0]), accuracy_m=50.0)
    assert judged.p.tolist() == [1.0, 1.0]
    assert judged.rim_m == pytest.approx([-5_584, -11_169], abs=1)


def test_a_fix_on_the_other_side_of_the_earth_is_simply_out():
    shapes = [
        polygon_shape(shapely.box(-180.0, -90.0, 180.0, -65.0)),
        polygon_shape(shapely.box(179.0, -1.0, 181.0, 1.0)),
        polygon_shape(shapely.box(20.0, 0.0, 30.0, 1.0)),
        CircleShape(lon=0.0, lat=0.0, radius_m=100.0),
    ]
    for shape in shapes:
        lon, lat = np.array([0.0, -160.0, 100.0]), np.array([80.0, 40.0, 3.0])
        judged = judge_at(shape, lon, lat, accuracy_m=20.0)
        assert judged.p.tolist() == [0.0, 0.0, 0.0]
        assert (judged.verdict == Verdict.OUT).all()
        assert (judged.rim_m > 1e6).all()


# --- sigma ----------------------------------------------------------------------------------------


def test_sigma_by_platform():
    sigma = sigma_m(np.full(5, 100.0), np.array([ANDROID, IOS, WEB, -1, 9]))
    assert sigma == pytest.approx(
        [100 / 1.5096, 100 / 1.4142, 100 / 2.4477, *[100 / 1.5096] * 2], rel=1e-4
    )


def test_sigma_has_a_floor_and_is_missing_without_accuracy():
    sigma = sigma_m(np.array([0.5, 4.0, 0.0, -1.0, np.nan]), np.zeros(5))
    assert sigma[:2].tolist() == [3.0, 3.0]
    assert np.isnan(sigma[2:]).all()


def test_the_accuracy_circle_holds_what_its_platform_promises():
    for platform, share in ((ANDROID, 0.68), (IOS, 1 - np.exp(-1)), (WEB, 0.95)):
        sigma = sigma_m(np.array([50.0]), np.array([platform]))
        p = p_circle(radius_m=np.array([50.0]), distance_m=np.zeros(1), sigma_m=sigma)
        assert p[0] == pytest.approx(share, abs=1e-4)


# --- verdicts -------------------------------------------------------------------------------------

CENTRE = (127.0, 37.5)


def judge_at(
    shape: CircleShape | PolygonShape,
    lon: Any,
    lat: Any,
    *,
    accuracy_m: float,
    platform: Platform = ANDROID,
    policy: CertaintyPolicy = POLICY,
) -> Judgement:
    lon, lat = np.atleast_1d(np.asarray(lon, float)), np.atleast_1d(np.asarray(lat, float))
    return judge(
        FenceIndex.build([version_of(shape)]),
        lon=lon,
        lat=lat,
        accuracy_m=np.full(len(lon), accuracy_m),
        platform=np.full(len(lon), platform, np.int8),
        ping=np.arange(len(lon)),
        fence=np.zeros(len(lon), np.int64),
        policy=policy,
    )


def square_of(radius_m: float) -> PolygonShape:
    return polygon_shape(metres_shape(*CENTRE, shapely.box(*[-radius_m] * 2, *[radius_m] * 2)))


def east_of_rim(radius_m: float, off_m: float) -> tuple[float, float]:
    lon, lat = destination(lon=CENTRE[0], lat=CENTRE[1], azimuth_deg=90.0, distance_m=radius_m + off_m)
    return float(lon), float(lat)


SIGMA_10 = 10 * float(np.sqrt(-2 * np.log(0.32)))  # an Android accuracy of sigma 10 m


@pytest.mark.parametrize("as_polygon", [False, True])
@pytest.mark.parametrize(
    ("radius_m", "off_m", "accuracy_m", "verdict"),
    [
        (200, -200, SIGMA_10, Verdict.IN),
        (200, -1.0, SIGMA_10, Verdict.IN),
        (200, 1.0, SIGMA_10, Verdict.UNDECIDED),  # P just below .5
        (200, 11.0, SIGMA_10, Verdict.UNDECIDED),  # P = .13
        (200, 14.0, SIGMA_10, Verdict.OUT),  # P = .08, 1.4 sigma
        (200, 500, SIGMA_10, Verdict.OUT),
        (200, -2.0, np.nan, Verdict.IN),  # without accuracy: contained is in …
        (200, -2.0, 0.0, Verdict.IN),
        (200, 2.0, np.nan, Verdict.UNDECIDED),  # … just outside is nothing …
        (200, 20.0, 0.0, Verdict.UNDECIDED),
        (200, 30.0, np.nan, Verdict.OUT),  # … and out is judged by sigma 20 m
        (60, -60, 1_500, Verdict.UNDECIDED),  # a poor fix at the centre neither enters nor exits
        (60, 1_500, 1_500, Verdict.UNDECIDED),  # outside by 1.5 sigma: not enough for a poor fix
        (60, 2_100, 1_500, Verdict.OUT),  # by more than 2 sigma
    ],
)
def test_verdicts(as_polygon: bool, radius_m: float, off_m: float, accuracy_m: float, verdict):
    shape = (
        square_of(radius_m)
        if as_polygon
        else CircleShape(lon=CENTRE[0], lat=CENTRE[1], radius_m=radius_m)
    )
    judged = judge_at(shape, *east_of_rim(radius_m, off_m), accuracy_m=accuracy_m)
    assert judged.verdict[0] == verdict
    # the square was drawn with a rounded degree: a third of a per cent
    assert judged.rim_m[0] == pytest.approx(off_m, abs=0.004 * radius_m)


def test_a_missing_accuracy_is_certain_inside_and_20_m_outside():
    circle = CircleShape(lon=CENTRE[0], lat=CENTRE[1], radius_m=100.0)
    lon, lat = zip(*(east_of_rim(100.0, off) for off in (-1.0, 0.0, 20.0)), strict=True)
    judged = judge_at(circle, lon, lat, accuracy_m=np.nan)
    assert judged.p[:2].tolist() == [1.0, 1.0]
    assert 0.1 < judged.p[2] < 0.2
    assert judged.sigma_m.tolist() == [20.0] * 3


def test_a_missing_accuracy_never_enters_from_a_hole():
    """By sigma 20 m P is above a half there; nothing is known about that fix."""
    ring = shapely.Point(0, 0).buffer(400) - shapely.Point(0, 0).buffer(15)
    shape = polygon_shape(metres_shape(*CENTRE, ring))
    judged = judge_at(shape, *CENTRE, accuracy_m=np.nan)
    assert judged.p[0] > 0.5
    assert judged.verdict[0] == Verdict.UNDECIDED


@pytest.mark.parametrize("radius_m", [50.0, 100.0, 1_000.0])
def test_a_poor_fix_at_the_centre_is_never_out(radius_m: float):
    accuracy_m = np.exp(np.linspace(np.log(3), np.log(10_000), 200))
    shapes = [CircleShape(lon=CENTRE[0], lat=CENTRE[1], radius_m=radius_m), square_of(radius_m)]
    index = FenceIndex.build([version_of(shape) for shape in shapes])
    ping = np.repeat(np.arange(200), 2)
    judged = judge(
        index,
        lon=np.full(200, CENTRE[0]),
        lat=np.full(200, CENTRE[1]),
        accuracy_m=accuracy_m,
        platform=np.zeros(200, np.int8),
        ping=ping,
        fence=np.tile([0, 1], 200),
        policy=POLICY,
    )
    assert (judged.verdict != Verdict.OUT).all()
    assert (judged.verdict == Verdict.IN)[ping == 0].all()
    assert (judged.p[-2:] < 0.1).all() or radius_m == 1_000.0


def test_the_policy_is_obeyed():
    circle = CircleShape(lon=CENTRE[0], lat=CENTRE[1], radius_m=200.0)
    at = east_of_rim(200.0, -3.0)  # P = .61
    strict = CertaintyPolicy(enter_p=0.7)
    assert judge_at(circle, *at, accuracy_m=SIGMA_10).verdict[0] == Verdict.IN
    assert judge_at(circle, *at, accuracy_m=SIGMA_10, policy=strict).verdict[0] == 0
    floor = CertaintyPolicy(sigma_floor_m=40.0)
    assert judge_at(circle, *at, accuracy_m=4.0, policy=floor).sigma_m[0] == 40.0
    gone = east_of_rim(200.0, 22.0)  # 1.1 sigma of 20 m
    assert judge_at(circle, *gone, accuracy_m=np.nan).verdict[0] == Verdict.UNDECIDED
    sharp = CertaintyPolicy(missing_sigma_m=10.0)
    assert judge_at(circle, *gone, accuracy_m=np.nan, policy=sharp).verdict[0] == Verdict.OUT


def test_a_fix_exactly_on_the_rim_without_accuracy_is_in():
    for off_m in (0.0, 9e-7):
        at = east_of_rim(100.0, off_m)
        circle = CircleShape(lon=CENTRE[0], lat=CENTRE[1], radius_m=100.0)
        assert judge_at(circle, *at, accuracy_m=np.nan).verdict[0] == Verdict.IN
    corner = shapely.get_coordinates(square_of(100.0).geometry)[0]
    judged = judge_at(square_of(100.0), *corner, accuracy_m=np.nan)
    assert (judged.verdict[0], judged.rim_m[0]) == (Verdict.IN, 0.0)


def test_nothing_to_judge():
    none = np.zeros(0, np.int64)
    judged = judge(
        FenceIndex.build([version_of(square_of(100.0))]),
        lon=np.zeros(3),
        lat=np.zeros(3),
        accuracy_m=np.zeros(3),
        platform=np.zeros(3, np.int8),
        ping=none,
        fence=none,
        policy=POLICY,
    )
    assert len(judged.p) == len(judged.verdict) == 0
    assert judged.verdict.dtype == np.int8


@pytest.mark.parametrize("column", ["lon", "lat", "accuracy_m"])
def test_an_infinite_fix_is_refused_unless_nobody_judges_it(column: str):
    columns = {"lon": np.zeros(2), "lat": np.zeros(2), "accuracy_m": np.ones(2)}
    columns[column][1] = np.inf
    index = FenceIndex.build([version_of(square_of(100.0))])
    rest = {"platform": np.zeros(2, np.int8), "fence": np.zeros(1, np.int64), "policy": POLICY}
    assert judge(index, **columns, ping=np.array([0]), **rest).verdict[0] == Verdict.OUT
    with pytest.raises(BadCoordinates, match="Pair 0"):
        judge(index, **columns, ping=np.array([1]), **rest)


@settings(max_examples=80)
@given(
    cases(), st.sampled_from([np.nan, 0.0, 2.0, 30.0, 500.0, 9_000.0]), st.sampled_from(list(Platform))
)
def test_every_fence_that_a_fix_is_in_is_among_its_candidates(
    case: Case, accuracy_m: float, platform: Platform
):
    """Judged against all fences, the fixes that are in are judged by their candidates too."""
    index = FenceIndex.build(case.versions)
    count = len(case.lon)
    accuracy = np.full(count, accuracy_m)
    hits = index.candidates(lon=case.lon, lat=case.lat, at_ms=None, accuracy_m=accuracy)
    near = set(zip(hits.ping.tolist(), hits.fence.tolist(), strict=True))
    ping = np.repeat(np.arange(count), len(index))
    fence = np.tile(np.arange(len(index)), count)
    judged = judge(
        index,
        lon=case.lon,
        lat=case.lat,
        accuracy_m=accuracy,
        platform=np.full(count, platform, np.int8),
        ping=ping,
        fence=fence,
        policy=POLICY,
    )
    # on a straight rim P is a half to within its error
    sure = (judged.p >= 0.5 + P_ERROR) & (judged.verdict == Verdict.IN)
    entered = set(zip(ping[sure].tolist(), fence[sure].tolist(), strict=True))
    assert entered <= near
    held = index.match(lon=case.lon, lat=case.lat, at_ms=None)
    inside = np.isin(ping * len(index) + fence, held.ping * len(index) + held.fence)
    assert (judged.rim_m[inside] <= 1e-6).all()
    assert (judged.rim_m[~inside] >= 0).all()
    assert ((judged.p >= 0) & (judged.p <= 1)).all()

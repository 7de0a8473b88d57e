"""Sigma, and the verdicts of product P3."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geo.fences.fence import CircleShape, PolygonShape
from geo.matching.certainty import CertaintyPolicy, Verdict, judge, p_circle, sigma_m
from geo.matching.index import BadCoordinates, FenceIndex
from geo.matching.pings import Platform
from geo.measure import destination
from tests.judging import P_ERROR, POLICY, judge_at, metres_shape, shapes_of
from tests.strategies import Case, cases, polygon_shape, version_of

ANDROID, IOS, WEB = Platform.ANDROID, Platform.IOS, Platform.WEB

# --- near the rim, across 180°, at the poles -----------------------------------------------------


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

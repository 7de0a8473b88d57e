"""P by kernels: as SciPy's own functions give it, and as the columns of NumPy do."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from scipy.special import owens_t
from scipy.stats import ncx2

from geo.fences.fence import CircleShape
from geo.matching import weigh
from geo.matching.certainty import CertaintyPolicy, Verdict, decide, judge
from geo.matching.hits import CLOSE
from geo.matching.index import FenceIndex
from geo.matching.polygons import Polygons
from tests.judging import P_ERROR, metres_shape
from tests.strategies import polygon_shape, version_of
from tests.worlds import World, world

POLICY = CertaintyPolicy()
ACCURACIES = [np.nan, 2.0, 40.0, 900.0, 4_000.0]


def test_circles_as_the_noncentral_chi_square():
    cosines = weigh.node_cosines()
    for u in np.geomspace(0.04, 200, 60):
        for e in np.linspace(max(0.0, u - 6), u + 6, 40):
            assert weigh.circle_p(u, e, 1.0, cosines) == pytest.approx(
                ncx2.cdf(u * u, 2, e * e), abs=2e-4
            )


def test_owens_t_as_scipy_has_it():
    rng = np.random.default_rng(2)
    h = np.concatenate([[0.0, 1e-9, 1e-3, 4.5], rng.uniform(0, 5, 3_000)])
    t = np.concatenate([[0.0, 1e-9, -4.5, 4.5], rng.uniform(-9, 9, 3_000)])
    for at, end in zip(h.tolist(), t.tolist(), strict=True):
        wanted = owens_t(at, end / at) if at > 0 else 0.0
        assert weigh.owen_at(at, end) == pytest.approx(wanted, abs=1e-7)


def test_an_edge_seen_from_anywhere_as_the_difference_of_owens_t():
    rng = np.random.default_rng(3)
    for _ in range(4_000):
        length = 10.0 ** rng.uniform(-6, 1.5)
        away = 10.0 ** rng.uniform(-9, 0.7) * length ** rng.choice([0, 1])
        turn, along = rng.uniform(0, 2 * np.pi), rng.uniform(-1.5, 0.5) * length
        unit, beside = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
        a, b = unit * along + beside * away, unit * (along + length) + beside * away
        cross = a[0] * b[1] - a[1] * b[0]
        h = abs(cross) / np.hypot(*(b - a))
        wanted = np.sign(cross) * (owens_t(h, along / h + length / h) - owens_t(h, along / h))
        assert weigh.edge_term(*a, *b) == pytest.approx(wanted, abs=6e-5)


def judged_by(index: FenceIndex, drawn: World, accuracy_m: float) -> tuple:
    count = len(drawn.lon)
    ping, fence = np.repeat(np.arange(count), len(index)), np.tile(np.arange(len(index)), count)
    return judge(
        index,
        lon=drawn.lon,
        lat=drawn.lat,
        accuracy_m=np.full(count, accuracy_m),
        platform=np.zeros(count, np.int8),
        ping=ping,
        fence=fence,
        policy=POLICY,
    )


@pytest.mark.parametrize("seed", range(10))
def test_kernels_judge_as_columns_do(seed: int):
    drawn = world(1_000 + seed, fences=6, pings=36)
    tree, cells = FenceIndex.build(drawn.versions), FenceIndex.build(drawn.versions).compile()
    for accuracy_m in ACCURACIES:
        plain, fast = judged_by(tree, drawn, accuracy_m), judged_by(cells, drawn, accuracy_m)
        assert np.abs(plain.p - fast.p).max() <= P_ERROR
        near = plain.rim_m < 50_000
        assert np.abs(plain.rim_m - fast.rim_m)[near].max(initial=0.0) <= 0.01
        assert ((plain.rim_m <= 1e-6) == (fast.rim_m <= 1e-6)).all()
        doubtful = np.abs(plain.p - POLICY.enter_p) <= P_ERROR
        doubtful |= np.abs(plain.p - POLICY.exit_p) <= P_ERROR
        doubtful |= np.abs(plain.rim_m / plain.sigma_m - POLICY.out_z) < 1e-2
        doubtful |= np.abs(plain.rim_m / plain.sigma_m - POLICY.poor_out_z) < 1e-2
        assert (plain.verdict == fast.verdict)[~doubtful].all()


@pytest.mark.parametrize("seed", range(10))
def test_deciding_finds_every_fence_that_a_fix_is_in(seed: int):
    """Against all fences judged with P: what is surely in is decided in, what is surely not is not."""
    drawn = world(2_000 + seed, fences=6, pings=36)
    tree = FenceIndex.build(drawn.versions)
    for index in (tree, FenceIndex.build(drawn.versions).compile()):
        for accuracy_m in ACCURACIES:
            every = judged_by(tree, drawn, accuracy_m)
            found = decide(
                index,
                lon=drawn.lon,
                lat=drawn.lat,
                accuracy_m=np.full(len(drawn.lon), accuracy_m),
                platform=np.zeros(len(drawn.lon), np.int8),
                policy=POLICY,
            )
            decided = np.full(len(every.p), 9)
            decided[found.pairs.ping * len(index) + found.pairs.fence] = found.verdict
            sure = np.abs(every.p - POLICY.enter_p) > P_ERROR
            # without an accuracy nothing outside is in
            is_in = every.verdict == Verdict.IN
            assert (decided == Verdict.IN)[sure & is_in].all(), accuracy_m
            assert not (decided == Verdict.IN)[sure & ~is_in].any(), accuracy_m
            hits = tree.match(lon=drawn.lon, lat=drawn.lat)
            assert (decided[hits.ping * len(index) + hits.fence] != 9).all()


def test_nearly_no_pair_needs_its_p():
    """Work, counted: fixes of 10 m in fences of kilometres are decided without looking at a fence."""
    rng = np.random.default_rng(7)
    versions = [
        version_of(CircleShape(lon=x, lat=y, radius_m=4_000.0), fence_id=i)
        for i, (x, y) in enumerate(rng.uniform((126.9, 37.4), (127.1, 37.6), (60, 2)))
    ]
    index = FenceIndex.build(versions).compile()
    lon, lat = rng.uniform((126.9, 37.4), (127.1, 37.6), (4_000, 2)).T
    found = index.around(lon=lon, lat=lat, at_ms=None, reach_m=np.full(4_000, 8.0))
    assert len(found.pairs) > 20_000
    assert 0 < len(found.asked) < 0.01 * len(found.pairs)
    assert (found.state[found.asked] == CLOSE).all()


def test_the_middle_of_a_hole_is_found_beside_its_fence():
    sigma = 20.0
    ring = shapely.Point(0, 0).buffer(400, quad_segs=32) - shapely.Point(0, 0).buffer(
        1.1 * sigma, quad_segs=64
    )
    for lon in (127.0, 180.0):
        index = FenceIndex.build([version_of(polygon_shape(metres_shape(lon, 37.5, ring)))]).compile()
        found = decide(
            index,
            lon=np.array([lon]),
            lat=np.array([37.5]),
            accuracy_m=np.array([sigma * 1.5096]),
            platform=np.zeros(1, np.int8),
            policy=POLICY,
        )
        assert found.pairs.fence.tolist() == [0]
        assert found.verdict.tolist() == [Verdict.IN]
        assert len(index.pairs(lon=np.array([lon]), lat=np.array([37.5]))) == 0


def test_a_poor_fix_at_the_centre_never_leaves():
    index = FenceIndex.build([version_of(CircleShape(lon=127.0, lat=37.5, radius_m=50.0))]).compile()
    accuracy_m = np.array([30.0, 66.0, 100.0, 1_000.0, 9_000.0])
    found = decide(
        index,
        lon=np.full(5, 127.0),
        lat=np.full(5, 37.5),
        accuracy_m=accuracy_m,
        platform=np.zeros(5, np.int8),
        policy=POLICY,
    )
    assert found.pairs.ping.tolist() == [0, 1, 2, 3, 4]
    assert found.verdict.tolist() == [Verdict.IN, *[Verdict.UNDECIDED] * 4]


def test_a_polygon_weighs_the_same_whether_its_side_is_known_or_not():
    rng = np.random.default_rng(23)
    turn = np.linspace(0, 2 * np.pi, 301)[:-1]
    far = 300.0 * rng.uniform(0.6, 1.0, 300)
    ring = shapely.Polygon(np.column_stack([far * np.cos(turn), far * np.sin(turn)]))
    shape = polygon_shape(metres_shape(127.0, 37.5, ring - shapely.Point(0, 0).buffer(60)))
    polygons = Polygons.build([shape])
    corners = shapely.get_coordinates(polygons.geometry)
    count = 3_000
    # about corners, where sides are hardest to tell, and all over
    near = corners[rng.integers(0, len(corners), count)] + rng.normal(0, 1e-4, (count, 2))
    lon, lat = np.where(rng.random((count, 1)) < 0.7, near, rng.uniform(-0.005, 0.005, 2) + near).T
    held = polygons.hold(lon=lon, lat=lat, ping=np.arange(count), fence=np.zeros(count, np.int64))
    assert 300 < held.sum() < count - 300
    columns = polygons.ends, polygons.stretch_box, 0, int(polygons.count[0]), 0
    for x, y, inside, sigma in zip(lon, lat, held, 10.0 ** rng.uniform(0.5, 2.5, count), strict=True):
        known = weigh.polygon_p(*columns, x, y, sigma, int(inside))
        unknown = weigh.polygon_p(*columns, x, y, sigma, weigh.UNKNOWN)
        assert known == pytest.approx(unknown, rel=1e-9, abs=1e-9)

"""Inferred crossings beside a plain twin that walks each move in small steps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geo.fences.fence import CircleShape, PolygonShape
from geo.matching.certainty import CertaintyPolicy, Verdict, judge
from geo.matching.crossings import MAX_MOVE_M, Crossings
from geo.matching.index import FenceIndex
from geo.matching.move_lines import around, cells
from geo.matching.pings import Pings
from geo.matching.recent import RecentFixes
from geo.measure import destination, distance_m
from tests.strategies import circles, near_shape, polygon_shape, polygons, version_of

START_MS = 1_700_000_000_000
POLICY = CertaintyPolicy()
STEPS = 4000


def move_of(start, end, *, seconds=60.0, accuracy_m=(5.0, 5.0)):
    """Two pings of one device and what came before each."""
    at_ms = np.array([START_MS, START_MS + round(seconds * 1000)], np.int64)
    pings = Pings(
        device=np.ones(2, np.int64),
        lon=np.array([start[0], end[0]]),
        lat=np.array([start[1], end[1]]),
        accuracy_m=np.array(accuracy_m, float),
        at_ms=at_ms,
        now_ms=at_ms,
        platform=np.zeros(2, np.int8),
        mocked=np.zeros(2, bool),
    )
    return pings, RecentFixes(keep_ms=1 << 40).look(pings, gap_ms=1)


def found(index, start, end, *, rows=None, **more):
    """(fence row, seconds) of the crossings of one move."""
    rows = range(len(index)) if rows is None else rows
    pings, before = move_of(start, end, **more)
    crossed = Crossings.build(index, np.array(rows, np.int64)).find(pings, before, policy=POLICY)
    assert (crossed.ping == 1).all()
    seconds = (crossed.at_ms - START_MS) / 1000
    return list(zip(crossed.fence.tolist(), seconds.tolist(), strict=True))


def index_of(*shapes, **more):
    return FenceIndex.build([version_of(shape, fence_id=n, **more) for n, shape in enumerate(shapes)])


def at(lon, lat, metres, azimuth_deg):
    x, y = destination(lon=lon, lat=lat, azimuth_deg=azimuth_deg, distance_m=metres)
    return float(x), float(y)


GANGNAM = (127.0276, 37.4979)
CIRCLE = CircleShape(lon=GANGNAM[0], lat=GANGNAM[1], radius_m=100.0)


def test_a_drive_through_the_middle_is_a_crossing():
    index = index_of(CIRCLE)
    crossings = found(index, at(*GANGNAM, 500, 90), at(*GANGNAM, 500, 270))
    assert [row for row, _ in crossings] == [0]
    assert crossings[0][1] == pytest.approx(60 * 400 / 1000, abs=0.01), "where it comes in"


@pytest.mark.parametrize(
    ("seconds", "metres", "crossed"),
    [
        (120, 2999, True),
        (120.001, 2999, False),
        (0, 2999, False),
        (0.001, 2999, True),
        (60, MAX_MOVE_M + 0.01, False),
        (60, MAX_MOVE_M - 0.01, True),
    ],
)
def test_only_short_moves_cross(seconds, metres, crossed):
    start = at(*GANGNAM, 1500, 90)
    azimuth = 270.0
    end = at(*start, metres, azimuth)
    assert bool(found(index_of(CIRCLE), start, end, seconds=seconds)) is crossed


def test_a_fix_that_is_in_or_undecided_crosses_nothing():
    index = index_of(CIRCLE)
    outside, beyond = at(*GANGNAM, 500, 90), at(*GANGNAM, 500, 270)
    assert found(index, outside, GANGNAM) == []
    assert found(index, GANGNAM, beyond) == []
    # 3 m beside the rim with 5 m of accuracy nothing is decided
    assert found(index, at(*GANGNAM, 101, 90), beyond) == []
    assert found(index, outside, beyond, accuracy_m=(5.0, 700.0)) == []
    assert len(found(index, outside, beyond, accuracy_m=(5.0, 200.0))) == 1
    assert len(found(index, outside, beyond, accuracy_m=(math.nan, math.nan))) == 1


def test_only_fences_that_opted_in_cross():
    far = CircleShape(lon=GANGNAM[0], lat=GANGNAM[1], radius_m=200.0)
    index = index_of(CIRCLE, far, CIRCLE)
    line = at(*GANGNAM, 500, 90), at(*GANGNAM, 500, 270)
    assert [row for row, _ in found(index, *line)] == [0, 1, 2]
    assert [row for row, _ in found(index, *line, rows=[2, 1, 2])] == [1, 2]
    assert found(index, *line, rows=[]) == []


def test_the_version_must_be_live_at_the_crossing():
    line = at(*GANGNAM, 500, 90), at(*GANGNAM, 500, 270)
    (_, seconds), *_ = found(index_of(CIRCLE), *line)
    instant = START_MS + round(seconds * 1000)
    assert found(index_of(CIRCLE, live_from_ms=instant + 1), *line) == []
    assert found(index_of(CIRCLE, live_until_ms=instant), *line) == []
    assert len(found(index_of(CIRCLE, live_from_ms=instant, live_until_ms=instant + 1), *line)) == 1


def test_a_polygon_is_met_where_the_line_first_touches_it():
    box = polygon_shape(shapely.box(127.0, 37.0, 127.01, 37.01))
    index = index_of(box)
    (_, seconds), *_ = found(index, (126.99, 37.0), (127.015, 37.005), seconds=100)
    assert seconds == pytest.approx(40.0, abs=0.001)
    # a corner that is only touched is met, a hair beside it is not
    corner = found(index, (126.995, 37.005), (127.005, 36.995), seconds=100)
    assert corner == [(0, pytest.approx(50.0, abs=0.001))]
    assert found(index, (126.995, 37.005 - 1e-9), (127.005, 36.995 - 1e-9)) == []


def test_a_hole_is_no_fence():
    ring = shapely.box(127.0, 37.0, 127.02, 37.02) - shapely.box(127.002, 37.002, 127.018, 37.018)
    index = index_of(polygon_shape(ring))
    assert found(index, (127.005, 37.01), (127.015, 37.01)) == []
    assert len(found(index, (127.01, 37.01), (127.03, 37.01))) == 1


@pytest.mark.parametrize("edge", [180.0, -180.0])
@pytest.mark.parametrize("middle", [179.999, -179.999, 180.0, -180.0])
def test_across_180(edge, middle):
    circle = CircleShape(lon=middle if middle < 180 else -180.0, lat=10.0, radius_m=60.0)
    box = polygon_shape(shapely.box(179.9985, 9.999, 180.0015, 10.001))
    west, east = (179.99, 10.0), (-179.99, 10.0)
    index = index_of(circle, box)
    for line in ((west, east), (east, west)):
        assert [row for row, _ in found(index, *line)] == [0, 1]
    # from the antimeridian itself, whatever it is called, and on either side alone
    start = (edge, 10.0)
    for end in (west, east):
        crossed = [row for row, _ in found(index, start, end)]
        assert 1 not in crossed, "the fix on the meridian is in the box"
        assert (0 in crossed) is (abs(middle) == 179.999 and (middle > 0) == (end == west))


def plainly(index, pings, before):
    """Rows that hold a step of the move, and rows that hold one within a metre of the rim."""
    share = np.linspace(0, 1, STEPS + 1)
    east = pings.lon[1] - pings.lon[0]
    east -= 360 * np.round(east / 360)
    lon = pings.lon[0] + share * east
    lon = np.where(lon >= 180, lon - 360, np.where(lon < -180, lon + 360, lon))
    lat = pings.lat[0] + share * (pings.lat[1] - pings.lat[0])
    step = np.tile(np.arange(STEPS + 1), len(index))
    row = np.repeat(np.arange(len(index)), STEPS + 1)
    held = index.hold(lon=lon, lat=lat, ping=step, fence=row).reshape(len(index), -1)
    ends = {"lon": pings.lon, "lat": pings.lat, "accuracy_m": pings.accuracy_m}
    judged = judge(
        index,
        **ends,
        platform=pings.platform,
        ping=np.tile([0, 1], len(index)),
        fence=np.repeat(np.arange(len(index)), 2),
        policy=POLICY,
    )
    out = (judged.verdict == Verdict.OUT).reshape(-1, 2).all(axis=1)
    return held, out


@st.composite
def moves(draw):
    """A fence, and a move that passes by a place at its border or within it."""
    shape = draw(st.one_of(circles(), polygons()))
    lon, lat = draw(near_shape(shape))
    metres = draw(st.sampled_from([30.0, 400.0, 1400.0]))
    azimuth = draw(st.floats(0, 360))
    start = at(lon, lat, metres, azimuth)
    end = at(lon, lat, metres * draw(st.sampled_from([0.3, 1.0])), azimuth + 180)
    return shape, start, end


@given(drawn=moves())
def test_as_the_plain_twin(drawn):
    shape, start, end = drawn
    index = index_of(shape)
    pings, before = move_of(start, end)
    metres = distance_m(lon1=start[0], lat1=start[1], lon2=end[0], lat2=end[1])
    crossed = found(index, start, end)
    held, out = plainly(index, pings, before)
    if not out[0] or metres > MAX_MOVE_M or metres == 0:
        assert crossed == []
        return
    if held[0].any():
        assert len(crossed) == 1, "some step lies within"
        first = np.argmax(held[0]) / STEPS * 60
        assert crossed[0][1] <= first + 0.002
        assert crossed[0][1] >= first - 60 / STEPS - 0.002 or grazes(index, pings, crossed[0][1])
    elif crossed:
        assert grazes(index, pings, crossed[0][1])


def grazes(index, pings, seconds):
    """The place of the move at that time lies on the rim, to the ms at which it is told."""
    share = seconds / 60
    east = pings.lon[1] - pings.lon[0]
    east -= 360 * np.round(east / 360)
    lon, lat = pings.lon[0] + share * east, pings.lat[0] + share * (pings.lat[1] - pings.lat[0])
    judged = judge(
        index,
        lon=np.array([lon]),
        lat=np.array([lat]),
        accuracy_m=np.array([5.0]),
        platform=np.zeros(1, np.int8),
        ping=np.zeros(1, np.int64),
        fence=np.zeros(1, np.int64),
        policy=POLICY,
    )
    return abs(judged.rim_m[0]) < 0.2


@given(circle=circles(), azimuth=st.floats(0, 360), off_m=st.sampled_from([-1.0, -0.01, 0.01, 1.0]))
def test_a_tangent_is_found_to_a_centimetre(circle, azimuth, off_m):
    if abs(circle.lat) > 80:
        return  # straight in degrees is bent on the ground: the twin above looks there
    middle = at(circle.lon, circle.lat, circle.radius_m + off_m, azimuth)
    # along the line that is nearest to the centre there, straight in degrees
    start, end = at(*middle, 700, azimuth + 90), at(*middle, 700, azimuth - 90)
    index = index_of(circle)
    pings, before = move_of(start, end, accuracy_m=(1.0, 1.0))
    share = np.linspace(0, 1, 20_001)
    east = end[0] - start[0]
    east -= 360 * np.round(east / 360)
    metres = distance_m(
        lon1=circle.lon,
        lat1=circle.lat,
        lon2=start[0] + share * east,
        lat2=start[1] + share * (end[1] - start[1]),
    )
    crossed = found(index, start, end, accuracy_m=(1.0, 1.0))
    _, out = plainly(index, pings, before)
    if not out[0]:
        assert crossed == []
    elif metres.min() <= circle.radius_m:
        assert len(crossed) == 1
    elif metres.min() > circle.radius_m + 1e-2:
        assert crossed == []


@given(shape=st.one_of(circles(), polygons()), place=st.data())
def test_the_coarse_map_leaves_out_no_fence(shape, place):
    boxes, _ = index_of(shape).columns.boxes()
    lon, lat = place.draw(near_shape(shape))
    index = index_of(shape)
    away = at(lon, lat, place.draw(st.floats(0, 2900)), place.draw(st.floats(0, 360)))
    inside = np.zeros(1, np.int64)
    if index.hold(lon=np.array([lon]), lat=np.array([lat]), ping=inside, fence=inside)[0]:
        assert around(boxes)[cells(np.array([away[0]]), np.array([away[1]]))].all()


def test_a_batch_of_many_devices_is_sorted_and_right():
    rng = np.random.default_rng(11)
    centres = [
        at(*GANGNAM, *pair)
        for pair in zip(rng.uniform(0, 5e3, 30), rng.uniform(0, 360, 30), strict=True)
    ]
    shapes = [CircleShape(lon=x, lat=y, radius_m=60.0) for x, y in centres]
    shapes += [PolygonShape(geometry=shapely.box(x, y, x + 0.002, y + 0.001)) for x, y in centres[:10]]
    index = index_of(*shapes)
    recent = RecentFixes(keep_ms=1 << 40)
    count = 500
    start = np.array(
        [
            at(*GANGNAM, *p)
            for p in zip(rng.uniform(0, 5e3, count), rng.uniform(0, 360, count), strict=True)
        ]
    )
    end = np.array(
        [
            at(*place, 2000, azimuth)
            for place, azimuth in zip(start, rng.uniform(0, 360, count), strict=True)
        ]
    )
    device = np.arange(count)
    recent.remember(
        device=device,
        at_ms=np.full(count, START_MS),
        lon=start[:, 0],
        lat=start[:, 1],
        accuracy_m=np.full(count, 5.0),
        gap_ms=1,
    )
    pings = Pings(
        device=device,
        lon=end[:, 0],
        lat=end[:, 1],
        accuracy_m=np.full(count, 5.0),
        at_ms=np.full(count, START_MS + 60_000),
        now_ms=np.full(count, START_MS + 60_000),
        platform=np.zeros(count, np.int8),
        mocked=np.zeros(count, bool),
    )
    before = recent.look(pings, gap_ms=1)
    counts = np.arange(count) % 10 != 0
    everything = Crossings.build(index, np.arange(len(index)))
    crossed = everything.find(pings, before, policy=POLICY, counts=counts)
    assert len(crossed) > 20
    expected = [
        (row, fence)
        for row in np.flatnonzero(counts).tolist()
        for fence, _ in found(index, tuple(start[row]), tuple(end[row]))
    ]
    assert list(zip(crossed.ping.tolist(), crossed.fence.tolist(), strict=True)) == expected
    # each told place lies on the fence it tells of
    pair = np.arange(len(crossed))
    judged = judge(
        index,
        lon=crossed.lon,
        lat=crossed.lat,
        accuracy_m=np.full(len(crossed), 5.0),
        platform=np.zeros(len(crossed), np.int8),
        ping=pair,
        fence=crossed.fence,
        policy=POLICY,
    )
    assert np.abs(judged.rim_m).max() < 0.01


def test_a_large_circle_in_the_north_is_met_on_its_rim():
    circle = CircleShape(lon=24.5, lat=69.0, radius_m=9_000.0)
    for azimuth in (20.0, 70.0, 160.0, 290.0):
        rim = at(24.5, 69.0, 8_900.0, azimuth)
        start, end = at(*rim, 1_400, azimuth + 90), at(*rim, 1_400, azimuth - 90)
        ((_, seconds),) = found(index_of(circle), start, end)
        share = seconds / 60
        place = [a + share * (b - a) for a, b in zip(start, end, strict=True)]
        away_m = distance_m(lon1=24.5, lat1=69.0, lon2=place[0], lat2=place[1])
        assert away_m == pytest.approx(9_000.0, abs=0.03)  # 1 ms of the way


@pytest.mark.parametrize("azimuth_deg", [0.0, 90.0, 180.0, 270.0])
def test_the_coarse_map_reaches_across_its_lines(azimuth_deg):
    corner = (127.25, 37.25)
    circle = CircleShape(lon=corner[0], lat=corner[1], radius_m=50.0)
    boxes, _ = index_of(circle).columns.boxes()
    lon, lat = at(*corner, 3_000.0, azimuth_deg)
    for off in (-1e-6, 1e-6):
        assert around(boxes)[cells(np.array([lon + off]), np.array([lat + off]))].all()
    aside = CircleShape(lon=127.2502 + 0.002, lat=37.125, radius_m=50.0)
    boxes, _ = index_of(aside).columns.boxes()
    assert around(boxes)[cells(np.array([127.2498]), np.array([37.125]))].all()

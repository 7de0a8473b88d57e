"""The cells find what brute force finds, on every rim, edge, corner, cell border, pole and instant.

20,000 pings and more, drawn from what decides about them; `make prove` draws two million.
"""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings

from geo.fences.fence import CircleShape, FenceVersion, PolygonShape
from geo.matching import cell_circles
from geo.matching.index import BadCoordinates, FenceIndex
from geo.matching.plain import PlainIndex
from geo.measure import destination
from tests.strategies import Case, cases, polygon_shape, version_of
from tests.worlds import World, pairs_of, world

WORLDS = 280


def compiled(versions: list[FenceVersion]) -> FenceIndex:
    return FenceIndex.build(versions).compile()


def differing(index: FenceIndex, drawn: World) -> set[tuple[int, int]]:
    """Pairs that only one of cells and brute force finds; and each pair must come once."""
    plain = PlainIndex.build(drawn.versions)
    columns = {"lon": drawn.lon, "lat": drawn.lat, "at_ms": drawn.at_ms}
    hits = index.match(**columns)
    assert len(hits) == len(pairs_of(hits))
    assert (np.diff(hits.ping * len(index) + hits.fence) > 0).all()
    return pairs_of(hits) ^ pairs_of(plain.match(**columns))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, WORLDS, 40))
def test_cells_equal_brute_force(first: int):
    for seed in range(first, first + 40):
        drawn = world(seed)
        assert differing(compiled(drawn.versions), drawn) == set(), seed


def test_one_ping_equals_the_columns():
    for seed in range(40):
        drawn = world(seed)
        index = compiled(drawn.versions)
        hits = index.match(lon=drawn.lon, lat=drawn.lat, at_ms=drawn.at_ms)
        one_by_one = [
            (ping, row)
            for ping, (lon, lat, at_ms) in enumerate(zip(drawn.lon, drawn.lat, drawn.at_ms, strict=True))
            for row in index.match_one(lon, lat, at_ms=at_ms)
        ]
        assert one_by_one == sorted(pairs_of(hits))


@settings(max_examples=60)
@given(cases())
def test_cells_equal_brute_force_in_the_cases_of_the_other_engine(case: Case):
    drawn = World(case.versions, case.lon, case.lat, case.at_ms)
    assert differing(compiled(case.versions), drawn) == set()


def test_circles_that_reach_85_degrees_and_over_the_pole():
    rng = np.random.default_rng(4)
    made = [
        CircleShape(lon=lon, lat=lat, radius_m=radius_m)
        for lon in (-180.0, -30.0, 179.9)
        for lat in (-90.0, -84.6, 84.55, 84.9, 85.0, 85.3, 89.7, 90.0)
        for radius_m in (50.0, 1_000.0, 50_000.0)
    ]
    versions = [version_of(circle, fence_id=i) for i, circle in enumerate(made)]
    lon, lat = [], []
    for circle in made:
        x, y = destination(
            lon=circle.lon,
            lat=circle.lat,
            azimuth_deg=rng.uniform(0, 360, 20),
            distance_m=circle.radius_m + rng.choice([-1e-3, 0.0, 1e-3], 20),
        )
        lon.append(x)
        lat.append(y)
    x, y = np.concatenate(lon), np.concatenate(lat)
    drawn = World(versions, x, y, np.zeros(len(x), np.int64))
    assert differing(compiled(versions), drawn) == set()


def test_the_band_of_a_circle_holds_its_rim():
    """1.25 × the proven bound: the polynomial's true error must stay below a quarter less."""
    rng = np.random.default_rng(8)
    count = 200_000
    lat = rng.uniform(-84.9, 84.9, count)
    radius_m = np.exp(rng.uniform(np.log(50), np.log(50_000), count))
    circles = FenceIndex.build([version_of(CircleShape(lon=10.0, lat=0.0, radius_m=1.0))]).circles.build(
        lon=np.full(count, 10.0), lat=lat, radius_m=radius_m
    )
    record = cell_circles.circle_records(circles.lon, circles.lat, circles.radius_m).reshape(-1, 8)
    lon2, lat2 = destination(
        lon=10.0, lat=lat, azimuth_deg=rng.uniform(0, 360, count), distance_m=radius_m
    )
    x, y = lon2 - 10.0, lat2 - lat
    q = (record[:, 2] + record[:, 3] * y) * y * y
    q += (record[:, 4] + y * (record[:, 5] + record[:, 6] * y)) * x * x
    claimed = np.isfinite(record[:, 7])
    assert claimed.mean() > 0.9
    share = np.abs(q - 1)[claimed] / record[claimed, 7]
    assert 0.3 < share.max() < 0.9


def test_thousands_of_fences_over_each_other():
    """More than fit the short form of a cell's counts, and more than are cut finely."""
    rng = np.random.default_rng(3)
    shapes = [
        CircleShape(lon=127.0, lat=37.5, radius_m=radius_m) for radius_m in np.linspace(60, 4_000, 2_500)
    ]
    for wide in np.linspace(1e-3, 0.05, 1_500):
        shapes.append(polygon_shape(shapely.box(127 - wide, 37.5 - wide, 127 + wide, 37.5 + wide)))
    index = compiled([version_of(shape, fence_id=i) for i, shape in enumerate(shapes)])
    lon, lat = rng.uniform((126.95, 37.45), (127.05, 37.55), (40, 2)).T
    by_tree = FenceIndex.build(index.versions).match(lon=lon, lat=lat)
    assert pairs_of(index.match(lon=lon, lat=lat)) == pairs_of(by_tree)
    assert index.match_one(127.0, 37.5) == list(range(4_000))


@pytest.mark.slow
def test_shapes_larger_than_tiles_and_countries():
    rng = np.random.default_rng(5)
    shapes = [
        shapely.Point(100.0, 60.0).buffer(35.0),
        shapely.box(-100.0, -60.0, 259.5, 10.0),  # around the earth but for half a degree
        shapely.box(170.0, -20.0, 200.0, 20.0),
        shapely.box(-180.0, -90.0, 180.0, -65.0),
        shapely.box(-180.0, -90.0, 180.0, 90.0),
        shapely.box(0.0, 40.0, 20.0, 55.0) - shapely.Point(10.0, 47.0).buffer(5.0),
    ]
    versions = [version_of(polygon_shape(shape), fence_id=i) for i, shape in enumerate(shapes)]
    lon, lat = rng.uniform(-540, 540, 3_000), np.degrees(np.arcsin(rng.uniform(-1, 1, 3_000)))
    lon[:200], lat[200:260] = rng.choice([-180.0, 180.0, 159.5, -160.0, -100.0, 0.0], 200), 90.0
    drawn = World(versions, lon, lat, np.zeros(len(lon), np.int64))
    assert differing(compiled(versions), drawn) == set()


def test_what_is_no_place_is_refused_as_by_the_other_engine():
    index = compiled([version_of(CircleShape(lon=127.0, lat=37.5, radius_m=100.0))])
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(BadCoordinates, match="Ping 1"):
            index.match(lon=np.array([127.0, bad]), lat=np.array([37.5, 37.5]))
        with pytest.raises(BadCoordinates, match="Ping 0"):
            index.match_one(127.0, bad)
    with pytest.raises(BadCoordinates, match=r"90\.5"):
        index.match(lon=np.array([127.0]), lat=np.array([90.5]))


def test_columns_of_other_kinds_are_taken():
    index = compiled([version_of(CircleShape(lon=127.0, lat=37.5, radius_m=100.0))])
    fixed = np.full(3, 127.0)
    fixed.flags.writeable = False
    assert index.match(lon=fixed, lat=np.full(6, 37.5)[::2]).ping.tolist() == [0, 1, 2]
    assert len(index.match(lon=np.zeros(0), lat=np.zeros(0))) == 0
    assert len(compiled([]).match(lon=fixed, lat=np.full(3, 37.5))) == 0


def test_the_source_says_which_engine_answers():
    index = FenceIndex.build([version_of(CircleShape(lon=127.0, lat=37.5, radius_m=100.0))])
    assert index.engine == "rtree"
    assert index.compile().engine == "cells"


def test_no_file_of_the_matcher_is_longer_than_400_lines():
    folder = Path(cell_circles.__file__).parent
    assert [p.name for p in folder.glob("*.py") if len(p.read_text("utf-8").splitlines()) > 400] == []


def test_a_continent_beside_a_fence_of_many_blocks_costs_no_gigabytes():
    shapes = [
        PolygonShape(geometry=shapely.box(-170, -60, 100, 60)),
        PolygonShape(
            geometry=shapely.Polygon(
                [(10, 50), (14, 50.5), (12, 50.7), (14, 51), (10, 51), (11, 50.5), (10, 50)]
            )
        ),
    ]
    versions = [version_of(shape, fence_id=n) for n, shape in enumerate(shapes)]
    tracemalloc.start()
    index = FenceIndex.build(versions).compile()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 30
    assert index.match_one(12.0, 50.75) == [0, 1]
    assert index.match_one(-100.0, 0.0) == [0]

"""Many threads read one index: no crash, no wrong pair (quality.md §2: rtree, prepared geometry)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import shapely

from geo.fences.fence import CircleShape, PolygonShape
from geo.matching.certainty import CertaintyPolicy, judge
from geo.matching.index import FenceIndex
from tests.strategies import polygon_shape, version_of

THREADS = 4
RNG = np.random.default_rng(12)
LON, LAT = RNG.uniform((126.9, 37.4), (127.1, 37.6), (2_000, 2)).T
ACCURACY_M = RNG.uniform(3, 200, len(LON))


def town(fences: int) -> list[CircleShape | PolygonShape]:
    """Circles and many-cornered, concave, holed polygons over one town."""
    rng = np.random.default_rng(11)
    made: list[CircleShape | PolygonShape] = []
    for lon, lat in rng.uniform((126.9, 37.4), (127.1, 37.6), (fences // 2, 2)):
        made.append(CircleShape(lon=lon, lat=lat, radius_m=rng.uniform(50, 1_000)))
        angle = np.linspace(0, 2 * np.pi, 80, endpoint=False)
        reach = rng.uniform(0.003, 0.012, 80)
        ring = np.column_stack([lon + reach * np.cos(angle), lat + reach * np.sin(angle)])
        made.append(polygon_shape(shapely.Polygon(ring) - shapely.Point(lon, lat).buffer(0.001)))
    return made


VERSIONS = [version_of(shape, fence_id=i) for i, shape in enumerate(town(600))]


def in_threads(read: Callable[[int], Any]) -> list[Any]:
    """Run `read(0)`, `read(1)` … at the same moment, in as many threads."""
    start = threading.Barrier(THREADS)

    def together(seed: int) -> Any:
        start.wait()
        return read(seed)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(together, range(THREADS)))


def rows_of_round(seed: int, round_: int, size: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.random.default_rng(seed * 1_000 + round_).integers(0, len(LON), size)


def test_four_threads_at_once_are_the_first_to_use_a_fresh_index():
    whole = FenceIndex.build(VERSIONS).match(lon=LON, lat=LAT, at_ms=None)
    for _ in range(8):
        index = FenceIndex.build(VERSIONS)
        for hits in in_threads(lambda _, index=index: index.match(lon=LON, lat=LAT, at_ms=None)):
            assert np.array_equal(hits.ping, whole.ping)
            assert np.array_equal(hits.fence, whole.fence)


def test_four_threads_read_everything_an_index_answers():
    index = FenceIndex.build(VERSIONS)

    def read(seed: int) -> list[tuple[Any, ...]]:
        return [answers(index, rows_of_round(seed, round_, 60)) for round_ in range(8)]

    for seed, found in enumerate(in_threads(read)):
        for many, alone in zip(found, read(seed), strict=True):
            for a, b in zip(many, alone, strict=True):
                assert np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b


def answers(index: FenceIndex, rows: np.ndarray[Any, np.dtype[np.int64]]) -> tuple[Any, ...]:
    lon, lat, accuracy_m = LON[rows], LAT[rows], ACCURACY_M[rows]
    hits = index.candidates(lon=lon, lat=lat, at_ms=None, accuracy_m=accuracy_m)
    judged = judge(
        index,
        lon=lon,
        lat=lat,
        accuracy_m=accuracy_m,
        platform=np.zeros(len(rows), np.int8),
        ping=hits.ping,
        fence=hits.fence,
        policy=CertaintyPolicy(),
    )
    one = [index.match_one(x, y) for x, y in zip(lon, lat, strict=True)]
    box = [index.in_box(x, y, x + 0.01, y + 0.01) for x, y in zip(lon, lat, strict=True)]
    return hits.ping, hits.fence, judged.p, judged.verdict, one, box


def test_two_indexes_may_be_read_and_a_third_built_at_the_same_time():
    """Snapshots overlap: the old one is read while the next is built."""
    indexes = [FenceIndex.build(VERSIONS[:200]), FenceIndex.build(VERSIONS[200:400])]
    wanted = [[index.match_one(x, y) for x, y in zip(LON, LAT, strict=True)] for index in indexes]

    def work(seed: int) -> Any:
        if seed >= len(indexes):
            return len(FenceIndex.build(VERSIONS))
        return [indexes[seed].match_one(x, y) for x, y in zip(LON, LAT, strict=True)]

    assert in_threads(work) == [*wanted, len(VERSIONS), len(VERSIONS)]

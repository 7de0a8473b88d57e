"""Blocks that were patched fence by fence say what the same blocks say when drawn anew."""

from __future__ import annotations

import math

import numpy as np
import shapely

from geo.fences.fence import CircleShape, FenceVersion
from geo.matching.cell_layout import BLOCKS_A_DEGREE, BLOCKS_EAST, NO_CELLS
from geo.matching.index import FenceIndex
from tests.judging import metres_shape
from tests.strategies import polygon_shape, version_of

LON, LAT = 127.03, 37.5
HALF_DEG = 0.02


def dense_city(rng: np.random.Generator, count: int, *, first_id: int) -> list[FenceVersion]:
    """Circles and ragged, holed polygons of 30 to 400 m, hundreds in a few blocks."""
    made = []
    for number in range(first_id, first_id + count):
        x, y = rng.uniform((LON - HALF_DEG, LAT - HALF_DEG), (LON + HALF_DEG, LAT + HALF_DEG))
        size_m = math.exp(rng.uniform(math.log(30), math.log(400)))
        if number % 3:
            made.append(version_of(CircleShape(lon=x, lat=y, radius_m=size_m), fence_id=number))
            continue
        turn = np.linspace(0, 2 * np.pi, 25)[:-1]
        far = size_m * rng.uniform(0.5, 1.0, 24)
        ring = shapely.Polygon(np.column_stack([far * np.cos(turn), far * np.sin(turn)]))
        shape = ring - shapely.Point(0, 0).buffer(size_m / 5)
        made.append(version_of(polygon_shape(metres_shape(x, y, shape)), fence_id=number))
    return made


def block_words(index: FenceIndex) -> np.ndarray:
    """The words of the blocks about the city."""
    cells = index._cells
    assert cells is not None
    x = np.arange(-3, 4) + int((LON + 180) * BLOCKS_A_DEGREE)
    y = np.arange(-3, 4) + int((LAT + 90) * BLOCKS_A_DEGREE)
    places = (y[:, None] * BLOCKS_EAST + x).ravel()
    return cells._store.directory.words(places, wide=False)


def test_patched_blocks_of_a_dense_city_answer_as_redrawn_ones():
    rng = np.random.default_rng(17)
    index = FenceIndex.build(dense_city(rng, 400, first_id=0)).compile()
    alive = dict(enumerate(index.versions))
    before = block_words(index)
    for version in dense_city(rng, 60, first_id=400):
        gone = int(rng.choice(sorted(alive)))
        index = index.changed(added=[version], removed=[gone])
        alive[len(index) - 1] = version
        del alive[gone]
    after = block_words(index)
    cut = before & 15
    patched = (after != before) & (cut == (after & 15)) & (before != 0) & (cut != NO_CELLS)
    assert patched.sum() >= 5  # written anew, and cut as finely as before

    rows = np.array(sorted(alive))
    redrawn = FenceIndex.build([alive[row] for row in rows]).compile()
    lon, lat = rng.uniform(-1.2, 1.2, (2, 60_000)) * HALF_DEG + [[LON], [LAT]]
    here, there = index.pairs(lon=lon, lat=lat), redrawn.pairs(lon=lon, lat=lat)
    assert len(there) > 50_000
    assert np.array_equal(here.offsets, there.offsets)
    assert np.array_equal(here.fence, rows[there.fence])

    reach_m = rng.uniform(3.0, 80.0, len(lon))
    around = index.around(lon=lon, lat=lat, at_ms=None, reach_m=reach_m)
    anew = redrawn.around(lon=lon, lat=lat, at_ms=None, reach_m=reach_m)
    assert len(anew.asked) > 3_000
    assert np.array_equal(around.pairs.fence, rows[anew.pairs.fence])
    assert np.array_equal(around.pairs.offsets, anew.pairs.offsets)

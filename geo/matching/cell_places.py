"""From a place to the word of its block, as kernels look it up."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from geo.matching.cell_layout import REGION_EAST, REGION_NORTH, ROOT_SIDE
from geo.matching.compiled import inlined

Rows = NDArray[np.int32]


@inlined
def plain_lon(lon: float) -> float:
    """A longitude in [-180, 180), to the bit as `normalize_lon` gives it."""
    if -180.0 <= lon < 180.0:
        return lon
    wrapped = lon - 360.0 * math.floor((lon + 180.0) / 360.0)
    return wrapped if -180.0 <= wrapped < 180.0 else -180.0


@inlined
def entry_of(root: Rows, regions: Rows, bx: int, by: int) -> int:
    """Tile number × 2 + 1 if it has a record of its own, of the tile that a block lies in; 0: none."""
    tx, ty = bx >> 4, by >> 4
    region = root[(ty >> 4) * ROOT_SIDE + (tx >> 5)]
    return regions[region * (REGION_EAST * REGION_NORTH) + ((ty & 15) << 5) + (tx & 31)]


@inlined
def block_place(entry: int, bx: int, by: int) -> int:
    """Where the word of a block stands in `tiles`."""
    return (np.int64(entry) >> 1) * 256 + ((by & 15) << 4) + (bx & 15)

"""Which rims come near a ping: the cells around it know, and nobody else need be asked.

A fix with sigma s is certainly in a fence that holds it if no rim of that fence comes nearer than z × s
(notes/certainty.md §4: P ≥ 1 - exp(-z²/2) for any shape). A rim that does come so near crosses one of
the cells that the box of ±z s about the ping touches: those are the ping's own and, seldom, a few
others. So one more walk over cells that are in the processor's cache anyway tells the sure pairs, the
great majority, from the close ones whose P must be computed, and finds the concave, holed and multi-part
fences around a ping outside of them, which may have P ≥ 0.5 there.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from geo.matching.cell_circles import circle_q
from geo.matching.cell_layout import (
    BLOCK_DEG,
    BLOCKS_A_DEGREE,
    BLOCKS_EAST,
    CIRCLE_BITS,
    NO_CELLS,
    ODD,
    SURE_BITS,
    TILE_DEG,
    TILES_EAST,
    TURNED,
    Cells,
)
from geo.matching.cell_places import block_place, entry_of, plain_lon
from geo.matching.compiled import bare_kernel, inlined

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rows = NDArray[np.int32]

#: what `near_many` says of a pair; a ping that is `FAR` is to be looked at by other means
SURE, CLOSE = 1, 2
#: metres of a degree of latitude, and of longitude at the equator, at least
_NORTH_M = 110_500.0
_EAST_M = 111_300.0
#: how much farther than asked is looked: distances here are right to 0.3 %
_SPARE = 1.005
#: a walk is not for poles and for countries
_UP_TO_DEG = 84.0
REACH_MOST_M = 2_000.0
_SURE_MASK = (1 << SURE_BITS) - 1
_CIRCLE_MASK = (1 << CIRCLE_BITS) - 1


@inlined
def _mark(rows: Rows, begin: int, end: int, row: int, close: NDArray[np.int8]) -> bool:
    """Mark a pair of this ping as close; False if it is none."""
    for place in range(begin, end):
        if rows[place] == row:
            close[place] = CLOSE
            return True
    return False


@inlined
def _add(extra: Ints, ping: int, row: int, before: int) -> None:
    """Note a fence beside the ping, once."""
    key = np.int64(ping) << 32 | np.int64(row)
    count = extra[0]
    for place in range(min(before, len(extra) - 1) + 1, min(count, len(extra) - 1) + 1):
        if extra[place] == key:
            return
    if count + 1 < len(extra):
        extra[count + 1] = key
    extra[0] = count + 1


@inlined
def _rim_near(circle: Floats, row: int, x: float, y: float, reach_m: float) -> bool:
    """Whether a circle that holds the place, or may, has its rim within reach."""
    scale = circle[row * 8 + 2]
    if scale == 0.0:  # no polynomial
        return True
    q = circle_q(circle, row, x, y)
    if q > 1.0 + circle[row * 8 + 7]:
        return False
    depth = 1.0 - (reach_m * math.sqrt(scale) / _NORTH_M * _SPARE + circle[row * 8 + 7])
    return depth <= 0.0 or q >= depth * depth


@inlined
def _edges_near(arena: Rows, vertex: Floats, place: int, x: float, y: float, reach_m: float) -> bool:
    """Whether one of the edges of a piece comes within reach."""
    east_m = _EAST_M * math.cos(math.radians(y))
    turn = 360.0 if arena[place + 1] & TURNED else 0.0
    x += turn
    limit = reach_m * reach_m * (_SPARE * _SPARE)
    for run in range(arena[place + 1] >> 4):
        first = np.int64(arena[place + 2 + 2 * run])
        ax, ay = (vertex[first, 0] - x) * east_m, (vertex[first, 1] - y) * 111_132.0
        for corner in range(first + 1, first + 1 + arena[place + 3 + 2 * run]):
            bx, by = (vertex[corner, 0] - x) * east_m, (vertex[corner, 1] - y) * 111_132.0
            ex, ey = bx - ax, by - ay
            length2 = ex * ex + ey * ey
            along = -(ax * ex + ay * ey)
            if along <= 0.0 or length2 == 0.0:
                away = ax * ax + ay * ay
            elif along >= length2:
                away = bx * bx + by * by
            else:
                cross = ax * ey - ay * ex
                away = cross * cross / length2
            if away <= limit:
                return True
            ax, ay = bx, by
    return False


@inlined
def _around(column: int, columns: int) -> int:
    """A column of the grid, which goes around the earth."""
    if column < 0:
        return column + columns
    return column - columns if column >= columns else column


@inlined
def _look_around(
    arena: Rows,
    circle: Floats,
    vertex: Floats,
    word: int,
    west: float,
    south: float,
    side_deg: float,
    x: float,
    y: float,
    dx: float,
    dy: float,
    reach_m: float,
    rows: Rows,
    begin: int,
    end: int,
    close: NDArray[np.int8],
    ping: int,
    extra: Ints,
    before: int,
) -> None:
    """Ask the cells of one record that the box about a ping touches."""
    k = word & 15
    if k == NO_CELLS:
        return
    g = 1 << k
    per_deg = g * (1.0 / side_deg)
    # what is negative is cut towards 0
    first = int((x - dx - west) * per_deg)
    last = min(g - 1, int((x + dx - west) * per_deg))
    low = int((y - dy - south) * per_deg)
    high = min(g - 1, int((y + dy - south) * per_deg))
    first, low = max(first, 0), max(low, 0)
    base = (word >> 24) + ((word >> 4) & 0xFFFFF)
    for level in range(low, high + 1):
        for column in range(first, last + 1):
            cell = arena[base + level * g + column]
            if cell & 3 == 2 and _rim_near(circle, cell >> 2, x, y, reach_m):
                _mark(rows, begin, end, cell >> 2, close)
            if cell & 3 != 3:
                continue
            place = base + (cell >> 2)
            counts = arena[place]
            sure, circles = counts & _SURE_MASK, (counts >> SURE_BITS) & _CIRCLE_MASK
            pieces = counts >> (SURE_BITS + CIRCLE_BITS)
            place += 1
            if counts < 0:
                sure, circles, pieces = arena[place], arena[place + 1], arena[place + 2]
                place += 3
            place += sure
            for step in range(circles):
                if _rim_near(circle, arena[place + step], x, y, reach_m):
                    _mark(rows, begin, end, arena[place + step], close)
            place += circles
            for _ in range(pieces):
                row = arena[place]
                if _edges_near(arena, vertex, place, x, y, reach_m):
                    held = _mark(rows, begin, end, row, close)
                    if not held and arena[place + 1] & ODD:
                        _add(extra, ping, row, before)
                place += 2 + 2 * (arena[place + 1] >> 4)


@bare_kernel
def near_many(
    cells: Cells,
    lon: Floats,
    lat: Floats,
    reach_m: Floats,
    offsets: Ints,
    rows: Rows,
    close: NDArray[np.int8],
    extra: Ints,
    far: Ints,
    per_reach: Floats,
    with_wide: bool,
) -> None:
    """Tell sure pairs from close ones, and find the odd fences beside each ping.

    Args:
        reach_m: of each ping; NaN asks for nothing: its pairs are sure.
        offsets, rows: the pairs, as `match_many` gives them.
        close: per pair, filled in: `CLOSE` where the rim may come within reach, else `SURE`.
        extra: pairs ping << 32 | row, whose odd polygon does not hold the ping but comes within reach;
            extra[0] counts them and may pass what there is room for: call again then.
        per_reach: `degrees_by_reach()`; kernels keep no arrays of their own.
        with_wide: whether any tile has a record of its own.
        far: pings whose reach is too large, or that lie too near to a pole, for a walk; all their pairs
            are close, and nothing was looked for beside them. far[0] counts them.
    """
    root, regions, tiles, wide = cells.root, cells.regions, cells.tiles, cells.wide
    arena, circle, vertex = cells.arena, cells.circle, cells.vertex
    extra[0] = 0
    far[0] = 0
    for ping in range(len(lon)):
        begin, end = offsets[ping], offsets[ping + 1]
        for place in range(begin, end):
            close[place] = SURE
        reach = reach_m[ping]
        if not reach > 0.0:
            continue
        x, y = plain_lon(lon[ping]), lat[ping]
        if reach > REACH_MOST_M or abs(y) > _UP_TO_DEG or len(cells.everywhere) > 0:
            far[0] += 1
            far[far[0]] = ping
            for place in range(begin, end):
                close[place] = CLOSE
            continue
        before = extra[0]
        dy = reach * (_SPARE / _NORTH_M)
        dx = reach * per_reach[int(abs(y))]
        west_block = int((x - dx + 540.0) * BLOCKS_A_DEGREE) - BLOCKS_EAST
        east_block = int((x + dx + 540.0) * BLOCKS_A_DEGREE) - BLOCKS_EAST
        low_block = int((y - dy + 90.0) * BLOCKS_A_DEGREE)
        high_block = int((y + dy + 90.0) * BLOCKS_A_DEGREE)
        for by in range(low_block, high_block + 1):
            for column in range(west_block, east_block + 1):
                bx = _around(column, BLOCKS_EAST)
                entry = entry_of(root, regions, bx, by)
                if entry == 0:
                    continue
                word = tiles[block_place(entry, bx, by)]
                if word & 15 != NO_CELLS and word:
                    # in the block's own longitudes: the ping may stand a turn away from it
                    turn = (bx - column) * BLOCK_DEG
                    _look_around(
                        arena, circle, vertex, word, bx * BLOCK_DEG - 180.0, by * BLOCK_DEG - 90.0,
                        BLOCK_DEG, x + turn, y, dx, dy, reach, rows, begin, end, close, ping, extra,
                        before,
                    )  # fmt: skip
        if not with_wide:
            continue
        for ty in range(low_block >> 4, (high_block >> 4) + 1):
            for column in range(west_block >> 4, (east_block >> 4) + 1):
                tx = _around(column, TILES_EAST)
                entry = entry_of(root, regions, tx << 4, ty << 4)
                if entry & 1:
                    turn = (tx - column) * TILE_DEG
                    _look_around(
                        arena, circle, vertex, wide[entry >> 1], tx * TILE_DEG - 180.0,
                        ty * TILE_DEG - 90.0, TILE_DEG, x + turn, y, dx, dy, reach, rows, begin, end,
                        close, ping, extra, before,
                    )  # fmt: skip


def degrees_by_reach() -> Floats:
    """By full degree of latitude: degrees of longitude that a metre takes at most, for `near_many`."""
    north = np.minimum(np.arange(91) + 1.05, 90.0)
    return np.asarray(_SPARE / (_EAST_M * np.cos(np.radians(north)) + 1e-9))

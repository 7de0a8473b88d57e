"""Which rims come near a ping: the cells around it know, and nobody else need be asked.

A fix with sigma s is certainly in a fence that holds it if no rim of that fence comes nearer than z × s
(notes/certainty.md §4: P ≥ 1 - exp(-z²/2) for any shape). A rim that does come so near crosses one of
the cells that the box of ±z s about the ping touches: those are the ping's own and, seldom, a few
others. So a walk over cells, most of which the match has just read, tells the sure pairs, the great
majority, from the close ones whose P must be computed, and finds the concave, holed and multi-part
fences around a ping outside of them, which may have P ≥ 0.5 there.

A cell's word says whether circles or polygons cross it. Most cells are done with that: a fix that is in
no fence asks only those that polygons cross, and no fix asks those that nobody crosses.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geo.matching.cell_layout import (
    BLOCK_DEG,
    BLOCKS_A_DEGREE,
    BLOCKS_EAST,
    CELL_BITS,
    CIRCLE_WIDTH,
    CIRCLES_CROSS,
    NO_CELLS,
    ONE_CIRCLE,
    PIECES_CROSS,
    TILE_DEG,
    TILES_EAST,
    TOGETHER,
    Cells,
)
from geo.matching.cell_places import block_place, entry_of, plain_lon
from geo.matching.cell_rims import NORTH_M, SPARE, ask_circle, ask_stream, crossing
from geo.matching.compiled import bare_kernel, fetch, inlined
from geo.matching.hits import CLOSE

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rows = NDArray[np.int32]

#: metres of a degree of longitude at the equator, at least
_EAST_M = 111_300.0
#: a walk is not for poles and for countries
_UP_TO_DEG = 84.0
REACH_MOST_M = 2_000.0
#: a box that touches more cells of a block is walked at once, without waiting for the others
_FEW_CELLS = 24
#: room for so many cells a ping on average
_CELLS_A_PING = 12


class Tray(NamedTuple):
    """Scratch of `near_block`, for the pings that go through a step together.

    Attributes:
        box: (pings, 4) longitude, latitude, half the width and half the height of the box about a ping.
        at, base, who, x: of the cells to be asked: where the cell's word stands, then its stream, or
            -1 - row of one circle; the first cell of its block; the ping, counted from the first of
            them; the ping's longitude.
    """

    box: Floats
    at: Ints
    base: Ints
    who: Ints
    x: Floats

    @classmethod
    def make(cls) -> Tray:
        """Scratch for one thread."""
        at, base, who = np.empty((3, TOGETHER * _CELLS_A_PING), np.int64)
        x = np.empty(TOGETHER * _CELLS_A_PING)
        return cls(box=np.empty((TOGETHER, 4)), at=at, base=base, who=who, x=x)


@inlined
def _around(column: int, columns: int) -> int:
    """A column of the grid, which goes around the earth."""
    if column < 0:
        return column + columns
    return column - columns if column >= columns else column


@inlined
def _span(from_deg: float, to_deg: float, per_deg: float, g: int) -> tuple[int, int]:
    """First and last of the g cells of a record between two distances from its corner."""
    # what is negative is cut towards 0
    return max(int(from_deg * per_deg), 0), min(g - 1, int(to_deg * per_deg))


@bare_kernel
def _look_around(
    cells: Cells,
    word: int,
    west: float,
    south: float,
    side_deg: float,
    x: float,
    box: Floats,
    reach_m: float,
    rows: Rows,
    begin: int,
    end: int,
    close: NDArray[np.int8],
    ping: int,
    extra: Ints,
    before: int,
) -> None:
    """Ask the cells of one record that the box about a ping (a line of `Tray.box`) touches."""
    k = word & 15
    if k == NO_CELLS:
        return
    arena, circle, vertex = cells.arena, cells.circle, cells.vertex
    y, dx, dy = box[1], box[2], box[3]
    east_m = _EAST_M * math.cos(math.radians(y))
    g = 1 << k
    per_deg = g * (1.0 / side_deg)
    first, last = _span(x - dx - west, x + dx - west, per_deg, g)
    low, high = _span(y - dy - south, y + dy - south, per_deg, g)
    base = (word >> 24) + ((word >> 4) & 0xFFFFF)
    for level in range(low, high + 1):
        for column in range(first, last + 1):
            cell = arena[base + level * g + column]
            if cell & 3 == ONE_CIRCLE:
                ask_circle(circle, cell >> CELL_BITS, x, y, reach_m, rows, begin, end, close)
            elif cell & (CIRCLES_CROSS | PIECES_CROSS):
                ask_stream(
                    arena, circle, vertex, base + (cell >> CELL_BITS), x, y, east_m, reach_m, rows,
                    begin, end, close, ping, extra, before,
                )  # fmt: skip


@bare_kernel
def near_block(
    cells: Cells,
    lon: Floats,
    lat: Floats,
    reach_m: Floats,
    ping_first: int,
    here: int,
    home: Ints,
    offsets: Ints,
    rows: Rows,
    close: NDArray[np.int8],
    extra: Ints,
    far: Ints,
    per_reach: Floats,
    with_wide: bool,
    tray: Tray,
) -> None:
    """Tell sure pairs from close ones, and find the odd fences beside each ping of a block.

    As in `match_block`, many pings go through one step together, so that the waits for memory overlap.

    Args:
        reach_m: of each ping; NaN asks for nothing: its pairs are sure.
        ping_first, here, home: the pings, and what `match_block` knows of their blocks.
        offsets, rows: the pairs, as `match_block` gives them.
        close: per pair; those whose rim may come within reach become `CLOSE`.
        extra: pairs ping << 32 | row, whose odd polygon does not hold the ping but comes within reach;
            extra[0] counts them and may pass what there is room for: call again then.
        far: pings whose reach is too large, or that lie too near to a pole, for a walk; all their pairs
            are close, and nothing was looked for beside them. far[0] counts them.
        per_reach: `degrees_by_reach()`; kernels keep no arrays of their own.
        with_wide: whether any tile has a record of its own.
        tray: scratch of this thread.
    """
    tiles, arena, circle, vertex = cells.tiles, cells.arena, cells.circle, cells.vertex
    box, at, base_at, who, there = tray.box, tray.at, tray.base, tray.who, tray.x
    extra[0] = 0
    # 1 the box about each ping, and the cells that it touches
    asked = 0
    for step in range(here):
        ping = ping_first + step
        reach = reach_m[ping]
        box[step, 3] = 0.0
        if not reach > 0.0:
            continue
        x, y = plain_lon(lon[ping]), lat[ping]
        if reach > REACH_MOST_M or abs(y) > _UP_TO_DEG or len(cells.everywhere) > 0:
            far[0] += 1
            far[far[0]] = ping
            for place in range(offsets[ping], offsets[ping + 1]):
                close[place] = CLOSE
            continue
        dy = reach * (SPARE / NORTH_M)
        dx = reach * per_reach[int(abs(y))]
        box[step, 0], box[step, 1], box[step, 2], box[step, 3] = x, y, dx, dy
        west = int((x - dx + 540.0) * BLOCKS_A_DEGREE) - BLOCKS_EAST
        east = int((x + dx + 540.0) * BLOCKS_A_DEGREE) - BLOCKS_EAST
        south = int((y - dy + 90.0) * BLOCKS_A_DEGREE)
        north = int((y + dy + 90.0) * BLOCKS_A_DEGREE)
        before = extra[0]
        alone = west == east and south == north and home[step] >= 0
        for by in range(south, north + 1):
            for column in range(west, east + 1):
                bx = _around(column, BLOCKS_EAST)
                word = home[step]
                if not alone:
                    entry = entry_of(cells.root, cells.regions, bx, by)
                    word = tiles[block_place(entry, bx, by)]
                if word & 15 == NO_CELLS or not word:
                    continue
                # in the block's own longitudes: the ping may stand a turn away from it
                x_here = x + (bx - column) * BLOCK_DEG
                left, lower = bx * BLOCK_DEG - 180.0, by * BLOCK_DEG - 90.0
                g = 1 << (word & 15)
                per_deg = g * BLOCKS_A_DEGREE
                first, last = _span(x_here - dx - left, x_here + dx - left, per_deg, g)
                low, high = _span(y - dy - lower, y + dy - lower, per_deg, g)
                touched = (last + 1 - first) * (high + 1 - low)
                if touched > _FEW_CELLS or asked + touched > len(at):
                    _look_around(
                        cells, word, left, lower, BLOCK_DEG, x_here, box[step], reach, rows,
                        offsets[ping], offsets[ping + 1], close, ping, extra, before,
                    )  # fmt: skip
                    continue
                base = (word >> 24) + ((word >> 4) & 0xFFFFF)
                for level in range(low, high + 1):
                    fetch(arena, base + level * g + first)
                    for nth in range(first, last + 1):
                        at[asked], base_at[asked] = base + level * g + nth, base
                        who[asked], there[asked] = step, x_here
                        asked += 1
    # 2 their words: streams and circle records; a ping in no fence may only be beside a polygon
    kept = 0
    for task in range(asked):
        cell = np.int64(arena[at[task]])
        step = who[task]
        ping = ping_first + step
        matters = PIECES_CROSS | (CIRCLES_CROSS if offsets[ping] < offsets[ping + 1] else 0)
        if not cell & matters:
            continue
        who[kept], there[kept] = step, there[task]
        if cell & 3 == ONE_CIRCLE:
            at[kept] = -(cell >> CELL_BITS) - 1
            fetch(circle, (cell >> CELL_BITS) * CIRCLE_WIDTH)
        else:
            at[kept] = base_at[task] + (cell >> CELL_BITS)
            fetch(arena, at[kept])
            fetch(arena, at[kept] + 16)
        kept += 1
    # 3 streams: the first things they name
    for task in range(kept):
        if at[task] < 0:
            continue
        place, circles, pieces = crossing(arena, at[task])
        for nth in range(min(circles, 4)):
            fetch(circle, np.int64(arena[place + nth]) * CIRCLE_WIDTH)
        place += circles
        for _ in range(min(pieces, 4)):
            fetch(vertex, np.int64(arena[place + 2]) * 2)
            fetch(vertex, np.int64(arena[place + 2] + arena[place + 3]) * 2)
            place += 2 + 2 * (arena[place + 1] >> 4)
    # 4 whose rim comes near
    last_step, before, east_m = -1, extra[0], 0.0
    for task in range(kept):
        step = who[task]
        if step != last_step:
            last_step, before = step, extra[0]
            east_m = _EAST_M * math.cos(math.radians(box[step, 1]))
        ping = ping_first + step
        begin, end = offsets[ping], offsets[ping + 1]
        if at[task] < 0:
            ask_circle(
                circle, -at[task] - 1, there[task], box[step, 1], reach_m[ping], rows, begin, end, close
            )
        else:
            ask_stream(
                arena, circle, vertex, at[task], there[task], box[step, 1], east_m,
                reach_m[ping], rows, begin, end, close, ping, extra, before,
            )  # fmt: skip
    if with_wide:
        for step in range(here):
            if box[step, 3] > 0.0:
                _ask_tiles(cells, box, ping_first + step, step, reach_m, offsets, rows, close, extra)


@bare_kernel
def _ask_tiles(
    cells: Cells,
    box: Floats,
    ping: int,
    step: int,
    reach_m: Floats,
    offsets: Ints,
    rows: Rows,
    close: NDArray[np.int8],
    extra: Ints,
) -> None:
    """Ask the records of whole tiles that the box about a ping touches."""
    x, y, dx, dy = box[step, 0], box[step, 1], box[step, 2], box[step, 3]
    west, east = int((x - dx + 540.0) / TILE_DEG), int((x + dx + 540.0) / TILE_DEG)
    for ty in range(int((y - dy + 90.0) / TILE_DEG), int((y + dy + 90.0) / TILE_DEG) + 1):
        for column in range(west - TILES_EAST, east - TILES_EAST + 1):
            tx = _around(column, TILES_EAST)
            entry = entry_of(cells.root, cells.regions, tx << 4, ty << 4)
            if entry & 1:
                # all that was noted of this ping stands at the end, or was found by blocks before it
                _look_around(
                    cells, cells.wide[entry >> 1], tx * TILE_DEG - 180.0, ty * TILE_DEG - 90.0, TILE_DEG,
                    x + (tx - column) * TILE_DEG, box[step], reach_m[ping], rows, offsets[ping],
                    offsets[ping + 1], close, ping, extra, 0,
                )  # fmt: skip


def degrees_by_reach() -> Floats:
    """By full degree of latitude: degrees of longitude that a metre takes at most, for `near_block`."""
    north = np.minimum(np.arange(91) + 1.05, 90.0)
    return np.asarray(SPARE / (_EAST_M * np.cos(np.radians(north)) + 1e-9))

"""Reading the cell index for one ping: the rows of its cell's record, or of all records about its place.

What `cell_match` does for many pings together ends here too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geo.matching.cell_circles import circle_q
from geo.matching.cell_layout import (
    BLOCK_DEG,
    BLOCKS_A_DEGREE,
    BLOCKS_EAST,
    BLOCKS_NORTH,
    CELL_BITS,
    CIRCLE_BITS,
    NO_CELLS,
    ONE_CIRCLE,
    ONE_SURE,
    STREAM,
    SURE_BITS,
    TILE_DEG,
    TURNED,
    Cells,
    Hand,
)
from geo.matching.cell_places import block_place, entry_of
from geo.matching.cell_polygons import piece_side, polygon_holds
from geo.matching.cell_rows import once_each, sort_rows
from geo.matching.compiled import bare_kernel, inlined

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rows = NDArray[np.int32]

#: kernels write up to so many rows beyond what they keep
SPARE = 8
SURE_MASK = (1 << SURE_BITS) - 1
CIRCLE_MASK = (1 << CIRCLE_BITS) - 1


@inlined
def _copy(arena: Rows, place: int, many: int, out: Rows, count: int) -> None:
    """Copy rows; mostly four or fewer, written without a loop."""
    for step in range(4):
        out[count + step] = arena[place + step]
    for step in range(4, many):
        out[count + step] = arena[place + step]


@inlined
def room_for(arena: Rows, word: int, cell: int) -> int:
    """At most so many rows come out of a block for a ping in this cell (a cell word)."""
    covering = (word >> 4) & 0xFFFFF
    if cell & 3 != STREAM:
        return covering + 1
    place = (word >> 24) + covering + (cell >> CELL_BITS)
    counts = arena[place]
    if counts >= 0:
        return (
            covering
            + (counts & SURE_MASK)
            + ((counts >> SURE_BITS) & CIRCLE_MASK)
            + (counts >> (SURE_BITS + CIRCLE_BITS))
        )
    return covering + arena[place + 1] + arena[place + 2] + arena[place + 3]


@inlined
def _circle(circle: Floats, row: int, x: float, y: float, doubt: Rows) -> int:
    """1 where the circle holds the place or may hold it; in doubt the row is noted."""
    off = circle_q(circle, row, x, y) - 1.0
    if abs(off) <= circle[row * 8 + 7]:
        if doubt[0] < len(doubt) - 1:
            doubt[doubt[0] + 1] = row
        doubt[0] += 1
        return 1
    return 1 if off < 0 else 0


@inlined
def rows_in_cell(
    arena: Rows,
    circle: Floats,
    vertex: Floats,
    rings: Ints,
    ends: Ints,
    word: int,
    cell: int,
    x: float,
    y: float,
    east: float,
    south: float,
    out: Rows,
    count: int,
    hand: Hand,
) -> int:
    """Add the rows of one record that hold a ping to `out`; the new count. `out` must have room."""
    place = word >> 24
    covering = (word >> 4) & 0xFFFFF
    if covering:
        _copy(arena, place, covering, out, count)
        count += covering
    if cell == 0:
        return count
    row = cell >> CELL_BITS
    if cell & 3 == ONE_SURE:
        out[count] = row
        return count + 1
    if cell & 3 == ONE_CIRCLE:
        out[count] = row
        return count + _circle(circle, row, x, y, hand.doubt)
    place += covering + row
    counts = arena[place]
    sure, circles = counts & SURE_MASK, (counts >> SURE_BITS) & CIRCLE_MASK
    pieces = counts >> (SURE_BITS + CIRCLE_BITS)
    place += 1
    if counts < 0:
        sure, circles, pieces = arena[place], arena[place + 1], arena[place + 2]
        place += 3
    _copy(arena, place, sure, out, count)
    count += sure
    place += sure
    for step in range(circles):
        row = arena[place + step]
        out[count] = row
        count += _circle(circle, row, x, y, hand.doubt)
    place += circles
    for _ in range(pieces):
        row, turn = arena[place], 0.0
        if arena[place + 1] & TURNED:
            turn = 360.0
        held = piece_side(arena, vertex, place, x + turn, y, east + turn, south)
        if held == 2:
            held = polygon_holds(vertex, rings, ends, row, x + turn, y, hand.parts) * 1
        out[count] = row
        count += held
        place += 2 + 2 * (arena[place + 1] >> 4)
    return count


@bare_kernel
def _holds_anywhere(
    vertex: Floats, rings: Ints, ends: Ints, row: int, x: float, y: float, parts: Floats
) -> bool:
    return polygon_holds(vertex, rings, ends, row, x, y, parts) or polygon_holds(
        vertex, rings, ends, row, x + 360.0, y, parts
    )


@bare_kernel
def _record_rows(
    cells: Cells,
    word: int,
    west: float,
    south: float,
    side_deg: float,
    x: float,
    y: float,
    out: Rows,
    count: int,
    hand: Hand,
) -> int:
    """Rows of one record, wherever its block stands; -1 where `out` has no room for what may come."""
    k = word & 15
    cell, lower_east, lower = 0, 0.0, 0.0
    if k != NO_CELLS:
        g = 1 << k
        cell_deg = side_deg / g
        column = min(int((x - west) / cell_deg), g - 1)
        level = min(int((y - south) / cell_deg), g - 1)
        cell = int(cells.arena[(word >> 24) + ((word >> 4) & 0xFFFFF) + level * g + column])
        lower_east, lower = west + (column + 1) * cell_deg, south + level * cell_deg
    if count + room_for(cells.arena, word, cell) + SPARE > len(out):
        return -1
    return rows_in_cell(
        cells.arena,
        cells.circle,
        cells.vertex,
        cells.rings,
        cells.ends,
        word,
        cell,
        x,
        y,
        lower_east,
        lower,
        out,
        count,
        hand,
    )


@bare_kernel
def match_place(cells: Cells, x: float, y: float, out: Rows, count: int, hand: Hand) -> int:
    """Add the rows that hold one place to `out`, ascending; the new count, or -1 where they do not fit.

    Args:
        x: in [-180, 180).
        hand: its doubt[0] counts the circles within their band, whose rows stand behind it and in
            `out` too: the geodesic decides about them. There may be more than `doubt` has room for.
    """
    begin = count
    if abs(y) == 90.0:
        pole = cells.north if y > 0 else cells.south
        if count + len(pole) + SPARE > len(out):
            return -1
        for row in pole:
            out[count] = row
            count += 1
        return count
    bx = min(int((x + 180.0) * BLOCKS_A_DEGREE), BLOCKS_EAST - 1)
    by = min(int((y + 90.0) * BLOCKS_A_DEGREE), BLOCKS_NORTH - 1)
    entry = entry_of(cells.root, cells.regions, bx, by)
    if entry:
        word = cells.tiles[block_place(entry, bx, by)]
        if word:
            west, south = bx * BLOCK_DEG - 180.0, by * BLOCK_DEG - 90.0
            count = _record_rows(cells, word, west, south, BLOCK_DEG, x, y, out, count, hand)
        if entry & 1 and count >= 0:
            word = cells.wide[entry >> 1]
            west, south = (bx >> 4) * TILE_DEG - 180.0, (by >> 4) * TILE_DEG - 90.0
            count = _record_rows(cells, word, west, south, TILE_DEG, x, y, out, count, hand)
        if count < 0:
            return -1
    if count + len(cells.everywhere) + SPARE > len(out):
        return -1
    for row in cells.everywhere:
        out[count] = row
        if cells.circle[row * 8] == cells.circle[row * 8]:  # a circle; NaN is none
            count += _circle(cells.circle, row, x, y, hand.doubt)
        elif _holds_anywhere(cells.vertex, cells.rings, cells.ends, row, x, y, hand.parts):
            count += 1
    sort_rows(out, begin, count)
    if x == -180.0:  # a polygon may end there from both sides
        count = once_each(out, begin, count)
    return count

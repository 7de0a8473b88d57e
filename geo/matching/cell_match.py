"""Reading the cell index: which fences hold each ping.

A ping costs a handful of look-ups in memory and hardly any arithmetic, so what counts is waiting for
memory. `match_many` therefore takes 256 pings through one step before the next: each step asks the
processor for what the next one reads, and the waits overlap. `match_place` is the same for one.
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
    CIRCLE_BITS,
    NO_CELLS,
    SURE_BITS,
    TILE_DEG,
    TOGETHER,
    TURNED,
    Cells,
    Hand,
)
from geo.matching.cell_places import block_place, entry_of, plain_lon
from geo.matching.cell_polygons import piece_side, polygon_holds
from geo.matching.cell_rows import once_each, sort_rows
from geo.matching.compiled import bare_kernel, fetch, inlined

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rows = NDArray[np.int32]

#: kernels write up to so many rows beyond what they keep
SPARE = 8
#: what `match_many` ended with, besides the number of pings
DONE, ROWS_FULL, BAD_PING = 0, 1, 2
_SURE_MASK = (1 << SURE_BITS) - 1
_CIRCLE_MASK = (1 << CIRCLE_BITS) - 1


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
    if cell & 3 != 3:
        return covering + 1
    place = (word >> 24) + covering + (cell >> 2)
    counts = arena[place]
    if counts >= 0:
        return (
            covering
            + (counts & _SURE_MASK)
            + ((counts >> SURE_BITS) & _CIRCLE_MASK)
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
def _rows_in_cell(
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
    row = cell >> 2
    if cell & 3 == 1:
        out[count] = row
        return count + 1
    if cell & 3 == 2:
        out[count] = row
        return count + _circle(circle, row, x, y, hand.doubt)
    place += covering + row
    counts = arena[place]
    sure, circles = counts & _SURE_MASK, (counts >> SURE_BITS) & _CIRCLE_MASK
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
    cell, lower_east, lower = np.int32(0), 0.0, 0.0
    if k != NO_CELLS:
        g = 1 << k
        cell_deg = side_deg / g
        column = min(int((x - west) / cell_deg), g - 1)
        level = min(int((y - south) / cell_deg), g - 1)
        cell = cells.arena[(word >> 24) + ((word >> 4) & 0xFFFFF) + level * g + column]
        lower_east, lower = west + (column + 1) * cell_deg, south + level * cell_deg
    if count + room_for(cells.arena, word, cell) + SPARE > len(out):
        return -1
    return _rows_in_cell(
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


@bare_kernel
def match_many(
    cells: Cells,
    lon: Floats,
    lat: Floats,
    offsets: Ints,
    out: Rows,
    hand: Hand,
    doubts: Ints,
    begin: int,
    count: int,
) -> tuple[int, int, int]:
    """The rows that hold each ping, ascending per ping, from ping `begin` on.

    Args:
        offsets: (pings + 1) filled in: ping i has out[offsets[i] : offsets[i + 1]].
        out: rows, from `count` on.
        hand: scratch of this thread.
        doubts: pairs ping << 32 | row to be settled by geodesic; doubts[0] counts them.
    Returns:
        Pings done, rows written, and `DONE`, or why it ended: call again with larger columns.
    """
    # taken out once: reading a column from a tuple counts its readers each time
    root, regions, tiles, arena = cells.root, cells.regions, cells.tiles, cells.arena
    circle, vertex, rings, ends = cells.circle, cells.vertex, cells.rings, cells.ends
    total = len(lon)
    place, word, cell_at, who = hand.place, hand.word, hand.cell_at, hand.who
    cell, corner, doubt = hand.cell, hand.corner, hand.doubt
    simple = len(cells.everywhere) == 0
    ping = begin
    while ping < total:
        here = min(TOGETHER, total - ping)
        # 1 tiles: which pings have one, and where their block words stand
        left = 0
        for step in range(here):
            x, y = lon[ping + step], lat[ping + step]
            if not (abs(y) <= 90.0 and abs(x) < np.inf):
                return ping + step, count, BAD_PING
            x = plain_lon(x)
            bx = min(int((x + 180.0) * BLOCKS_A_DEGREE), BLOCKS_EAST - 1)
            by = min(int((y + 90.0) * BLOCKS_A_DEGREE), BLOCKS_NORTH - 1)
            entry = entry_of(root, regions, bx, by)
            who[left] = step
            corner[left, 0], corner[left, 1] = bx * BLOCK_DEG - 180.0, by * BLOCK_DEG - 90.0
            place[left] = block_place(entry, bx, by)
            if not simple or entry & 1 or abs(y) == 90.0 or x == -180.0:
                place[left] = -1  # one of the few that go the long way
                left += 1
            elif entry:
                fetch(tiles, place[left])
                left += 1
        # 2 block words: where the cell words stand
        kept = 0
        for step in range(left):
            if place[step] < 0:
                word[kept], who[kept], cell_at[kept] = -1, who[step], -1
                kept += 1
                continue
            found = tiles[place[step]]
            if found == 0:
                continue
            k = found & 15
            g = 1 << k
            per_deg = BLOCKS_A_DEGREE * g
            west, south = corner[step, 0], corner[step, 1]
            x = plain_lon(lon[ping + who[step]])
            column = min(int((x - west) * per_deg), g - 1)
            level = min(int((lat[ping + who[step]] - south) * per_deg), g - 1)
            first = (found >> 24) + ((found >> 4) & 0xFFFFF)
            word[kept], who[kept] = found, who[step]
            cell_at[kept] = -1 if k == NO_CELLS else first + level * g + column
            corner[kept, 0] = west + (column + 1) / per_deg
            corner[kept, 1] = south + level / per_deg
            fetch(arena, found >> 24)
            if k != NO_CELLS:
                fetch(arena, cell_at[kept])
            kept += 1
        # 3 cell words: streams and circle records
        for step in range(kept):
            found = np.int32(0)
            if cell_at[step] >= 0:
                found = arena[cell_at[step]]
                if found & 3 == 3:
                    base = (word[step] >> 24) + ((word[step] >> 4) & 0xFFFFF)
                    fetch(arena, base + (found >> 2))
                    fetch(arena, base + (found >> 2) + 16)
                elif found & 3 == 2:
                    fetch(circle, np.int64(found >> 2) * 8)
            cell[step] = found
        # 4 streams: the first things they name
        for step in range(kept):
            found = cell[step]
            if found & 3 == 3:
                at = (word[step] >> 24) + ((word[step] >> 4) & 0xFFFFF) + (found >> 2)
                counts = arena[at]
                if counts >= 0:
                    at += 1 + (counts & _SURE_MASK)
                    circles = (counts >> SURE_BITS) & _CIRCLE_MASK
                    for more in range(min(circles, 4)):
                        fetch(circle, np.int64(arena[at + more]) * 8)
                    at += circles
                    for _ in range(min(counts >> (SURE_BITS + CIRCLE_BITS), 4)):
                        fetch(vertex, np.int64(arena[at + 2]) * 2)
                        at += 2 + 2 * (arena[at + 1] >> 4)
        # 5 what holds the ping
        last = 0
        for step in range(kept):
            for between in range(last, who[step]):
                offsets[ping + between + 1] = count
            last = who[step]
            x, y = plain_lon(lon[ping + last]), lat[ping + last]
            doubt[0] = 0
            if word[step] < 0:
                end = match_place(cells, x, y, out, count, hand)
            elif count + room_for(arena, word[step], cell[step]) + SPARE > len(out):
                end = -1
            else:
                end = _rows_in_cell(
                    arena,
                    circle,
                    vertex,
                    rings,
                    ends,
                    word[step],
                    cell[step],
                    x,
                    y,
                    corner[step, 0],
                    corner[step, 1],
                    out,
                    count,
                    hand,
                )
                sort_rows(out, count, end)
            if end < 0 or doubt[0] > len(doubt) - 1 or doubts[0] + doubt[0] + 1 > len(doubts):
                return ping + last, count, ROWS_FULL
            for which in range(doubt[0]):
                doubts[0] += 1
                doubts[doubts[0]] = (ping + last) << 32 | np.int64(doubt[which + 1])
            count = end
        for between in range(last, here):
            offsets[ping + between + 1] = count
        ping += here
    return total, count, DONE

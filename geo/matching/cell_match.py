"""Reading the cell index: which fences hold each ping.

A ping costs a handful of look-ups in memory and hardly any arithmetic, so what counts is waiting for
memory. `match_block` therefore takes 256 pings through one step before the next: each step asks the
processor for what the next one reads, and the waits overlap. `cell_one.match_place` is the same for one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geo.matching.cell_layout import (
    BLOCK_DEG,
    BLOCKS_A_DEGREE,
    BLOCKS_EAST,
    BLOCKS_NORTH,
    CELL_BITS,
    CIRCLE_BITS,
    NO_CELLS,
    ONE_CIRCLE,
    STREAM,
    SURE_BITS,
    TOGETHER,
    Cells,
    Hand,
)
from geo.matching.cell_one import CIRCLE_MASK, SPARE, SURE_MASK, match_place, room_for, rows_in_cell
from geo.matching.cell_places import block_place, entry_of, plain_lon
from geo.matching.cell_rows import sort_rows
from geo.matching.compiled import bare_kernel, fetch

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rows = NDArray[np.int32]

#: what `match_many` ended with, besides the number of pings
DONE, ROWS_FULL, BAD_PING = 0, 1, 2


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
    total = len(lon)
    ping = begin
    while ping < total:
        here = min(TOGETHER, total - ping)
        done, count, why = match_block(cells, lon, lat, ping, here, offsets, out, hand, doubts, count)
        ping += done
        if why != DONE:
            return ping, count, why
    return total, count, DONE


@bare_kernel
def match_block(
    cells: Cells,
    lon: Floats,
    lat: Floats,
    ping: int,
    here: int,
    offsets: Ints,
    out: Rows,
    hand: Hand,
    doubts: Ints,
    count: int,
) -> tuple[int, int, int]:
    """`match_many` for `here` pings, `TOGETHER` at most, from `ping` on; how many of them are done.

    `hand.home` is left with the block word of each: 0 for none, -1 for one that was not looked up.
    """
    # taken out once: reading a column from a tuple counts its readers each time
    root, regions, tiles, arena = cells.root, cells.regions, cells.tiles, cells.arena
    circle, vertex, rings, ends = cells.circle, cells.vertex, cells.rings, cells.ends
    place, word, cell_at, who = hand.place, hand.word, hand.cell_at, hand.who
    cell, corner, doubt, home = hand.cell, hand.corner, hand.doubt, hand.home
    simple = len(cells.everywhere) == 0
    # 1 tiles: which pings have one, and where their block words stand
    left = 0
    for step in range(here):
        x, y = lon[ping + step], lat[ping + step]
        if not (abs(y) <= 90.0 and abs(x) < np.inf):
            return step, count, BAD_PING
        x = plain_lon(x)
        bx = min(int((x + 180.0) * BLOCKS_A_DEGREE), BLOCKS_EAST - 1)
        by = min(int((y + 90.0) * BLOCKS_A_DEGREE), BLOCKS_NORTH - 1)
        entry = entry_of(root, regions, bx, by)
        who[left], home[step] = step, 0
        corner[left, 0], corner[left, 1] = bx * BLOCK_DEG - 180.0, by * BLOCK_DEG - 90.0
        place[left] = block_place(entry, bx, by)
        if not simple or entry & 1 or abs(y) == 90.0 or x == -180.0:
            place[left] = -1  # one of the few that go the long way
            home[step] = -1
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
        home[who[step]] = found
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
            if found & 3 == STREAM:
                base = (word[step] >> 24) + ((word[step] >> 4) & 0xFFFFF)
                fetch(arena, base + (found >> CELL_BITS))
                fetch(arena, base + (found >> CELL_BITS) + 16)
            elif found & 3 == ONE_CIRCLE:
                fetch(circle, np.int64(found >> CELL_BITS) * 8)
        cell[step] = found
    # 4 streams: the first things they name
    for step in range(kept):
        found = cell[step]
        if found & 3 == STREAM:
            at = (word[step] >> 24) + ((word[step] >> 4) & 0xFFFFF) + (found >> CELL_BITS)
            counts = arena[at]
            if counts >= 0:
                at += 1 + (counts & SURE_MASK)
                circles = (counts >> SURE_BITS) & CIRCLE_MASK
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
            end = rows_in_cell(
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
            return last, count, ROWS_FULL
        for which in range(doubt[0]):
            doubts[0] += 1
            doubts[doubts[0]] = (ping + last) << 32 | np.int64(doubt[which + 1])
        count = end
    for between in range(last, here):
        offsets[ping + between + 1] = count
    return here, count, DONE

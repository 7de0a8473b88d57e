"""Drawing up the record of a block: which of its cells each fence covers, crosses or leaves.

How fine a block is cut follows from its rim: the rims that cross it, in block sides, tell how many
cells they will cross at each k; k grows until no more than `Plan.crossed` fences cross a cell on average
(fewer: faster and larger, measured in docs/matching.md), and stops where the record would grow out of
bounds, as thousands of fences drawn over each other would make it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geo.matching.cell_circles import circle_in_box
from geo.matching.cell_draw import COVERS, CROSSES, Rows, draw
from geo.matching.cell_layout import (
    BLOCK_DEG,
    BLOCKS_NORTH,
    CELL_BITS,
    CIRCLE,
    CIRCLE_BITS,
    CIRCLES_CROSS,
    EDGE,
    K_MOST,
    NO_CELLS,
    ONE_CIRCLE,
    ONE_SURE,
    PIECE,
    PIECE_BITS,
    PIECES_CROSS,
    STREAM,
    SURE,
    SURE_BITS,
    TURNED,
    Cells,
    Desk,
)
from geo.matching.cell_polygons import touch
from geo.matching.compiled import kernel

#: words that a record may be expected to take before cells are cut no finer
_WORDS_MOST = 1 << 17
_METRES_A_DEGREE = 111_200.0
#: what had no room
DESK_FULL, ARENA_FULL, FOUND_FULL = -1, -2, -3
#: a fence this share of a block beyond a border may still touch the block behind it
BORDER_OF_BLOCKS = 1e-6


class Plan(NamedTuple):
    """How finely blocks are cut; see the module.

    Attributes:
        crossed: fences that may cross a cell on average.
        most_blocks: a fence whose box meets more blocks than this stands in the tiles' own records.
    """

    crossed: float
    most_blocks: int


@kernel
def places_of(
    cells: Cells, rows: Rows, desk: Desk, row: int, side_deg: float, found: NDArray[np.int64], count: int
) -> int:
    """The blocks (or tiles, by `side_deg`) that a fence meets, as (row, place, flags) after `count`.

    A place is number north × numbers east + number east. Returns the new count, or `FOUND_FULL` or
    `DESK_FULL`.
    """
    per_deg = 1.0 / side_deg
    columns = round(360.0 * per_deg)
    west, south = rows.bounds[row, 0] + 180.0, rows.bounds[row, 1] + 90.0
    first = math.floor(west * per_deg - BORDER_OF_BLOCKS)
    last = math.floor((rows.bounds[row, 2] + 180.0) * per_deg + BORDER_OF_BLOCKS)
    low = max(math.floor(south * per_deg - BORDER_OF_BLOCKS), 0)
    high = math.floor((rows.bounds[row, 3] + 90.0) * per_deg + BORDER_OF_BLOCKS)
    high = min(high, columns // 2 - 1)
    if rows.is_polygon[row]:
        first = max(first, 0)
        last = min(last, 2 * columns - 1)
    else:
        last = min(last, first + columns - 1)
    across, up = last - first + 1, high - low + 1
    if across * up > len(desk.touched) or count + across * up > len(found):
        return FOUND_FULL
    x0, y0 = first * side_deg - 180.0, low * side_deg - 90.0
    if rows.is_polygon[row] and touch(cells, desk, row, x0, y0, side_deg, across, up) < 0:
        return DESK_FULL
    for level in range(up):
        for column in range(across):
            x, y = x0 + column * side_deg, y0 + level * side_deg
            if rows.is_polygon[row]:
                cell = level * across + column
                flags = CROSSES if desk.touched[cell] else COVERS if desk.parity[cell] else 0
            else:
                flags = circle_in_box(cells.circle, row, x, y, x + side_deg, y + side_deg)
            if flags == 0:
                continue
            east = first + column
            if rows.is_polygon[row] and east >= columns:
                flags |= TURNED
            found[count, 0] = row
            found[count, 1] = np.int64(low + level) * columns + (east + columns) % columns
            found[count, 2] = flags
            count += 1
    return count


@kernel
def cut_of(rows: Rows, plan: Plan, fences: NDArray[np.int64], side_deg: float) -> int:
    """How often to halve a block with these fences (row, place, flags)."""
    rim = 0.0
    inner = 0.0
    crossing = 0
    for which in range(len(fences)):
        if fences[which, 2] & COVERS:
            continue
        crossing += 1
        sides = rows.rim_m[fences[which, 0]] / (side_deg * _METRES_A_DEGREE)
        rim += min(sides, 1.6)
        inner += min(0.5, sides * sides / 13.0)
    if crossing == 0:
        return NO_CELLS
    k = 0
    while k < K_MOST:
        g = 1 << k
        crossed = 1.3 * rim * g + crossing
        if crossed <= plan.crossed * g * g or inner * 4 * g * g + 6 * crossed > _WORDS_MOST:
            break
        k += 1
    return k


@kernel
def write(
    cells: Cells, desk: Desk, fences: NDArray[np.int64], k: int, drawn: int, place: int
) -> tuple[int, int]:
    """Write the record of a block into the arena at `place`.

    Returns:
        Where the rows of the covering fences begin, which a block word names, and the place after the
        record; the second is `ARENA_FULL` where it does not fit.
    """
    arena = cells.arena
    cell_count = 0 if k == NO_CELLS else 1 << (2 * k)
    begin = place
    if place + 2 * len(fences) + 3 * cell_count + 2 * drawn + 16 > len(arena):
        return 0, ARENA_FULL
    base, place = write_fences(arena, fences, begin)
    if cell_count:
        place = _write_cells(arena, desk, cell_count, drawn, place)
    arena[begin] = place - begin
    return base, place


@kernel
def write_fences(arena: NDArray[np.int32], fences: NDArray[np.int64], begin: int) -> tuple[int, int]:
    """The beginning of a record: where its covering fences begin, and the place after them."""
    place = begin + 1
    for which in range(len(fences)):
        if not fences[which, 2] & COVERS:
            arena[place] = fences[which, 0] << 1 | (1 if fences[which, 2] & TURNED else 0)
            place += 1
    arena[place] = place - begin - 1
    place += 1
    base = place
    for which in range(len(fences)):
        if fences[which, 2] & COVERS:
            arena[place] = fences[which, 0]
            place += 1
    return base, place


@kernel
def _write_cells(arena: NDArray[np.int32], desk: Desk, cell_count: int, drawn: int, place: int) -> int:
    """Cell words, then the streams they name; the place after them."""
    sort_by_cell(desk, cell_count, drawn)
    table = place
    place += cell_count
    begin = 0
    for cell in range(cell_count):
        end = desk.tally[cell]
        arena[table + cell] = 0
        if end > begin:
            arena[table + cell], place = write_cell(arena, desk, begin, end, table, place)
        begin = end
    return place


@kernel
def write_cell(
    arena: NDArray[np.int32], desk: Desk, begin: int, end: int, table: int, place: int
) -> tuple[int, int]:
    """The word of a cell with these records by `desk.order`, its stream written if it needs one."""
    if end == begin:
        return 0, place
    kind, row = desk.record[desk.order[begin], 1], desk.record[desk.order[begin], 2]
    if end == begin + 1 and kind != PIECE:
        what = ONE_SURE if kind == SURE else ONE_CIRCLE | CIRCLES_CROSS
        return row << CELL_BITS | what, place
    after, what = _write_stream(arena, desk, begin, end, place)
    return (place - table) << CELL_BITS | what, after


@kernel
def sort_by_cell(desk: Desk, cell_count: int, drawn: int) -> None:
    """Stable: afterwards `tally[c]` is the end of cell c in `order`."""
    tally = desk.tally
    tally[: cell_count + 1] = 0
    for which in range(drawn):
        tally[desk.record[which, 0] + 1] += 1
    for cell in range(cell_count):
        tally[cell + 1] += tally[cell]
    for which in range(drawn):
        cell = desk.record[which, 0]
        desk.order[tally[cell]] = which
        tally[cell] += 1


@kernel
def _write_stream(
    arena: NDArray[np.int32], desk: Desk, begin: int, end: int, place: int
) -> tuple[int, int]:
    """The stream of one cell: the place after it, and how its cell word ends.

    Edges come before the piece they belong to, as they were drawn.
    """
    sure, circles, pieces = 0, 0, 0
    for which in range(begin, end):
        kind = desk.record[desk.order[which], 1]
        sure += kind == SURE
        circles += kind == CIRCLE
        pieces += kind == PIECE
    if sure < 1 << SURE_BITS and circles < 1 << CIRCLE_BITS and pieces < 1 << (PIECE_BITS - 1):
        arena[place] = sure | circles << SURE_BITS | pieces << (SURE_BITS + CIRCLE_BITS)
        place += 1
    else:
        arena[place], arena[place + 1] = -1, sure
        arena[place + 2], arena[place + 3] = circles, pieces
        place += 4
    at_circle = place + sure
    head = at_circle + circles
    run = head + 2
    before = -2
    for which in range(begin, end):
        record = desk.record[desk.order[which]]
        kind, number = record[1], record[2]
        if kind == SURE:
            arena[place] = number
            place += 1
        elif kind == CIRCLE:
            arena[at_circle] = number
            at_circle += 1
        elif kind == EDGE and number == before + 1:
            arena[run - 1] += 1
            before = number
        elif kind == EDGE:
            arena[run], arena[run + 1] = number, 1
            run += 2
            before = number
        else:
            arena[head] = number
            arena[head + 1] = ((run - head - 2) >> 1) << 4 | record[3]
            head = run
            run = head + 2
            before = -2
    what = STREAM | (CIRCLES_CROSS if circles else 0) | (PIECES_CROSS if pieces else 0)
    return head, what


@kernel
def make_record(
    cells: Cells,
    rows: Rows,
    desk: Desk,
    plan: Plan,
    fences: NDArray[np.int64],
    west: float,
    south: float,
    side_deg: float,
    place: int,
) -> tuple[int, int]:
    """Draw up and write a block: its word and the place after it.

    Args:
        fences: (row, place, flags) of the fences that meet the block, flags as `places_of` gives them.
        place: where the arena is free.
    Returns:
        (0, DESK_FULL) or (0, ARENA_FULL) where something is too small; nothing is harmed then.
    """
    covering = 0
    for which in range(len(fences)):
        covering += fences[which, 2] & COVERS != 0
    k = cut_of(rows, plan, fences, side_deg)
    drawn = 0
    if k != NO_CELLS:
        drawn = draw(cells, rows, desk, fences, west, south, side_deg, k)
        if drawn < 0:
            return 0, DESK_FULL
    base, after = write(cells, desk, fences, k, drawn, place)
    if after < 0:
        return 0, after
    return np.int64(base) << 24 | np.int64(covering) << 4 | k, after


@kernel
def all_places(
    cells: Cells,
    rows: Rows,
    desk: Desk,
    wanted: NDArray[np.int64],
    wide: bool,
    found: NDArray[np.int64],
    begin: int,
    count: int,
) -> tuple[int, int, int]:
    """Blocks (tiles if wide) of the wanted rows `begin` and on.

    Returns:
        Rows done, places found, and what was too small for the next row: `FOUND_FULL` or `DESK_FULL`.
    """
    side_deg = 16 * BLOCK_DEG if wide else BLOCK_DEG
    for which in range(begin, len(wanted)):
        more = places_of(cells, rows, desk, wanted[which], side_deg, found, count)
        if more < 0:
            return which, count, more
        count = more
    return len(wanted), count, 0


@kernel
def blocks_met(rows: Rows, wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many blocks the box of each wanted row meets."""
    met = np.empty(len(wanted), np.int64)
    for which in range(len(wanted)):
        box = rows.bounds[wanted[which]]
        met[which] = (math.floor((box[2] - box[0]) / BLOCK_DEG) + 2) * (
            min(math.floor((box[3] - box[1]) / BLOCK_DEG) + 2, BLOCKS_NORTH)
        )
    return met

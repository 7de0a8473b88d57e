"""Changing one block's record without drawing what is in it again.

Adding a fence to a block of fifty by drawing all fifty costs milliseconds where cities are dense. But
what the others mean for the cells is written down: only the new fence is drawn, cells that it does not
meet and that hold no removed fence are copied word by word, the others are read back to the desk and
written again. Cells stay as fine as they were, until the plan would cut them clearly otherwise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geo.matching.cell_draw import Rows, draw
from geo.matching.cell_layout import (
    CELL_BITS,
    CIRCLE,
    CIRCLE_BITS,
    EDGE,
    NO_CELLS,
    ONE_SURE,
    PIECE,
    STREAM,
    SURE,
    SURE_BITS,
    Cells,
    Desk,
)
from geo.matching.cell_records import (
    ARENA_FULL,
    DESK_FULL,
    Plan,
    cut_of,
    sort_by_cell,
    write_cell,
    write_fences,
)
from geo.matching.compiled import kernel

Ints = NDArray[np.int64]
Words = NDArray[np.int32]

#: a block keeps its cells while the plan, loosened or tightened by this factor, would not cut otherwise
_SLACK = 1.25
#: what a cell word says besides the place
_WHAT = (1 << CELL_BITS) - 1


@kernel
def keeps_its_cells(rows: Rows, plan: Plan, word: int, fences: Ints, side_deg: float) -> bool:
    """Whether the cells of a block are fine enough, and not too fine, for these fences."""
    k = word & 15
    if word == 0 or k == NO_CELLS:
        return False
    coarse = cut_of(rows, Plan(plan.crossed * _SLACK, plan.most_blocks), fences, side_deg)
    fine = cut_of(rows, Plan(plan.crossed / _SLACK, plan.most_blocks), fences, side_deg)
    return fine != NO_CELLS and coarse <= k <= fine


@kernel
def is_among(removed: Ints, row: int) -> bool:
    """Whether a row is one of these, which ascend."""
    at = np.searchsorted(removed, row)
    return bool(at < len(removed) and removed[at] == row)


@kernel
def patch_record(
    cells: Cells,
    rows: Rows,
    desk: Desk,
    word: int,
    fences: Ints,
    kept: int,
    removed: Ints,
    west: float,
    south: float,
    side_deg: float,
    place: int,
) -> tuple[int, int]:
    """A block's record again with some fences more and less: its word and the place after it.

    Args:
        word: of the record as it is, with cells.
        fences: (row, place, flags): the first `kept` are in the record already, the others are new.
        removed: ascending rows to be left out.
        place: where the arena is free.
    Returns:
        (0, DESK_FULL) or (0, ARENA_FULL) where something is too small; nothing is harmed then.
    """
    arena = cells.arena
    k = word & 15
    cell_count = 1 << (2 * k)
    old_base = word >> 24
    old_begin = old_base - 2 - arena[old_base - 1]
    old_table = old_base + ((word >> 4) & 0xFFFFF)
    drawn = draw(cells, rows, desk, fences[kept:], west, south, side_deg, k)
    if drawn < 0:
        return 0, DESK_FULL
    if place + arena[old_begin] + 2 * len(fences) + 5 * cell_count + 2 * drawn + 16 > len(arena):
        return 0, ARENA_FULL
    begin = place
    base, place = write_fences(arena, fences, begin)
    table = place
    place += cell_count
    sort_by_cell(desk, cell_count, drawn)
    first = 0
    for cell in range(cell_count):
        last = desk.tally[cell]
        old = arena[old_table + cell]
        if first == last and not _holds(arena, old, old_table, removed):
            arena[table + cell] = old
            if old & 3 == STREAM:
                arena[table + cell] = (place - table) << CELL_BITS | old & _WHAT
                start = old_table + (old >> CELL_BITS)
                for at in range(start, _stream_end(arena, start)):
                    arena[place] = arena[at]
                    place += 1
        else:
            end = _read_cell(arena, old, old_table, removed, desk, drawn)
            if end < 0 or end + last - first > len(desk.record):
                return 0, DESK_FULL
            for which in range(drawn, end):
                desk.order[which] = which
            desk.order[end : end + last - first] = desk.order[first:last]
            arena[table + cell], place = write_cell(arena, desk, drawn, end + last - first, table, place)
        first = last
    arena[begin] = place - begin
    return base << 24 | (table - base) << 4 | k, place


@kernel
def _counts(arena: Words, place: int) -> tuple[int, int, int, int]:
    """Sure rows, circles and pieces of a stream, and where the rows begin."""
    head = arena[place]
    if head < 0:
        return arena[place + 1], arena[place + 2], arena[place + 3], place + 4
    circles = (head >> SURE_BITS) & ((1 << CIRCLE_BITS) - 1)
    return head & ((1 << SURE_BITS) - 1), circles, head >> (SURE_BITS + CIRCLE_BITS), place + 1


@kernel
def _stream_end(arena: Words, place: int) -> int:
    sure, circles, pieces, place = _counts(arena, place)
    place += sure + circles
    for _ in range(pieces):
        place += 2 + 2 * (arena[place + 1] >> 4)
    return place


@kernel
def _holds(arena: Words, word: int, table: int, removed: Ints) -> bool:
    """Whether one of these rows stands in a cell."""
    if word == 0 or len(removed) == 0:
        return False
    if word & 3 != STREAM:
        return is_among(removed, word >> CELL_BITS)
    sure, circles, pieces, place = _counts(arena, table + (word >> CELL_BITS))
    for at in range(place, place + sure + circles):
        if is_among(removed, arena[at]):
            return True
    place += sure + circles
    for _ in range(pieces):
        if is_among(removed, arena[place]):
            return True
        place += 2 + 2 * (arena[place + 1] >> 4)
    return False


@kernel
def _read_cell(arena: Words, word: int, table: int, removed: Ints, desk: Desk, count: int) -> int:
    """Put a cell back on the desk behind `count`, without the removed rows; the new count, or -1."""
    record = desk.record
    if word == 0:
        return count
    if word & 3 != STREAM:
        if not is_among(removed, word >> CELL_BITS):
            record[count, 1] = SURE if word & 3 == ONE_SURE else CIRCLE
            record[count, 2] = word >> CELL_BITS
            count += 1
        return count
    sure, circles, pieces, place = _counts(arena, table + (word >> CELL_BITS))
    if count + sure + circles > len(record):
        return -1
    for which in range(sure + circles):
        if not is_among(removed, arena[place + which]):
            record[count, 1] = SURE if which < sure else CIRCLE
            record[count, 2] = arena[place + which]
            count += 1
    place += sure + circles
    for _ in range(pieces):
        runs = arena[place + 1] >> 4
        if not is_among(removed, arena[place]):
            for run in range(runs):
                edge, edges = arena[place + 2 + 2 * run], arena[place + 3 + 2 * run]
                if count + edges + 1 > len(record):
                    return -1
                for step in range(edges):
                    record[count, 1] = EDGE
                    record[count, 2] = edge + step
                    count += 1
            if count + 1 > len(record):
                return -1
            record[count, 1] = PIECE
            record[count, 2] = arena[place]
            record[count, 3] = arena[place + 1] & 15
            count += 1
        place += 2 + 2 * runs
    return count

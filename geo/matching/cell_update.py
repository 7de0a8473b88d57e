"""Changing blocks: their records are written elsewhere (`cell_patch`), what readers see is left alone.

A changed block costs one record, its tile (2 kB), its region (2 kB) and the root (8 kB), all copied; the
new root is a new index, and the one before goes on answering as it did. What no newer index names any
more is counted, and `cells.CellIndex` copies the rest together when it has become too much.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geo.matching.cell_draw import COVERS, CROSSES, Rows
from geo.matching.cell_layout import NO_CELLS, TURNED, Cells, Desk
from geo.matching.cell_patch import is_among, keeps_its_cells, patch_record
from geo.matching.cell_records import ARENA_FULL, Plan, make_record
from geo.matching.compiled import kernel

Ints = NDArray[np.int64]


@kernel
def record_begin(arena: NDArray[np.int32], word: int) -> int:
    """Where the record of a block word begins."""
    base = word >> 24
    return base - 2 - arena[base - 1]


@kernel
def fences_of(arena: NDArray[np.int32], word: int, place: int, fences: Ints, removed: Ints) -> int:
    """The fences of a block as (row, place, flags), without the removed rows; how many.

    Args:
        place: of the block, to be written down with each.
        removed: ascending rows.
    """
    count = 0
    if word == 0:
        return 0
    begin = record_begin(arena, word)
    base = word >> 24
    for at in range(begin + 1, base - 1):
        row = arena[at] >> 1
        if not is_among(removed, row):
            fences[count, 0], fences[count, 1] = row, place
            fences[count, 2] = CROSSES | (TURNED if arena[at] & 1 else 0)
            count += 1
    for at in range(base, base + ((word >> 4) & 0xFFFFF)):
        if not is_among(removed, arena[at]):
            fences[count, 0], fences[count, 1], fences[count, 2] = arena[at], place, COVERS
            count += 1
    return count


@kernel
def _same_crossing(arena: NDArray[np.int32], word: int, fences: Ints) -> bool:
    """Whether the fences that cross a block are those of its record, in the same order."""
    if word == 0 or word & 15 == NO_CELLS:
        return False
    at = record_begin(arena, word) + 1
    end = (word >> 24) - 1
    for which in range(len(fences)):
        if fences[which, 2] & COVERS:
            continue
        turned = 1 if fences[which, 2] & TURNED else 0
        if at >= end or arena[at] != (fences[which, 0] << 1 | turned):
            return False
        at += 1
    return at == end


@kernel
def _with_other_cover(arena: NDArray[np.int32], word: int, fences: Ints, place: int) -> tuple[int, int]:
    """The record again, with these covering fences: its cells need not be drawn again."""
    begin = record_begin(arena, word)
    base = word >> 24
    covering = (word >> 4) & 0xFFFFF
    length = arena[begin]
    if place + length + len(fences) + 16 > len(arena):
        return 0, ARENA_FULL
    start = place
    for at in range(begin, base):
        arena[place] = arena[at]
        place += 1
    new_base = place
    for which in range(len(fences)):
        if fences[which, 2] & COVERS:
            arena[place] = fences[which, 0]
            place += 1
    count = place - new_base
    for at in range(base + covering, begin + length):
        arena[place] = arena[at]
        place += 1
    arena[start] = place - start
    return np.int64(new_base) << 24 | np.int64(count) << 4 | (word & 15), place


@kernel
def change_blocks(
    cells: Cells,
    rows: Rows,
    desk: Desk,
    plan: Plan,
    places: Ints,
    before: Ints,
    added: Ints,
    starts: Ints,
    removed: Ints,
    side_deg: float,
    after: Ints,
    begin: int,
    place: int,
) -> tuple[int, int, int]:
    """Write new records for blocks `begin` and on: (blocks done, place after them, 0 or why not more).

    Args:
        places: of the blocks, ascending; `before` their words, 0 where there was nothing.
        added: (row, place, flags) sorted by place; block i gets those from starts[i] to starts[i + 1].
        removed: ascending rows that go from every block.
        after: the new words, filled in; 0 where nothing is left.
    """
    columns = round(360.0 / side_deg)
    fences = np.empty((256, 3), np.int64)
    for block in range(begin, len(places)):
        word = before[block]
        more = starts[block + 1] - starts[block]
        room = more
        if word:
            room += arena_fences(cells.arena, word)
        if room > len(fences):
            fences = np.empty((2 * room, 3), np.int64)
        count = fences_of(cells.arena, word, places[block], fences, removed)
        kept = count
        fences[count : count + more] = added[starts[block] : starts[block + 1]]
        count += more
        after[block] = 0
        if count == 0:
            continue
        if _same_crossing(cells.arena, word, fences[:count]):
            made, end = _with_other_cover(cells.arena, word, fences[:count], place)
        else:
            west = (places[block] % columns) * side_deg - 180.0
            south = (places[block] // columns) * side_deg - 90.0
            if keeps_its_cells(rows, plan, word, fences[:count], side_deg):
                made, end = patch_record(
                    cells, rows, desk, word, fences[:count], kept, removed, west, south, side_deg, place
                )
            else:
                made, end = make_record(
                    cells, rows, desk, plan, fences[:count], west, south, side_deg, place
                )
        if end < 0:
            return block, place, end
        after[block] = made
        place = end
    return len(places), place, 0


@kernel
def arena_fences(arena: NDArray[np.int32], word: int) -> int:
    """How many fences meet the block of a word."""
    return arena[(word >> 24) - 1] + ((word >> 4) & 0xFFFFF)


@kernel
def live_words(arena: NDArray[np.int32], words: Ints) -> int:
    """How many words of the arena the records of these block words take."""
    total = 0
    for word in words:
        if word:
            total += arena[record_begin(arena, word)]
    return total


@kernel
def copy_records(arena: NDArray[np.int32], words: Ints, target: NDArray[np.int32], place: int) -> int:
    """Copy the records of these block words together; the words are changed to name the copies."""
    for which in range(len(words)):
        word = words[which]
        if word:
            begin = record_begin(arena, word)
            shift = place - begin
            for at in range(begin, begin + arena[begin]):
                target[at + shift] = arena[at]
            words[which] = word + (np.int64(shift) << 24)
            place += arena[begin]
    return place

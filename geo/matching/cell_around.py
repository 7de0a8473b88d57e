"""Match and look around in one go: the pairs of each fix, and which of them have to be weighed.

`match_block` and `near_block` take the same 256 fixes one after the other, so that the second finds in
the processor's cache what the first has read. What the second adds is merged in before the next block.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geo.matching.cell_layout import TOGETHER, Cells, Hand
from geo.matching.cell_match import BAD_PING, DONE, ROWS_FULL, match_block
from geo.matching.cell_near import Tray, near_block
from geo.matching.cell_one import SPARE
from geo.matching.cell_rows import keep_in_time
from geo.matching.compiled import bare_kernel
from geo.matching.growing import larger
from geo.matching.hits import BESIDE, SURE

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rows = NDArray[np.int32]
Codes = NDArray[np.int8]


class Fixes(NamedTuple):
    """Columns of fixes, and when the rows of the index are live.

    Attributes:
        lon, lat, reach_m: degrees and metres; a reach of NaN asks for nothing.
        at_ms: instants; of length 0 where all rows that are found are live.
        live_from_ms, live_until_ms: by row of the index.
    """

    lon: Floats
    lat: Floats
    reach_m: Floats
    at_ms: Ints
    live_from_ms: Ints
    live_until_ms: Ints


class Found(NamedTuple):
    """What `around_many` fills in; columns that are too small are asked for anew.

    Attributes:
        offsets: (fixes + 1); fix i has the pairs from offsets[i] on, to offsets[i + 1].
        rows: of the pairs, ascending per fix.
        state: of the pairs: `SURE`, `CLOSE` or `BESIDE`.
        asked, asked_by: places of the pairs that are not sure, and their fixes.
        doubts: pairs fix << 32 | row to be settled by geodesic; doubts[0] counts them.
        far: fixes to be looked at by other means, see `near_block`; far[0] counts them.
        extra: scratch for what lies beside.
    """

    offsets: Ints
    rows: Rows
    state: Codes
    asked: Ints
    asked_by: Ints
    doubts: Ints
    far: Ints
    extra: Ints

    def larger(self) -> Found:
        """With twice the room for pairs."""
        grown = ("rows", "state", "asked", "asked_by", "doubts", "extra")
        return self._replace(**{name: larger(getattr(self, name)) for name in grown})

    def cut(self, count: int, asks: int) -> Found:
        """Without the room behind so many pairs and asked pairs, and without the counts."""
        return self._replace(
            rows=self.rows[:count],
            state=self.state[:count],
            asked=self.asked[:asks],
            asked_by=self.asked_by[:asks],
            doubts=self.doubts[1 : self.doubts[0] + 1],
            far=self.far[1 : self.far[0] + 1],
        )


@bare_kernel
def around_many(
    cells: Cells,
    fixes: Fixes,
    found: Found,
    per_reach: Floats,
    with_wide: bool,
    hand: Hand,
    tray: Tray,
    begin: int,
    count: int,
    asks: int,
) -> tuple[int, int, int, int]:
    """Match fixes `begin` and on, and find what has to be weighed.

    Args:
        count, asks: pairs and asked pairs so far.
    Returns:
        Fixes done, pairs, asked pairs, and `DONE` or why it ended: `BAD_PING` with the bad one's number
        in place of the fixes done, or `ROWS_FULL`: call again with larger columns.
    """
    offsets, rows, state = found.offsets, found.rows, found.state
    asked, asked_by, extra = found.asked, found.asked_by, found.extra
    doubts, far = found.doubts, found.far
    lon, lat, reach_m, at_ms = fixes.lon, fixes.lat, fixes.reach_m, fixes.at_ms
    live_from_ms, live_until_ms = fixes.live_from_ms, fixes.live_until_ms
    first = begin
    while first < len(lon):
        here = min(TOGETHER, len(lon) - first)
        doubted, afar = doubts[0], far[0]
        done, end, why = match_block(cells, lon, lat, first, here, offsets, rows, hand, doubts, count)
        if why == BAD_PING:
            return first + done, count, asks, why
        if why == DONE:
            if len(at_ms):
                end = keep_in_time(offsets, rows, at_ms, live_from_ms, live_until_ms, first, here)
            for place in range(count, end):
                state[place] = SURE
            near_block(
                cells, lon, lat, reach_m, first, here, hand.home, offsets, rows, state, extra, far,
                per_reach, with_wide, tray,
            )  # fmt: skip
            more = extra[0]
            if (
                more >= len(extra)
                or end + more + SPARE > len(rows)
                or asks + end - count + more > len(asked)
            ):
                why = ROWS_FULL
        if why == ROWS_FULL:
            doubts[0], far[0] = doubted, afar
            return first, count, asks, why
        if extra[0]:
            more = _in_order(extra, fixes)
            _merge(extra, more, offsets, rows, state, first, here)
            end += more
        ping = first
        for place in range(count, end):
            if state[place] != SURE:
                while offsets[ping + 1] <= place:
                    ping += 1
                asked[asks], asked_by[asks] = place, ping
                asks += 1
        count = end
        first += here
    return first, count, asks, DONE


@bare_kernel
def _in_order(extra: Ints, fixes: Fixes) -> int:
    """Sort the pairs from extra[1] on, and keep each once that is live; how many are left."""
    many = extra[0]
    for place in range(2, many + 1):
        key = extra[place]
        at = place - 1
        while at >= 1 and extra[at] > key:
            extra[at + 1] = extra[at]
            at -= 1
        extra[at + 1] = key
    left = 0
    for place in range(1, many + 1):
        key = extra[place]
        if left and extra[left] == key:
            continue
        ping, row = key >> 32, key & 0xFFFFFFFF
        if len(fixes.at_ms):
            at = fixes.at_ms[ping]
            if not fixes.live_from_ms[row] <= at < fixes.live_until_ms[row]:
                continue
        left += 1
        extra[left] = key
    return left


@bare_kernel
def _merge(
    extra: Ints, more: int, offsets: Ints, rows: Rows, state: Codes, first: int, here: int
) -> None:
    """Put `more` pairs, ascending from extra[1] on, among those of a block, from the last on back."""
    left = more
    read = offsets[first + here] - 1
    while left > 0:
        ping, row = extra[left] >> 32, extra[left] & 0xFFFFFFFF
        while read >= offsets[ping] and (read >= offsets[ping + 1] or rows[read] > row):
            rows[read + left], state[read + left] = rows[read], state[read]
            read -= 1
        rows[read + left], state[read + left] = row, BESIDE
        left -= 1
    for place in range(more, 0, -1):
        last = first + here
        if place < more:
            last = extra[place + 1] >> 32
        for ping in range(extra[place] >> 32, last):
            offsets[ping + 1] += place

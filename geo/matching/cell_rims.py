"""Whether a rim comes near a ping: what `cell_near` asks of the circles and pieces of a cell."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from geo.matching.cell_circles import circle_q
from geo.matching.cell_layout import CIRCLE_BITS, ODD, SURE_BITS, TURNED
from geo.matching.compiled import bare_kernel, inlined
from geo.matching.hits import CLOSE

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rows = NDArray[np.int32]

#: metres of a degree of latitude at least, and on average
NORTH_M = 110_500.0
_NORTH_MEAN_M = 111_132.0
#: how much farther than asked is looked: distances here are right to 0.3 %
SPARE = 1.005
#: added to the squared length of an edge, which may be 0
_NO_LENGTH_M2 = 1e-30
_SURE_MASK = (1 << SURE_BITS) - 1
_CIRCLE_MASK = (1 << CIRCLE_BITS) - 1


@inlined
def _open_pair(rows: Rows, begin: int, end: int, row: int, close: NDArray[np.int8]) -> int:
    """The place of a row's pair among those of a ping: -1 where there is none, -2 where it is close."""
    for place in range(begin, end):
        if rows[place] == row:
            return -2 if close[place] == CLOSE else place
    return -1


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
    depth = 1.0 - (reach_m * math.sqrt(scale) / NORTH_M * SPARE + circle[row * 8 + 7])
    return depth <= 0.0 or q >= depth * depth


@inlined
def _edges_near(
    arena: Rows, vertex: Floats, place: int, x: float, y: float, east_m: float, reach_m: float
) -> bool:
    """Whether one of the edges of a piece comes within reach. Without branches: none can be foretold."""
    turn = 360.0 if arena[place + 1] & TURNED else 0.0
    x += turn
    least = np.inf
    for run in range(arena[place + 1] >> 4):
        first = np.int64(arena[place + 2 + 2 * run])
        ax, ay = (vertex[first, 0] - x) * east_m, (vertex[first, 1] - y) * _NORTH_MEAN_M
        for corner in range(first + 1, first + 1 + arena[place + 3 + 2 * run]):
            bx, by = (vertex[corner, 0] - x) * east_m, (vertex[corner, 1] - y) * _NORTH_MEAN_M
            ex, ey = bx - ax, by - ay
            share = -(ax * ex + ay * ey) / (ex * ex + ey * ey + _NO_LENGTH_M2)
            share = max(0.0, share)
            share = min(1.0, share)
            nx, ny = ax + share * ex, ay + share * ey
            away = nx * nx + ny * ny
            least = min(least, away)
            ax, ay = bx, by
    return least <= reach_m * reach_m * (SPARE * SPARE)


@inlined
def ask_circle(
    circle: Floats,
    row: int,
    x: float,
    y: float,
    reach_m: float,
    rows: Rows,
    begin: int,
    end: int,
    close: NDArray[np.int8],
) -> None:
    """Mark a circle's pair where its rim comes near."""
    pair = _open_pair(rows, begin, end, row, close)
    if pair >= 0 and _rim_near(circle, row, x, y, reach_m):
        close[pair] = CLOSE


@bare_kernel
def ask_stream(
    arena: Rows,
    circle: Floats,
    vertex: Floats,
    place: int,
    x: float,
    y: float,
    east_m: float,
    reach_m: float,
    rows: Rows,
    begin: int,
    end: int,
    close: NDArray[np.int8],
    ping: int,
    extra: Ints,
    before: int,
) -> None:
    """Ask what crosses a cell: circles and pieces of its stream."""
    place, circles, pieces = crossing(arena, place)
    for step in range(circles):
        ask_circle(circle, arena[place + step], x, y, reach_m, rows, begin, end, close)
    place += circles
    for _ in range(pieces):
        row, flags = arena[place], arena[place + 1]
        pair = _open_pair(rows, begin, end, row, close)
        asked = pair >= 0 or (pair == -1 and flags & ODD != 0)
        if asked and _edges_near(arena, vertex, place, x, y, east_m, reach_m):
            if pair >= 0:
                close[pair] = CLOSE
            else:
                _add(extra, ping, row, before)
        place += 2 + 2 * (flags >> 4)


@inlined
def crossing(arena: Rows, place: int) -> tuple[int, int, int]:
    """Where the circles of a stream begin, how many they are, and how many pieces follow."""
    counts = arena[place]
    if counts < 0:
        return place + 4 + arena[place + 1], arena[place + 2], arena[place + 3]
    circles = (counts >> SURE_BITS) & _CIRCLE_MASK
    return place + 1 + (counts & _SURE_MASK), circles, counts >> (SURE_BITS + CIRCLE_BITS)

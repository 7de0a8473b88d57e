"""Polygons in cells: which cells their edges touch, and on which side a ping of such a cell lies.

A ping in a cell is inside iff the path from the cell's lower right corner, up and then left to the
ping, crosses an odd number of edges (corner outside) or an even one (corner inside). Only edges that
touch the cell can cross that path, mostly two or three of hundreds. Wherever a ping or a corner lies so
near to an edge that rounding could decide, the whole polygon is asked with exact arithmetic.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from geo.matching.cell_layout import BORDER, EDGE, INSIDE, UNSURE, Cells, Desk
from geo.matching.compiled import bare_kernel, inlined, kernel
from geo.matching.sides import SIDE_ERROR, side

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Words = NDArray[np.int32]

#: an edge crosses the line of corners within this many degrees of where it is computed, and …
_CROSSING_DEG = 1e-12
#: … this much more for each degree it runs east per degree north
_CROSSING_SLOPE_DEG = 2e-13


@bare_kernel
def polygon_holds(
    vertex: Floats, rings: Ints, ends: Ints, row: int, x: float, y: float, parts: Floats
) -> bool:
    """Whether a polygon holds a place, its boundary included; even-odd over all rings, exact.

    The longitude is taken as it is: across 180° ask for x + 360 too.
    """
    inside = False
    for ring in range(rings[row, 0], rings[row, 1]):
        first, last = ends[ring, 0], ends[ring, 1]
        ax, ay = vertex[first, 0], vertex[first, 1]
        for place in range(first + 1, last + 1):
            bx, by = vertex[place, 0], vertex[place, 1]
            if (ay > y) != (by > y):
                turn = side(ax, ay, bx, by, x, y, parts)
                if turn == 0:
                    return True
                if (turn > 0) == (by > ay):
                    inside = not inside
            elif by == y and (bx == x or (ay == y and (ax > x) != (bx > x))):
                return True
            ax, ay = bx, by
    return inside


@inlined
def _sure_side(left: float, right: float) -> int:
    """Side by the two products of a turn: 1, -1, or 0 where rounding could decide."""
    turn = left - right
    if abs(turn) <= SIDE_ERROR * (abs(left) + abs(right)):
        return 0
    return 1 if turn > 0 else -1


@inlined
def piece_side(
    arena: Words, vertex: Floats, place: int, x: float, y: float, east: float, south: float
) -> int:
    """1 where the polygon of a piece holds a ping of its cell, 0 where not, 2: ask `polygon_holds`.

    Args:
        place: of the piece in the arena.
        x, y: the ping, in the polygon's longitudes.
        east, south: the cell's lower right corner, in the polygon's longitudes.
    """
    flags = arena[place + 1]
    inside = flags & (INSIDE | UNSURE)
    if inside & UNSURE:
        return 2
    for run in range(flags >> 4):
        first = np.int64(arena[place + 2 + 2 * run])
        ax, ay = vertex[first, 0], vertex[first, 1]
        for corner in range(first + 1, first + 1 + arena[place + 3 + 2 * run]):
            bx, by = vertex[corner, 0], vertex[corner, 1]
            if ay == y or by == y:
                return 2
            level = (ay > y) != (by > y)
            upright = (ax > east) != (bx > east)
            if level or upright:
                ex, ey = bx - ax, by - ay
                turn = _sure_side(ex * (y - ay), ey * (east - ax))
                ping, base = turn, turn
                if level:
                    ping = _sure_side(ex * (y - ay), ey * (x - ax))
                if upright:
                    base = _sure_side(ex * (south - ay), ey * (east - ax))
                if turn == 0 or ping == 0 or base == 0:
                    return 2
                inside ^= (ping != turn) ^ (base != turn)
            ax, ay = bx, by
    return inside


@kernel
def touch(
    cells: Cells, desk: Desk, row: int, west: float, south: float, side_deg: float, across: int, up: int
) -> int:
    """Find the cells of a grid that a polygon's edges touch, and where the others lie.

    Args:
        row: of the polygon.
        west, south, side_deg, across, up: the grid, in the polygon's own longitudes.
    Returns:
        The number of (cell, edge) records written to `desk.record`, or -1 where it is full.
        `desk.touched` says which cells are touched. `desk.parity` holds `INSIDE` and `UNSURE` of their
        lower right corners; of the others, `INSIDE` if they lie inside as a whole.
    """
    touched, parity, edge, vertex = desk.touched, desk.parity, desk.edge, cells.vertex
    touched[: across * up] = 0
    parity[: across * up] = 0
    per_deg = 1.0 / side_deg
    written = 0
    kept = 0
    for ring in range(cells.rings[row, 0], cells.rings[row, 1]):
        for place in range(cells.ends[ring, 0], cells.ends[ring, 1]):
            u0, v0 = (vertex[place, 0] - west) * per_deg, (vertex[place, 1] - south) * per_deg
            u1, v1 = (vertex[place + 1, 0] - west) * per_deg, (vertex[place + 1, 1] - south) * per_deg
            if max(v0, v1) + BORDER < 0 or min(v0, v1) - BORDER >= up or max(u0, u1) + BORDER < 0:
                continue
            edge[kept] = place
            kept += 1
            if min(u0, u1) - BORDER < across:
                written = _mark(desk, place, u0, v0, u1, v1, across, up, written)
                if written < 0:
                    return -1
    for level in range(up):
        _corners(cells, desk, kept, west, south + level * side_deg, side_deg, across, level * across)
        for cell in range(level * across, (level + 1) * across):
            if not touched[cell] and parity[cell] & UNSURE:
                x = west + (cell - level * across + 0.5) * side_deg
                y = south + (level + 0.5) * side_deg
                inside = polygon_holds(vertex, cells.rings, cells.ends, row, x, y, desk.parts)
                parity[cell] = INSIDE if inside else 0
    return written


@kernel
def _mark(
    desk: Desk,
    place: int,
    u0: float,
    v0: float,
    u1: float,
    v1: float,
    across: int,
    up: int,
    written: int,
) -> int:
    """Mark and record the cells that one edge touches, in units of cells; level by level."""
    low = max(0, math.floor(min(v0, v1) - BORDER))
    high = min(up - 1, math.floor(max(v0, v1) + BORDER))
    if written + (high - low + 1) * across > len(desk.record):
        return -1
    rise = v1 - v0
    for level in range(low, high + 1):
        begin, end = min(u0, u1), max(u0, u1)
        if low != high and abs(rise) > 1e-12:
            at, to = (level - BORDER - v0) / rise, (level + 1 + BORDER - v0) / rise
            at, to = max(0.0, min(at, to)), min(1.0, max(at, to))
            begin, end = u0 + at * (u1 - u0), u0 + to * (u1 - u0)
            begin, end = min(begin, end), max(begin, end)
        first = max(0, math.floor(begin - BORDER))
        last = min(across - 1, math.floor(end + BORDER))
        for column in range(first, last + 1):
            cell = level * across + column
            desk.touched[cell] = 1
            desk.record[written, 0] = cell
            desk.record[written, 1] = EDGE
            desk.record[written, 2] = place
            written += 1
    return written


@kernel
def _corners(
    cells: Cells,
    desk: Desk,
    kept: int,
    west: float,
    y: float,
    side_deg: float,
    across: int,
    row: int,
) -> None:
    """Parity of the lower right corners of one level, by where edges cross the line of corners."""
    parity, vertex = desk.parity, cells.vertex
    for which in range(kept):
        place = desk.edge[which]
        ay, by = vertex[place, 1], vertex[place + 1, 1]
        if (ay > y) == (by > y):
            continue
        ax, bx = vertex[place, 0], vertex[place + 1, 0]
        slope = (bx - ax) / (by - ay)
        # corner c stands at west + (c + 1) sides; the edge is right of corners 0 … count - 1
        corner = (ax + (y - ay) * slope - west) / side_deg - 1.0
        error = (_CROSSING_DEG + _CROSSING_SLOPE_DEG * abs(slope)) / side_deg
        count = min(max(math.ceil(corner), 0), across)
        if count > 0:
            parity[row + count - 1] ^= INSIDE
        for near in range(
            max(0, math.ceil(corner - error)), min(across - 1, math.floor(corner + error)) + 1
        ):
            parity[row + near] |= UNSURE
    inside = 0
    for column in range(across - 1, -1, -1):
        inside ^= parity[row + column] & INSIDE
        parity[row + column] = (parity[row + column] & UNSURE) | inside

"""What each fence means for each cell of a block: covered, crossed, or neither."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geo.matching.cell_circles import circle_in_box
from geo.matching.cell_layout import CIRCLE, ODD, PIECE, SURE, TURNED, Cells, Desk
from geo.matching.cell_polygons import touch
from geo.matching.compiled import kernel

#: how a fence stands in a block, besides `TURNED`: it crosses it, or it covers it
CROSSES, COVERS = 1, 2


class Rows(NamedTuple):
    """What building needs to know of each row.

    Attributes:
        is_polygon, is_odd: flags; odd is concave, holed or in parts.
        bounds: (n, 4) west, south, east, north, unwrapped: west may lie below -180, east above 180.
        rim_m: about the length of the rim.
    """

    is_polygon: NDArray[np.int8]
    is_odd: NDArray[np.int8]
    bounds: NDArray[np.float64]
    rim_m: NDArray[np.float64]


@kernel
def draw(
    cells: Cells,
    rows: Rows,
    desk: Desk,
    fences: NDArray[np.int64],
    west: float,
    south: float,
    side_deg: float,
    k: int,
) -> int:
    """Put what each fence means for each cell of a block on the desk; the number of records, or -1."""
    g = 1 << k
    cell_deg = side_deg / g
    written = 0
    for which in range(len(fences)):
        row, flags = fences[which, 0], fences[which, 2]
        if flags & COVERS:
            continue
        if rows.is_polygon[row]:
            written = _draw_polygon(cells, rows, desk, row, flags, west, south, cell_deg, g, written)
        else:
            written = _draw_circle(cells, rows, desk, row, west, south, cell_deg, g, written)
        if written < 0:
            return -1
    return written


@kernel
def _draw_polygon(
    cells: Cells,
    rows: Rows,
    desk: Desk,
    row: int,
    flags: int,
    west: float,
    south: float,
    cell_deg: float,
    g: int,
    written: int,
) -> int:
    # the edges go to the desk behind what is there: `touch` writes to the view it is given
    rest = Desk(
        desk.record[written:], desk.order, desk.touched, desk.parity, desk.tally, desk.edge, desk.parts
    )
    turned = flags & TURNED
    edges = touch(cells, rest, row, west + 360.0 if turned else west, south, cell_deg, g, g)
    if edges < 0 or written + edges + g * g > len(desk.record):
        return -1
    written += edges
    odd = ODD if rows.is_odd[row] else 0
    for cell in range(g * g):
        if desk.touched[cell] or desk.parity[cell]:
            desk.record[written, 0] = cell
            desk.record[written, 1] = PIECE if desk.touched[cell] else SURE
            desk.record[written, 2] = row
            desk.record[written, 3] = desk.parity[cell] | turned | odd
            written += 1
    return written


@kernel
def _draw_circle(
    cells: Cells,
    rows: Rows,
    desk: Desk,
    row: int,
    west: float,
    south: float,
    cell_deg: float,
    g: int,
    written: int,
) -> int:
    # the block in the longitudes around the circle
    middle = (rows.bounds[row, 0] + rows.bounds[row, 2]) / 2
    turns = round((middle - west - g * cell_deg / 2) / 360.0)
    west += 360.0 * turns
    first = max(0, math.floor((rows.bounds[row, 0] - west) / cell_deg))
    last = min(g - 1, math.floor((rows.bounds[row, 2] - west) / cell_deg))
    low = max(0, math.floor((rows.bounds[row, 1] - south) / cell_deg))
    high = min(g - 1, math.floor((rows.bounds[row, 3] - south) / cell_deg))
    if written + max(0, high - low + 1) * max(0, last - first + 1) > len(desk.record):
        return -1
    for level in range(low, high + 1):
        y = south + level * cell_deg
        for column in range(first, last + 1):
            x = west + column * cell_deg
            found = circle_in_box(cells.circle, row, x, y, x + cell_deg, y + cell_deg)
            if found:
                desk.record[written, 0] = level * g + column
                desk.record[written, 1] = CIRCLE if found == 1 else SURE
                desk.record[written, 2] = row
                written += 1
    return written

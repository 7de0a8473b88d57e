"""H3 as an inverted index: the cells that a fence meets, finer for smaller fences, then exact tests."""

from __future__ import annotations

from typing import Any

import h3
import h3.api.basic_int as h3_int
import numpy as np
import shapely

from bench._workload import Fences, Ints, Pings
from bench.rivals._shapes import WGS84, OneByOne, asked_one_by_one, polygons

#: resolution → edge in metres (h3geo.org, average hexagon edge length)
EDGE_M = {4: 26_072, 5: 9_854, 6: 3_725, 7: 1_406, 8: 531, 9: 201, 10: 76}
FINEST = 10
CORNERS = 24


class Matcher:
    """A dict from cell to rows; a ping is looked up in each resolution that is in use."""

    def __init__(self, fences: Fences) -> None:
        self.fences = fences
        self.polygon = polygons(fences)
        self.boxes = fences.boxes()
        self.one_by_one = OneByOne(fences, self.polygon)

    def build(self) -> None:
        shapely.prepare(self.polygon)
        self.rows: dict[int, list[int]] = {}
        self.in_use: set[int] = set()
        for row in range(len(self.fences)):
            self._add(row, row)

    def match(self, pings: Pings) -> tuple[Ints, Ints]:
        return asked_one_by_one(self.one, pings)

    def one(self, lon: float, lat: float) -> list[int]:
        found: list[int] = []
        for fineness in self.in_use:  # a parent's hexagon does not hold all of its children
            found += self.rows.get(h3_int.latlng_to_cell(lat, lon, fineness), ())
        return self.one_by_one.held(lon, lat, found)

    def insert(self, row: int) -> None:
        self._add(row, len(self.fences) + row)

    def remove(self, row: int) -> None:
        for cell in self._cells(row):
            self.rows[cell].remove(len(self.fences) + row)

    def _add(self, row: int, number: int) -> None:
        for cell in self._cells(row):
            self.rows.setdefault(cell, []).append(number)

    def _cells(self, row: int) -> list[int]:
        _, south, _, north = self.boxes[row]
        reach_m = (north - south) * 111_000
        fineness = next((r for r, edge_m in EDGE_M.items() if edge_m * 5 <= reach_m), FINEST)
        self.in_use.add(fineness)
        shape = h3.geo_to_h3shape(self._outline(row))
        cells = h3.h3shape_to_cells_experimental(shape, fineness, contain="overlap")
        return [h3.str_to_int(cell) for cell in cells]

    def _outline(self, row: int) -> Any:
        """The polygon, or 24 corners so far out that the whole circle is inside."""
        if self.polygon[row] is not None:
            return self.polygon[row]
        azimuth = np.linspace(0, 360, CORNERS, endpoint=False)
        far_m = self.fences.radius_m[row] / np.cos(np.pi / CORNERS) * 1.01
        centre = (np.full(CORNERS, column[row]) for column in (self.fences.lon, self.fences.lat))
        x, y, _ = WGS84.fwd(*centre, azimuth, np.full(CORNERS, far_m))
        return shapely.Polygon(np.column_stack([x, y]))

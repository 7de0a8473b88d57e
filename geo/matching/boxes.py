"""Boxes in R-trees: shapely's for columns of places, `rtree` for single boxes (product F8).

shapely's may be read by many threads. libspatialindex under `rtree` is not thread-safe (quality.md §2):
it is built and asked under one lock.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np
import rtree
import shapely
from numpy.typing import NDArray

from geo.antimeridian import normalize_lon
from geo.matching.index_columns import IndexColumns
from geo.measure import circle_boxes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: for all indexes together: libspatialindex keeps its errors in one place for the whole process
RTREE_LOCK = threading.Lock()


class Trees:
    """The R-trees of an index.

    Attributes:
        all: boxes of the rows that were there when the trees were built.
    """

    def __init__(self, boxes: Floats, row: Ints, odd: Bools) -> None:
        self._base = _Base(boxes, row, odd)
        self._late, self._late_row = np.empty((0, 4)), np.empty(0, np.int64)
        self._late_odd = np.empty(0, bool)
        self._gone: frozenset[int] = frozenset()

    @classmethod
    def of(cls, columns: IndexColumns, gone: frozenset[int]) -> Trees:
        """Trees over the boxes of these rows, without the gone ones."""
        boxes, row = columns.boxes()
        if gone:
            left = ~np.isin(row, list(gone))
            boxes, row = boxes[left], row[left]
        odd = ~(columns.is_circle | columns.polygons.is_convex)
        return cls(boxes, row, odd[row])

    @property
    def all(self) -> Boxes:
        """Boxes of all rows that were there when the trees were built."""
        return self._base.all

    def odd_reached(self, lon: Floats, lat: Floats, reach_m: Floats) -> tuple[Ints, Ints]:
        """Pairs (place, row) of the odd rows whose box comes within so many metres of the place."""
        place, row = self._base.odd.reached(lon, lat, reach_m)
        late = np.flatnonzero(self._late_odd)
        if len(late) and len(lon):
            more = Boxes(self._late[late], self._late_row[late]).reached(lon, lat, reach_m)
            place, row = np.concatenate([place, more[0]]), np.concatenate([row, more[1]])
        if self._gone:
            left = ~np.isin(row, list(self._gone))
            place, row = place[left], row[left]
        return place, row

    def changed(self, late: IndexColumns, first: int, gone: frozenset[int]) -> Trees:
        """The same trees, and some rows more and less; `all` does not know of these."""
        made = object.__new__(Trees)
        boxes, row = late.boxes()
        made._base, made._gone = self._base, gone
        made._late = np.vstack([self._late, boxes])
        made._late_row = np.concatenate([self._late_row, row + first])
        odd = ~(late.is_circle | late.polygons.is_convex)
        made._late_odd = np.concatenate([self._late_odd, odd[row]])
        return made

    def in_box(self, west: float, south: float, east: float, north: float) -> list[int]:
        """Rows whose box meets this one, ascending; see `FenceIndex.in_box`."""
        found: set[int] = set()
        for w, e in spans_of(west, east):
            found |= self._base.in_span(w, south, e, north)
            meets = (self._late[:, 0] <= e) & (self._late[:, 2] >= w)
            meets &= (self._late[:, 1] <= north) & (self._late[:, 3] >= south)
            found.update(self._late_row[meets].tolist())
        return sorted(found - self._gone)


class _Base:
    """The trees themselves. `rtree`'s is built when it is first asked: cells seldom need it."""

    def __init__(self, boxes: Floats, row: Ints, odd: Bools) -> None:
        self._boxes, self._row = boxes, row
        self._rtree: rtree.index.Index | None = None
        self.all = Boxes(boxes, row)
        self.odd = Boxes(boxes[odd], row[odd])

    def in_span(self, west: float, south: float, east: float, north: float) -> set[int]:
        with RTREE_LOCK:
            if self._rtree is None:
                self._rtree = rtree_of(self._boxes)
            found = list(self._rtree.intersection((west, south, east, north)))
        return set(self._row[found].tolist())


class RowsByFence:
    """The rows of each fence; a few changes lie beside what was counted once.

    Attributes:
        changes: rows that came or went since.
    """

    def __init__(self, base: Mapping[int, tuple[int, ...]], changes: int = 0) -> None:
        self._base = base
        self._late: dict[int, tuple[int, ...]] = {}
        self._gone: frozenset[int] = frozenset()
        self.changes = changes

    @classmethod
    def of(cls, fence_id: Ints, gone: frozenset[int]) -> RowsByFence:
        """From a column."""
        rows: dict[int, list[int]] = {}
        for row, fence in enumerate(fence_id.tolist()):
            if row not in gone:
                rows.setdefault(fence, []).append(row)
        return cls({fence: tuple(found) for fence, found in rows.items()})

    def changed(self, fence_id: Ints, first: int, gone: frozenset[int]) -> RowsByFence:
        """With the rows from `first` on, and without the gone ones."""
        made = RowsByFence(self._base, self.changes + len(fence_id) + len(gone - self._gone))
        made._late, made._gone = dict(self._late), gone
        for row, fence in enumerate(fence_id.tolist(), start=first):
            made._late[fence] = (*made._late.get(fence, ()), row)
        return made

    def of_fence(self, fence_id: int) -> tuple[int, ...]:
        """Ascending; empty for a fence that is not there."""
        rows = self._base.get(fence_id, ()) + self._late.get(fence_id, ())
        return tuple(row for row in rows if row not in self._gone) if self._gone else rows


class Boxes:
    """An STRtree of boxes and the row of the index that each stands for."""

    def __init__(self, boxes: Floats, row: Ints) -> None:
        self.row = row
        self.has_twins = len(np.unique(row)) < len(row)
        # a diagonal has the same envelope as its box and half the size
        diagonals = shapely.linestrings(boxes.reshape(-1, 2, 2))
        self._tree = shapely.STRtree(diagonals)
        # the tree is built by its first query: now, not by the first of several readers
        self._tree.query(shapely.Point(0.0, 0.0))

    def __len__(self) -> int:
        return len(self.row)

    def holding(self, lon: Floats, lat: Floats) -> tuple[Ints, Ints]:
        """Pairs (place, row) whose box holds the place, in any order."""
        place, box = self._tree.query(shapely.points(lon, lat))
        return np.asarray(place, np.int64), self.row[box]

    def reached(self, lon: Floats, lat: Floats, reach_m: Floats) -> tuple[Ints, Ints]:
        """Pairs (place, row) whose box comes within so many metres of the place."""
        west, south, east, north = circle_boxes(lon=lon, lat=lat, radius_m=reach_m)
        everywhere = np.arange(len(lon))
        found = [
            self._meeting(some, west + turn, south, east + turn, north)
            for turn, some in (
                (0.0, everywhere),
                (360.0, np.flatnonzero(west < -180)),
                (-360.0, np.flatnonzero(east > 180)),
            )
        ]
        places, rows = zip(*found, strict=True)
        return np.concatenate(places), np.concatenate(rows)

    def _meeting(
        self, some: Ints, west: Floats, south: Floats, east: Floats, north: Floats
    ) -> tuple[Ints, Ints]:
        boxes = shapely.box(west[some], south[some], east[some], north[some])
        place, box = self._tree.query(boxes)
        return some[place], self.row[box]


def spans_of(west: float, east: float) -> list[tuple[float, float]]:
    """The spans of [-180, 180] that a box covers; its bounds may be any longitudes."""
    width = east - west if west <= east else east - west + 360.0
    if width >= 360:
        return [(-180.0, 180.0)]
    if -180 <= west <= east <= 180:
        spans = [(west, east)]
    else:
        west = float(normalize_lon(west))
        east = float(normalize_lon(east))
        spans = [(west, 180.0), (-180.0, east)] if west > east else [(west, east)]
    # 180 and -180 are one meridian, and a fence that ends there stands at one of them
    spans += [(-180.0, -180.0)] if any(e == 180 for _, e in spans) else []
    spans += [(180.0, 180.0)] if any(w == -180 for w, _ in spans) else []
    return spans


def rtree_of(boxes: Floats) -> rtree.index.Index:
    """A bulk-loaded `rtree` index; ids are positions of the boxes, which are finite."""
    if not len(boxes):
        return rtree.index.Index()
    low, high = boxes[:, :2].copy(), boxes[:, 2:].copy()
    return rtree.index.Index((np.arange(len(boxes)), low, high))

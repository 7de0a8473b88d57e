"""Boxes in R-trees: shapely's for columns of places, `rtree` for single boxes (product F8).

shapely's may be read by many threads. libspatialindex under `rtree` is not thread-safe (quality.md §2):
it is built and asked under one lock.
"""

from __future__ import annotations

import threading
from functools import cached_property

import numpy as np
import rtree
import shapely
from numpy.typing import NDArray

from geo.antimeridian import normalize_lon
from geo.matching.growing import Gone
from geo.matching.index_columns import IndexColumns
from geo.measure import circle_boxes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: for all indexes together: libspatialindex keeps its errors in one place for the whole process
RTREE_LOCK = threading.Lock()


class Trees:
    """The R-trees of an index: over the rows that were there once, and a few later rows beside them.

    Attributes:
        rows: how many rows there were when the trees were built.
    """

    def __init__(self, base: _Base, rows: int, columns: IndexColumns, gone: Gone) -> None:
        self._base, self.rows, self._columns, self._gone = base, rows, columns, gone

    @classmethod
    def of(cls, columns: IndexColumns, gone: Gone) -> Trees:
        """Trees over the boxes of these rows, without the gone ones."""
        boxes, row = columns.boxes()
        left = ~gone.among(row)
        boxes, row = boxes[left], row[left]
        return cls(_Base(boxes, row, columns.is_odd[row]), len(columns.versions), columns, gone)

    @property
    def all(self) -> Boxes:
        """Boxes of all rows that were there when the trees were built."""
        return self._base.all

    def changed(self, columns: IndexColumns, gone: Gone) -> Trees:
        """The same trees for these columns, which are longer, and these gone rows; free of charge."""
        return Trees(self._base, self.rows, columns, gone)

    def odd_reached(self, lon: Floats, lat: Floats, reach_m: Floats) -> tuple[Ints, Ints]:
        """Pairs (place, row) of the odd rows whose box comes within so many metres of the place."""
        place, row = self._base.odd.reached(lon, lat, reach_m)
        if self._late_odd is not None and len(lon):
            more = self._late_odd.reached(lon, lat, reach_m)
            place, row = np.concatenate([place, more[0]]), np.concatenate([row, more[1]])
        left = ~self._gone.among(row)
        return place[left], row[left]

    def in_box(self, west: float, south: float, east: float, north: float) -> list[int]:
        """Rows whose box meets this one, ascending; see `FenceIndex.in_box`."""
        found: set[int] = set()
        late, late_row = self._late
        for w, e in spans_of(west, east):
            found |= self._base.in_span(w, south, e, north)
            meets = (late[:, 0] <= e) & (late[:, 2] >= w)
            meets &= (late[:, 1] <= north) & (late[:, 3] >= south)
            found.update(late_row[meets].tolist())
        return sorted(row for row in found if row not in self._gone)

    @cached_property
    def _late(self) -> tuple[Floats, Ints]:
        # computed when somebody asks: a change of one fence does not wait for it
        return self._columns.boxes(self.rows)

    @cached_property
    def _late_odd(self) -> Boxes | None:
        boxes, row = self._late
        odd = self._columns.is_odd[row]
        return Boxes(boxes[odd], row[odd]) if odd.any() else None


class _Base:
    """The trees themselves. `rtree`'s and `all` are built when first asked: cells seldom need them."""

    def __init__(self, boxes: Floats, row: Ints, odd: Bools) -> None:
        self._boxes, self._row = boxes, row
        self._rtree: rtree.index.Index | None = None
        self.odd = Boxes(boxes[odd], row[odd])

    @cached_property
    def all(self) -> Boxes:
        # not needed where cells answer
        return Boxes(self._boxes, self._row)

    def in_span(self, west: float, south: float, east: float, north: float) -> set[int]:
        with RTREE_LOCK:
            if self._rtree is None:
                self._rtree = rtree_of(self._boxes)
            found = list(self._rtree.intersection((west, south, east, north)))
        return set(self._row[found].tolist())


class RowsByFence:
    """The rows of each fence: sorted once, and a few later rows beside them.

    Attributes:
        rows: how many rows there were when they were sorted.
    """

    def __init__(self, fences: Ints, order: Ints, fence_id: Ints, gone: Gone) -> None:
        self._fences, self._order = fences, order
        self._fence_id, self._gone = fence_id, gone
        self.rows = len(fences)

    @classmethod
    def of(cls, fence_id: Ints, gone: Gone) -> RowsByFence:
        """From a column."""
        order = np.argsort(fence_id, kind="stable")
        return cls(fence_id[order], order, fence_id, gone)

    def changed(self, fence_id: Ints, gone: Gone) -> RowsByFence:
        """The same for this column, which is longer, and these gone rows; free of charge."""
        return RowsByFence(self._fences, self._order, fence_id, gone)

    def of_fence(self, fence_id: int) -> tuple[int, ...]:
        """Ascending; empty for a fence that is not there."""
        first, last = np.searchsorted(self._fences, [fence_id, fence_id + 1])
        rows = self._order[first:last].tolist() + self._late.get(fence_id, [])
        return tuple(row for row in rows if row not in self._gone)

    def of_fences(self, fence_ids: Ints) -> tuple[Ints, Ints]:
        """The rows of many fences: each position of `fence_ids` that has one × the row, ascending."""
        first = np.searchsorted(self._fences, fence_ids)
        many = np.searchsorted(self._fences, fence_ids, side="right") - first
        of = np.repeat(np.arange(len(fence_ids)), many)
        row = self._order[np.arange(len(of)) + np.repeat(first - (np.cumsum(many) - many), many)]
        if self._late:
            late = [self._late.get(fence_id, []) for fence_id in fence_ids.tolist()]
            of = np.append(of, np.repeat(np.arange(len(late)), [len(rows) for rows in late]))
            row = np.append(row, np.array([one for rows in late for one in rows], np.int64))
        if self._gone.count:
            there = ~self._gone.among(row)
            of, row = of[there], row[there]
        order = np.lexsort((row, of))
        return of[order], row[order]

    @cached_property
    def _late(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for row, fence in enumerate(self._fence_id[self.rows :].tolist(), start=self.rows):
            found.setdefault(fence, []).append(row)
        return found


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

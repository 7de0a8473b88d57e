"""Polygon fences as columns: geometry to hold pings, directed edges to weigh them.

Polygons stand in unwrapped longitudes: what was split at 180° is joined again, so the cut is no rim.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geo.antimeridian import unwrap
from geo.fences.fence import PolygonShape, Shape
from geo.measure import WGS84

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: beyond, an edge straight in degrees is bent on the ground, and no polygon counts as convex
POLAR_DEG = 85.0
#: preparing a geometry writes to it, and indexes of one line share theirs
_READY_LOCK = threading.Lock()
#: edges that share a box
STRETCH = 16
#: sines of turns down to minus this are rounding: 10,000 of them do not make a dent
_STRAIGHT = 1e-12


@dataclass(frozen=True, kw_only=True)
class Polygons:
    """Polygons by row of the index; None, NaN or nothing in the rows of circles.

    Attributes:
        geometry: unwrapped, shells counter-clockwise; asked by `hold` only.
        is_ready: rows whose geometry is prepared and was used, hence is safe to read by many threads.
        bounds: (n, 4) west, south, east, north; `east` may exceed 180.
        is_convex: nowhere outside is P(inside) ≥ 0.5; False for circles.
        goes_round: a part spans all longitudes.
        area_m2: on the ellipsoid; edges taken as straight in the equal-area cylinder.
        first, count: where the edges of a row stand in the columns below.
        ends: (n, 4) lon1, lat1, lon2, lat2 of directed edges, holes clockwise, all of them rim.
        middle: middle longitude of the part that an edge belongs to; parts are moved by whole turns
            next to the ping.
        stretch_first, stretch_box: edges by sixteen, with the box (west, south, east, north) of each
            such stretch: a row's stretches stand from its first on.
    """

    geometry: NDArray[Any]
    is_ready: Bools
    bounds: Floats
    is_convex: Bools
    goes_round: Bools
    area_m2: Floats
    first: Ints
    count: Ints
    ends: Floats
    middle: Floats
    stretch_first: Ints
    stretch_box: Floats

    @classmethod
    def build(cls, shapes: Sequence[Shape]) -> Polygons:
        """Compile the polygons among these shapes; row i belongs to shape i."""
        if not any(isinstance(shape, PolygonShape) for shape in shapes):
            return cls._none(len(shapes))
        geometry = _geometries(shapes)
        edges = _Edges.of(geometry)
        is_convex, area_m2 = edges.convex(len(shapes)), edges.area_m2(len(shapes))
        goes_round = edges.round_rows(len(shapes))
        edges = edges.without_seams()
        count = np.bincount(edges.row, minlength=len(shapes))
        stretches = -(-count // STRETCH)
        return cls(
            geometry=geometry,
            is_ready=np.zeros(len(shapes), bool),
            bounds=shapely.bounds(geometry).reshape(-1, 4),
            is_convex=is_convex & ~goes_round,
            goes_round=goes_round,
            area_m2=area_m2,
            first=np.cumsum(count) - count,
            count=count,
            ends=edges.ends,
            middle=edges.middle,
            stretch_first=np.cumsum(stretches) - stretches,
            stretch_box=_stretch_boxes(edges.ends, count),
        )

    @classmethod
    def _none(cls, rows: int) -> Polygons:
        """Rows of circles only."""
        nothing = np.full(rows, np.nan)
        counts = np.zeros(rows, np.int64)
        return cls(
            geometry=np.full(rows, None, object),
            is_ready=np.zeros(rows, bool),
            bounds=np.full((rows, 4), np.nan),
            is_convex=np.zeros(rows, bool),
            goes_round=np.zeros(rows, bool),
            area_m2=nothing,
            first=counts,
            count=counts,
            ends=np.zeros((0, 4)),
            middle=np.zeros(0),
            stretch_first=counts,
            stretch_box=np.zeros((0, 4)),
        )

    def hold(self, *, lon: Floats, lat: Floats, ping: Ints, fence: Ints) -> Bools:
        """Whether each pair's polygon holds its ping, the boundary included.

        A pole is one place whatever its longitude: a polygon that reaches ±90° holds it.

        Args:
            lon, lat: columns of the pings, longitudes in [-180, 180).
            ping, fence: pairs of a row of those columns and a row of polygons.
        """
        late = ~self.is_ready[fence]
        if late.any():
            self._make_ready(np.unique(fence[late]))
        x, y, shape = lon[ping], lat[ping], self.geometry[fence]
        held = np.asarray(shapely.intersects_xy(shape, x, y))
        across = np.flatnonzero(~held & (x + 360.0 <= self.bounds[fence, 2]))
        held[across] = shapely.intersects_xy(shape[across], x[across] + 360.0, y[across])
        if (np.abs(y) == 90).any():
            south, north = self.bounds[fence, 1], self.bounds[fence, 3]
            held |= ((y == 90) & (north == 90)) | ((y == -90) & (south == -90))
        return held

    def _make_ready(self, rows: Ints) -> None:
        """Prepare these rows, the first time that somebody asks for them.

        It takes some 50 bytes a corner, which fences that no R-tree ever asks for do not cost.
        """
        with _READY_LOCK:
            geometry = self.geometry[rows]
            shapely.prepare(geometry)
            _warm_up(geometry)
            self.is_ready[rows] = True


def _stretch_boxes(ends: Floats, count: Ints) -> Floats:
    """(n, 4) boxes of the edges of each row, by sixteen."""
    if not len(ends):
        return np.zeros((0, 4))
    place = np.arange(len(ends)) - np.repeat(np.cumsum(count) - count, count)
    begin = np.flatnonzero(place % STRETCH == 0)
    low = np.minimum.reduceat(np.minimum(ends[:, :2], ends[:, 2:]), begin)
    high = np.maximum.reduceat(np.maximum(ends[:, :2], ends[:, 2:]), begin)
    return np.hstack([low, high])


def _geometries(shapes: Sequence[Shape]) -> NDArray[Any]:
    """Unwrapped, oriented copies: the shapes' own geometry is shared and left alone."""
    given = [s.geometry if isinstance(s, PolygonShape) else None for s in shapes]
    geometry = np.empty(len(given), object)
    geometry[:] = given
    bounds = shapely.bounds(geometry).reshape(-1, 4)
    for row in np.flatnonzero((bounds[:, 0] == -180) & (bounds[:, 2] == 180)).tolist():
        geometry[row] = unwrap(geometry[row])
    return np.asarray(shapely.orient_polygons(geometry, exterior_cw=False), object)


def _warm_up(geometry: NDArray[Any]) -> None:
    """Make GEOS build what it builds late, on this thread.

    Several threads building it at once corrupt the heap (quality.md §2). Asking once is not enough:
    the first question is answered by a plain scan, the locator comes with the second (GEOS 3.14;
    four threads on 300 polygons: 10 of 40 processes died after one question, none after two).
    """
    west, south, east, north = shapely.bounds(geometry).reshape(-1, 4).T
    for _ in range(3):
        shapely.intersects_xy(geometry, (west + east) / 2, (south + north) / 2)


@dataclass(frozen=True, kw_only=True)
class _Edges:
    """Edges in the order of their rows: row, ring and part serials, ends (n, 4), parts' middles."""

    row: Ints
    part: Ints
    ring: Ints
    ends: Floats
    middle: Floats

    @classmethod
    def of(cls, geometry: NDArray[Any]) -> _Edges:
        parts, row_of = shapely.get_parts(geometry, return_index=True)
        rings, part_of = shapely.get_rings(parts, return_index=True)
        xy, ring_of = shapely.get_coordinates(rings, return_index=True)
        ends = np.hstack([xy[:-1], xy[1:]]) if len(xy) else np.zeros((0, 4))
        joined = (ring_of[:-1] == ring_of[1:]) & (ends[:, :2] != ends[:, 2:]).any(axis=1)
        ring = ring_of[:-1][joined]
        part = part_of[ring]
        bounds = shapely.bounds(parts).reshape(-1, 4)
        middle = (bounds[:, 0] + bounds[:, 2]) / 2
        return cls(row=row_of[part], part=part, ring=ring, ends=ends[joined], middle=middle[part])

    def convex(self, rows: int) -> Bools:
        """Rows of one ring that only turns left, away from the poles."""
        steps = self.ends[:, 2:] - self.ends[:, :2]
        following = np.arange(1, len(steps) + 1)
        first, last = _runs(self.ring)
        following[last] = first
        after = steps[following]
        turn = steps[:, 0] * after[:, 1] - steps[:, 1] * after[:, 0]
        allowed = -_STRAIGHT * np.hypot(*steps.T) * np.hypot(*after.T)
        dented = (turn < allowed) | (np.abs(self.ends[:, 1]) > POLAR_DEG)
        rings = np.bincount(self.row[first], minlength=rows)
        return np.asarray((rings == 1) & (np.bincount(self.row, dented, rows) == 0))

    def area_m2(self, rows: int) -> Floats:
        """Area of each row: a²/2 times the integral of q along the rings (Snyder 1987, 3-12)."""
        e = np.sqrt(WGS84.es)
        up = np.sin(np.radians(self.ends[:, 1::2]))
        q = (1 - e**2) * (up / (1 - (e * up) ** 2) + np.arctanh(e * up) / e)
        eastward = np.radians(self.ends[:, 2] - self.ends[:, 0])
        strips = eastward * q.mean(axis=1) * WGS84.a**2 / 2
        area = np.abs(np.bincount(self.row, strips, rows))
        return np.where(np.bincount(self.row, minlength=rows) > 0, area, np.nan)

    def round_rows(self, rows: int) -> Bools:
        """Rows with a part that goes all around the earth."""
        return np.asarray(np.bincount(self.row, self._in_round_part(), rows) > 0)

    def without_seams(self) -> _Edges:
        """Parts that go all around the earth lose what is no rim: their seam and the line at a pole.

        Their rings stay open, which the plane about a fix does not mind: there the two sides of a
        seam lie upon each other, and a pole is a point.
        """
        round_part = self._in_round_part()
        if not round_part.any():
            return self
        at_pole = (np.abs(self.ends[:, 1::2]) == 90).all(axis=1)
        there = set(zip(self.part.tolist(), *self.ends.T.tolist(), strict=True))
        twin = [
            x1 == x2 and any((part, x2 + t, y2, x1 + t, y1) in there for t in (-360.0, 360.0))
            for part, x1, y1, x2, y2 in zip(self.part.tolist(), *self.ends.T.tolist(), strict=True)
        ]
        return self.take(np.flatnonzero(~(round_part & (at_pole | np.array(twin)))))

    def _in_round_part(self) -> Bools:
        far = np.abs(self.ends[:, 0] - self.middle) >= 180
        return np.isin(self.part, self.part[far])

    def take(self, rows: Ints) -> _Edges:
        """The chosen rows."""
        return _Edges(
            row=self.row[rows],
            part=self.part[rows],
            ring=self.ring[rows],
            ends=self.ends[rows],
            middle=self.middle[rows],
        )


def _runs(serial: Ints) -> tuple[Ints, Ints]:
    """First and last positions of the runs of equal serials."""
    change = np.flatnonzero(np.diff(serial)) + 1
    if not len(serial):
        return change, change
    return np.concatenate([[0], change]), np.concatenate([change - 1, [len(serial) - 1]])

"""Shapes as the columns that the kernels of the cell index read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from geo.matching.cell_circles import circle_records
from geo.matching.cell_layout import TILE_DEG
from geo.matching.circles import Circles
from geo.matching.polygons import Polygons
from geo.measure import circle_boxes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_METRES_A_DEGREE = 111_200.0
#: an outline is about so much longer than half the rim of its box
_RAGGED = 1.6
#: a polygon across 180° that leaves less than this of the earth out could meet one cell from both sides
_NEARLY_ROUND_DEG = 359.0
#: a shape whose box meets more tiles is asked for every ping: a circle costs a geodesic then, a polygon
#: all its edges; a tile costs 2 kB
_CIRCLE_TILES = 20_000
_POLYGON_TILES = 400_000


@dataclass(frozen=True, kw_only=True)
class ShapeColumns:
    """Some fences as the kernels want them; numbers of rings and vertices count from 0.

    Attributes:
        circle: 8 doubles a row, see `cell_circles`.
        vertex: (v, 2) corners, rings closed.
        rings: (n, 2) first ring of a row, and the one after its last.
        ends: (r, 2) first and last vertex of each ring.
        is_polygon, is_odd, bounds, rim_m: see `cell_draw.Rows`.
        everywhere: flags of shapes asked for every ping.
        south, north: flags of shapes that hold the pole.
    """

    circle: Floats
    vertex: Floats
    rings: Ints
    ends: Ints
    is_polygon: NDArray[np.int8]
    is_odd: NDArray[np.int8]
    bounds: Floats
    rim_m: Floats
    everywhere: Bools
    south: Bools
    north: Bools

    def __len__(self) -> int:
        return len(self.bounds)

    @classmethod
    def of(cls, *, circles: Circles, polygons: Polygons, is_circle: Bools) -> ShapeColumns:
        """The columns of the rows of an index, from its circles and unwrapped polygons."""
        boxes = circle_boxes(lon=circles.lon, lat=circles.lat, radius_m=circles.radius_m)
        bounds = np.where(is_circle[:, None], np.stack(boxes, axis=1), polygons.bounds)
        vertex, rings, ends = _outlines(polygons)
        west, south, east, north = bounds.T
        poles = [_holds_pole(circles, bounds, is_circle, pole) for pole in (-90.0, 90.0)]
        return cls(
            circle=circle_records(circles.lon, circles.lat, circles.radius_m),
            vertex=vertex,
            rings=rings,
            ends=ends,
            is_polygon=(~is_circle).astype(np.int8),
            is_odd=(~(is_circle | polygons.is_convex)).astype(np.int8),
            bounds=bounds,
            rim_m=np.where(is_circle, 2 * np.pi * circles.radius_m, _rim_m(west, south, east, north)),
            everywhere=_everywhere(bounds, is_circle),
            south=poles[0],
            north=poles[1],
        )


def _everywhere(bounds: Floats, is_circle: Bools) -> Bools:
    """Shapes that no cell need know: too large for them, or around the earth beyond 180°."""
    west, south, east, north = bounds.T
    tiles = (east - west) / TILE_DEG * (north - south) / TILE_DEG
    too_large = tiles > np.where(is_circle, _CIRCLE_TILES, _POLYGON_TILES)
    return too_large | (~is_circle & (east > 180) & (east - west > _NEARLY_ROUND_DEG))


def _rim_m(west: Floats, south: Floats, east: Floats, north: Floats) -> Floats:
    narrow = np.cos(np.radians((south + north) / 2))
    return _RAGGED * _METRES_A_DEGREE * ((north - south) + (east - west) * narrow)


def _outlines(polygons: Polygons) -> tuple[Floats, Ints, Ints]:
    """Vertices of all rings, rings by row, ends by ring."""
    if not shapely.is_geometry(polygons.geometry).any():
        nothing = np.zeros((0, 2), np.int64)
        return np.zeros((0, 2)), np.zeros((len(polygons.geometry), 2), np.int64), nothing
    parts, row_of = shapely.get_parts(polygons.geometry, return_index=True)
    rings, part_of = shapely.get_rings(parts, return_index=True)
    vertex, ring_of = shapely.get_coordinates(rings, return_index=True)
    after = np.cumsum(np.bincount(row_of[part_of], minlength=len(polygons.geometry)))
    first = np.concatenate([[0], after[:-1]]) if len(after) else after
    stop = np.cumsum(np.bincount(ring_of, minlength=len(rings)))
    start = np.concatenate([[0], stop[:-1]]) if len(stop) else stop
    ends = np.stack([start, stop - 1], axis=1).astype(np.int64)
    return vertex, np.stack([first, after], axis=1).astype(np.int64), ends


def _holds_pole(circles: Circles, bounds: Floats, is_circle: Bools, pole: float) -> Bools:
    """Rows that hold a pole: polygons that reach it, and circles by geodesic where their box does."""
    held = bounds[:, 1 if pole < 0 else 3] == pole
    near = np.flatnonzero(held & is_circle)
    if len(near):
        there = np.zeros(1), np.array([pole])
        none = np.zeros(len(near), np.int64)
        held[near] = circles.hold(lon=there[0], lat=there[1], ping=none, fence=near)
    return held

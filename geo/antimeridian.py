"""Across 180°: rings that jump are unwrapped, polygons split for storing and joined for matching."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from shapely.affinity import translate

Floats = NDArray[np.float64]
Polygonal: TypeAlias = shapely.Polygon | shapely.MultiPolygon


def normalize_lon(lon: ArrayLike) -> Floats:
    """Longitudes in [-180, 180); 180 becomes -180. A value in that range is left to the last bit."""
    lon = np.asarray(lon, np.float64)
    # no remainder: it would round 180.001 + 180 first and lose a bit that the difference keeps
    wrapped = lon - 360.0 * np.floor((lon + 180.0) / 360.0)
    # a hair beside the antimeridian the rounding may go past it
    wrapped = np.where((wrapped < -180) | (wrapped >= 180), -180.0, wrapped)
    return np.where((lon >= -180) & (lon < 180), lon, wrapped)


def unwrap_ring(ring: Floats) -> Floats:
    """A ring whose longitudes go on where the given ones jump by more than 180°.

    Args:
        ring: (n, 2) longitudes and latitudes, closed.
    Returns:
        The same ring without jumps; a jump of exactly 180° is none. It ends ±360° from where it
        began if the number of jumps is odd: it runs around a pole.
    """
    step = np.diff(ring[:, 0])
    turns = np.where(step > 180, -360.0, np.where(step < -180, 360.0, 0.0))
    out = ring.astype(np.float64, copy=True)
    out[1:, 0] += np.cumsum(turns)
    return out


def split(polygon: shapely.Polygon) -> Polygonal:
    """An unwrapped polygon cut at ±180° and brought back to [-180, 180].

    Args:
        polygon: valid, in continuous longitudes (`unwrap_ring`), as far outside as it likes.
    Returns:
        The polygon itself if it lies in [-180, 180] already. Both sides of a cut share their
        points on 180° to the last bit, so `unwrap` leaves no seam. Corners up to 52° beyond 180°
        keep their longitudes to the last bit (up to there float64 adds 360 exactly).
    """
    west, south, east, north = polygon.bounds
    if west >= -180 and east <= 180:
        return polygon
    turns = range(math.floor((west + 180) / 360), math.ceil((east + 180) / 360))
    whole = _with_points_on(polygon, [turn * 360.0 - 180.0 for turn in turns[1:]])
    parts = []
    for turn in turns:
        window = shapely.box(turn * 360 - 180, south - 1, turn * 360 + 180, north + 1)
        inside = whole if len(turns) == 1 else shapely.intersection(whole, window)
        piece = translate(inside, xoff=-360.0 * turn)
        parts += [p for p in shapely.get_parts(piece) if p.geom_type == "Polygon" and p.area > 0]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def spans_antimeridian(geometry: Polygonal) -> bool:
    """Whether the geometry meets itself along 180°: parts at 180 and at -180 share a stretch of it."""
    return bool(len(_east_of_180(shapely.get_parts(geometry))))


def unwrap(geometry: Polygonal) -> Polygonal:
    """The same place with the cut along 180° gone, in continuous longitudes.

    Parts at -180 that continue a part at 180 move east of it (longitudes 180 to 540) and the cut
    between them vanishes; all other parts stay, in [-180, 180]. A geometry that does not meet
    itself along 180° is returned as it is, and so is a part that runs all around the globe.
    """
    parts = shapely.get_parts(geometry)
    moved = _east_of_180(parts)
    if not len(moved):
        return geometry
    stays = np.setdiff1d(np.arange(len(parts)), moved)
    return shapely.union_all([*parts[stays], *(translate(parts[row], xoff=360.0) for row in moved)])


def _east_of_180(parts: NDArray[np.object_]) -> NDArray[np.int64]:
    """Rows of the parts at -180 that share a stretch of the antimeridian with a part at 180."""
    bounds = shapely.bounds(parts)
    around = bounds[:, 2] - bounds[:, 0] >= 360
    starting = np.flatnonzero((bounds[:, 0] == -180) & ~around)
    ending = np.flatnonzero((bounds[:, 2] == 180) & ~around)
    if not len(starting) or not len(ending):
        return starting[:0]
    shore = shapely.intersection(
        shapely.union_all(parts[ending]), shapely.LineString([(180, -90), (180, 90)])
    )
    moved = np.array([translate(part, xoff=360.0) for part in parts[starting]])
    return starting[shapely.length(shapely.intersection(moved, shore)) > 0]


def _with_points_on(polygon: shapely.Polygon, meridians: list[float]) -> shapely.Polygon:
    """The polygon with a point wherever an edge crosses one of these meridians."""
    if not meridians:
        return polygon
    rings = [np.asarray(ring.coords)[:, :2] for ring in (polygon.exterior, *polygon.interiors)]
    for meridian in meridians:
        rings = [_with_points_at(ring, meridian) for ring in rings]
    return shapely.Polygon(rings[0], rings[1:])


def _with_points_at(ring: Floats, meridian: float) -> Floats:
    """Each crossing is counted from the western end: an edge crosses alike in both directions."""
    beside = ring[:, 0] - meridian
    row = np.flatnonzero(beside[:-1] * beside[1:] < 0)
    eastward = (beside[row] < 0)[:, None]
    west = np.where(eastward, ring[row], ring[row + 1])
    east = np.where(eastward, ring[row + 1], ring[row])
    share = (meridian - west[:, 0]) / (east[:, 0] - west[:, 0])
    lat = west[:, 1] + (east[:, 1] - west[:, 1]) * share
    return np.insert(ring, row + 1, np.column_stack([np.full(len(row), meridian), lat]), axis=0)

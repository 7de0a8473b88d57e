"""Across 180°: rings that jump are unwrapped, polygons are split for storing and joined for matching."""

from __future__ import annotations

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
    wrapped = (lon + 180.0) % 360.0 - 180.0
    return np.where((lon >= -180) & (lon < 180), lon, wrapped)


def unwrap_ring(ring: Floats) -> Floats:
    """A ring whose longitudes go on where the given ones jump by more than 180°.

    Args:
        ring: (n, 2) longitudes and latitudes, closed.
    Returns:
        The same ring without jumps. It ends ±360° from where it began if it runs around a pole.
    """
    step = np.diff(ring[:, 0])
    turns = np.where(step > 180, -360.0, np.where(step < -180, 360.0, 0.0))
    out = ring.astype(np.float64, copy=True)
    out[1:, 0] += np.cumsum(turns)
    return out


def split(polygon: shapely.Polygon) -> Polygonal:
    """An unwrapped polygon cut at ±180° and brought back to [-180, 180]."""
    west, south, east, north = polygon.bounds
    if west >= -180 and east <= 180:
        return polygon
    parts = []
    for turn in range(int(np.floor((west + 180) / 360)), int(np.ceil((east + 180) / 360))):
        window = shapely.box(turn * 360 - 180, south - 1, turn * 360 + 180, north + 1)
        piece = translate(shapely.intersection(polygon, window), xoff=-360.0 * turn)
        parts += [p for p in shapely.get_parts(piece) if p.geom_type == "Polygon" and p.area > 0]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def spans_antimeridian(geometry: Polygonal) -> bool:
    """Whether parts in [-180, 180] meet along 180°: one ends at 180, another begins at -180."""
    bounds = shapely.bounds(shapely.get_parts(geometry))
    return bool((bounds[:, 2] == 180).any() and (bounds[:, 0] == -180).any())


def unwrap(geometry: Polygonal) -> Polygonal:
    """The same place with the cut along 180° gone: parts at -180 stand east of 180 and are joined.

    A geometry that does not meet itself across 180° is returned as it is, and so is one of which a
    single part spans all longitudes.
    """
    parts = shapely.get_parts(geometry)
    bounds = shapely.bounds(parts)
    if not spans_antimeridian(geometry) or ((bounds[:, 2] - bounds[:, 0]) >= 360).any():
        return geometry
    moved = [
        translate(part, xoff=360.0) if west == -180 else part
        for part, west in zip(parts, bounds[:, 0], strict=True)
    ]
    return shapely.union_all(moved)

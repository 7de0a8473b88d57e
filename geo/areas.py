"""Area layers: regions and trade areas that tell where a place is (product F10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import shapely
from numpy.typing import NDArray

from geo.antimeridian import Polygonal, split
from geo.measure import projected_area_m2

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


#: the fault of an area beyond the world; data that counts 0 to 360 is none
OUTSIDE = "outside the world"
_FAR_DEG = 540.0


@dataclass(frozen=True, kw_only=True)
class Area:
    """One area: what it is called and where it lies (WGS84, valid, in [-180, 180], any size)."""

    name: str
    code: str | None
    geometry: Polygonal


@dataclass(frozen=True, kw_only=True)
class Repair:
    """An area that came invalid and was mended: layers are reference, they are not refused.

    Attributes:
        fault: what was wrong, in GEOS's words with the place; "no polygon" where there is none.
        area_before_m2: as it came; lobes of opposite winding cancel.
        area_after_m2: 0.0 where nothing was left and the row is not in the layer.
    """

    name: str
    fault: str
    area_before_m2: float
    area_after_m2: float


@dataclass(frozen=True)
class AreaLayer:
    """Areas, with an R-tree that is built once, by the first question (or by `warmed`)."""

    areas: tuple[Area, ...]

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree([area.geometry for area in self.areas])

    def warmed(self) -> AreaLayer:
        """The layer itself, its tree built: before several threads share it."""
        self._tree.query(shapely.Point(0.0, 0.0))
        return self

    def holding(self, *, lon: Floats, lat: Floats) -> tuple[Ints, Ints]:
        """Which areas hold which points, the boundary included.

        Args:
            lon, lat: degrees, any length; a point at 180 is the same as at -180, and a point that
                is not finite lies nowhere.
        Returns:
            Pairs (point row, area row), sorted; a point may lie in several areas or in none.
        """
        lon, lat = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
        finite = np.flatnonzero(np.isfinite(lon) & np.isfinite(lat))
        both = finite[np.abs(lon[finite]) == 180.0]
        row = np.concatenate([finite, both])
        places = shapely.points(np.concatenate([lon[finite], -lon[both]]), lat[row])
        place, area = self._tree.query(places, predicate="intersects")
        pairs = np.unique(np.column_stack([row[place], area]), axis=0)
        return pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64)


def repaired(
    geometries: Sequence[shapely.Geometry | None],
    names: Sequence[str],
    codes: Sequence[str | None],
) -> tuple[AreaLayer, list[Repair]]:
    """A layer from geometries in WGS84; invalid ones are mended and reported.

    Heights are dropped and longitudes beyond 180 (data that counts 0 to 360) come back into
    [-180, 180], both without a report. Rows without a polygon are left out and reported.
    """
    areas, repairs = [], []
    for given, name, code in zip(geometries, names, codes, strict=True):
        geometry = None if given is None else shapely.force_2d(given)
        fault = _fault(geometry)
        mended = None if fault == OUTSIDE else _polygons(geometry, mend=bool(fault))
        if fault or mended is None:
            repairs.append(_repair(name, fault, geometry, mended))
        if mended is not None:
            areas.append(Area(name=name, code=code, geometry=mended))
    return AreaLayer(tuple(areas)), repairs


def _fault(geometry: shapely.Geometry | None) -> str:
    """What is wrong with it, "" for nothing."""
    if geometry is None or geometry.is_empty:
        return "no polygon"
    west, south, east, north = geometry.bounds
    if not (west >= -_FAR_DEG and east <= _FAR_DEG and south >= -90 and north <= 90):
        return OUTSIDE  # nothing of it is measured or mended: the work would grow with the longitude
    if geometry.geom_type not in ("Polygon", "MultiPolygon"):
        return f"{geometry.geom_type} instead of a polygon"
    return "" if geometry.is_valid else str(shapely.is_valid_reason(geometry))


def _polygons(geometry: shapely.Geometry | None, *, mend: bool) -> Polygonal | None:
    """Its polygonal parts in [-180, 180], valid; None where there are none."""
    if geometry is None:
        return None
    if mend:
        geometry = shapely.make_valid(geometry, method="structure", keep_collapsed=False)
    # a collection may hold multipolygons
    parts = shapely.get_parts(shapely.get_parts(geometry))
    polygons = [p for p in parts if p.geom_type == "Polygon" and not p.is_empty]
    pieces = [piece for polygon in polygons for piece in shapely.get_parts(split(polygon))]
    if not pieces:
        return None
    return pieces[0] if len(pieces) == 1 else shapely.MultiPolygon(pieces)


def _repair(name: str, fault: str, before: shapely.Geometry | None, after: Polygonal | None) -> Repair:
    measured = before is not None and fault != OUTSIDE
    return Repair(
        name=name,
        fault=fault,
        area_before_m2=projected_area_m2(before) if measured else 0.0,
        area_after_m2=projected_area_m2(after) if after is not None else 0.0,
    )

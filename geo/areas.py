"""Area layers: regions and trade areas that tell where a place is (product F10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import shapely
from numpy.typing import NDArray

from geo.measure import projected_area_m2

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Area:
    """One area: what it is called and where it lies (WGS84, valid, any size)."""

    name: str
    code: str | None
    geometry: shapely.Polygon | shapely.MultiPolygon


@dataclass(frozen=True, kw_only=True)
class Repair:
    """An area that came invalid and was mended: layers are reference, they are not refused."""

    name: str
    fault: str
    area_before_m2: float
    area_after_m2: float


@dataclass(frozen=True)
class AreaLayer:
    """Areas of one kind."""

    areas: tuple[Area, ...]

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree([area.geometry for area in self.areas])

    def holding(self, *, lon: Floats, lat: Floats) -> tuple[Ints, Ints]:
        """Which areas hold which points, the boundary included.

        Args:
            lon, lat: degrees, any length.
        Returns:
            Pairs (point row, area row), sorted; a point may lie in several areas or in none.
        """
        point, area = self._tree.query(shapely.points(lon, lat), predicate="intersects")
        order = np.lexsort((area, point))
        return point[order].astype(np.int64), area[order].astype(np.int64)


def repaired(
    geometries: Sequence[shapely.Geometry], names: Sequence[str], codes: Sequence[str | None]
) -> tuple[AreaLayer, list[Repair]]:
    """A layer from geometries in WGS84; invalid ones are mended and reported.

    Rows without a polygon are left out and reported with an area of 0.
    """
    areas, repairs = [], []
    for geometry, name, code in zip(geometries, names, codes, strict=True):
        if geometry is not None and geometry.geom_type in ("Polygon", "MultiPolygon"):
            if geometry.is_valid and not geometry.is_empty:
                areas.append(Area(name=name, code=code, geometry=shapely.force_2d(geometry)))
                continue
        mended = _mend(geometry)
        repairs.append(_repair(name, geometry, mended))
        if mended is not None:
            areas.append(Area(name=name, code=code, geometry=mended))
    return AreaLayer(tuple(areas)), repairs


def _mend(geometry: shapely.Geometry | None) -> shapely.Polygon | shapely.MultiPolygon | None:
    if geometry is None or geometry.is_empty:
        return None
    valid = shapely.make_valid(shapely.force_2d(geometry), method="structure", keep_collapsed=False)
    parts = [p for part in shapely.get_parts(valid) for p in shapely.get_parts(part)]
    polygons = [p for p in parts if p.geom_type == "Polygon" and not p.is_empty]
    if not polygons:
        return None
    return polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons)


def _repair(name: str, before: shapely.Geometry | None, after: shapely.Geometry | None) -> Repair:
    polygonal = before is not None and before.geom_type in ("Polygon", "MultiPolygon")
    return Repair(
        name=name,
        fault=str(shapely.is_valid_reason(before)) if polygonal else "no polygon",
        area_before_m2=projected_area_m2(before) if polygonal and before is not None else 0.0,
        area_after_m2=projected_area_m2(after) if after is not None else 0.0,
    )

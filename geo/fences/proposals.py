"""Ways to mend a refused polygon, for the user to accept or not (product F4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely

from geo.antimeridian import Polygonal, split
from geo.fences.fence import PolygonShape
from geo.fences.limits import AREA_TOLERANCE, MAX_AREA_KM2, MAX_VERTICES
from geo.fences.refusals import Proposal
from geo.measure import MAX_PLANE_DEG, projected_area_m2

#: `make_valid` takes time by the crossings: 500 random points have 40,000 and take half a second
MAX_OVERLAPS = 50_000
_CHUNK = 64


def mended(drawn: Sequence[shapely.Polygon]) -> Proposal | None:
    """What `make_valid` (structure) makes of the polygons together: its polygonal parts.

    Args:
        drawn: polygons in continuous longitudes, valid or not.
    Returns:
        None where nothing polygonal remains, the result breaks a limit, or the outline is so
        tangled or so wide (no 1,000 km² reach over 30°) that mending it could take seconds.
    """
    if _wide(drawn) or _tangled(drawn):
        return None
    pieces = [piece for polygon in drawn for part in _valid(polygon) for piece in _split(part)]
    geometry = normal_form(shapely.get_parts(shapely.union_all(pieces)))
    if geometry.is_empty or not geometry.is_valid:
        return None
    area_km2 = projected_area_m2(geometry) / 1e6
    if area_km2 > MAX_AREA_KM2 * (1 + AREA_TOLERANCE):
        return None
    if shapely.get_num_coordinates(geometry) > MAX_VERTICES:
        return None
    before_km2 = sum(projected_area_m2(polygon) for polygon in drawn) / 1e6
    shape = PolygonShape(geometry=geometry)
    return Proposal(code="mended", shape=shape, area_km2=area_km2, area_change_km2=area_km2 - before_km2)


def normal_form(pieces: Sequence[shapely.Polygon]) -> Polygonal:
    """One geometry of the pieces, shells counter-clockwise, holes clockwise (RFC 7946)."""
    turned = list(shapely.orient_polygons(list(pieces), exterior_cw=False))
    return turned[0] if len(turned) == 1 else shapely.MultiPolygon(turned)


def _valid(polygon: shapely.Polygon) -> list[shapely.Polygon]:
    valid = shapely.make_valid(polygon, method="structure", keep_collapsed=False)
    # a collection may hold multipolygons
    parts = shapely.get_parts(shapely.get_parts(valid))
    return [part for part in parts if part.geom_type == "Polygon" and not part.is_empty]


def _split(part: shapely.Polygon) -> list[shapely.Polygon]:
    return list(shapely.get_parts(split(part)))


def _wide(drawn: Sequence[shapely.Polygon]) -> bool:
    west, south, east, north = shapely.bounds(drawn).T
    return bool((np.maximum(east - west, north - south) > MAX_PLANE_DEG).any())


def _tangled(drawn: Sequence[shapely.Polygon]) -> bool:
    """Whether the boxes of more than `MAX_OVERLAPS` pairs of edges overlap, neighbours left out."""
    rings = [ring for polygon in drawn for ring in shapely.get_rings(polygon)]
    points = [shapely.get_coordinates(ring) for ring in rings]
    edges = np.vstack([np.hstack([p[:-1], p[1:]]) for p in points]).reshape(-1, 2, 2)
    lines = shapely.linestrings(edges)
    tree = shapely.STRtree(lines)
    overlaps = -3 * len(lines)  # with itself and its two neighbours
    for start in range(0, len(lines), _CHUNK):
        overlaps += tree.query(lines[start : start + _CHUNK]).shape[1]
        if overlaps > 2 * MAX_OVERLAPS:
            return True
    return False

"""Which coordinate system a layer is in, and its shapes in WGS84."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyproj
from pyproj.exceptions import CRSError, ProjError

from geo.sheets.features import Layer, Path, Shape, paths_of, rebuilt
from geo.sheets.problems import SheetRefused
from geo.sheets.table import Broken

_WGS84 = 4326
_NO_DEGREES_FROM = 360.0  # up to here a number may be a longitude of its own counting
_MIN_SHARE = 0.5  # of the features that are no degrees, before the whole file is asked for its CRS
_SAMPLE = 200
#: a coordinate system by its code; everything else could be a path to a file or a pipeline
_CRS_CODE = re.compile(
    r"(?:(?:urn:ogc:def:crs:)?(?P<owner>EPSG|ESRI|OGC):(?:[\d.]{0,9}:)?|"
    r"https?://www\.opengis\.net/def/crs/(?P<home>EPSG|OGC)/[\d.]{1,9}/)?(?P<code>CRS84h?|\d{4,6})",
    re.IGNORECASE | re.ASCII,
)
_CRS_WKT = re.compile(r"\s*(?:BOUND|PROJ|GEOG|GEOD|COMPOUND|GEOC|DERIVED|LOCAL|ENG)\w*\[", re.IGNORECASE)
#: grids of Korean files, the likelier first; all metres
_KOREAN_GRIDS = (5179, 5181, 5174, 5186, 5178, 2097, 32652, 3857)
_KOREA = (124.5, 33.0, 132.0, 38.7)  # west, south, east, north in degrees


def placed(layer: Layer, crs: str | None) -> tuple[Layer, str | None]:
    """The layer in WGS84, and what it was reprojected from (None: it was in WGS84 already).

    Args:
        crs: what the user says the coordinates are; it overrides what the file says.
    Raises:
        SheetRefused: `crs_missing` where nobody says it and most shapes are no degrees, or
            `crs_unknown`.
    """
    said = crs or layer.crs
    if said is None:
        _check_degrees(layer)
        return layer, None
    source = known_crs(said)
    authority = source.to_authority()
    if source.to_epsg() == _WGS84 or authority == ("OGC", "CRS84"):
        return layer, None
    moved = replace(layer, shapes=_reprojected(layer.shapes, source, said))
    return moved, ":".join(authority) if authority else source.name


def known_crs(said: str) -> pyproj.CRS:
    """A coordinate system by its code (`EPSG:5181`, `5181`, a URN) or its WKT.

    Raises `SheetRefused` (`crs_unknown`): also for PROJ strings, which may name files.
    """
    found = _CRS_CODE.fullmatch(said.strip())
    try:
        if found:
            owner = found["owner"] or found["home"] or "EPSG"
            return pyproj.CRS.from_authority(owner.upper(), found["code"].upper())
        if _CRS_WKT.match(said):
            return pyproj.CRS.from_wkt(said)
    except CRSError as error:
        raise SheetRefused("crs_unknown", given=said[:60]) from error
    raise SheetRefused("crs_unknown", given=said[:60])


def _reprojected(
    shapes: Sequence[Shape | Broken | None], source: pyproj.CRS, said: str
) -> list[Shape | Broken | None]:
    """Vertex by vertex, all of the layer at once; what fails becomes infinite and so `Broken`."""
    paths = [path for s in shapes if isinstance(s, Shape) for path in paths_of(s.nested)]
    if not paths:
        return list(shapes)
    flat = np.concatenate(paths)
    try:
        to_wgs84 = pyproj.Transformer.from_crs(source, _WGS84, always_xy=True)
        moved = np.column_stack(to_wgs84.transform(flat[:, 0], flat[:, 1]))
    except ProjError as error:
        raise SheetRefused("crs_unknown", given=said[:60]) from error
    split = iter(np.split(moved, np.cumsum([len(path) for path in paths])[:-1]))
    return [Shape(s.kind, rebuilt(s.nested, split)) if isinstance(s, Shape) else s for s in shapes]


def _check_degrees(layer: Layer) -> None:
    """Refuse a layer that says no coordinate system where most of it is no degrees."""
    shapes = (shape for shape in layer.shapes if isinstance(shape, Shape))
    paths = (next(paths_of(shape.nested), None) for shape in shapes)
    firsts = [path[0] for path in paths if path is not None and len(path)]
    if not firsts:
        return
    points = np.array(firsts)
    far = (np.abs(points) > _NO_DEGREES_FROM).any(axis=1)
    if far.mean() <= _MIN_SHARE:
        return
    likely = [f"EPSG:{code}" for code in _likely_grids(points[far][:_SAMPLE])][:3]
    x, y = points[far][0].tolist()
    raise SheetRefused(
        "crs_missing",
        where=f"Layer '{layer.name}'",
        where_ko=f"'{layer.name}' 레이어",
        given=f"{x:.10g}, {y:.10g}",
        example=likely[0] if likely else "EPSG:5181",
        hint=f" Likely ones: {', '.join(likely)}." if likely else "",
        hint_ko=f" 가능성이 큰 좌표계: {', '.join(likely)}." if likely else "",
    )


def _likely_grids(points: Path) -> list[int]:
    """The Korean grids by which nine in ten of the points lie in Korea, the likelier first."""
    west, south, east, north = _KOREA
    found = []
    for code in _KOREAN_GRIDS:
        to_wgs84 = pyproj.Transformer.from_crs(code, _WGS84, always_xy=True)
        lon, lat = to_wgs84.transform(points[:, 0], points[:, 1])
        inside = (west <= lon) & (lon <= east) & (south <= lat) & (lat <= north)
        if inside.mean() >= 0.9:
            found.append(code)
    return found

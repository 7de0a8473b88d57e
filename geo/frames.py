"""Tables of shapes: the only file that knows geopandas."""

from __future__ import annotations

import io
from collections.abc import Sequence

import geopandas
import pyogrio
import shapely

from geo.areas import AreaLayer, Repair, repaired
from geo.errors import NearcastError
from geo.fences.fence import Fence, PolygonShape
from geo.measure import circle_ring

WGS84_EPSG = 4326


class LayerUnreadable(NearcastError):
    """The file cannot be read as a layer of areas."""

    code = "layer_unreadable"


def read_frame(data: bytes, *, layer: str | None = None) -> geopandas.GeoDataFrame:
    """A frame from the bytes of a GeoJSON, GeoPackage, KML or zipped Shapefile."""
    try:
        return geopandas.read_file(io.BytesIO(data), layer=layer, engine="pyogrio")
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError) as error:
        raise LayerUnreadable(
            f"The file is no GeoJSON, GeoPackage, KML or zipped Shapefile: {error}"
        ) from error


def layer_of(
    frame: geopandas.GeoDataFrame,
    *,
    name_column: str,
    code_column: str | None = None,
    crs: str | None = None,
) -> tuple[AreaLayer, list[Repair]]:
    """Areas from a frame, reprojected to WGS84.

    Args:
        crs: e.g. `EPSG:5181`, where the file itself does not say.
    Raises:
        LayerUnreadable: a column is missing (the ones there are named), or no CRS is known.
    """
    if frame.crs is None and crs is None:
        raise LayerUnreadable(
            "The file does not say its coordinate system. Name it, for example crs=EPSG:5181."
        )
    for column in filter(None, (name_column, code_column)):
        if column not in frame.columns:
            there = ", ".join(str(c) for c in frame.columns if c != frame.geometry.name)
            raise LayerUnreadable(f"There is no column '{column}'. The file has: {there}.")
    known = frame if frame.crs is not None else frame.set_crs(crs)
    placed = known.to_crs(WGS84_EPSG)
    codes = placed[code_column].astype(str) if code_column else [None] * len(placed)
    return repaired(list(placed.geometry), list(placed[name_column].astype(str)), list(codes))


def fences_to_frame(fences: Sequence[Fence]) -> geopandas.GeoDataFrame:
    """A GeoDataFrame (WGS84) of fences for notebooks; circles come as 64-gons for drawing."""
    rows = [
        {
            "name": fence.name,
            "external_id": fence.external_id,
            "brand": fence.brand,
            "category": fence.category,
            "groups": list(fence.groups),
            "tags": list(fence.tags),
            "radius_m": getattr(fence.shape, "radius_m", None),
        }
        for fence in fences
    ]
    shapes = [
        fence.shape.geometry
        if isinstance(fence.shape, PolygonShape)
        else shapely.Polygon(
            circle_ring(lon=fence.shape.lon, lat=fence.shape.lat, radius_m=fence.shape.radius_m)
        )
        for fence in fences
    ]
    return geopandas.GeoDataFrame(rows, geometry=shapes, crs=WGS84_EPSG)

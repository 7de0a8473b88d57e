"""Tables of shapes: the only file that knows geopandas."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import PurePosixPath

import geopandas
import pyogrio
import pyproj.exceptions
import shapely.geometry

from geo.areas import AreaLayer, Repair, repaired
from geo.errors import NearcastError
from geo.fences.fence import CircleShape, Fence
from geo.fences.shapes import to_geojson

WGS84_EPSG = 4326

#: what may lie in a zipped Shapefile; GDAL would also open a .vrt, which reads other files
_ZIPPED = {".shp", ".shx", ".dbf", ".prj", ".cpg", ".sbn", ".sbx", ".qix", ".qmd", ".xml", ".txt"}
#: ten times the largest layer that is known here; a zip bomb is refused before it is unpacked
MAX_UNZIPPED_BYTES = 1 << 30
_FORMATS = "GeoJSON, GeoPackage, KML or a zipped Shapefile"


class LayerUnreadable(NearcastError):
    """The file cannot be read as a layer of areas."""

    code = "layer_unreadable"


def read_frame(
    data: bytes, *, layer: str | None = None, encoding: str | None = None
) -> geopandas.GeoDataFrame:
    """A frame from the bytes of a GeoJSON, GeoPackage, KML or zipped Shapefile.

    Args:
        layer: which one, where the file holds several.
        encoding: of a Shapefile without .cpg, e.g. `cp949`.
    Raises:
        LayerUnreadable: another format, a damaged file, no geometry, or several layers and none
            named (the message lists them).
    """
    data = _admitted(data)
    try:
        there = [str(name) for name in pyogrio.list_layers(data)[:, 0]]
        if layer is None and len(there) > 1:
            raise LayerUnreadable(f"The file has several layers, name one: {', '.join(there)}.")
        # a GeoJSON without a name is called after its file in memory, another one at each read
        chosen = {} if layer is None else {"layer": layer}
        frame = geopandas.read_file(io.BytesIO(data), engine="pyogrio", encoding=encoding, **chosen)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        # GDAL's advice is for its own users, and the path is one in memory
        why = re.sub(r"'?/vsi[^\s']+'?", "it is", str(error)).split(";")[0]
        raise LayerUnreadable(f"The file cannot be read as {_FORMATS}: {why}") from error
    except (IndexError, ValueError, LookupError, shapely.errors.ShapelyError) as error:
        raise LayerUnreadable(f"The file is damaged or in another encoding: {error}") from error
    if not isinstance(frame, geopandas.GeoDataFrame):
        raise LayerUnreadable("The file has no geometry.")
    return frame


def layer_of(
    frame: geopandas.GeoDataFrame,
    *,
    name_column: str,
    code_column: str | None = None,
    crs: str | None = None,
) -> tuple[AreaLayer, list[Repair]]:
    """Areas from a frame, reprojected to WGS84; invalid ones mended and reported.

    Args:
        crs: e.g. `EPSG:5181`, where the file itself does not say.
    Raises:
        LayerUnreadable: a column is missing (the ones there are named), or no CRS is known.
    """
    if frame.crs is None and crs is None:
        raise LayerUnreadable(
            "The file does not say its coordinate system. Name it, for example crs=EPSG:5181."
        )
    for column in (name_column, *([code_column] if code_column else [])):
        if column not in frame.columns:
            there = ", ".join(str(c) for c in frame.columns if c != frame.geometry.name)
            raise LayerUnreadable(f"There is no column '{column}'. The file has: {there}.")
    placed = _placed(frame, crs)
    names = [_text(value) or "" for value in placed[name_column]]
    codes = [_text(value) for value in placed[code_column]] if code_column else [None] * len(placed)
    return repaired(list(placed.geometry), names, codes)


def fences_to_frame(fences: Sequence[Fence]) -> geopandas.GeoDataFrame:
    """A GeoDataFrame (WGS84) of fences for notebooks; circles come as 64-gons for drawing.

    `radius_m` is NaN for polygons. An empty sequence gives an empty frame with all columns.
    """
    columns: dict[str, list[object]] = {
        "name": [fence.name for fence in fences],
        "external_id": [fence.external_id for fence in fences],
        "brand": [fence.brand for fence in fences],
        "category": [fence.category for fence in fences],
        "store": [fence.store for fence in fences],
        "groups": [list(fence.groups) for fence in fences],
        "tags": [list(fence.tags) for fence in fences],
        "radius_m": [
            fence.shape.radius_m if isinstance(fence.shape, CircleShape) else float("nan")
            for fence in fences
        ],
    }
    shapes = [shapely.geometry.shape(to_geojson(fence.shape)) for fence in fences]
    return geopandas.GeoDataFrame(columns, geometry=shapes, crs=WGS84_EPSG)


def _placed(frame: geopandas.GeoDataFrame, crs: str | None) -> geopandas.GeoDataFrame:
    try:
        known = frame if frame.crs is not None else frame.set_crs(crs)
        return known.to_crs(WGS84_EPSG)
    except pyproj.exceptions.CRSError as error:
        raise LayerUnreadable(f"'{crs}' is no coordinate system. Write it like EPSG:5181.") from error


def _text(value: object) -> str | None:
    """A cell as text; None for an empty one (NaN is not itself)."""
    if value is None or value != value:
        return None
    # a code column with gaps comes as float: 11110.0 is 11110
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _admitted(data: bytes) -> bytes:
    """Let only the four formats through to GDAL, which would open far more."""
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"PK"):
        return _flat(data)
    if head.startswith((b"{", b"SQLite format 3\0")) or (head.startswith(b"<") and b"<kml" in head):
        return data
    raise LayerUnreadable(f"This is none of {_FORMATS}.")


def _flat(data: bytes) -> bytes:
    """A zipped Shapefile without its folders, in which GDAL finds nothing, and without strangers."""
    flat = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(flat, "w") as kept:
            entries = [e for e in archive.infolist() if not e.is_dir() and "__MACOSX" not in e.filename]
            names = [PurePosixPath(entry.filename).name for entry in entries]
            _check_members(names, unpacked=sum(entry.file_size for entry in entries))
            for entry, name in zip(entries, names, strict=True):
                kept.writestr(name, archive.read(entry))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise LayerUnreadable(
            f"The zip file is damaged, encrypted or of a rare kind: {error}"
        ) from error
    return flat.getvalue()


def _check_members(names: Sequence[str], *, unpacked: int) -> None:
    """Raises `LayerUnreadable` unless these are the files of Shapefiles and no bomb."""
    strange = [name for name in names if PurePosixPath(name).suffix.lower() not in _ZIPPED]
    if strange or not any(name.lower().endswith(".shp") for name in names):
        what = ", ".join(strange[:5]) or "no .shp"
        raise LayerUnreadable(f"The zip holds no Shapefile or something else too: {what}.")
    if len(set(names)) < len(names):
        raise LayerUnreadable("The zip holds files of one name in several folders; zip them apart.")
    if unpacked > MAX_UNZIPPED_BYTES:
        raise LayerUnreadable(
            f"The zip holds {unpacked:,} bytes; at most {MAX_UNZIPPED_BYTES:,} are read."
        )

"""Tables of shapes: the only file that knows geopandas."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import PurePosixPath

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import pyproj.exceptions
import shapely.geometry

from geo.areas import AreaLayer, Repair, repaired
from geo.errors import NearcastError
from geo.fences.fence import CircleShape, Fence, FenceVersion, Shape
from geo.fences.shapes import ShapeRefused, read_geojson, to_geojson
from geo.matching.certainty import CertaintyPolicy, judge
from geo.matching.index import FenceIndex

WGS84_EPSG = 4326

#: what may lie in a zipped Shapefile; GDAL would also open a .vrt, which reads other files
_ZIPPED = {".shp", ".shx", ".dbf", ".prj", ".cpg", ".sbn", ".sbx", ".qix", ".qmd", ".xml", ".txt"}
#: ten times the largest layer that is known here; a zip bomb is refused before it is unpacked
MAX_UNZIPPED_BYTES = 1 << 30
_FORMATS = "GeoJSON, GeoPackage, KML or a zipped Shapefile"


#: an instant before and after all others
ALWAYS_MS = 1 << 60


class FrameRefused(NearcastError):
    """A row of the frame has no shape that can be a fence."""

    code = "frame_refused"


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


def index_of(frame: geopandas.GeoDataFrame, *, radius_column: str | None = None) -> FenceIndex:
    """A compiled index of a frame's shapes for notebooks: row i of the frame is row i of the index.

    Args:
        frame: in any CRS, WGS84 where it says none: polygons, and points that have a radius.
        radius_column: metres around each point; needed where the frame has points.
    Raises:
        FrameRefused: a row has no shape that can be a fence; the message says which.
    """
    placed = frame.set_crs(WGS84_EPSG) if frame.crs is None else frame.to_crs(WGS84_EPSG)
    radii = placed[radius_column] if radius_column else [None] * len(placed)
    shapes = [
        _shape(label, geometry, radius)
        for label, geometry, radius in zip(placed.index, placed.geometry, radii, strict=True)
    ]
    versions = [
        FenceVersion(
            fence_id=row,
            version=1,
            live_from_ms=-ALWAYS_MS,
            live_until_ms=ALWAYS_MS,
            time_zone="UTC",
            fence=Fence(name=str(label), shape=shape),
        )
        for row, (label, shape) in enumerate(zip(placed.index, shapes, strict=True))
    ]
    return FenceIndex.build(versions).compile()


def matched(
    index: FenceIndex, points: geopandas.GeoDataFrame, *, accuracy_column: str | None = None
) -> pd.DataFrame:
    """Which points lie in which shapes of an index, a row a pair, by point and then by shape.

    Args:
        points: in any CRS, WGS84 where it says none.
        accuracy_column: metres, the radius that holds the true place with 68 %; NaN where unknown. With
            it, shapes near a point come too, and each pair is judged.
    Returns:
        `point`: label in `points`; `fence`: row of the index, for `fences.iloc`. With accuracies also
        `verdict` (1 in, 0 undecided, -1 out), `p` (that the phone is inside) and `rim_m` (metres to the
        rim, negative inside).
    """
    placed = points.set_crs(WGS84_EPSG) if points.crs is None else points.to_crs(WGS84_EPSG)
    lon, lat = placed.geometry.x.to_numpy(), placed.geometry.y.to_numpy()
    if accuracy_column is None:
        hits = index.match(lon=lon, lat=lat)
        return pd.DataFrame({"point": placed.index[hits.ping], "fence": hits.fence})
    accuracy_m = placed[accuracy_column].to_numpy(float)
    near = index.candidates(lon=lon, lat=lat, at_ms=None, accuracy_m=accuracy_m)
    judged = judge(
        index,
        lon=lon,
        lat=lat,
        accuracy_m=accuracy_m,
        platform=np.zeros(len(lon), np.int8),
        ping=near.ping,
        fence=near.fence,
        policy=CertaintyPolicy(),
    )
    columns = {"verdict": judged.verdict, "p": judged.p, "rim_m": judged.rim_m}
    return pd.DataFrame({"point": placed.index[near.ping], "fence": near.fence, **columns})


def _shape(label: object, geometry: shapely.Geometry | None, radius: object) -> Shape:
    """One row's shape, read as a fence's is."""
    if isinstance(geometry, shapely.Point) and not geometry.is_empty:
        if radius is None or radius != radius:
            raise FrameRefused(f"Row {label} is a point without a radius: name its radius_column.")
        return CircleShape(lon=geometry.x, lat=geometry.y, radius_m=float(radius))  # type: ignore[arg-type]
    if geometry is None or geometry.is_empty:
        raise FrameRefused(f"Row {label} has no geometry.")
    try:
        return read_geojson(shapely.geometry.mapping(geometry)).shape
    except ShapeRefused as refused:
        raise FrameRefused(f"Row {label}: {refused.message}") from refused


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

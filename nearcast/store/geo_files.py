"""Geo files → tables of features. Runs in the guarded child of `nearcast.store.sandbox`.

GeoJSON and KML are read by our own `geo.sheets.geojson` and `geo.sheets.kml`, which lose no row and no
heading; GPX, GeoPackage and zipped Shapefiles by GDAL, which would open a hundred other formats too,
some of which read further files or the network. So each file is looked over before GDAL sees it: XML
for its root, its depth and entities, SQLite for its mark and for virtual tables; zips are taken apart
and packed anew. GDAL gets bytes only, under names of our own, and what it opened them with is checked
before a feature is read.
Heavy libraries are imported where they are needed: GeoJSON and KML do not pay for GDAL.
"""

from __future__ import annotations

import re
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import Any
from xml.parsers import expat

from geo.sheets.encoding import ENCODINGS, decode
from geo.sheets.feature_crs import placed
from geo.sheets.features import Layer, check_size, shapes_of_wkb, to_table
from geo.sheets.geojson import as_cell, clean, read_geojson
from geo.sheets.kml import read_kml
from geo.sheets.problems import SheetRefused
from geo.sheets.table import Cell, FileOptions, ReadFile, Row, SheetInfo, SheetLimits, Table
from nearcast.store.geo_zips import Shapefile, members_of, python_codec

_MAX_DEPTH = 128  # of XML elements; whoever reads them may recurse
_MAX_NAME_CHARS = 200
_GPKG_MARKS = (b"GPKG", b"GP10", b"GP11", b"GP12")  # SQLite's application_id of a GeoPackage
_XML_DECLARED = re.compile(rb"""^(<\?xml[^>]{0,200}?)\sencoding=["']([\w.:-]{1,40})["']""")
_VIRTUAL = re.compile(r"\s*create\s+virtual\b", re.IGNORECASE)
_RTREE = re.compile(r"\A[^(]{0,999}\busing\s+[\"'`\[]?rtree\b", re.IGNORECASE)
_LINE_TYPES = ("LineString", "LineString Z", "LineString M", "LineString ZM", "Curve", "CompoundCurve")
#: layers of a GPX; the points of tracks and routes are not offered: nobody means 10,000 fences by them
_GPX_LAYERS = ("waypoints", "routes", "tracks")


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A layer that the file holds.

    Attributes:
        name: as it is shown and chosen.
        rows: how many features it has.
        has_places: whether points or areas are in it, so that it is taken unless others are named.
        load: gives its features; a layer that nobody wants is not loaded and may be of any size.
    """

    name: str
    rows: int
    has_places: bool
    load: Callable[[], Layer]


def read_features(data: bytes, *, options: FileOptions, limits: SheetLimits) -> ReadFile:
    """The layers of a geo file as tables of features in WGS84, and a list of all its layers.

    Every layer that holds points or areas is taken; lines only where nothing else is there, or where
    they are named in `options.layer` or `options.sheets`. A feature whose shape cannot be read, is too
    long for a cell or is missing stays as a row, with a `Broken` cell or none.

    Args:
        options: `crs` overrides what the file says; `encoding` is of GeoJSON and of a Shapefile.
    Raises:
        SheetRefused: no geo file, damaged, too large, without a coordinate system, or no such layer.
    """
    found = _distinct(_layers(data, options, limits))
    if not any(one.rows for one in found):
        raise SheetRefused("empty")
    taken = _taken(found, options)
    tables: list[Table] = []
    cells = 0
    for one in found:
        if one.name not in taken:
            continue
        loaded = replace(one.load(), name=one.name)
        check_size(one.name, len(loaded.rows), len(loaded.fields), limits, before=cells)
        cells += len(loaded.rows) * (len(loaded.fields) + 1)
        layer, crs = placed(loaded, options.crs)
        tables.append(to_table(layer, crs=crs, limits=limits))
    sheets = [
        SheetInfo(name=one.name, hidden=False, rows=one.rows, taken=one.name in taken) for one in found
    ]
    return ReadFile(tables=tables, sheets=tuple(sheets))


def _taken(found: Sequence[_Found], options: FileOptions) -> set[str]:
    """Names of the layers to read, none of them empty."""
    names = [one.name for one in found]
    wanted = options.sheets or ((options.layer,) if options.layer else None)
    if wanted is not None:
        unknown = [name for name in wanted if name not in names]
        if unknown:
            raise SheetRefused("no_such_sheet", given=unknown[0][:80], what=", ".join(names)[:400])
        return {one.name for one in found if one.name in wanted and one.rows}
    places = {one.name for one in found if one.has_places and one.rows}
    return places or {one.name for one in found if one.rows}


def _distinct(found: Sequence[_Found]) -> list[_Found]:
    """The layers with names that differ, as two folders of a zip may hold files of one name."""
    seen: dict[str, int] = {}
    distinct = []
    for one in found:
        name = clean(one.name).strip()[:_MAX_NAME_CHARS] or "layer"
        seen[name] = seen.get(name, 0) + 1
        distinct.append(replace(one, name=f"{name} ({seen[name]})" if seen[name] > 1 else name))
    return distinct


def _layers(data: bytes, options: FileOptions, limits: SheetLimits) -> list[_Found]:
    """By what the file begins with."""
    if data.startswith(b"SQLite format 3\0"):
        return _geopackage(data, limits)
    if data.startswith(b"PK"):
        kml, shapefiles = members_of(data, limits)
        if shapefiles:
            return [_shapefile(one, options.encoding, limits) for one in shapefiles]
        return _xml(kml, limits)
    start = data[:4096].replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe\x1e \t\r\n")
    if start.startswith(b"<"):
        return _xml(data, limits)
    if not start.startswith(b"{"):
        raise SheetRefused("not_features", what="no geo file", what_ko="지리 정보 파일이 아니에요")
    layer = read_geojson(decode(data, encoding=options.encoding).text, limits=limits)
    return [_found(layer)]


def _found(layer: Layer) -> _Found:
    return _Found(
        name=layer.name, rows=len(layer.rows), has_places=layer.has_places(), load=lambda: layer
    )


# --- GDAL ----------------------------------------------------------------------------------------


@contextmanager
def _gdal() -> Iterator[Any]:
    """pyogrio, its errors as ours; its warnings are about a file that is not theirs to mend."""
    import pyogrio
    import pyogrio.raw

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield pyogrio
    except (
        pyogrio.errors.DataSourceError,
        pyogrio.errors.DataLayerError,
        UnicodeDecodeError,
        ValueError,
        IndexError,
    ) as error:
        # the path is one in memory, and GDAL's advice after the semicolon is for its own users
        why = re.sub(r"'?/vsi[^\s']+'?", "the file", clean(str(error))).split(";")[0][:200]
        raise SheetRefused("damaged_features", what=why or "no reason given") from error


def _listed(data: bytes, drivers: Sequence[str], load: Callable[[str], Layer]) -> list[_Found]:
    """The layers of a file as GDAL lists them, none of them loaded."""
    found = []
    with _gdal() as gdal:
        for name in gdal.list_layers(data)[:, 0]:
            info = gdal.read_info(data, layer=str(name), force_feature_count=True)
            _check_driver(info["driver"], drivers)
            kind = info["geometry_type"]
            has_places = kind is not None and not str(kind).endswith(_LINE_TYPES)
            rows, own = int(info["features"]), partial(load, str(name))
            found.append(_Found(name=str(name), rows=rows, has_places=has_places, load=own))
    return found


def _check_driver(driver: str, drivers: Sequence[str]) -> None:
    if driver not in drivers:
        raise SheetRefused("not_features", what="of another kind", what_ko="다른 형식이에요")


def _read(
    data: bytes, name: str, drivers: Sequence[str], limits: SheetLimits, *, encoding: str | None = None
) -> Layer:
    """One layer by GDAL, at most one feature more than is taken."""
    with _gdal() as gdal:
        info = gdal.read_info(data, layer=name, encoding=encoding)
        _check_driver(info["driver"], drivers)
        check_size(name, max(0, info["features"]), len(info["fields"]), limits)
        meta, _, wkb, columns = gdal.raw.read(
            data,
            layer=name,
            encoding=encoding,
            force_2d=True,
            max_features=limits.max_rows + 1,
            datetime_as_string=True,
        )
    types = [(kind, sub) for kind, sub in zip(meta["ogr_types"], meta["ogr_subtypes"], strict=True)]
    cells = [_cells(column.tolist(), *type_) for column, type_ in zip(columns, types, strict=True)]
    n = len(cells[0]) if cells else 0 if wkb is None else len(wkb)
    rows: list[Row] = (
        [list(row) for row in zip(*cells, strict=True)] if cells else [[] for _ in range(n)]
    )
    return Layer(
        name=name,
        fields=[str(field) for field in meta["fields"]],
        rows=rows,
        shapes=[None] * n if wkb is None else shapes_of_wkb(wkb),
        crs=meta["crs"],
    )


def _cells(values: list[Any], kind: str, subtype: str) -> list[Cell]:
    """A column of GDAL's: gaps make floats of whole numbers, dates come as text."""
    if subtype == "OFSTBoolean":
        return [None if v is None or v != v else bool(v) for v in values]
    if kind in ("OFTInteger", "OFTInteger64"):
        return [None if v is None or v != v else as_cell(int(v)) for v in values]
    if kind == "OFTDate":
        return [_date(v) for v in values]
    if kind == "OFTBinary":
        return [None] * len(values)  # a picture, say: nothing that a cell could show
    return [as_cell(v.tolist() if hasattr(v, "tolist") else v) for v in values]


def _date(value: Any) -> Cell:
    text = value if isinstance(value, str) else None
    try:
        return date.fromisoformat(text.replace("/", "-")[:10]) if text else None
    except ValueError:
        return text


def _without_empty_columns(layer: Layer) -> Layer:
    """GPX has two dozen fields that the driver lists always; those nobody filled go."""
    used = [k for k in range(len(layer.fields)) if any(row[k] is not None for row in layer.rows)]
    return replace(
        layer,
        fields=[layer.fields[k] for k in used],
        rows=[[row[k] for k in used] for row in layer.rows],
    )


# --- the formats ---------------------------------------------------------------------------------


def _xml(data: bytes, limits: SheetLimits) -> list[_Found]:
    """KML or GPX, each layer of it."""
    data = _in_utf8(data)
    root = _root_of(data)
    if root == "kml":
        return [_found(layer) for layer in read_kml(data, limits=limits)]
    if root != "gpx":
        what = f"XML that begins with <{root[:40]}>"
        raise SheetRefused("not_features", what=what, what_ko=f"<{root[:40]}>(으)로 시작하는 XML이에요")
    listed = _listed(data, ("GPX",), partial(_gpx_layer, data, limits))
    return [one for name in _GPX_LAYERS for one in listed if one.name == name]


def _gpx_layer(data: bytes, limits: SheetLimits, name: str) -> Layer:
    return _without_empty_columns(_read(data, name, ("GPX",), limits))


def _in_utf8(data: bytes) -> bytes:
    """XML in CP949 and the like as UTF-8: expat does not know it."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = decode(data).text.lstrip("\ufeff")
        return re.sub(r"^<\?.{0,999}?\?>", "", text, flags=re.DOTALL).encode("utf-8", "replace")
    declared = _XML_DECLARED.match(data)
    named = declared[2].decode().casefold() if declared else ""
    if declared is None or ENCODINGS.get(named, "utf-8").startswith("utf"):
        return data
    text = decode(data[declared.end() :], encoding=named).text
    return declared[1] + b' encoding="UTF-8"' + text.encode("utf-8", "replace")


def _root_of(data: bytes) -> str:
    """The name of the root; refused are entities, endless nesting and what is no XML."""
    path: list[str] = []
    root: list[str] = []
    parser = expat.ParserCreate()

    def opened(name: str, _: Mapping[str, str]) -> None:
        path.append(name)
        if len(path) == 1:
            root.append(name.rpartition(":")[2].casefold())
        if len(path) > _MAX_DEPTH:
            raise SheetRefused("bomb", what="elements nested too deep", what_ko="너무 깊은 XML 구조")

    def closed(_: str) -> None:
        path.pop()

    def declared(*_: object) -> None:
        raise SheetRefused("bomb", what="it declares XML entities", what_ko="XML 엔터티 선언")

    parser.StartElementHandler, parser.EndElementHandler = opened, closed
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = declared
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise SheetRefused("damaged_features", what=f"its XML breaks off: {error}") from error
    return root[0]


def _geopackage(data: bytes, limits: SheetLimits) -> list[_Found]:
    """The layers with shapes, and those without, which are taken only by name."""
    if data[68:72] not in _GPKG_MARKS:
        what_ko = "GeoPackage가 아닌 데이터베이스예요"
        raise SheetRefused("not_features", what="a database, but no GeoPackage", what_ko=what_ko)
    _check_schema(data)
    return _listed(data, ("GPKG",), lambda name: _read(data, name, ("GPKG",), limits))


def _check_schema(data: bytes) -> None:
    """Refuse virtual tables other than the index of a layer: GDAL's own could open other files."""
    database = sqlite3.connect(":memory:")
    try:
        database.deserialize(data)
        made = [row[0] or "" for row in database.execute("SELECT sql FROM sqlite_master")]
    except sqlite3.Error as error:
        raise SheetRefused("damaged_features", what=str(error)[:100]) from error
    finally:
        database.close()
    if any(_VIRTUAL.match(sql) and not _RTREE.search(sql) for sql in made):
        raise SheetRefused("bomb", what="it holds virtual tables", what_ko="가상 테이블이 있음")


def _shapefile(shapefile: Shapefile, encoding: str | None, limits: SheetLimits) -> _Found:
    """One Shapefile; its text is decoded here, cell by cell, since a cut letter fails a whole file."""
    codec = python_codec(encoding) if encoding else shapefile.codec
    layer = _read(shapefile.packed, "layer", ("ESRI Shapefile",), limits, encoding="ISO-8859-1")

    def decoded(cell: Cell) -> Cell:
        if not isinstance(cell, str):
            return cell
        return cell.encode("latin-1", "replace").decode(codec, "replace").rstrip("\ufffd\0") or None

    rows = [[decoded(cell) for cell in row] for row in layer.rows]
    fields = [str(decoded(field) or field) for field in layer.fields]
    return _found(replace(layer, name=shapefile.name, fields=fields, rows=rows))

"""Geo files for tests, and how they are read."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import geopandas
import pyogrio
import pytest
import shapely

from geo.sheets.problems import SheetRefused
from geo.sheets.table import FileOptions, ReadFile, SheetLimits, Table
from nearcast.store.geo_files import read_features

SQUARE = shapely.box(126.9, 37.4, 127.0, 37.5)
TIE = shapely.Polygon([(127, 37), (127.1, 37.1), (127.1, 37), (127, 37.08)])
FRAME = geopandas.GeoDataFrame(
    {"이름": ["강남구", "나비"], "수": [11680, 9]}, geometry=[SQUARE, TIE], crs=4326
)


def read(data: bytes, *, limits: SheetLimits | None = None, **options: Any) -> ReadFile:
    return read_features(data, options=FileOptions(**options), limits=limits or SheetLimits())


def only(data: bytes, **options: Any) -> Table:
    (table,) = read(data, **options).tables
    assert table.kind == "features"
    assert table.first_row == 0
    assert table.rows[0][-1] == "geometry"
    assert {len(row) for row in table.rows} == {len(table.rows[0])}
    return table


def refused(data: bytes, **options: Any) -> SheetRefused:
    with pytest.raises(SheetRefused) as caught:
        read(data, **options)
    assert "vsimem" not in caught.value.message
    assert caught.value.text("ko") != caught.value.text("en")
    return caught.value


def geojson(*features: Any, **members: Any) -> bytes:
    return json.dumps({"type": "FeatureCollection", **members, "features": features}).encode()


def feature(geometry: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def point(x: float, y: float) -> dict[str, Any]:
    return {"type": "Point", "coordinates": [x, y]}


def written(path: Path, frame: geopandas.GeoDataFrame, **options: Any) -> bytes:
    pyogrio.write_dataframe(frame, path, **options)
    return path.read_bytes()


def zipped(folder: Path, *, inside: str = "", leave_out: tuple[str, ...] = ()) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in sorted(folder.iterdir()):
            if part.suffix not in leave_out:
                archive.write(part, f"{inside}{part.name}")
    return packed.getvalue()


def shapefile(folder: Path, frame: geopandas.GeoDataFrame, *, encoding: str = "utf-8") -> Path:
    folder.mkdir()
    pyogrio.write_dataframe(frame, folder / "동네.shp", encoding=encoding)
    return folder


def two_layers(folder: Path) -> bytes:
    """A GeoPackage: areas in 구, one in dong (EPSG:5181), lines in roads, no shapes in words."""
    path = folder / "two.gpkg"
    lines = FRAME.set_geometry(FRAME.boundary)
    pyogrio.write_dataframe(FRAME, path, layer="구")
    pyogrio.write_dataframe(FRAME[:1].to_crs(5181), path, layer="dong", append=True)
    pyogrio.write_dataframe(lines, path, layer="roads", append=True)
    pyogrio.write_dataframe(FRAME[["이름"]], path, layer="words", append=True)
    return path.read_bytes()


PLACEMARK = """<Placemark><name>{name}</name><ExtendedData><SchemaData schemaUrl="#s">
<SimpleData name="수">{number}</SimpleData></SchemaData></ExtendedData><Polygon><outerBoundaryIs>
<LinearRing><coordinates>{positions}</coordinates></LinearRing></outerBoundaryIs></Polygon></Placemark>"""
KML_OF_FRAME = "<kml>{}</kml>".format(
    "".join(
        PLACEMARK.format(
            name=name, number=number, positions=" ".join(f"{x},{y},0" for x, y in area.exterior.coords)
        )
        for name, number, area in zip(FRAME["이름"], FRAME["수"], FRAME.geometry, strict=True)
    )
)
KML = """<?xml version="1.0" encoding="{encoding}"?>
<kml xmlns="http://www.opengis.net/kml/2.2"><Document>
<Folder><name>매장</name><Placemark><name>강남점</name><description>&lt;b&gt;</description>
<ExtendedData><Data name="반경"><value>150</value></Data></ExtendedData>
<Point><coordinates>127.0276,37.4979,5</coordinates></Point></Placemark>
<Placemark><name>없음</name></Placemark></Folder>
<Folder><name>길</name><Placemark><name>길</name>
<LineString><coordinates>127,37 128,38</coordinates></LineString></Placemark></Folder>
<Folder><name>구역</name><Placemark><name>둘</name><MultiGeometry>
<Polygon><outerBoundaryIs><LinearRing><coordinates>127,37 127.1,37 127.1,37.1 127,37
</coordinates></LinearRing></outerBoundaryIs></Polygon>
<Polygon><outerBoundaryIs><LinearRing><coordinates>128,37 128.1,37 128.1,37.1 128,37
</coordinates></LinearRing></outerBoundaryIs></Polygon>
</MultiGeometry></Placemark></Folder></Document></kml>"""
GPX = """<gpx version="1.1" creator="t" xmlns="http://www.topografix.com/GPX/1/1">
{waypoints}<trk><trkseg><trkpt lat="37" lon="127"/><trkpt lat="38" lon="128"/></trkseg></trk>
</gpx>"""
BAD = "bad_geometry"

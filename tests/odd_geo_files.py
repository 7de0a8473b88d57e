"""Odd geo files; see `tests.odd_files`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas
import pyogrio
import shapely

from tests.odd_books import laughs
from tests.odd_files import BAD, OddFile, refused
from tests.odd_sheets import zipped

_BOX = [[[127, 37.5], [127.01, 37.5], [127.01, 37.51], [127, 37.51], [127, 37.5]]]


def _geojson(*features: Any, **members: Any) -> bytes:
    return json.dumps({"type": "FeatureCollection", **members, "features": features}).encode()


def _feature(kind: str | None, coordinates: Any = None, **properties: Any) -> dict[str, Any]:
    geometry = None if kind is None else {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def _frame(*shapes: Any, crs: Any = 4326) -> geopandas.GeoDataFrame:
    names = [f"구역{n}" for n in range(1, len(shapes) + 1)]
    return geopandas.GeoDataFrame({"이름": names}, geometry=list(shapes), crs=crs)


def _written(frame: geopandas.GeoDataFrame, ending: str, *, without: Sequence[str] = ()) -> bytes:
    """The frame as a GeoPackage, or as a zip with a Shapefile."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{ending}"
        pyogrio.write_dataframe(frame, path, encoding="utf-8" if ending == ".shp" else None)
        if ending != ".shp":
            return path.read_bytes()
        parts = sorted(path.parent.iterdir())
        return zipped({part.name: part.read_bytes() for part in parts if part.suffix not in without})


_SQUARE = shapely.box(127, 37.5, 127.01, 37.51)
_KML = (
    '<kml xmlns="http://www.opengis.net/kml/2.2"><Document><Placemark><name>{name}</name>'
    "<Point><coordinates>127.0276,37.4979,12</coordinates></Point></Placemark></Document></kml>"
)
_GPX = '<gpx version="1.1"><wpt lat="37.4979" lon="127.0276"><name>강남역</name></wpt></gpx>'
_WITH_RADIUS = {"radius_m": 100.0}

GEO_FILES = [
    OddFile(
        name="GeoJSON of all kinds",
        make=lambda: _geojson(
            _feature("Polygon", _BOX, name="면"),
            _feature("Point", [127.0276, 37.4979], name="점"),
            _feature("LineString", [[127, 37], [128, 38]], name=BAD),
            _feature(None, name=f"{BAD}2"),
            _feature("MultiPolygon", [_BOX], name="면들"),
        ),
        options=_WITH_RADIUS,
        new=3,
        problems=[("wrong_type", "GeoJSON", 3), ("missing", "GeoJSON", 4)],
        file_name="a.geojson",
    ),
    OddFile(
        name="GeoJSON with heights",
        make=lambda: _geojson(_feature("Polygon", [[[*p, 12] for p in _BOX[0]]], name="면")),
        new=1,
    ),
    OddFile(
        name="GeoJSON across the date line",
        make=lambda: _geojson(
            _feature(
                "Polygon",
                [[[179.99, 0], [-179.99, 0], [-179.99, 0.02], [179.99, 0.02], [179.99, 0]]],
                name="섬",
            )
        ),
        new=1,
    ),
    OddFile(
        name="GeoJSON over 1,000 km²",
        make=lambda: _geojson(
            _feature("Polygon", [[[126, 36], [128, 36], [128, 38], [126, 38], [126, 36]]], name=BAD)
        ),
        problems=[("area_too_large", "GeoJSON", 1)],
    ),
    OddFile(
        name="GeoJSON that crosses itself",
        make=lambda: _geojson(
            _feature(
                "Polygon",
                [[[127, 37.5], [127.01, 37.51], [127.01, 37.5], [127, 37.51], [127, 37.5]]],
                name=BAD,
            )
        ),
        problems=[("self_intersection", "GeoJSON", 1)],
    ),
    OddFile(
        name="GeoJSON in metres that says its grid",
        make=lambda: _geojson(
            _feature("Point", [203078.1, 444195.5], name="점"),
            crs={"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::5181"}},
        ),
        options=_WITH_RADIUS,
        new=1,
        sheet={"crs": "EPSG:5181"},
    ),
    OddFile(
        name="GeoJSON with numbers of 400 digits",
        make=lambda: _geojson(
            _feature("Point", [127, 37.5], name="점", radius=100),
            _feature("Point", [127, 37.5], name=BAD, radius=10**400),
        ),
        new=1,
        problems=[("not_a_number", "GeoJSON", 2)],
    ),
    refused(
        "GeoJSON in metres that does not say it",
        lambda: _geojson(_feature("Point", [203078.1, 444195.5], name="점")),
        "crs_missing",
    ),
    refused(
        "GeoJSON with a coordinate system that there is not",
        lambda: _geojson(_feature("Point", [127, 37], name="점")),
        "crs_unknown",
        options={"crs": "EPSG:999999"},
    ),
    refused("GeoJSON without a feature", lambda: _geojson(), "empty"),
    refused(
        "GeoJSON cut off",
        lambda: _geojson(_feature("Polygon", _BOX, name="면"))[:-30],
        "damaged_features",
    ),
    refused(
        "GeoJSON in 100,000 brackets",
        lambda: b'{"type":"Polygon","coordinates":' + b"[" * 100_000,
        "damaged_features",
    ),
    OddFile(
        name="KML",
        make=lambda: _KML.format(name="강남역").encode(),
        options=_WITH_RADIUS,
        new=1,
        file_name="a.kml",
    ),
    refused(
        "KML with a billion laughs",
        lambda: (laughs() + _KML.format(name="&l9;")).encode(),
        "not_a_sheet",
    ),
    OddFile(name="GPX", make=lambda: _GPX.encode(), options=_WITH_RADIUS, new=1, file_name="a.gpx"),
    OddFile(
        name="a GeoPackage in a grid",
        make=lambda: _written(_frame(_SQUARE).to_crs(5181), ".gpkg"),
        new=1,
        sheet={"crs": "EPSG:5181"},
    ),
    OddFile(
        name="a Shapefile in a grid",
        make=lambda: _written(_frame(_SQUARE).to_crs(5179), ".shp"),
        new=1,
        sheet={"crs": "EPSG:5179"},
        file_name="a.zip",
    ),
    refused(
        "a Shapefile in a grid without its prj",
        lambda: _written(_frame(_SQUARE).to_crs(5179), ".shp", without=(".prj",)),
        "crs_missing",
    ),
    OddFile(
        name="a Shapefile in degrees without its prj",
        make=lambda: _written(_frame(_SQUARE), ".shp", without=(".prj",)),
        new=1,
    ),
    OddFile(
        name="a Shapefile without its dbf has no names",
        make=lambda: _written(_frame(_SQUARE), ".shp", without=(".dbf",)),
        problems=[("missing_heading", "a", 0)],
    ),
    refused("half a GeoPackage", lambda: _written(_frame(_SQUARE), ".gpkg")[:5_000], "damaged_features"),
]

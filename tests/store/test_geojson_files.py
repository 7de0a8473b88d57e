"""GeoJSON and KML row by row, and coordinate systems that are said or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyproj
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geo.sheets.problems import SheetRefused
from geo.sheets.table import Broken, SheetLimits
from tests.geo_files import (
    BAD,
    FRAME,
    SQUARE,
    feature,
    geojson,
    only,
    point,
    read,
    refused,
    shapefile,
    zipped,
)

IN_METRES = geojson(feature(point(200_000, 450_000), name="서울"), feature(None, name="없음"))


def test_metres_without_a_coordinate_system_are_refused_with_the_likeliest_ones() -> None:
    error = refused(IN_METRES)
    assert error.code == "crs_missing"
    assert "200000, 450000 are no degrees" in error.message
    assert "EPSG:5181, EPSG:5174" in error.message
    assert "crs=EPSG:5181" in error.text("ko")


@pytest.mark.parametrize("named", ["EPSG:5181", "epsg:5181", "5181", "urn:ogc:def:crs:EPSG::5181"])
def test_a_named_coordinate_system_is_taken(named: str) -> None:
    table = only(IN_METRES, crs=named)
    x, y = pyproj.Transformer.from_crs(5181, 4326, always_xy=True).transform(200_000, 450_000)
    assert table.rows[1] == ["서울", f"POINT ({x!r} {y!r})"]
    assert table.rows[2] == ["없음", None]
    assert table.crs == "EPSG:5181"


@pytest.mark.parametrize("named", ["urn:ogc:def:crs:EPSG::5181", "EPSG:5181"])
def test_the_old_crs_member_is_honoured_and_overridden(named: str) -> None:
    member = {"type": "name", "properties": {"name": named}}
    data = geojson(feature(point(200_000, 450_000)), crs=member)
    lon, lat = map(float, only(data).rows[1][-1][7:-1].split())
    assert (lon, lat) == pytest.approx((127.0, 37.5492), abs=1e-3)
    other = only(data, crs="EPSG:5186")
    assert other.crs == "EPSG:5186"
    assert float(other.rows[1][-1][7:-1].split()[1]) == pytest.approx(lat - 0.9, abs=0.01)


def test_crs84_is_wgs84() -> None:
    member = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
    table = only(geojson(feature(point(127.1, 37.2)), crs=member))
    assert (table.crs, table.rows[1]) == (None, ["POINT (127.1 37.2)"])


@pytest.mark.parametrize("named", ["EPSG:nine", "EPSG:999999", "+proj=tmerc +nadgrids=/x", "+init=/x:1"])
def test_what_is_no_coordinate_system_is_refused(named: str) -> None:
    error = refused(IN_METRES, crs=named)
    assert error.code == "crs_unknown"
    assert "EPSG:5181" in error.message


def test_few_rows_off_the_map_are_left_to_whoever_reads_the_rows() -> None:
    rows = only(geojson(feature(point(127, 37)), feature(point(200_000, 450_000)))).rows
    assert rows[1:] == [["POINT (127 37)"], ["POINT (200000 450000)"]]
    swapped = only(geojson(feature(point(37.5, 127.0)))).rows
    assert swapped[1] == ["POINT (37.5 127)"]


def test_a_point_that_no_grid_holds_is_a_broken_cell() -> None:
    rows = only(geojson(feature(point(200_000, 450_000)), feature(point(1e300, 0))), crs="5181").rows
    assert isinstance(rows[1][0], str)
    assert rows[2][0] == Broken("bad_geometry", "a coordinate is no finite number")


def test_a_shapefile_without_prj_asks_for_its_coordinate_system(tmp_path: Path) -> None:
    folder = shapefile(tmp_path / "s", FRAME.to_crs(5181))
    data = zipped(folder, leave_out=(".prj",))
    error = refused(data)
    assert error.code == "crs_missing"
    assert "동네" in error.message
    assert (
        shapely.hausdorff_distance(shapely.from_wkt(only(data, crs="5181").rows[1][-1]), SQUARE) < 1e-8
    )


def test_properties_become_cells() -> None:
    table = only(
        geojson(
            {**feature(point(1, 2), a="글", b=1, c=1.5, d=True, e=None), "id": "x1"},
            {"properties": {"a": "\ud800", "f": [1, {"ㄱ": 2}], "b": 2**70, "geometry": "own"}},
        )
    )
    assert table.rows == [
        ["id", "a", "b", "c", "d", "e", "f", "geometry_1", "geometry"],
        ["x1", "글", 1, 1.5, True, None, None, None, "POINT (1 2)"],
        [None, "\ufffd", str(2**70), None, None, None, '[1, {"ㄱ": 2}]', "own", None],
    ]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (json.dumps(feature(point(1, 2), a=1)), [["a", "geometry"], [1, "POINT (1 2)"]]),
        (json.dumps(point(1, 2)), [["geometry"], ["POINT (1 2)"]]),
        (
            "\ufeff" + "\n".join(json.dumps(feature(point(n, 2), a=n)) for n in (1, 2)) + "\n\n",
            [["a", "geometry"], [1, "POINT (1 2)"], [2, "POINT (2 2)"]],
        ),
        ("\x1e" + "\n\x1e".join([json.dumps(point(1, 2))] * 2), [["geometry"], *[["POINT (1 2)"]] * 2]),
    ],
)
def test_other_forms_of_geojson(text: str, rows: list[Any]) -> None:
    assert only(text.encode()).rows == rows


@pytest.mark.parametrize("encoding", ["cp949", "utf-16", "utf-8-sig"])
def test_geojson_in_other_encodings(encoding: str) -> None:
    text = json.dumps(feature(point(1, 2), 이름="강남역"), ensure_ascii=False)
    assert only(text.encode(encoding)).rows[1] == ["강남역", "POINT (1 2)"]


@pytest.mark.parametrize(
    ("geometry", "cell"),
    [
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1]]]}, "POLYGON ((0 0, 1 0, 1 1))"),
        ({"type": "Polygon", "coordinates": []}, "POLYGON EMPTY"),
        ({"type": "Point", "coordinates": []}, None),
        ({"type": "Point", "coordinates": [1, 2, 3]}, "POINT (1 2)"),
        ({"type": "MultiPoint", "coordinates": [[1, 2]]}, "POINT (1 2)"),
        ({"type": "LineString", "coordinates": [[1, 2], [3, 4]]}, "LINESTRING (1 2, 3 4)"),
        ({"type": "Point", "coordinates": ["1", "2"]}, BAD),
        ({"type": "Point", "coordinates": [True, False]}, BAD),
        ({"type": "Point", "coordinates": [1, True]}, BAD),
        ({"type": "Point", "coordinates": [float("nan"), 1]}, BAD),
        ({"type": "Point", "coordinates": [10**400, 1]}, BAD),
        ({"type": "Point", "coordinates": {"x": 1}}, BAD),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1], [1, 1]]]}, BAD),
        ({"type": "Polygon", "coordinates": [[0, 0], [1, 1]]}, BAD),
        ({"type": "Circle", "coordinates": [0, 0]}, BAD),
        ({"type": ["Point"], "coordinates": [0, 0]}, BAD),
        ("POINT (1 2)", BAD),
        ({"type": "GeometryCollection", "geometries": []}, None),
        ({"type": "GeometryCollection", "geometries": [point(1, 2)]}, "POINT (1 2)"),
        ({"type": "GeometryCollection", "geometries": [None, point(1, 2)]}, "POINT (1 2)"),
        ({"type": "GeometryCollection", "geometries": [point(1, 2), {"type": "Circle"}]}, BAD),
        (
            {
                "type": "GeometryCollection",
                "geometries": [
                    {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]},
                    {"type": "MultiPolygon", "coordinates": [[[[5, 5], [6, 5], [6, 6], [5, 5]]]]},
                ],
            },
            "MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)), ((5 5, 6 5, 6 6, 5 5)))",
        ),
        (
            {
                "type": "GeometryCollection",
                "geometries": [point(1, 2), {"type": "Polygon", "coordinates": []}],
            },
            BAD,
        ),
    ],
)
def test_a_bad_geometry_costs_its_own_row_only(geometry: Any, cell: str | None) -> None:
    table = only(geojson(feature(point(1, 2), n=1), feature(geometry, n=2), feature(point(3, 4), n=3)))
    assert [row[0] for row in table.rows[1:]] == [1, 2, 3]
    found = table.rows[2][1]
    assert (found.code if isinstance(found, Broken) else found) == cell


def test_features_that_are_none_stay_as_rows() -> None:
    table = only(geojson(feature(point(1, 2), a=1), None, "x"))
    assert [type(row[-1]) for row in table.rows[1:]] == [str, Broken, Broken]


def test_an_outline_too_long_for_a_cell_is_told_by_row() -> None:
    ring = [[n / 1000, 0] for n in range(2_000)] + [[0, 1], [0, 0]]
    data = geojson(
        feature({"type": "Polygon", "coordinates": [ring]}),
        feature({"type": "Polygon", "coordinates": [ring[:300]]}),
    )
    rows = only(data, limits=SheetLimits(max_cell_chars=10_000)).rows
    assert rows[1][0] == Broken("too_many_vertices", "2,002 vertices")
    assert isinstance(rows[2][0], str)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"a": 1}', "not_features"),
        ('{"type": "Topology", "objects": {}}', "not_features"),
        ('{"type": "FeatureCollection"}', "not_features"),
        ('{"type": "FeatureCollection", "features": {}}', "not_features"),
        ('{"type": []}', "not_features"),
        ('{"type": "FeatureCollection", "features": []}', "empty"),
        ('{"type": "FeatureCollection", "features": [', "damaged_features"),
        ('{"type": "Point", "coordinates": ' + "[" * 100_000, "damaged_features"),
        ('{"type": "Point", "coordinates": ' + "[" * 100_000 + "]" * 100_000 + "}", "damaged_features"),
        ('{"type": "Point", "coordinates": [1, ' + "9" * 10_000 + "]}", "damaged_features"),
        (json.dumps(point(1, 2)) + "\nname,lat", "damaged_features"),
        ("name,lat,lon", "not_features"),
    ],
)
def test_what_is_no_geojson_is_refused(text: str, code: str) -> None:
    error = refused(text.encode())
    assert error.code == code
    if code == "not_features":
        assert "GeoJSON, KML, KMZ, GPX, GeoPackage" in error.message


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(
                st.sampled_from(
                    ["type", "features", "geometry", "properties", "coordinates", "crs", "id", "name"]
                ),
                x,
            )
        ),
        max_leaves=12,
    ),
    st.sampled_from(["Feature", "FeatureCollection", "Polygon", "Point", "GeometryCollection"]),
)
def test_no_json_raises_anything_else(value: Any, kind: str) -> None:
    for key in ("features", "geometry", "coordinates", "geometries", "properties", "crs"):
        data = json.dumps({"type": kind, key: value}).encode()
        assert outcome(data) in (
            "read",
            "not_features",
            "damaged_features",
            "empty",
            "crs_missing",
            "crs_unknown",
        )


def outcome(data: bytes) -> str:
    try:
        return "read" if read(data).tables else "nothing"
    except SheetRefused as error:
        return error.code


@pytest.mark.parametrize(
    ("shape", "cell"),
    [
        ("<Point><coordinates> 127.1 , 37.2 </coordinates></Point>", "POINT (127.1 37.2)"),
        ("<Point><coordinates>127.1</coordinates></Point>", BAD),
        ("<Point><coordinates>a,b</coordinates></Point>", BAD),
        ("<Point><coordinates>nan,1</coordinates></Point>", BAD),
        ("<Point/>", None),
        ("<Model/>", None),
        ("<Polygon/>", "POLYGON EMPTY"),
        (
            "<x:Track xmlns:x='g'><x:coord>1 2 3</x:coord><x:coord>3 4 5</x:coord></x:Track>",
            "LINESTRING (1 2, 3 4)",
        ),
        ("<MultiGeometry>" * 40 + "</MultiGeometry>" * 40, BAD),
        ("<MultiGeometry/>", None),
        (
            (
                "<Polygon><innerBoundaryIs><LinearRing>"
                "<coordinates>1,1 2,1 2,2 1,1</coordinates></LinearRing>"
                "</innerBoundaryIs><outerBoundaryIs><LinearRing><coordinates>0,0 9,0 9,9</coordinates>"
                "</LinearRing></outerBoundaryIs></Polygon>"
            ),
            "POLYGON ((0 0, 9 0, 9 9), (1 1, 2 1, 2 2, 1 1))",
        ),
    ],
)
def test_a_bad_placemark_costs_its_own_row_only(shape: str, cell: str | None) -> None:
    mark = "<Placemark><name>{}</name>{}</Placemark>"
    good = "<Point><coordinates>1,2</coordinates></Point>"
    text = "<kml>" + mark.format("a", good) + mark.format("b", shape) + "</kml>"
    rows = only(text.encode()).rows
    assert [row[0] for row in rows[1:]] == ["a", "b"]
    assert (rows[2][1].code if isinstance(rows[2][1], Broken) else rows[2][1]) == cell

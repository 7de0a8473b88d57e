"""Geo files as tables of features: every format, what they lack, and hostile ones."""

from __future__ import annotations

import io
import json
import re
import sqlite3
import subprocess
import sys
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import geopandas
import pyogrio
import pyproj
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geo.fences.shapes import ShapeRefused, read_wkt
from geo.sheets.problems import SheetRefused
from geo.sheets.table import Broken, FileOptions, ReadFile, SheetLimits, Table
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


# --- one layer, every format ---------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["geojson", "gpkg", "kml", "kmz", "shp"])
def test_every_format_gives_the_same_rows(ending: str, tmp_path: Path) -> None:
    if ending == "shp":
        data = zipped(shapefile(tmp_path / "s", FRAME))
    elif ending in ("kml", "kmz"):
        data = KML_OF_FRAME.encode()
        (tmp_path / "doc.kml").write_bytes(data)
        data = zipped(tmp_path) if ending == "kmz" else data
    else:
        data = written(tmp_path / f"layer.{ending}", FRAME)
    table = only(data)
    heads = dict(zip(table.rows[0], zip(*table.rows[1:], strict=True), strict=True))
    assert heads["name" if "km" in ending else "이름"] == ("강남구", "나비")
    numbers = ("11680", "9") if "km" in ending else (11680, 9)
    assert heads["수"] == numbers
    assert type(heads["수"][0]) is type(numbers[0])
    assert [shapely.equals(shapely.from_wkt(wkt), SQUARE) for wkt in heads["geometry"]] == [True, False]
    with pytest.raises(ShapeRefused) as caught:
        read_wkt(heads["geometry"][1])
    assert caught.value.code == "self_intersection"
    assert table.crs is None


@given(
    st.lists(
        st.tuples(
            st.floats(-180, 180) | st.sampled_from([180.0, -180.0, 5e-324, 127.1 + 2**-46]),
            st.floats(-90, 90) | st.sampled_from([90.0, -90.0, -0.0]),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_coordinates_come_out_to_the_last_bit(positions: list[tuple[float, float]]) -> None:
    table = only(geojson(*(feature(point(x, y)) for x, y in positions)))
    for (x, y), (*_, wkt) in zip(positions, table.rows[1:], strict=True):
        found = re.fullmatch(r"POINT \((\S+) (\S+)\)", wkt)
        assert found is not None
        assert (float(found[1]), float(found[2])) == (x, y)


@pytest.mark.parametrize("epsg", [5181, 5174, 5186, 5179, 32652, 3857])
def test_each_vertex_is_reprojected(epsg: int, tmp_path: Path) -> None:
    table = only(written(tmp_path / "a.gpkg", FRAME.to_crs(epsg)))
    assert table.crs == f"EPSG:{epsg}"
    outline = shapely.from_wkt(table.rows[1][-1])
    assert shapely.hausdorff_distance(outline, SQUARE) < 1e-7


# --- coordinate systems --------------------------------------------------------------------------

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


# --- GeoJSON -------------------------------------------------------------------------------------


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


BAD = "bad_geometry"


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
        feature({"type": "Polygon", "coordinates": [ring[:9]]}),
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


# --- several layers ------------------------------------------------------------------------------


@pytest.fixture
def two_layers(tmp_path: Path) -> bytes:
    path = tmp_path / "two.gpkg"
    lines = FRAME.set_geometry(FRAME.boundary)
    pyogrio.write_dataframe(FRAME, path, layer="구")
    pyogrio.write_dataframe(FRAME[:1].to_crs(5181), path, layer="dong", append=True)
    pyogrio.write_dataframe(lines, path, layer="roads", append=True)
    pyogrio.write_dataframe(FRAME[["이름"]], path, layer="words", append=True)
    return path.read_bytes()


def test_all_layers_with_places_are_taken_and_all_are_listed(two_layers: bytes) -> None:
    found = read(two_layers)
    assert [(t.sheet, len(t.rows) - 1, t.crs) for t in found.tables] == [
        ("구", 2, None),
        ("dong", 1, "EPSG:5181"),
    ]
    assert [(s.name, s.rows, s.taken, s.hidden) for s in found.sheets] == [
        ("구", 2, True, False),
        ("dong", 1, True, False),
        ("roads", 2, False, False),
        ("words", 2, False, False),
    ]


def test_named_layers_are_taken_whatever_they_hold(two_layers: bytes) -> None:
    table = only(two_layers, layer="roads")
    assert table.rows[1][-1].startswith("LINESTRING (")
    assert [t.sheet for t in read(two_layers, sheets=("words", "dong")).tables] == ["dong", "words"]
    error = refused(two_layers, layer="ri")
    assert error.code == "no_such_sheet"
    assert "구, dong, roads, words" in error.message


def test_a_layer_that_is_not_taken_may_be_of_any_size(two_layers: bytes) -> None:
    """Roads and words have two features each, as has 구; only what is wanted is loaded."""
    small = SheetLimits(max_rows=1)
    found = read(two_layers, layer="dong", limits=small)
    assert [(s.name, s.rows, s.taken) for s in found.sheets][2:] == [
        ("roads", 2, False),
        ("words", 2, False),
    ]
    assert refused(two_layers, layer="roads", limits=small).code == "too_many_rows"


def test_limits_count_features_columns_and_all_cells(two_layers: bytes) -> None:
    assert refused(two_layers, limits=SheetLimits(max_rows=1)).code == "too_many_rows"
    assert refused(two_layers, limits=SheetLimits(max_columns=2)).code == "too_many_columns"
    assert read(two_layers, limits=SheetLimits(max_cells=9)).tables
    assert refused(two_layers, limits=SheetLimits(max_cells=8)).code == "too_many_cells"
    text = geojson(*[feature(point(1, 2), a=1, b=2)] * 3)
    assert refused(text, limits=SheetLimits(max_rows=2)).code == "too_many_rows"
    assert refused(text, limits=SheetLimits(max_columns=2)).code == "too_many_columns"
    assert len(only(text, limits=SheetLimits(max_rows=3, max_columns=3, max_cells=9)).rows) == 4


# --- Shapefiles ----------------------------------------------------------------------------------


def test_a_shapefile_in_cp949_without_cpg_in_a_folder(tmp_path: Path) -> None:
    folder = shapefile(tmp_path / "s", FRAME, encoding="cp949")
    (folder / "읽어 보세요.txt").write_text("strangers are left out")
    data = zipped(folder, inside="자료/동/", leave_out=(".cpg",))
    found = read(data)
    assert [s.name for s in found.sheets] == ["동네"]
    assert found.tables[0].rows[0] == ["이름", "수", "geometry"]
    assert [row[:2] for row in found.tables[0].rows[1:]] == [["강남구", 11680], ["나비", 9]]


@pytest.mark.parametrize("said", ["949", "EUC-KR", "CP949"])
def test_a_cpg_is_believed(said: str, tmp_path: Path) -> None:
    folder = shapefile(tmp_path / "s", FRAME, encoding="cp949")
    (folder / "동네.cpg").write_text(said)
    assert only(zipped(folder)).rows[1][0] == "강남구"


def test_a_letter_cut_in_two_costs_that_letter(tmp_path: Path) -> None:
    folder = shapefile(
        tmp_path / "s", FRAME.assign(이름=["가" * 100, "a" + "나" * 126]), encoding="cp949"
    )
    table = folder / "동네.dbf"
    long = ("a" + "나" * 126).encode("cp949")
    cut = table.read_bytes().replace(long, long[:-1] + b" ")
    assert cut != table.read_bytes()
    table.write_bytes(cut)
    rows = only(zipped(folder, leave_out=(".cpg",))).rows
    assert rows[1][0] == "가" * 100
    assert rows[2][0].startswith("a" + "나" * 125)


def test_one_name_in_two_folders_gives_two_layers(tmp_path: Path) -> None:
    folder = shapefile(tmp_path / "s", FRAME)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for part in folder.iterdir():
            for place in ("a", "b", "__MACOSX"):
                archive.write(part, f"{place}/{part.name}")
    assert [t.sheet for t in read(packed.getvalue()).tables] == ["동네", "동네 (2)"]


def test_a_zip_without_what_belongs_to_it(tmp_path: Path) -> None:
    folder = shapefile(tmp_path / "s", FRAME)
    error = refused(zipped(folder, leave_out=(".shx",)))
    assert error.code == "damaged_features"
    assert "동네.shx" in error.message
    assert only(zipped(folder, leave_out=(".dbf",))).rows[1][-1].startswith("POLYGON ((")


def test_dates_and_gaps(tmp_path: Path) -> None:
    frame = FRAME.assign(수=[1.0, float("nan")])
    database = sqlite3.connect(":memory:")
    database.deserialize(written(tmp_path / "a.gpkg", frame))
    # the triggers of the index want functions that SQLite itself has not
    for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        database.execute(f'DROP TRIGGER "{name}"')
    for column in ("day DATE", "moment DATETIME", "yes BOOLEAN", "n INTEGER", "picture BLOB"):
        database.execute(f"ALTER TABLE a ADD COLUMN {column}")
    database.execute(
        "UPDATE a SET day='2024-02-29', moment='2024-02-29T01:02:03Z', yes=1, n=7, picture=x'00' "
        "WHERE 이름='강남구'"
    )
    database.commit()
    rows = only(database.serialize()).rows
    database.close()
    first, second = (dict(zip(rows[0], row, strict=True)) for row in rows[1:])
    assert first["moment"].startswith("2024-02-29T01:02:03")
    assert first | {"moment": 0, "geometry": 0} == {
        "이름": "강남구",
        "수": 1.0,
        "day": date(2024, 2, 29),
        "moment": 0,
        "yes": True,
        "n": 7,
        "picture": None,
        "geometry": 0,
    }
    assert first["yes"] is True
    assert type(first["n"]) is int
    assert second | {"geometry": 0} == {**dict.fromkeys(first), "이름": "나비", "geometry": 0}


# --- KML and GPX ---------------------------------------------------------------------------------

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


@pytest.mark.parametrize("encoding", ["UTF-8", "EUC-KR", "UTF-16"])
def test_folders_of_a_kml_are_layers(encoding: str) -> None:
    found = read(KML.format(encoding=encoding).encode(encoding))
    assert [(s.name, s.rows, s.taken) for s in found.sheets] == [
        ("매장", 2, True),
        ("길", 1, False),
        ("구역", 1, True),
    ]
    shops, areas = found.tables
    first = dict(zip(shops.rows[0], shops.rows[1], strict=True))
    assert (first["name"], first["반경"], first["geometry"]) == (
        "강남점",
        "150",
        "POINT (127.0276 37.4979)",
    )
    assert shops.rows[2][-1] is None
    assert areas.rows[1][-1].startswith("MULTIPOLYGON (((")


GPX = """<gpx version="1.1" creator="t" xmlns="http://www.topografix.com/GPX/1/1">
{waypoints}<trk><trkseg><trkpt lat="37" lon="127"/><trkpt lat="38" lon="128"/></trkseg></trk>
</gpx>"""


def test_waypoints_of_a_gpx_are_taken_and_tracks_are_listed() -> None:
    found = read(GPX.format(waypoints='<wpt lat="37.5" lon="127.1"><name>쉼터</name></wpt>').encode())
    assert [(s.name, s.rows, s.taken) for s in found.sheets] == [
        ("waypoints", 1, True),
        ("routes", 0, False),
        ("tracks", 1, False),
    ]
    assert found.tables[0].rows == [["name", "geometry"], ["쉼터", "POINT (127.1 37.5)"]]


def test_a_gpx_of_tracks_only_gives_lines_to_be_refused_by_row() -> None:
    table = only(GPX.format(waypoints="").encode())
    assert table.sheet == "tracks"
    with pytest.raises(ShapeRefused) as caught:
        read_wkt(table.rows[1][-1])
    assert caught.value.code == "wrong_type"


# --- hostile files -------------------------------------------------------------------------------

ENTITIES = '<!DOCTYPE k [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'
VRT = (
    "<OGRVRTDataSource><OGRVRTLayer name='x'><SrcDataSource>/etc/hosts</SrcDataSource>"
    "</OGRVRTLayer></OGRVRTDataSource>"
)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (f"{ENTITIES}<kml>&b;</kml>", "bomb"),
        (f"<?xml version='1.0'?>{ENTITIES}<gpx>&b;</gpx>", "bomb"),
        ("<!DOCTYPE kml SYSTEM 'file:///etc/hosts'><kml/>", "bomb"),
        ("<kml>" + "<Folder>" * 200 + "</Folder>" * 200 + "</kml>", "bomb"),
        ("<kml>" + "<Folder>" * 100_000, "bomb"),
        ("<kml><Folder>", "damaged_features"),
        ("<kml/><kml/>", "damaged_features"),
        (VRT, "not_features"),
        (f"<!-- <kml> -->{VRT}", "not_features"),
        ("<html><body/></html>", "not_features"),
        ("<rss/>", "not_features"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_hostile_xml_is_refused(text: str, code: str, encoding: str) -> None:
    assert refused(text.encode(encoding)).code == code


def test_what_also_looks_like_a_vrt_opens_nothing_else() -> None:
    inside = KML.format(encoding="UTF-8").replace("<Document>", f"<!-- {VRT} --><Document>")
    assert [s.name for s in read(inside.encode()).sheets] == ["매장", "길", "구역"]
    assert refused(GPX.format(waypoints=f"<!-- {VRT} -->").encode()).code == "damaged_features"


def test_a_database_that_is_no_geopackage_is_refused(tmp_path: Path, two_layers: bytes) -> None:
    plain = sqlite3.connect(":memory:")
    plain.execute("CREATE TABLE t (a)")
    assert refused(plain.serialize()).code == "not_features"
    plain.close()
    assert refused(two_layers[:5_000]).code == "damaged_features"
    torn = bytearray(two_layers)
    torn[100:2_000] = bytes(1_900)
    assert refused(bytes(torn)).code == "damaged_features"


@pytest.mark.parametrize("module", ["VirtualOGR('/etc/hosts')", "fts5(a)", '"VirtualShape"(x)'])
def test_a_geopackage_with_virtual_tables_is_refused(module: str, two_layers: bytes) -> None:
    database = sqlite3.connect(":memory:")
    database.deserialize(two_layers)
    database.execute("PRAGMA writable_schema=ON")
    sql = f"create  Virtual\ttable rtree_x using {module}"
    database.execute(
        "INSERT INTO sqlite_master (type, name, tbl_name, rootpage, sql) VALUES ('table','x','x',0,?)",
        (sql,),
    )
    database.commit()
    assert refused(database.serialize()).code in ("bomb", "damaged_features")
    database.close()


def zip_of(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "."), content)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (zip_of(a_vrt=VRT.encode()), "not_features"),
        (zip_of(a_csv=b"x,y"), "not_features"),
        (zip_of(doc_kml=VRT.encode()), "not_features"),
        (zip_of(a_shp=VRT.encode(), a_shx=b"x"), "damaged_features"),
        (zip_of(a_shp=b"", a_shx=b""), "damaged_features"),
        (zip_of(a_shp=bytes(2 << 20), a_shx=b""), "bomb"),
        (b"PK\x03\x04 torn", "damaged_features"),
        (zip_of(doc_kml=b"<kml/>")[:-30], "damaged_features"),
    ],
)
def test_hostile_zips_are_refused(data: bytes, code: str) -> None:
    assert refused(data).code == code


def test_a_zip_is_bounded_before_it_is_unpacked() -> None:
    data = zip_of(a_shp=b"1234", a_shx=b"5678", a_dbf=bytes(range(256)) * 4_096)
    assert refused(data, limits=SheetLimits(max_unpacked_bytes=1 << 20)).code == "bomb"
    assert refused(data, limits=SheetLimits(max_entries=2)).code == "bomb"


def test_a_locked_zip_says_so(tmp_path: Path) -> None:
    data = bytearray(zip_of(a_shp=b"x"))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    assert refused(bytes(data)).code == "encrypted"


def test_it_reads_within_the_bounds_of_the_child(tmp_path: Path) -> None:
    """2 GiB of address space and no file to write: GDAL keeps to memory."""
    path = tmp_path / "a.gpkg"
    path.write_bytes(written(tmp_path / "b.gpkg", FRAME.to_crs(5181)))
    code = (
        "import resource, sys; d = sys.stdin.buffer.read()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "from nearcast.store.geo_files import read_features\n"
        "from geo.sheets.table import FileOptions, SheetLimits\n"
        "f = read_features(d, options=FileOptions(), limits=SheetLimits())\n"
        "assert len(f.tables[0].rows) == 3, f\n"
        "print('geopandas' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=path.read_bytes(),
        capture_output=True,
        check=False,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr.decode()


def test_geojson_does_not_pay_for_gdal() -> None:
    code = (
        "import sys\n"
        "from nearcast.store.geo_files import read_features\n"
        "from geo.sheets.table import FileOptions, SheetLimits\n"
        'data = b\'{"type": "Point", "coordinates": [1, 2]}\'\n'
        "read_features(data, options=FileOptions(), limits=SheetLimits())\n"
        "assert not {'pyogrio', 'pandas'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])

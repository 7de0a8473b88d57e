"""Geo files as tables of features: every format, several layers, what they lack."""

from __future__ import annotations

import io
import re
import sqlite3
import zipfile
from datetime import date
from pathlib import Path

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geo.fences.shapes import ShapeRefused, read_wkt
from geo.sheets.table import SheetLimits
from tests.geo_files import (
    FRAME,
    GPX,
    KML,
    KML_OF_FRAME,
    SQUARE,
    feature,
    geojson,
    only,
    point,
    read,
    refused,
    shapefile,
    two_layers,
    written,
    zipped,
)


@pytest.fixture(name="two_layers")
def the_two_layers(tmp_path: Path) -> bytes:
    return two_layers(tmp_path)


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
    assert rows[2][0] == "a" + "나" * 125


def test_the_language_byte_of_a_table_decides_where_both_encodings_fit(tmp_path: Path) -> None:
    """짜 in CP949 is ¥ in UTF-8, without a fault in either."""
    folder = shapefile(
        tmp_path / "s", FRAME.rename(columns={"이름": "n", "수": "m"}).assign(n="짜"), encoding="cp949"
    )
    table = bytearray((folder / "동네.dbf").read_bytes())
    for language, text in ((0x79, "짜"), (0, "¥")):
        table[29] = language
        (folder / "동네.dbf").write_bytes(table)
        assert only(zipped(folder, leave_out=(".cpg",))).rows[1][0] == text


def test_names_in_a_zip_of_korean_windows(tmp_path: Path) -> None:
    """CP949 without the flag that says how names are written."""
    folder = shapefile(tmp_path / "s", FRAME)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for part in folder.iterdir():
            archive.write(part, f"XXXX{part.suffix}")
    data = packed.getvalue().replace(b"XXXX", "동네".encode("cp949"))
    assert [s.name for s in read(data).sheets] == ["동네"]


def test_a_placemark_speaks_for_itself_before_its_extended_data() -> None:
    mark = "<Placemark>{}<name>own</name><ExtendedData>{}</ExtendedData></Placemark>"
    data = '<Data name="name"><value>other</value></Data><Data name=" "><value>x</value></Data>'
    assert only(f"<kml>{mark.format('', data)}</kml>".encode()).rows == [
        ["name", "geometry"],
        ["own", None],
    ]


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

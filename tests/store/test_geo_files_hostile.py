"""Hostile geo files are refused, and the rest is read within the bounds of the child."""

from __future__ import annotations

import io
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from geo.sheets.problems import SheetRefused
from geo.sheets.table import Broken, FileOptions, SheetLimits
from nearcast.store.sandbox import read_file
from tests.geo_files import FRAME, GPX, KML, feature, geojson, point, read, refused, two_layers, written


@pytest.fixture(name="two_layers")
def the_two_layers(tmp_path: Path) -> bytes:
    return two_layers(tmp_path)


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


@pytest.mark.parametrize("module", ["VirtualOGR('/etc/hosts')", "fts5(a)", '"VirtualShape"(rtree)'])
def test_a_geopackage_with_virtual_tables_is_refused(module: str, two_layers: bytes) -> None:
    database = sqlite3.connect(":memory:")
    database.deserialize(two_layers)
    database.execute("PRAGMA writable_schema=ON")
    database.execute(
        "INSERT INTO sqlite_master (type, name, tbl_name, rootpage, sql) VALUES ('table','x','x',0,?)",
        (f"CREATE  Virtual\ttable x uSing {module}",),
    )
    database.commit()
    assert refused(database.serialize()).code == "bomb"
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


def test_the_guarded_child_reads_geo_files_and_says_why_not(two_layers: bytes) -> None:
    found = read_file(two_layers, options=FileOptions(layer="dong"))
    assert [(t.kind, t.first_row, t.crs, len(t.rows)) for t in found.tables] == [
        ("features", 0, "EPSG:5181", 2)
    ]
    assert [s.name for s in found.sheets if s.taken] == ["dong"]
    metres = geojson(feature(point(200_000, 450_000), name="서울"), feature({"type": "Point"}))
    with pytest.raises(SheetRefused) as caught:
        read_file(metres)
    assert caught.value.code == "crs_missing"
    assert "crs=EPSG:5181" in caught.value.text("ko")
    (table,) = read_file(metres, options=FileOptions(crs="5181")).tables
    assert table.rows[1][0] == "서울"
    assert table.rows[2] == [None, Broken("bad_geometry", "coordinates are no list")]

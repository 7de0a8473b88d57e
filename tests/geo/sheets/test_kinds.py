"""The bytes decide what a file is, never its name."""

import codecs
import io
import zipfile

import pytest

from geo.sheets.kinds import Kind, kind_of
from geo.sheets.packed import kind_of_zip, opened
from geo.sheets.problems import SheetRefused
from geo.sheets.table import SheetLimits
from geo.sheets.workbook import kind_within, to_csv, to_xlsx

KML = b'<kml xmlns="http://www.opengis.net/kml/2.2"><Document/></kml>'


def _zip(*names: str, content: bytes = b"x") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name in names:
            packed.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"name,lat\n", Kind.TEXT),
        (b"type,features\n", Kind.TEXT),
        (b"a<kml>,b\n", Kind.TEXT),
        (to_csv([["name"]]), Kind.TEXT),
        (to_xlsx([["x"]]), Kind.ZIP),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, Kind.CFB),
        (b'{"type": "FeatureCollection", "features": []}', Kind.GEO),
        (codecs.BOM_UTF8 + b' \r\n {\n "bbox": [1], "type"  :\n "Feature"}', Kind.GEO),
        (b'{"type":"MultiPolygon","coordinates":[]}', Kind.GEO),
        (b'{"features":[' + b" " * 200_000 + b'],"type":"FeatureCollection"}', Kind.GEO),
        (b'{"type": "Thing"}', Kind.TEXT),
        (b'{"a": 1}', Kind.TEXT),
        (KML, Kind.GEO),
        (b'<?xml version="1.0"?>\n<!-- <kml> of -->\n' + KML, Kind.GEO),
        (codecs.BOM_UTF8 + b'<?xml version="1.0"?><kml:kml xmlns:kml="k">', Kind.GEO),
        (b'<gpx version="1.1"></gpx>', Kind.GEO),
        (b'<?xml version="1.0"?><rss><kml></kml></rss>', Kind.TEXT),
        # entities are no part of it: the text reader refuses it as XML
        (b'<?xml version="1.0"?><!DOCTYPE kml [<!ENTITY a "x">]><kml>&a;</kml>', Kind.TEXT),
        (b"SQLite format 3\0" + b"\0" * 84, Kind.GEO),
    ],
)
def test_the_first_bytes_say_what_it_is(data: bytes, kind: Kind) -> None:
    assert kind_of(data) is kind


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("a.shp", "a.dbf"), Kind.GEO),
        (("folder/가.SHP",), Kind.GEO),
        (("doc.kml", "images/a.png"), Kind.GEO),
        (("xl/workbook.xml", "a.kml"), Kind.ZIP),
        (("xl\\workbook.xml",), Kind.ZIP),
    ],
)
def test_a_zip_is_looked_into(names: tuple[str, ...], kind: Kind) -> None:
    assert kind_within(_zip(*names), SheetLimits()) is kind


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("a.txt",), "a zip archive"),
        (("word/document.xml",), "a Word document"),
        (("ppt/presentation.xml",), "a presentation"),
        (("mimetype",), "a zip archive"),
        ((), "a zip archive"),
    ],
)
def test_other_zips_are_named(names: tuple[str, ...], said: str) -> None:
    data = _zip(*names)
    with (
        pytest.raises(SheetRefused, match=said) as refused,
        opened(data, SheetLimits()) as packed,
    ):
        kind_of_zip(packed)
    assert refused.value.code == "not_a_sheet"


def test_a_dbf_may_be_packed_well_and_other_parts_may_not() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.shp", b"x")
        packed.writestr("a.dbf", b" " * (4 << 20))
    assert kind_within(out.getvalue(), SheetLimits()) is Kind.GEO
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("b.shp", b" " * (4 << 20))
    with pytest.raises(SheetRefused, match="packed"):
        kind_within(out.getvalue(), SheetLimits())


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("<kml>", "KML file that is not in UTF-8"),
        ("<gpx>", "GPX file that is not in UTF-8"),
    ],
)
def test_markup_in_other_encodings_is_named(start: str, said: str) -> None:
    from geo.sheets.workbook import read

    with pytest.raises(SheetRefused, match=said):
        read((start + "<a>가</a>").encode("utf-16"))


def test_a_bare_part_of_a_shapefile_says_what_to_do() -> None:
    with pytest.raises(SheetRefused, match=r"zip its \.shp, \.shx, \.dbf and \.prj together"):
        kind_of(b"\0\0\x27\x0a" + b"\0" * 96)

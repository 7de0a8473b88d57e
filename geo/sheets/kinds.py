"""What a file is, judged by its content: nothing here knows its name."""

from __future__ import annotations

import codecs
import re
from enum import StrEnum

from geo.sheets.problems import SheetRefused


class Kind(StrEnum):
    """What a file is, judged by its content.

    `GEO` is GeoJSON, KML, GPX, GeoPackage, KMZ or a zipped Shapefile; the last two are `ZIP` until
    somebody looks into the zip (`packed.kind_of_zip`).
    """

    TEXT = "csv"
    ZIP = "zip"
    CFB = "xls"
    GEO = "geo"


_LOOKED_AT_CHARS = 64_000
_CONTROLS = [chr(c) for c in range(1, 32) if chr(c) not in "\t\n\r\x0b\x0c\x1a"]
_MAX_CONTROL_SHARE = 0.001
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"%PDF", "a PDF", "PDF 파일이에요"),
    (b"\x89PNG", "a picture", "그림 파일이에요"),
    (b"\xff\xd8\xff", "a picture", "그림 파일이에요"),
    (b"GIF8", "a picture", "그림 파일이에요"),
    (b"\x1f\x8b", "a gzip archive", "gzip 압축 파일이에요"),
    (b"Rar!", "a RAR archive", "RAR 압축 파일이에요"),
    (b"7z\xbc\xaf", "a 7z archive", "7z 압축 파일이에요"),
    (b"PAR1", "a Parquet file", "Parquet 파일이에요"),
    (
        b"\0\0\x27\x0a",
        "a part of a Shapefile (zip its .shp, .shx, .dbf and .prj together)",
        "Shapefile의 일부예요. .shp, .shx, .dbf, .prj를 하나의 zip으로 묶어 주세요",
    ),
)
_TEXT_STARTS: tuple[tuple[str, str, str], ...] = (
    ("<!doctype html", "a web page", "웹 페이지예요"),
    ("<html", "a web page", "웹 페이지예요"),
    ("<table", "a web page", "웹 페이지예요"),
    ("<?xml", "an XML file", "XML 파일이에요"),
    ("<kml", "a KML file that is not in UTF-8", "UTF-8이 아닌 KML 파일이에요"),
    ("<gpx", "a GPX file that is not in UTF-8", "UTF-8이 아닌 GPX 파일이에요"),
    ("{", "a JSON file", "JSON 파일이에요"),
)
_SQLITE = b"SQLite format 3\0"
#: a geo file's GDAL reader takes UTF-8 alone; comments and a declaration may stand before the root
_GEO_XML = re.compile(
    rb"(?:<\?[^>]{0,999}\?>|<!--.{0,9999}?-->|\s)*<(?:\w{1,9}:)?(?:kml|gpx)[\s>]", re.DOTALL
)
_GEO_JSON = re.compile(
    rb'\{.*?"type"\s*:\s*"(?:Feature|FeatureCollection|GeometryCollection|'
    rb'(?:Multi)?(?:Point|LineString|Polygon))"',
    re.DOTALL,
)


def kind_of(data: bytes) -> Kind:
    """What the first bytes say; `SheetRefused` (`empty`, `not_a_sheet`) for what cannot be read."""
    start = data[:_LOOKED_AT_CHARS].removeprefix(codecs.BOM_UTF8).lstrip()
    if not start and not data.strip():
        raise SheetRefused("empty")
    for magic, what, what_ko in _MAGIC:
        if data.startswith(magic):
            raise SheetRefused("not_a_sheet", what=what, what_ko=what_ko)
    if data.startswith(_SQLITE) or _GEO_XML.match(start) or _is_geo_json(start, data):
        return Kind.GEO
    if data.startswith(b"PK"):
        return Kind.ZIP
    if data.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return Kind.CFB
    return Kind.TEXT


def _is_geo_json(start: bytes, data: bytes) -> bool:
    """Whether it is GeoJSON; `type` may stand behind all features, so the end is looked at too."""
    if not start.startswith(b"{"):
        return False
    return bool(_GEO_JSON.match(start) or _GEO_JSON.match(b"{" + data[-_LOOKED_AT_CHARS:]))


def check_is_text(text: str) -> None:
    """Refuse markup, JSON and binary data that happened to decode (`not_a_sheet`)."""
    start = text[:512].lstrip("\ufeff \t\r\n").lower()
    for begin, what, what_ko in _TEXT_STARTS:
        if start.startswith(begin):
            raise SheetRefused("not_a_sheet", what=what, what_ko=what_ko)
    head = text[:_LOOKED_AT_CHARS]
    controls = sum(head.count(mark) for mark in _CONTROLS)
    if "\0" in head or controls > len(head) * _MAX_CONTROL_SHARE:
        raise SheetRefused("not_a_sheet", what="binary data", what_ko="이진 데이터예요")

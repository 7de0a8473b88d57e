"""Workbooks and geo files that are zips: what they cost to unpack, and what calamine does not tell.

`python-calamine` keeps a dense range: 1.5 kB of XLSX with cells at A1 and XFD1048576 abort the
process, and nothing can catch that (quality.md §2). So the directory of the zip is judged first,
without unpacking; then every worksheet is unpacked once, in pieces, for its farthest cells and for
its `SheetMarks`. A file can hide cells from this look; the bounds of the process hold all the same.
"""

from __future__ import annotations

import io
import lzma
import posixpath
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError

from geo.sheets.kinds import Kind
from geo.sheets.limits import check_extent
from geo.sheets.marks import Extent, FilledExtent, SheetMarks, XlsxSheet
from geo.sheets.problems import SheetRefused
from geo.sheets.table import SheetLimits

_PIECE_BYTES = 2 << 20
_RATIO_FROM_BYTES = 1 << 20
_MAX_INDEX_BYTES = 16 << 20  # of workbook.xml and its relations, which are read as a whole
_MAX_REST_BYTES = 8 << 20  # a row longer than this is cut between two of its tags
_ROOT_TAG = re.compile(rb"<[A-Za-z_]")
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    NotImplementedError,
    ValueError,
)
_PADDED = (".dbf",)  # blanks to the full width of each field pack better than any sheet


@contextmanager
def opened(data: bytes, limits: SheetLimits) -> Iterator[zipfile.ZipFile]:
    """The zip, its directory judged; what goes wrong while it is read is `unreadable`.

    Raises `SheetRefused`: `encrypted`, `bomb`, `unreadable`.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            _check_directory(packed.infolist(), limits)
            yield packed
    except _DAMAGE as error:
        raise SheetRefused("unreadable", what=str(error)[:200] or "the zip ends early") from error


def _check_directory(entries: list[zipfile.ZipInfo], limits: SheetLimits) -> None:
    if any(entry.flag_bits & 1 for entry in entries):
        raise SheetRefused("encrypted")
    if len(entries) > limits.max_entries:
        given = f"{len(entries):,}"
        raise _bomb(f"{given} parts", f"구성 파일 {given}개")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > limits.max_unpacked_bytes:
        given = f"{unpacked >> 20:,} MiB"
        raise _bomb(f"{given} unpacked", f"압축을 풀면 {given}")
    for entry in entries:
        ratio = entry.file_size / max(1, entry.compress_size)
        padded = entry.filename.lower().endswith(_PADDED)
        if entry.file_size > _RATIO_FROM_BYTES and ratio > limits.max_ratio and not padded:
            raise _bomb(f"a part packed {ratio:,.0f} to 1", f"{ratio:,.0f}배로 압축된 부분")


def _bomb(what: str, what_ko: str) -> SheetRefused:
    return SheetRefused("bomb", what=what, what_ko=what_ko)


def kind_of_zip(packed: zipfile.ZipFile) -> Kind:
    """`ZIP` for a workbook, `GEO` for KMZ or a Shapefile; else `SheetRefused` (`not_a_sheet`)."""
    lower = [name.replace("\\", "/").lower() for name in packed.namelist()]
    if any(name.startswith("xl/") for name in lower):
        return Kind.ZIP
    if "mimetype" in lower and _start(packed, "mimetype").endswith(b"opendocument.spreadsheet"):
        if b":encryption-data" in _start(packed, "META-INF/manifest.xml", _MAX_INDEX_BYTES):
            raise SheetRefused("encrypted")
        return Kind.ZIP
    if any(name.endswith((".shp", ".kml")) for name in lower):
        return Kind.GEO
    what, what_ko = "a zip archive", "zip 압축 파일이에요"
    for mark, en, ko in (
        ("word/", "a Word document", "Word 문서예요"),
        ("ppt/", "a presentation", "프레젠테이션이에요"),
    ):
        if any(name.startswith(mark) for name in lower):
            what, what_ko = en, ko
    raise SheetRefused("not_a_sheet", what=what, what_ko=what_ko)


def _start(packed: zipfile.ZipFile, name: str, size: int = 200) -> bytes:
    """The first bytes of a part; nothing where there is no such part."""
    if name not in packed.namelist():
        return b""
    with packed.open(name) as part:
        return part.read(size)


@dataclass(frozen=True, kw_only=True)
class XlsxIndex:
    """What `xl/workbook.xml` says.

    Attributes:
        parts: name of a sheet → name of its part in the zip.
        hidden: names of the sheets that are hidden.
        recalculate: the program that wrote it asks to calculate all formulas on opening.
    """

    parts: dict[str, str]
    hidden: frozenset[str]
    date_1904: bool
    recalculate: bool


def read_xlsx_marks(
    packed: zipfile.ZipFile, limits: SheetLimits, *, chosen: tuple[str, ...] | None
) -> dict[str, SheetMarks]:
    """The marks of the worksheets of an XLSX, by name; of those not taken, `last_row` alone.

    `chosen`: the sheets that are taken; None for all visible ones. An XLSB has no XML and no marks.
    Raises `SheetRefused`: `bomb`, `too_many_rows`, `too_many_columns`, `too_many_cells`, `unreadable`.
    """
    index = _read_index(packed)
    marks: dict[str, SheetMarks] = {}
    for name, part in index.parts.items():
        taken = name not in index.hidden if chosen is None else name in chosen
        sheet = XlsxSheet(limits, recalculate=index.recalculate, last_row_only=not taken)
        extent = Extent(limits)
        entry = packed.getinfo(part)
        for piece in _pieces(packed, entry):
            sheet.look(piece)
            extent.look(piece)
        if taken:
            _check_extent(packed, entry, extent, name, limits)
        sheet.marks.date_1904 = index.date_1904
        marks[name] = sheet.marks
    return marks


def check_prologs(packed: zipfile.ZipFile) -> None:
    """Refuse entities (`bomb`) in any XML part."""
    for entry in packed.infolist():
        if entry.filename.lower().endswith((".xml", ".rels")):
            _check_prolog(packed, entry)


def _check_prolog(packed: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """Entities can only be declared before the root element; no spreadsheet program does."""
    seen = b""
    with packed.open(entry) as part:
        while (root := _ROOT_TAG.search(seen)) is None and (more := part.read(4_096)):
            if b"<!" in seen and (b"<!DOCTYPE" in seen or b"<!ENTITY" in seen):
                break
            seen = seen[-4_096:] + more
    head = seen[: root.start()] if root else seen
    if b"<!DOCTYPE" in head or b"<!ENTITY" in head:
        raise _bomb("it declares XML entities", "XML 엔터티 선언")


def _check_extent(
    packed: zipfile.ZipFile, entry: zipfile.ZipInfo, extent: Extent, name: str, limits: SheetLimits
) -> None:
    """A second and third pass where the extent is not surely within the limits."""
    if not extent.within and extent.worth_counting:
        extent.count_rows(_pieces(packed, entry))
    if not extent.within:
        filled = FilledExtent()
        for piece in _pieces(packed, entry):
            filled.look(piece)
        check_extent(name, filled.rows, filled.columns, limits)


def _pieces(packed: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """The part in pieces that end before a row or cell begins, or at least before a tag."""
    rest = b""
    with packed.open(entry) as part:
        while chunk := part.read(_PIECE_BYTES):
            piece = rest + chunk
            end = max(piece.rfind(b"<row"), piece.rfind(b":row"), piece.rfind(b"<c "))
            end = piece.rfind(b"<", 0, end + 1) if end > 0 else -1
            if end <= 0:
                long = len(piece) > _MAX_REST_BYTES
                end = (max(piece.rfind(b"<"), 0) or len(piece)) if long else 0
            rest = piece[end:]
            if end:
                yield piece[:end]
    yield rest


def _read_index(packed: zipfile.ZipFile) -> XlsxIndex:
    names = {name.replace("\\", "/").lower(): name for name in packed.namelist()}
    book = _parsed(packed, names.get("xl/workbook.xml"))
    relations = _parsed(packed, names.get("xl/_rels/workbook.xml.rels"))
    targets = {relation.get("Id", ""): relation.get("Target", "") for relation in relations}
    parts: dict[str, str] = {}
    hidden: set[str] = set()
    for sheet in _all(book, "sheet"):
        name = sheet.get("name", "")
        if sheet.get("state", "visible").lower() != "visible":
            hidden.add(name)
        part = names.get(_full_name(targets.get(_relation_of(sheet), "")))
        if part is not None:
            parts[name] = part
    return XlsxIndex(
        parts=parts,
        hidden=frozenset(hidden),
        date_1904=any(_is_true(p.get("date1904")) for p in _all(book, "workbookPr")),
        recalculate=any(_is_true(p.get("fullCalcOnLoad")) for p in _all(book, "calcPr")),
    )


def _parsed(packed: zipfile.ZipFile, name: str | None) -> Element:
    """The root of a small part; an empty one where there is no such part (XLSB)."""
    from defusedxml.ElementTree import fromstring

    if name is None:
        return Element("none")
    if packed.getinfo(name).file_size > _MAX_INDEX_BYTES:
        raise _bomb("a list of sheets over 16 MiB", "16 MiB가 넘는 시트 목록")
    try:
        root: Element = fromstring(packed.read(name))
    except ParseError as error:
        raise SheetRefused("unreadable", what=f"{name}: {error}"[:200]) from error
    return root


def _all(root: Element, tag: str) -> list[Element]:
    return [element for element in root.iter() if element.tag.rsplit("}", 1)[-1] == tag]


def _relation_of(sheet: Element) -> str:
    """`r:id` under whatever namespace: there are two, for the strict and the usual form of XLSX."""
    for key, value in sheet.attrib.items():
        if key.startswith("{") and key.endswith("}id"):
            return value
    return ""


def _full_name(target: str) -> str:
    """The lower-case name of a part that `xl/workbook.xml` refers to."""
    target = target.replace("\\", "/").lower()
    if target.startswith("/"):
        return target[1:]
    return target if target.startswith("xl/") else posixpath.normpath(f"xl/{target}")


def _is_true(text: str | None) -> bool:
    return text is not None and text.lower() in ("1", "true", "on")

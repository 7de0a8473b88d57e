"""The cells of a worksheet as XML, ten times as fast as openpyxl writes them.

openpyxl makes a workbook with everything but its rows (styles, comments, widths); `with_rows` puts the
rows in. A text is always of type text, so no cell is ever a formula (quality Q15).
"""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import NamedTuple

from geo.sheets.table import Broken, Cell, column_letters
from geo.sheets.writing import XLSX_CELL_CHARS

#: number formats that cells need, by their place in `Style.formats`
FORMATS = ("General", "yyyy-mm-dd", "yyyy-mm-dd hh:mm:ss", "hh:mm:ss", "[h]:mm:ss")
_GENERAL, _DATE, _DATETIME, _TIME, _SPAN = range(5)
_MAX_NUMBER = 1e15  # whole numbers above it lose digits in Excel, which keeps 15
_ODD = re.compile(r"[&<>\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]|_x[0-9A-Fa-f]{4}_")
_UNSTORABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_LOOKS_ESCAPED = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")
_DAY_0 = datetime(1899, 12, 30)  # noqa: DTZ001 - Excel's serial day 0, which has no zone
_MARCH_1900 = 61
_DAY = timedelta(days=1)
_ROWS_AT_ONCE = 2_000
_SHEET_DATA = re.compile(rb"<sheetData\s*/>|<sheetData>.*</sheetData>", re.DOTALL)
_DIMENSION = re.compile(rb"<dimension [^>]*/>")


class Style(NamedTuple):
    """Numbers of cell styles in a workbook, one for each of `FORMATS`, all of one colour."""

    formats: tuple[int, ...]


class Link(NamedTuple):
    """A cell that leads to another place of the workbook: `C5` → `'Sheet1'!B7`."""

    cell: str
    target: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """What goes into one worksheet.

    Attributes:
        rows: (number from 1, cells, styles): index of a column → style of its cell, `default` where
            it is not in there; numbers rise.
    """

    rows: Iterable[tuple[int, Sequence[Cell], Mapping[int, Style]]]
    default: Style
    links: Sequence[Link] = ()


def with_rows(workbook: bytes, pages: Sequence[Page]) -> bytes:
    """The workbook of openpyxl with the rows and links of each of its sheets, in their order."""
    out = io.BytesIO()
    by_name = {f"xl/worksheets/sheet{n}.xml": page for n, page in enumerate(pages, 1)}
    with (
        zipfile.ZipFile(io.BytesIO(workbook)) as read,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as written,
    ):
        for name in read.namelist():
            part = read.read(name)
            if name not in by_name:
                written.writestr(name, part)
                continue
            with written.open(name, "w", force_zip64=True) as sheet:
                for piece in _sheet(part, by_name[name]):
                    sheet.write(piece)
    return out.getvalue()


def _sheet(frame: bytes, page: Page) -> Iterator[bytes]:
    found = _SHEET_DATA.search(frame)
    if found is None:
        raise ValueError("a worksheet of openpyxl without sheetData")
    # the extent of a sheet may be left out, but not be wrong
    yield _DIMENSION.sub(b"", frame[: found.start()]) + b"<sheetData>"
    piece: list[str] = []
    for number, cells, styles in page.rows:
        piece.append(row_xml(number, cells, styles, page.default))
        if len(piece) >= _ROWS_AT_ONCE:
            yield "".join(piece).encode()
            piece.clear()
    yield "".join(piece).encode() + b"</sheetData>"
    links = "".join(
        f'<hyperlink ref="{link.cell}" location="{_escaped(link.target)}"/>' for link in page.links
    )
    tail = frame[found.end() :]
    if links:
        # the order of elements is fixed: links stand right before the margins
        tail = tail.replace(b"<pageMargins", f"<hyperlinks>{links}</hyperlinks><pageMargins".encode(), 1)
    yield tail


def row_xml(number: int, cells: Sequence[Cell], styles: Mapping[int, Style], default: Style) -> str:
    """One row; cells that hold nothing are written only where they have a style of their own."""
    written = []
    for index, value in enumerate(cells):
        if value is not None or index in styles:
            style = styles.get(index, default) if styles else default
            written.append(_cell_xml(f"{_letters(index)}{number}", value, style.formats))
    written += [
        f'<c r="{_letters(index)}{number}" s="{styles[index].formats[_GENERAL]}"/>'
        for index in sorted(styles)
        if index >= len(cells)
    ]
    return f'<row r="{number}">{"".join(written)}</row>' if written else ""


_LETTERS = [column_letters(index) for index in range(512)]


def _letters(index: int) -> str:
    return _LETTERS[index] if index < len(_LETTERS) else column_letters(index)


def _cell_xml(at: str, value: Cell, formats: tuple[int, ...]) -> str:
    general = formats[_GENERAL]
    if isinstance(value, Broken):
        value = value.shown
    match value:
        case str():
            text = xml_text(value)
            held = f'<is><t xml:space="preserve">{text}</t></is>'
            return f'<c r="{at}" s="{general}" t="inlineStr">{held}</c>'
        case None:
            return f'<c r="{at}" s="{general}"/>'
        case bool():
            return f'<c r="{at}" s="{general}" t="b"><v>{value:d}</v></c>'
        case int() | float():
            if math.isfinite(value) and (isinstance(value, float) or abs(value) < _MAX_NUMBER):
                return f'<c r="{at}" s="{general}"><v>{value!r}</v></c>'
            return _cell_xml(at, str(value), formats)
    serial, kind = _serial(value)
    if serial is None:
        return _cell_xml(at, str(value), formats)
    return f'<c r="{at}" s="{formats[kind]}"><v>{serial!r}</v></c>'


def _serial(value: date | time | timedelta) -> tuple[float | None, int]:
    """(number of days in the 1900 system, format); None where Excel knows no such day.

    Not rounded as `cells.excel_serial` is: half a hundredth of a second off shows as a second off.
    """
    match value:
        case timedelta():
            return (value / _DAY if value >= timedelta(0) else None), _SPAN
        case time():
            return (datetime.combine(_DAY_0, value.replace(tzinfo=None)) - _DAY_0) / _DAY, _TIME
        case datetime():
            serial, kind = (value.replace(tzinfo=None) - _DAY_0) / _DAY, _DATETIME
        case _:
            serial, kind = float((value - _DAY_0.date()).days), _DATE
    # Excel believes in 29 February 1900
    serial -= serial < _MARCH_1900
    return (serial if serial >= 1 else None), kind


def xml_text(text: str) -> str:
    """Text as a cell holds it: without what XML cannot hold, cut with `…` at Excel's limit."""
    if len(text) * 2 > XLSX_CELL_CHARS:
        text = _cut(text)
    return _escaped(text) if _ODD.search(text) else text


def _cut(text: str) -> str:
    """Excel counts UTF-16 units; one kept for the mark."""
    units = text.encode("utf-16-le", "surrogatepass")
    if len(units) <= 2 * XLSX_CELL_CHARS:
        return text
    return units[: 2 * (XLSX_CELL_CHARS - 1)].decode("utf-16-le", "ignore") + "…"


def _escaped(text: str) -> str:
    text = _UNSTORABLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = _LOOKS_ESCAPED.sub("_x005F_", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")

"""Bytes ↔ tables: CSV, XLSX, XLSM, XLSB, XLS and ODS in; XLSX and CSV out.

Reading here is pure and trusts the file's size; hostile files are read by
`nearcast.store.sandbox.read_tables`, which calls `read` in a guarded child process.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from enum import StrEnum

from python_calamine import CalamineError, CalamineWorkbook, PasswordError, SheetVisibleEnum

from geo.sheets.delimited import neutral, read_delimited
from geo.sheets.encoding import decode
from geo.sheets.problems import SheetRefused
from geo.sheets.table import (
    HEADING_WITHIN_ROWS,
    Broken,
    Cell,
    FileOptions,
    ReadFile,
    Row,
    SheetInfo,
    SheetLimits,
    Table,
    cell_name,
    column_letters,
    is_blank,
)

__all__ = [
    "HEADING_WITHIN_ROWS",
    "Broken",
    "Cell",
    "FileOptions",
    "Kind",
    "ReadFile",
    "Row",
    "SheetInfo",
    "SheetLimits",
    "Table",
    "cell_name",
    "column_letters",
    "is_blank",
    "kind_of",
    "read",
    "read_csv",
    "read_workbook",
    "to_csv",
    "to_xlsx",
]

XLSX_CELL_CHARS = 32_767  # Excel's limit of a cell
_LOOKED_AT_CHARS = 64_000
_CONTROLS = [chr(c) for c in range(1, 32) if chr(c) not in "\t\n\r\x0b\x0c\x1a"]
_MAX_CONTROL_SHARE = 0.001
_LOOKS_ESCAPED = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")  # "_x0041_" would be read as "A" (ST_Xstring)
_UNSTORABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class Kind(StrEnum):
    """What a file is, judged by its content."""

    TEXT = "csv"
    ZIP = "zip"
    CFB = "xls"


_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"%PDF", "a PDF", "PDF 파일이에요"),
    (b"\x89PNG", "a picture", "그림 파일이에요"),
    (b"\xff\xd8\xff", "a picture", "그림 파일이에요"),
    (b"GIF8", "a picture", "그림 파일이에요"),
    (b"SQLite format 3", "a database (perhaps a GeoPackage)", "데이터베이스(GeoPackage 등)예요"),
    (b"\x1f\x8b", "a gzip archive", "gzip 압축 파일이에요"),
    (b"Rar!", "a RAR archive", "RAR 압축 파일이에요"),
    (b"7z\xbc\xaf", "a 7z archive", "7z 압축 파일이에요"),
    (b"PAR1", "a Parquet file", "Parquet 파일이에요"),
)
_TEXT_STARTS: tuple[tuple[str, str, str], ...] = (
    ("<!doctype html", "a web page", "웹 페이지예요"),
    ("<html", "a web page", "웹 페이지예요"),
    ("<table", "a web page", "웹 페이지예요"),
    ("<?xml", "an XML file", "XML 파일이에요"),
    ("<kml", "a KML file", "KML 파일이에요"),
    ("{", "a JSON file", "JSON 파일이에요"),
)


def kind_of(data: bytes) -> Kind:
    """What the first bytes say; `SheetRefused` (`empty`, `not_a_sheet`) for what is no sheet."""
    if not data.strip():
        raise SheetRefused("empty")
    for magic, what, what_ko in _MAGIC:
        if data.startswith(magic):
            raise SheetRefused("not_a_sheet", what=what, what_ko=what_ko)
    if data.startswith(b"PK"):
        return Kind.ZIP
    if data.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return Kind.CFB
    return Kind.TEXT


def read(
    data: bytes,
    *,
    sheet: str | None = None,
    encoding: str | None = None,
    limits: SheetLimits | None = None,
) -> list[Table]:
    """The tables of a file that hold a value, in the order of the file.

    Args:
        sheet: only this one, hidden or not; by default every visible one.
        encoding: of a CSV, where it should not be guessed.
    Raises:
        SheetRefused: the file is no sheet, is damaged, or holds nothing.
    """
    limits = limits or SheetLimits()
    if kind_of(data) is Kind.TEXT:
        tables = [read_csv(data, encoding=encoding, limits=limits)]
    else:
        tables = read_workbook(data, sheet=sheet, limits=limits)
    filled = [table for table in tables if table.rows]
    if not filled:
        raise SheetRefused("empty")
    return filled


def read_csv(data: bytes, *, encoding: str | None = None, limits: SheetLimits | None = None) -> Table:
    """A CSV file as a table; see `encoding.decode` and `delimited.read_delimited`."""
    limits = limits or SheetLimits()
    decoded = decode(data, encoding=encoding)
    _check_is_text(decoded.text)
    max_rows = limits.max_rows + HEADING_WITHIN_ROWS
    rows, delimiter = read_delimited(decoded.text, max_rows=max_rows)
    kept = _trimmed(rows)
    check_extent(None, len(kept), max(map(len, kept), default=0), limits)
    return Table(sheet=None, rows=kept, encoding=decoded.encoding, delimiter=delimiter)


def read_workbook(
    data: bytes, *, sheet: str | None = None, limits: SheetLimits | None = None
) -> list[Table]:
    """The visible worksheets of a workbook, or the one that is named."""
    limits = limits or SheetLimits()
    try:
        with CalamineWorkbook.from_filelike(io.BytesIO(data)) as book:
            return _worksheets(book, _chosen(book, sheet), limits)
    except PasswordError as error:
        raise SheetRefused("encrypted") from error
    except CalamineError as error:
        reason = (str(error).splitlines() or ["no reason given"])[0][:200]
        raise SheetRefused("unreadable", what=reason) from error


def _chosen(book: CalamineWorkbook, sheet: str | None) -> list[str]:
    if sheet is None:
        visible = (m.name for m in book.sheets_metadata if m.visible == SheetVisibleEnum.Visible)
        return list(visible)
    if sheet not in book.sheet_names:
        raise SheetRefused("no_such_sheet", given=sheet, what=", ".join(book.sheet_names))
    return [sheet]


def _worksheets(book: CalamineWorkbook, names: list[str], limits: SheetLimits) -> list[Table]:
    """The sheets; the extent is checked before Python objects are made, the cells over all sheets."""
    tables: list[Table] = []
    cells = 0
    for name in names:
        found = book.get_sheet_by_name(name)
        last_row, last_column = found.end or (-1, -1)
        check_extent(name, last_row + 1, last_column + 1, limits, before=cells)
        cells += (last_row + 1) * (last_column + 1)
        rows = found.to_python(skip_empty_area=False)
        kept = _trimmed([[None if c == "" else c for c in row] for row in rows])
        tables.append(Table(sheet=name, rows=kept))
    return tables


def check_extent(
    sheet: str | None, rows: int, columns: int, limits: SheetLimits, *, before: int = 0
) -> None:
    """Refuse a sheet whose last value lies too far down or to the right.

    `before` are the cells of the sheets read before it, which count towards `max_cells`.
    """
    where = {"where": "The file", "where_ko": "파일"}
    if sheet is not None:
        where = {"where": f"Sheet '{sheet}'", "where_ko": f"'{sheet}' 시트"}
    if columns > limits.max_columns:
        given, bound = column_letters(columns - 1), f"{limits.max_columns}"
        raise SheetRefused("too_many_columns", **where, given=given, bound=bound)
    if rows > limits.max_rows + HEADING_WITHIN_ROWS:
        given, bound = f"{rows:,}", f"{limits.max_rows:,}"
        raise SheetRefused("too_many_rows", **where, given=given, bound=bound)
    cells = rows * columns + before
    if cells > limits.max_cells:
        given, bound = f"{cells:,}", f"{limits.max_cells:,}"
        raise SheetRefused("too_many_cells", **where, given=given, bound=bound)


def _check_is_text(text: str) -> None:
    """Refuse markup, JSON and binary data that happened to decode."""
    start = text[:512].lstrip("\ufeff \t\r\n").lower()
    for begin, what, what_ko in _TEXT_STARTS:
        if start.startswith(begin):
            raise SheetRefused("not_a_sheet", what=what, what_ko=what_ko)
    head = text[:_LOOKED_AT_CHARS]
    controls = sum(head.count(mark) for mark in _CONTROLS)
    if "\0" in head or controls > len(head) * _MAX_CONTROL_SHARE:
        raise SheetRefused("not_a_sheet", what="binary data", what_ko="이진 데이터예요")


def _trimmed(rows: Sequence[Sequence[Cell]]) -> list[Row]:
    """Rows without the empty ones after the last value, cells without the empty ones at the end."""
    kept = [_trimmed_row(row) for row in rows]
    while kept and is_blank(kept[-1]):
        kept.pop()
    return kept


def _trimmed_row(row: Sequence[Cell]) -> Row:
    end = len(row)
    while end and row[end - 1] is None:
        end -= 1
    return list(row[:end])


def to_csv(rows: Sequence[Sequence[Cell]]) -> bytes:
    """UTF-8 with byte order mark (Excel needs it), commas, CRLF; no cell is a live formula (Q15).

    Text that begins like a formula gets an apostrophe, which `read_csv` takes off again. Floats are
    written to the last bit. Characters that no spreadsheet can hold are left out.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    for row in rows:
        writer.writerow([neutral(_storable(c)) if isinstance(c, str) else c for c in row])
    return out.getvalue().encode("utf-8-sig")


def to_xlsx(rows: Sequence[Sequence[Cell]], *, sheet: str = "Sheet1") -> bytes:
    """A workbook with one sheet, its first row frozen; every text is of type text, never a formula.

    Raises `SheetRefused` (`cell_too_long`) where a text is longer than a cell of Excel holds:
    openpyxl would cut it without a word.
    """
    # openpyxl takes 0.2 s and pulls in NumPy; the child that only reads must not pay for it
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell

    book = Workbook(write_only=True)
    page = book.create_sheet(sheet)
    page.freeze_panes = "A2"
    for number, row in enumerate(rows, 1):
        cells: list[object] = []
        for index, value in enumerate(row):
            if isinstance(value, float):
                # openpyxl writes 16 digits, one too few for some doubles
                cell = WriteOnlyCell(page, value=repr(value))
                cell.data_type = "n"
            elif isinstance(value, str):
                cell = WriteOnlyCell(page, value=_fitting(value, number, index))
                cell.data_type = "s"  # "=1+1" would become a formula, "#N/A" an error
            else:
                cell = value
            cells.append(cell)
        page.append(cells)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _fitting(text: str, row_number: int, index: int) -> str:
    """The text as a cell of Excel holds it, which counts UTF-16 units."""
    stored = _LOOKS_ESCAPED.sub("_x005F_", _storable(text))
    if len(stored.encode("utf-16-le")) > 2 * XLSX_CELL_CHARS:
        where = column_letters(index)
        raise SheetRefused("cell_too_long", given=f"{row_number:,}", where=where)
    return stored


def _storable(text: str) -> str:
    """Without the characters that XML 1.0 cannot hold; line breaks as line feeds."""
    return _UNSTORABLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))

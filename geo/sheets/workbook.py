"""Bytes ↔ tables: CSV, XLSX, XLSM, XLSB, XLS and ODS in; XLSX and CSV out.

Reading here is pure and trusts the file's size; hostile files are read by
`nearcast.store.sandbox.read_file`, which calls `open_file` in a guarded child process.

What a kind of file does not tell: in XLS and XLSB, formulas that were never calculated are empty
cells; in XLSB also errors, hidden rows and columns, and merged cells: calamine drops them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from python_calamine import (
    CalamineError,
    CalamineSheet,
    CalamineWorkbook,
    PasswordError,
    SheetMetadata,
    SheetTypeEnum,
    SheetVisibleEnum,
)

from geo.sheets.delimited import Delimited
from geo.sheets.encoding import decode
from geo.sheets.kinds import Kind, check_is_text, kind_of
from geo.sheets.limits import check_extent
from geo.sheets.marks import SheetMarks
from geo.sheets.old_excel import read_old_excel
from geo.sheets.opendocument import read_open_document
from geo.sheets.packed import check_prologs, kind_of_zip, opened, read_xlsx_marks
from geo.sheets.problems import SheetRefused
from geo.sheets.spans import Spans
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
from geo.sheets.writing import to_csv, to_xlsx

__all__ = [
    "HEADING_WITHIN_ROWS",
    "Broken",
    "Cell",
    "FileOptions",
    "Kind",
    "OpenTable",
    "ReadFile",
    "Row",
    "SheetInfo",
    "SheetLimits",
    "Table",
    "cell_name",
    "column_letters",
    "is_blank",
    "kind_of",
    "kind_within",
    "open_file",
    "read",
    "read_csv",
    "read_file",
    "to_csv",
    "to_xlsx",
]

_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")


@dataclass(kw_only=True)
class OpenTable:
    """A sheet whose rows are still to be read, once, in order.

    Attributes:
        table: what is known of it without its rows, which are empty.
        rows: of a sheet that is taken; those after the last value are left out.
        row_count: rows read so far; of a sheet that is not taken, all.
    """

    table: Table
    taken: bool
    rows: Iterator[Row] = field(default_factory=lambda: iter(()))
    row_count: int = 0

    def counted(self) -> Iterator[Row]:
        """The rows, counted while they are read."""
        for row in self.rows:
            self.row_count += 1
            yield row

    def finished(self, rows: list[Row]) -> Table:
        """The table with its rows, after all were read; hidden rows below them are left out."""
        hidden = frozenset(n for n in self.table.hidden_rows if n <= self.row_count)
        return replace(self.table, rows=rows, hidden_rows=hidden)

    @property
    def info(self) -> SheetInfo:
        """The sheet as a list of all sheets shows it."""
        table = self.table
        return SheetInfo(name=table.sheet, hidden=table.hidden, rows=self.row_count, taken=self.taken)


def kind_within(data: bytes, limits: SheetLimits) -> Kind:
    """`kind_of` after a look into a zip: a workbook, or a geo file in a zip.

    Raises `SheetRefused`: `empty`, `not_a_sheet`, `encrypted`, `bomb`, `unreadable`.
    """
    kind = kind_of(data)
    if kind is not Kind.ZIP:
        return kind
    with opened(data, limits) as packed:
        return kind_of_zip(packed)


def read(
    data: bytes, *, options: FileOptions | None = None, limits: SheetLimits | None = None
) -> list[Table]:
    """The tables of `read_file`."""
    return read_file(data, options=options, limits=limits).tables


def read_file(
    data: bytes, *, options: FileOptions | None = None, limits: SheetLimits | None = None
) -> ReadFile:
    """A CSV or workbook as a whole.

    Raises:
        SheetRefused: the file is no sheet, is damaged, or holds nothing. Geo files need GDAL, which
            this floor does not know: `not_a_sheet`.
    """
    tables: list[Table] = []
    sheets: list[SheetInfo] = []
    with open_file(data, options or FileOptions(), limits or SheetLimits()) as found:
        for sheet in found:
            rows = list(sheet.counted())
            if rows:
                tables.append(sheet.finished(rows))
            sheets.append(sheet.info)
    if not tables:
        raise SheetRefused("empty")
    return ReadFile(tables=tables, sheets=tuple(sheets))


@contextmanager
def open_file(data: bytes, options: FileOptions, limits: SheetLimits) -> Iterator[Iterator[OpenTable]]:
    """The sheets of a file one after the other, taken or not; each is read before the next is opened.

    Raises `SheetRefused`, on opening and while rows are read.
    """
    kind = kind_within(data, limits)
    if kind is Kind.GEO:
        raise SheetRefused("not_a_sheet", what="a geo file", what_ko="공간 데이터 파일이에요")
    try:
        with ExitStack() as stack:
            if kind is Kind.TEXT:
                yield iter([_open_csv(data, options, limits)])
                return
            marks_of = _marks(data, kind, options, limits)
            book = stack.enter_context(CalamineWorkbook.from_filelike(io.BytesIO(data)))
            yield _worksheets(book, marks_of, _chosen(book, options.sheets), limits)
    except PasswordError as error:
        raise SheetRefused("encrypted") from error
    except CalamineError as error:
        reason = (str(error).splitlines() or ["no reason given"])[0][:200].rstrip(".")
        raise SheetRefused("unreadable", what=reason) from error


def read_csv(
    data: bytes, *, options: FileOptions | None = None, limits: SheetLimits | None = None
) -> Table:
    """A CSV file as a table, which may be empty; see `encoding.decode` and `delimited.Delimited`."""
    sheet = _open_csv(data, options or FileOptions(), limits or SheetLimits())
    return sheet.finished(list(sheet.counted()))


def _open_csv(data: bytes, options: FileOptions, limits: SheetLimits) -> OpenTable:
    if options.sheets is not None:
        given = ", ".join(options.sheets)
        raise SheetRefused("no_such_sheet", given=given, what="none, it is a CSV", what_ko="없음(CSV)")
    decoded = decode(data, encoding=options.encoding)
    check_is_text(decoded.text)
    max_rows = limits.max_rows + HEADING_WITHIN_ROWS
    text = Delimited(decoded.text, max_rows=max_rows, delimiter=options.delimiter)
    table = Table(sheet=None, rows=[], encoding=decoded.encoding, delimiter=text.delimiter)
    return OpenTable(table=table, taken=True, rows=_bounded(_trimmed(text.rows()), limits))


def _bounded(rows: Iterator[Row], limits: SheetLimits) -> Iterator[Row]:
    """The rows of a CSV; refused at their end if together they span too much."""
    count, width = 0, 0
    for row in rows:
        count += 1
        width = max(width, len(row))
        yield row
    check_extent(None, count, width, limits)


def _marks(
    data: bytes, kind: Kind, options: FileOptions, limits: SheetLimits
) -> Callable[[int, str], SheetMarks]:
    """What gives the marks of a sheet, by its place in the workbook and its name."""
    if kind is Kind.CFB:
        if _ENCRYPTED in data:
            raise SheetRefused("encrypted")
        in_order = read_old_excel(data)
        return lambda place, _: in_order[place] if place < len(in_order) else SheetMarks()
    with opened(data, limits) as packed:
        check_prologs(packed)
        by_name = read_xlsx_marks(packed, limits, chosen=options.sheets)
        by_name |= read_open_document(packed, limits)
    return lambda _, name: by_name.get(name) or SheetMarks()


def _chosen(book: CalamineWorkbook, sheets: tuple[str, ...] | None) -> frozenset[str]:
    """Names of the sheets that are taken."""
    pages = [meta for meta in book.sheets_metadata if meta.typ == SheetTypeEnum.WorkSheet]
    if sheets is None:
        return frozenset(meta.name for meta in pages if not _is_hidden(meta))
    for sheet in sheets:
        if sheet not in {meta.name for meta in pages}:
            raise SheetRefused("no_such_sheet", given=sheet, what=", ".join(book.sheet_names))
    return frozenset(sheets)


def _is_hidden(meta: SheetMetadata) -> bool:
    return bool(meta.visible != SheetVisibleEnum.Visible)


def _worksheets(
    book: CalamineWorkbook,
    marks_of: Callable[[int, str], SheetMarks],
    chosen: frozenset[str],
    limits: SheetLimits,
) -> Iterator[OpenTable]:
    """The sheets; the extent is checked before Python objects are made, the cells over all sheets."""
    cells = 0
    for place, meta in enumerate(book.sheets_metadata):
        if meta.typ != SheetTypeEnum.WorkSheet:
            continue
        marks = marks_of(place, meta.name)
        if meta.name not in chosen:
            table = _without_rows(meta, marks, limits)
            last_row = _last_row(book, meta.name) if marks.last_row is None else marks.last_row
            yield OpenTable(table=table, taken=False, row_count=last_row)
            continue
        found = book.get_sheet_by_name(meta.name)
        rows, columns = _extent(found, marks)
        check_extent(meta.name, rows, columns, limits, before=cells)
        cells += rows * columns
        spans = Spans(marks.spans or found.merged_cell_ranges or (), rows, columns)
        filled = spans.filled(_rows(found, marks, rows, columns))
        table = _without_rows(meta, marks, limits)
        yield OpenTable(table=table, taken=True, rows=_trimmed(filled))


def _last_row(book: CalamineWorkbook, name: str) -> int:
    """For other formats than XLSX, which calamine reads as a whole anyway."""
    end = book.get_sheet_by_name(name).end
    return end[0] + 1 if end else 0


def _extent(found: CalamineSheet, marks: SheetMarks) -> tuple[int, int]:
    """(rows, columns) up to the last value, broken ones included."""
    last_row, last_column = found.end or (-1, -1)
    rows, columns = marks.broken_extent
    return max(rows, last_row + 1), max(columns, last_column + 1)


def _without_rows(meta: SheetMetadata, marks: SheetMarks, limits: SheetLimits) -> Table:
    return Table(
        sheet=meta.name,
        rows=[],
        hidden=_is_hidden(meta),
        hidden_rows=frozenset(row + 1 for row in marks.hidden_rows),
        hidden_columns=frozenset(c for c in marks.hidden_columns if c < limits.max_columns),
        date_1904=marks.date_1904,
    )


def _rows(found: CalamineSheet, marks: SheetMarks, rows: int, columns: int) -> Iterator[Row]:
    """All rows of a sheet from the first one on, each `columns` wide."""
    before = [None] * (found.start[1] if found.start else 0)
    number = -1
    for number, row in enumerate(found.iter_rows() if found.end else ()):
        cells: Row = [*before, *(None if c == "" else c for c in row)]
        yield _with_broken(cells, marks.broken.get(number), columns)
    for below in range(number + 1, rows):
        yield _with_broken([], marks.broken.get(below), columns)


def _with_broken(row: Row, broken: dict[int, Broken] | None, columns: int) -> Row:
    row.extend([None] * (columns - len(row)))
    for column, cell in (broken or {}).items():
        row[column] = cell
    return row


def _trimmed(rows: Iterator[list[Any]]) -> Iterator[Row]:
    """Rows without the empty ones after the last value, cells without the empty ones at the end."""
    held: list[Row] = []
    for row in rows:
        while row and row[-1] is None:
            row.pop()
        held.append(row)
        # a last cell that is no text shows something; only text may be white space
        if row and (type(row[-1]) is not str or not is_blank(row)):
            yield from held
            held.clear()

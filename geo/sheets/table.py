"""What is read from a file: cells, tables, and what the file holds besides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Literal, NamedTuple
from unicodedata import category

#: white space, controls, and what has no width
_UNSEEN = "".join(
    mark for mark in map(chr, range(0x10000)) if mark.isspace() or category(mark) in ("Cc", "Cf")
)
HEADING_WITHIN_ROWS = 50  # title rows that may stand above the headings

BrokenCode = Literal["error_value", "not_calculated", "bad_geometry", "too_many_vertices"]


class Broken(NamedTuple):
    """A cell whose value cannot be trusted; every column's reading of it is a problem.

    Attributes:
        code: `error_value` (`#N/A`, `#DIV/0!` …); `not_calculated`, a formula saved by a program
            that did not calculate it, as openpyxl does; `bad_geometry` and `too_many_vertices`, a
            shape of a geo file.
        shown: what a person sees: the error value, or the formula with its `=`, cut at 80 characters.
    """

    code: BrokenCode
    shown: str


Cell = str | int | float | bool | datetime | date | time | timedelta | Broken | None
Row = list[Cell]


@dataclass(frozen=True, kw_only=True)
class SheetLimits:
    """What an uploaded file may cost (product U7).

    Attributes:
        max_rows: data rows; `HEADING_WITHIN_ROWS` more may hold titles and headings.
        max_columns: 256, the width of an old XLS.
        max_cells: rows × columns of all sheets taken: calamine keeps them densely at about 150 bytes.
        max_ratio: unpacked ÷ packed size of a zip entry over 1 MiB; Excel's own stay under 100.
        memory_bytes, cpu_s, wall_s: of the child process that reads the file; memory is address space.
        geo_memory_bytes: in place of `memory_bytes` for `Kind.GEO`: GDAL, PROJ and NumPy map 0.45 GiB
            before they read a byte.
        max_answer_bytes: of the values that the child hands over; the text of one merged cell can be
            repeated over millions.
    """

    max_bytes: int = 50 << 20
    max_rows: int = 100_000
    max_columns: int = 256
    max_cells: int = 4_000_000
    max_cell_chars: int = 1 << 20
    max_entries: int = 2_000
    max_unpacked_bytes: int = 512 << 20
    max_ratio: int = 200
    max_answer_bytes: int = 256 << 20
    memory_bytes: int = 1 << 30
    geo_memory_bytes: int = 1536 << 20
    cpu_s: int = 30
    wall_s: float = 60.0


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """What the user says about a file where it should not be guessed.

    Attributes:
        sheets: only these, by name, hidden or not, in the order of the file; None takes every
            visible one. Of a file with layers, the layers.
        encoding: of a CSV, a key of `geo.sheets.encoding.ENCODINGS`.
        delimiter: of a CSV, one of `geo.sheets.delimited.DELIMITERS`.
        layer: of a geo file; one layer by name, as `sheets` with one name.
        crs: of a geo file without one, such as `EPSG:5174`.
    """

    sheets: tuple[str, ...] | None = None
    encoding: str | None = None
    delimiter: str | None = None
    layer: str | None = None
    crs: str | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """One sheet as it stands, or one layer of a geo file.

    Attributes:
        sheet: its name; None for a CSV.
        rows: row `i` is row `first_row + i` in Excel; empty cells are None, rows may differ in
            length. Rows after the last value are left out. The value of merged cells stands in
            every cell of their range, as far as the sheet has values.
        encoding, delimiter: of a CSV; None for workbooks.
        hidden: whether the sheet itself is hidden.
        hidden_rows: as Excel numbers them, filtered ones too; none below the last value.
        hidden_columns: indices from 0.
        date_1904: whether the workbook counts its days from 1904 (old Excel for Mac); dates in `rows`
            are right already, `cells.excel_serial` needs it.
        kind: `features` for a geo file: `first_row` is 0, row 0 holds the property names and at its
            end `geometry`, row n the nth feature of the file with its shape as WKT in WGS84.
        crs: of a geo file, what its shapes were reprojected from; None where they were not.
    """

    sheet: str | None
    rows: list[Row]
    first_row: int = 1
    encoding: str | None = None
    delimiter: str | None = None
    hidden: bool = False
    hidden_rows: frozenset[int] = frozenset()
    hidden_columns: frozenset[int] = frozenset()
    date_1904: bool = False
    kind: Literal["rows", "features"] = "rows"
    crs: str | None = None

    def numbered(self) -> Iterator[tuple[int, Row]]:
        """(row number as Excel shows it, cells) of every row that is not blank."""
        for number, row in enumerate(self.rows, self.first_row):
            if not is_blank(row):
                yield number, row


@dataclass(frozen=True, kw_only=True)
class SheetInfo:
    """One sheet or layer of a file, taken or not, as a list to choose from shows it.

    Attributes:
        name: None for a CSV.
        hidden: whether the file hides it.
        rows: the number of its last row with a value; of a layer, its features. 0 where it is empty.
        taken: whether it is among the tables.
    """

    name: str | None
    hidden: bool
    rows: int
    taken: bool


@dataclass(frozen=True, kw_only=True)
class ReadFile:
    """A file as it was read.

    Attributes:
        tables: those taken that hold a value, in the order of the file.
        sheets: all of the file, also those not taken and empty ones.
    """

    tables: list[Table]
    sheets: tuple[SheetInfo, ...]


def is_blank(row: Sequence[Cell]) -> bool:
    """Whether no cell of the row shows anything; controls (DOS ends a file with one) show nothing."""
    return all(c is None or (isinstance(c, str) and not c.strip(_UNSEEN)) for c in row)


def column_letters(index: int) -> str:
    """`A` for 0, `Z` for 25, `AA` for 26."""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def cell_name(row_number: int, index: int) -> str:
    """`C7` for row 7 and column index 2."""
    return f"{column_letters(index)}{row_number}"

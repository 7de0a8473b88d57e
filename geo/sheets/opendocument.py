"""What calamine does not tell of an ODS: errors, merged cells, hidden rows and columns."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from xml.parsers import expat

from geo.sheets.limits import check_extent
from geo.sheets.marks import SheetMarks
from geo.sheets.problems import SheetRefused
from geo.sheets.table import HEADING_WITHIN_ROWS, Broken, SheetLimits

_PIECE_BYTES = 1 << 20
_SHOWN_CHARS = 80
_LONGEST_MARK = 64
#: a document without any of these has nothing to tell, and is not parsed: that takes seconds
_MARKS = re.compile(
    rb':visibility="(?:collapse|filter)"|:value-type="error"|-spanned="|:formula="|:null-date '
)
_HIDING = frozenset({"collapse", "filter"})
_DAY_0_OF_1904 = "1904-01-01"


def read_open_document(packed: zipfile.ZipFile, limits: SheetLimits) -> dict[str, SheetMarks]:
    """The marks of all sheets of an ODS, by name; none where the document has none.

    Raises `SheetRefused`: `unreadable`, and what `check_extent` refuses for broken cells far away.
    """
    try:
        content = packed.getinfo("content.xml")
    except KeyError:
        return {}
    if not _has_marks(packed, content):
        return {}
    reader = _ContentReader(limits)
    try:
        for piece in _pieces(packed, content):
            reader.parser.Parse(piece, False)
        reader.parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise SheetRefused("unreadable", what=f"content.xml: {error}") from error
    return reader.sheets


def _has_marks(packed: zipfile.ZipFile, content: zipfile.ZipInfo) -> bool:
    end = b""
    for piece in _pieces(packed, content):
        if _MARKS.search(end + piece):
            return True
        end = piece[-_LONGEST_MARK:]
    return False


def _pieces(packed: zipfile.ZipFile, content: zipfile.ZipInfo) -> Iterator[bytes]:
    with packed.open(content) as part:
        while piece := part.read(_PIECE_BYTES):
            yield piece


class _ContentReader:
    """Walks through `content.xml` and keeps count of rows and columns, repeated ones included."""

    def __init__(self, limits: SheetLimits) -> None:
        self.sheets: dict[str, SheetMarks] = {}
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.buffer_text = True
        self._limits = limits
        self._max_rows = limits.max_rows + HEADING_WITHIN_ROWS
        self._date_1904 = False
        self._name = ""
        self._marks = SheetMarks()
        self._row = self._column = 0
        self._row_repeated = self._cell_repeated = 1
        self._cell: dict[str, str] = {}
        self._shown: list[str] = []
        self._paragraphs = 0

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        match tag:
            case "table:table-cell" | "table:covered-table-cell":
                self._start_cell(attributes)
            case "text:p":
                self._paragraphs += 1
            case "table:table-row":
                self._start_row(attributes)
            case "table:table-column":
                self._add_column(attributes)
            case "table:table":
                self._start_table(attributes)
            case "table:null-date":
                self._date_1904 = attributes.get("table:date-value") == _DAY_0_OF_1904

    def _end(self, tag: str) -> None:
        if tag in ("table:table-cell", "table:covered-table-cell"):
            self._end_cell()
        elif tag == "table:table-row":
            self._row += self._row_repeated

    def _text(self, text: str) -> None:
        if self._paragraphs and len(self._shown) < _SHOWN_CHARS:
            self._shown.append(text)

    def _start_table(self, attributes: dict[str, str]) -> None:
        self._name = attributes.get("table:name", "")
        self._marks = SheetMarks(date_1904=self._date_1904)
        self.sheets[self._name] = self._marks
        self._row = self._column = 0

    def _add_column(self, attributes: dict[str, str]) -> None:
        first = self._column
        self._column += _count(attributes, "table:number-columns-repeated")
        if attributes.get("table:visibility") in _HIDING:
            last = min(self._column, self._limits.max_columns)
            self._marks.hidden_columns.update(range(first, last))

    def _start_row(self, attributes: dict[str, str]) -> None:
        self._row_repeated = _count(attributes, "table:number-rows-repeated")
        self._column = 0
        if attributes.get("table:visibility") in _HIDING:
            last = min(self._row + self._row_repeated, self._max_rows)
            self._marks.hidden_rows.update(range(self._row, last))

    def _start_cell(self, attributes: dict[str, str]) -> None:
        self._cell = attributes
        self._cell_repeated = _count(attributes, "table:number-columns-repeated")
        self._shown, self._paragraphs = [], 0
        down = _count(attributes, "table:number-rows-spanned")
        across = _count(attributes, "table:number-columns-spanned")
        if down * across > 1:
            last_row, last_column = self._row + down - 1, self._column + across - 1
            self._marks.spans.append((self._row, self._column, last_row, last_column))

    def _end_cell(self) -> None:
        broken = self._broken()
        if broken is not None:
            rows, columns = self._row + self._row_repeated, self._column + self._cell_repeated
            check_extent(self._name, rows, columns, self._limits)
            for row in range(self._row, rows):
                for column in range(self._column, columns):
                    self._marks.add_broken(row, column, broken)
        self._column += self._cell_repeated

    def _broken(self) -> Broken | None:
        if self._cell.get("calcext:value-type") == "error":
            return Broken("error_value", "".join(self._shown)[:_SHOWN_CHARS])
        formula = self._cell.get("table:formula")
        if formula is None or self._paragraphs or "office:value-type" in self._cell:
            return None
        return Broken("not_calculated", formula.removeprefix("of:")[:_SHOWN_CHARS])


def _count(attributes: dict[str, str], name: str) -> int:
    """A repetition, at least 1; a spreadsheet has 1,048,576 rows at most."""
    text = attributes.get(name, "1")
    return min(max(int(text), 1), 1 << 20) if text.isdecimal() and len(text) < 10 else 1

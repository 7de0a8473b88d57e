"""What calamine does not tell of a sheet: errors, formulas without value, what is hidden.

Found in the XML of XLSX by searching, since a parser in Python takes ten times as long as calamine
itself: each search runs only over pieces that hold the word it looks for. Prefixes of names
(`x:row`), either kind of quotation mark and any order of attributes are understood.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from geo.sheets.problems import SheetRefused
from geo.sheets.table import HEADING_WITHIN_ROWS, Broken, SheetLimits, column_letters

Span = tuple[int, int, int, int]  # first row, first column, last row, last column; from 0, inclusive

_SHOWN_CHARS = 80
_REFERENCE = re.compile(rb"""(?:^|\s)r=["']([A-Za-z]{1,3})(\d{1,7})["']""")
_ROW_NUMBER = re.compile(rb"""(?:^|\s)r=["'](\d{1,7})["']""")
_TYPE = re.compile(rb"""(?:^|\s)t=["'](\w{1,9})["']""")
_HIDDEN = re.compile(rb"""(?:^|\s)hidden=["'](?:1|true|on)["']""")
_FROM_TO = (re.compile(rb"""\smin=["'](\d{1,5})["']"""), re.compile(rb"""\smax=["'](\d{1,5})["']"""))
_PREFIX = re.compile(rb"<(\w{1,9}:)?(?:sheetData|worksheet)[\s/>]")
_LAST_REFERENCE = re.compile(rb"""\sr=["'][A-Za-z]{0,3}(\d{1,7})["']""")
_FILLED_CELL = re.compile(
    rb"""<(?:\w{1,9}:)?c\s(?:[^>]{0,200}?\s)?r=["']([A-Za-z]{1,3})(\d{1,7})["'][^>]{0,200}?(?<!/)>(?!</)"""
)
_PLAIN_ROW = re.compile(rb' r="[A-Z]{1,3}(\d{1,7})')
_ODD_REFERENCES = (b"r='", b"\nr=", b"\tr=", b"\rr=", b"r =", b"r= ")
_VALUE_TAGS = (b"<v", b":v", b"<is", b":is", b"<f", b":f")
_LOOKED_BACK = 2_000  # from a value to the reference of its cell


@dataclass(kw_only=True)
class SheetMarks:
    """What is known of one sheet besides its values; rows and columns count from 0.

    Attributes:
        broken: row → column → cell without a value one can trust.
        spans: merged cells, where calamine does not know them (ODS).
        last_row: number of the last row with a value, from 1; 0 where there is none, None where
            calamine is to be asked.
    """

    broken: dict[int, dict[int, Broken]] = field(default_factory=dict)
    hidden_rows: set[int] = field(default_factory=set)
    hidden_columns: set[int] = field(default_factory=set)
    spans: list[Span] = field(default_factory=list)
    date_1904: bool = False
    last_row: int | None = None

    def add_broken(self, row: int, column: int, broken: Broken) -> None:
        """Note a cell."""
        self.broken.setdefault(row, {})[column] = broken

    @property
    def broken_extent(self) -> tuple[int, int]:
        """(rows, columns) that hold the broken cells, which calamine takes for empty."""
        rows = max(self.broken, default=-1) + 1
        return rows, max((max(cells) for cells in self.broken.values()), default=-1) + 1


@dataclass(frozen=True)
class _Patterns:
    """What to search for in a part whose names have one prefix."""

    formula: re.Pattern[bytes]
    error: re.Pattern[bytes]
    row: re.Pattern[bytes]
    column: re.Pattern[bytes]
    formula_word: bytes


@lru_cache(maxsize=16)
def _patterns(prefix: bytes) -> _Patterns:
    p = re.escape(prefix)
    formula = (
        rb"<%bc(\s[^>]*)?>\s*<%bf(?:\s[^>]*)?(?:(?<=/)>|>([^<]*)</%bf\s*>)\s*"
        rb"(?:<%bv(?:\s[^>]*)?(?:(?<=/)>|>([^<]*)</%bv\s*>))?" % (p, p, p, p, p)
    )
    return _Patterns(
        formula=re.compile(formula),
        error=re.compile(rb"""<%bc(\s[^>]*?\bt=["']e["'][^>]*)>\s*<%bv>([^<]*)<""" % (p, p)),
        row=re.compile(rb"<%brow(\s[^>]*)>" % p),
        column=re.compile(rb"<%bcol(\s[^>]*)>" % p),
        formula_word=b"<%bf" % prefix,
    )


class XlsxSheet:
    """Looks through the XML of one worksheet, piece by piece; no tag may be cut by a piece's end."""

    def __init__(
        self, limits: SheetLimits, *, recalculate: bool = False, last_row_only: bool = False
    ) -> None:
        """With `recalculate`, the workbook asks to be calculated anew: a formula's 0 is no value.

        `last_row_only` is for a sheet that is not taken.
        """
        self._last_row_only = last_row_only
        self.marks = SheetMarks(last_row=0)
        self._max_rows = limits.max_rows + HEADING_WITHIN_ROWS
        self._max_columns = limits.max_columns
        self._recalculate = recalculate
        self._search: _Patterns | None = None

    def look(self, piece: bytes) -> None:
        """Note what one piece holds. Raises `SheetRefused` where a broken cell has no place."""
        self._look_for_last_row(piece)
        if self._last_row_only:
            return
        if self._search is None:
            found = _PREFIX.search(piece)
            if found is None:
                return
            self._search = _patterns(found[1] or b"")
        if b"hidden=" in piece:
            self._look_for_hidden(piece, self._search)
        if self._search.formula_word in piece:
            self._look_for_formulas(piece, self._search)
        if b't="e"' in piece or b"t='e'" in piece:
            for attributes, value in self._search.error.findall(piece):
                self._note(attributes, Broken("error_value", _shown(value)))

    def _look_for_hidden(self, piece: bytes, search: _Patterns) -> None:
        for attributes in search.row.findall(piece):
            if b"hidden=" in attributes and _HIDDEN.search(attributes):
                number = _ROW_NUMBER.search(attributes)
                if number and 0 < int(number[1]) <= self._max_rows:
                    self.marks.hidden_rows.add(int(number[1]) - 1)
        for attributes in search.column.findall(piece):
            ends = [pattern.search(attributes) for pattern in _FROM_TO]
            if _HIDDEN.search(attributes) and ends[0] and ends[1]:
                last = min(int(ends[1][1]), self._max_columns)
                self.marks.hidden_columns.update(range(int(ends[0][1]) - 1, last))

    def _look_for_formulas(self, piece: bytes, search: _Patterns) -> None:
        for attributes, formula, value in search.formula.findall(piece):
            kind = _TYPE.search(attributes)
            named = kind[1] if kind else b"n"
            if named == b"e":
                self._note(attributes, Broken("error_value", _shown(value)))
            elif named == b"str":
                continue  # text, also the empty text of ="": it was calculated
            elif not value.strip() or (self._recalculate and value.strip() == b"0"):
                self._note(attributes, Broken("not_calculated", "=" + (_shown(formula) or "…")))

    def _note(self, attributes: bytes, broken: Broken) -> None:
        place = _REFERENCE.search(attributes)
        if place is None:
            raise SheetRefused(
                "unreadable",
                what=f"the cell with {broken.shown} does not say where it stands",
                what_ko=f"{broken.shown} 칸의 위치가 적혀 있지 않음",
            )
        row, column = int(place[2]) - 1, column_number(place[1]) - 1
        if row >= 0:
            self.marks.add_broken(row, column, broken)

    def _look_for_last_row(self, piece: bytes) -> None:
        end = max(piece.rfind(b"v>"), piece.rfind(b"is>"))
        if end >= 0:
            found = _LAST_REFERENCE.findall(piece, max(0, end - _LOOKED_BACK), end)
            if found:
                self.marks.last_row = max(self.marks.last_row or 0, int(found[-1]))


def _shown(raw: bytes) -> str:
    return html.unescape(raw[: 4 * _SHOWN_CHARS].decode("utf-8", "ignore")).strip()[:_SHOWN_CHARS]


class Extent:
    """The farthest cell of a worksheet's XML, without looking at every reference where possible.

    A reference with fewer letters or digits than the limits' lies within them: only the others are
    looked at, in pieces that hold a value. Where `within` is True after that, it is sure. Where it is
    not, `count_rows` may help: a wide sheet is only too large if it is long as well. Else
    `FilledExtent` decides.
    """

    def __init__(self, limits: SheetLimits) -> None:
        self._limits = limits
        self._max_rows = limits.max_rows + HEADING_WITHIN_ROWS
        letters = len(column_letters(limits.max_columns))
        digits = len(str(self._max_rows + 1))
        # what the references that are not looked at can say at most
        self._rows = 10 ** (digits - 1) - 1
        self._columns = sum(26**n for n in range(1, letters))
        self._far = re.compile(
            rb' r="([A-Z]{%d,3}(?=\d)|[A-Z]{1,3}(?=\d{%d})|(?=[a-z]))(\d{1,7})?' % (letters, digits)
        )
        self._odd = False

    @property
    def worth_counting(self) -> bool:
        """Whether counting the rows could show that all is within the limits."""
        return not self._odd and self._columns <= self._limits.max_columns

    def count_rows(self, pieces: Iterable[bytes]) -> None:
        """Put the last row that is there in the place of the last that could be."""
        self._rows = 0
        for piece in pieces:
            if _holds_value(piece):
                numbers = set(_PLAIN_ROW.findall(piece))
                self._rows = max(self._rows, max(map(int, numbers), default=0))

    def look(self, piece: bytes) -> None:
        """Note the far cells of one piece."""
        if not _holds_value(piece) or self._odd:
            return
        self._odd = any(mark in piece for mark in _ODD_REFERENCES)
        for letters, number in set(self._far.findall(piece)):
            self._odd = self._odd or not letters
            self._rows = max(self._rows, int(number or 0))
            self._columns = max(self._columns, column_number(letters))

    @property
    def within(self) -> bool:
        """Whether no cell lies outside the limits, and all together are not too many."""
        near = self._rows <= self._max_rows and self._columns <= self._limits.max_columns
        return near and not self._odd and self._rows * self._columns <= self._limits.max_cells


class FilledExtent:
    """The farthest cells that hold something; formatted empty ones do not count. Slower."""

    def __init__(self) -> None:
        self.rows = 0
        self.columns = 0

    def look(self, piece: bytes) -> None:
        """Note the cells of one piece."""
        if _holds_value(piece):
            for letters, number in set(_FILLED_CELL.findall(piece)):
                self.rows = max(self.rows, int(number))
                self.columns = max(self.columns, column_number(letters))


def _holds_value(piece: bytes) -> bool:
    return any(mark in piece for mark in _VALUE_TAGS)


def column_number(letters: bytes) -> int:
    """1 for `A`, 27 for `AA`; the other way round of `column_letters`, in either case."""
    number = 0
    for letter in letters.upper():
        number = number * 26 + letter - ord("A") + 1
    return number

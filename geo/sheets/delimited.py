"""Text with delimiters → rows as a spreadsheet program would number them."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator

from geo.sheets.problems import SheetRefused

#: in order of preference where two fit equally: a comma may be a decimal comma, a tab hardly anything
DELIMITERS = ("\t", ";", "|", ",")
_SAMPLE_ROWS = 200
_SAMPLE_CHARS = 256_000
_SEP_LINE = re.compile(r"^(?:\"sep=(.)\"|sep=(.))\r?\n", re.IGNORECASE)
#: what a spreadsheet program takes for the beginning of a formula [OWASP, CSV injection]
_FORMULA_START = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\Z", re.ASCII)


class Delimited:
    """The records of a CSV text, one after the other.

    A record is one row however many line breaks its quoted cells hold, and an empty line is an empty
    row: so Excel numbers them. A first line `sep=;` is obeyed and is no row. Empty cells are None;
    the apostrophe that `neutral` put before a formula is taken off. Line ends may be of any kind.

    Attributes:
        delimiter: as given or found, one of `DELIMITERS`, or what the line `sep=` names.
    """

    def __init__(self, text: str, *, max_rows: int, delimiter: str | None = None) -> None:
        """With `delimiter`, none is guessed, whatever a line `sep=` says.

        Raises `SheetRefused` (`unknown_delimiter`) for one that is not in `DELIMITERS`.
        """
        if delimiter is not None and delimiter not in DELIMITERS:
            raise SheetRefused("unknown_delimiter", given=delimiter[:20])
        named = _SEP_LINE.match(text)
        if named:
            text = text[named.end() :]
        said = (named[1] or named[2]) if named else None
        self.delimiter = delimiter or said or find_delimiter(text)
        self._text = text
        self._max_rows = max_rows

    def rows(self) -> Iterator[list[str | None]]:
        """Every record. Raises `SheetRefused`: `unclosed_quote`, `too_many_rows`, `unreadable`."""
        neutralized = "'" in self._text
        number, row = 0, list[str | None]()
        try:
            for record in csv.reader(io.StringIO(self._text, newline=""), delimiter=self.delimiter):
                number += 1
                if number > self._max_rows:
                    raise self._too_many(number)
                if neutralized:
                    row = [_plain(cell) if cell else None for cell in record]
                else:
                    row = [cell or None for cell in record]
                yield row
        except csv.Error as error:
            raise SheetRefused("unreadable", what=f"row {number + 1}: {error}") from error
        if self._text.count('"') % 2 and any(cell and "\n" in cell for cell in row):
            raise SheetRefused("unclosed_quote", given=f"{number:,}")

    def _too_many(self, rows: int) -> SheetRefused:
        given, bound = f"{rows:,}", f"{self._max_rows:,}"
        return SheetRefused("too_many_rows", where="The file", where_ko="파일", given=given, bound=bound)


def read_delimited(
    text: str, *, max_rows: int, delimiter: str | None = None
) -> tuple[list[list[str | None]], str]:
    """All records of a CSV text, and its delimiter; see `Delimited`."""
    read = Delimited(text, max_rows=max_rows, delimiter=delimiter)
    return list(read.rows()), read.delimiter


def find_delimiter(text: str) -> str:
    """The delimiter that gives the most rows of one width, and of those the widest rows.

    Steadiness counts before width: `name;37,5;127,0` under `name;lat;lng` has as many commas as
    semicolons in its data rows, but none in its heading. One column only: a comma.
    """
    sample = text[:_SAMPLE_CHARS]
    best, chosen = (0.0, 0), ","
    for delimiter in DELIMITERS:
        if delimiter in sample:
            score = _steadiness(sample, delimiter)
            if score > best:
                best, chosen = score, delimiter
    return chosen


def _steadiness(sample: str, delimiter: str) -> tuple[float, int]:
    """(share of the rows that have the most common width above 1, that width)."""
    widths: Counter[int] = Counter()
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
    try:
        for record in reader:
            if record:
                widths[len(record)] += 1
            if widths.total() >= _SAMPLE_ROWS:
                break
    except csv.Error:
        return 0.0, 0
    wide = [(n, width) for width, n in widths.items() if width > 1]
    if not wide:
        return 0.0, 0
    rows, width = max(wide)
    return rows / widths.total(), width


def neutral(text: str) -> str:
    """Text that no spreadsheet program runs: an apostrophe before what begins like a formula.

    Numbers stay as they are. `_plain` takes exactly this back, also for text that began with an
    apostrophe of its own.
    """
    return f"'{text}" if _FORMULA_START.match(text) and not _NUMBER.match(text) else text


def _plain(text: str) -> str:
    return text[1:] if text[0] == "'" and _FORMULA_START.match(text) else text

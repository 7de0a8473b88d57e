"""Odd files, each with what exactly becomes of it when it is uploaded: what all kinds have in common.

A row that is to be refused has a name that begins with `BAD`, so that anybody can count where it stands
(`rows_of_bad`): that is done here with openpyxl and by hand, not with the readers under test.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import openpyxl

from tests.odd_sheets import Rows

UPLOADS = Path(__file__).parents[1] / "fixtures/uploads"
BAD = "나쁜점"
HEAD = ["지점명", "위도", "경도", "반경", "그룹"]
ONE = ["강남점", 37.4979, 127.0276, 100, "카페"]
FAULTY = [BAD, "모름", 127.1, 100, "카페"]
TWO = ["역삼점", 37.5007, 127.0365, 200, "카페"]
USUAL: Rows = [HEAD, ONE, FAULTY, TWO]
NO_NUMBER = ("not_a_number", None, 3)
NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class OddFile:
    """A file and what becomes of it.

    Attributes:
        options: what the user says with it, fields of `UploadOptions`.
        error: the code by which the whole file is refused; None: it is read.
        new: how many fences it would make.
        problems: (code, sheet, row) of all problems.
        sheet: what the report says of its first sheet, as far as it is named here.
        sheets: (name, hidden, last row, taken) of all sheets of the file.
        text: decodes and counts a CSV: (encoding, delimiter).
        countable: openpyxl can read it without minutes and gigabytes.
    """

    name: str
    make: Callable[[], bytes]
    options: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    new: int = 0
    problems: Sequence[tuple[str, str | None, int]] = ()
    sheet: Mapping[str, Any] = field(default_factory=dict)
    sheets: Sequence[tuple[str | None, bool, int, bool]] | None = None
    file_name: str = "stores.csv"
    text: tuple[str, str] | None = None
    countable: bool = True

    @property
    def data(self) -> bytes:
        """The file; made once."""
        return _made(self.make)


@cache
def _made(make: Callable[[], bytes]) -> bytes:
    return make()


def refused(name: str, make: Callable[[], bytes], code: str, **more: Any) -> OddFile:
    """A file that is refused as a whole."""
    return OddFile(name=name, make=make, error=code, **more)


# --- where the bad rows stand, counted without our readers ------------------------------------------


def rows_of_bad(file: OddFile) -> set[tuple[str | None, int]] | None:
    """(sheet, row) of every bad row as a spreadsheet program shows it; None for other kinds of files."""
    if file.text is not None:
        encoding, delimiter = file.text
        lines = _as_excel_counts(file.data.decode(encoding), delimiter)
        return {(None, n) for n, cells in lines if any(cell.startswith(BAD) for cell in cells)}
    if not file.countable or b"xl/workbook.xml" not in file.data:
        return None
    book = openpyxl.load_workbook(io.BytesIO(file.data))
    return {
        (page.title, cell.row)
        for page in book.worksheets
        for row in page.iter_rows()
        for cell in row
        if isinstance(cell.value, str) and cell.value.startswith(BAD) and page.sheet_state == "visible"
    }


def _as_excel_counts(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(number, cells) of the rows of a CSV, character by character.

    A quotation mark opens only at the beginning of a cell; a line end within one makes no row; the
    line `sep=` is none.
    """
    number, cell, cells = 1, "", list[str]()
    quoted = began = False
    text = text.removeprefix("\ufeff")
    if text.lower().startswith("sep="):
        text = text[text.index("\n") + 1 :]
    at = 0
    while at < len(text):
        mark = text[at]
        if quoted:
            if mark == '"' and text[at + 1 : at + 2] == '"':
                cell, at = cell + '"', at + 1
            elif mark == '"':
                quoted = False
            else:
                cell += mark
        elif mark == '"' and not began:
            quoted = began = True
        elif mark == delimiter:
            cells, cell, began = [*cells, cell], "", False
        elif mark in "\r\n":
            at += text[at : at + 2] == "\r\n"
            yield number, [*cells, cell]
            number, cell, cells, began = number + 1, "", [], False
        else:
            cell, began = cell + mark, True
        at += 1
    if cell or cells:
        yield number, [*cells, cell]

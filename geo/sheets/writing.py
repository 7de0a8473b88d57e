"""Tables → bytes: XLSX and CSV that hold no live formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from geo.sheets.delimited import neutral
from geo.sheets.problems import SheetRefused
from geo.sheets.table import Broken, Cell, column_letters

XLSX_CELL_CHARS = 32_767  # Excel's limit of a cell
_LOOKS_ESCAPED = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")  # "_x0041_" would be read as "A" (ST_Xstring)
_UNSTORABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def to_csv(rows: Sequence[Sequence[Cell]]) -> bytes:
    """UTF-8 with byte order mark (Excel needs it), commas, CRLF; no cell is a live formula (Q15).

    Text that begins like a formula gets an apostrophe, which `read_csv` takes off again. Floats are
    written to the last bit. Characters that no spreadsheet can hold are left out.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    for row in rows:
        shown = [c.shown if isinstance(c, Broken) else c for c in row]
        writer.writerow([neutral(_storable(c)) if isinstance(c, str) else c for c in shown])
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
            value = value.shown if isinstance(value, Broken) else value
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

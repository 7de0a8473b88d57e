"""Sheets written byte by byte, with what no library of ours would write.

A cell is given as in `fixtures/cases/odd_cells.json`: `{"text": …}`, `{"number": "37.5"}` (as its
digits stand in the file), `{"bool": true}`, `{"date": "37.5"}` (a number shown as a date),
`{"error": "#N/A"}`, `{"formula": "A1*2"}` with `cached` or `cached_text` or `error` or neither. A
string, a number or None may stand for itself.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from geo.sheets.table import cell_name, column_letters

Rows = Sequence[Sequence[Any]]

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f]")
#: style 1 is a date with its time, 2 a fill and nothing else
_STYLES = (
    f'{_XML}<styleSheet xmlns="{_MAIN}"><fonts count="1"><font/></fonts>'
    '<fills count="3"><fill><patternFill patternType="none"/></fill>'
    '<fill><patternFill patternType="gray125"/></fill><fill><patternFill patternType="solid"/></fill>'
    '</fills><borders count="1"><border/></borders><cellStyleXfs count="1"><xf/></cellStyleXfs>'
    '<cellXfs count="3"><xf/><xf numFmtId="22" applyNumberFormat="1"/><xf fillId="2"/></cellXfs>'
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
)


@dataclass(frozen=True, kw_only=True)
class Page:
    """One sheet of a workbook.

    Attributes:
        first_row, first_column: where `rows` begin, from 1.
        merges: ranges such as `A1:B2`.
        hidden_rows, hidden_columns: numbers from 1.
        xml: stands in place of all that the other attributes say.
        after: XML behind the merged cells.
    """

    name: str = "매장"
    rows: Rows = ()
    first_row: int = 1
    first_column: int = 1
    state: str = "visible"
    merges: Sequence[str] = ()
    hidden_rows: frozenset[int] = frozenset()
    hidden_columns: frozenset[int] = frozenset()
    xml: str | bytes | None = None

    def worksheet(self) -> str | bytes:
        """The part of the zip."""
        if self.xml is not None:
            return self.xml
        columns = "".join(f'<col min="{n}" max="{n}" hidden="1"/>' for n in sorted(self.hidden_columns))
        merged = "".join(f'<mergeCell ref="{one}"/>' for one in self.merges)
        rows = "".join(self._row(n, row) for n, row in enumerate(self.rows, self.first_row))
        return (
            f'{_XML}<worksheet xmlns="{_MAIN}">{f"<cols>{columns}</cols>" if columns else ""}'
            f"<sheetData>{rows}</sheetData>"
            f"{f'<mergeCells>{merged}</mergeCells>' if merged else ''}</worksheet>"
        )

    def _row(self, number: int, row: Sequence[Any]) -> str:
        hidden = ' hidden="1"' if number in self.hidden_rows else ""
        cells = "".join(
            xlsx_cell(cell_name(number, n), cell)
            for n, cell in enumerate(row, self.first_column - 1)
            if cell is not None
        )
        return f'<row r="{number}"{hidden}>{cells}</row>'


def xlsx(*pages: Page, date_1904: bool = False, parts: Mapping[str, str | bytes] | None = None) -> bytes:
    """A workbook; `parts` are further parts of the zip, or stand in place of its own."""
    sheets = "".join(
        f'<sheet name={quoteattr(page.name)} sheetId="{n}" state="{page.state}" r:id="r{n}"/>'
        for n, page in enumerate(pages, 1)
    )
    targets = "".join(
        f'<Relationship Id="r{n}" Type="{_OFFICE}/worksheet" Target="worksheets/sheet{n}.xml"/>'
        for n in range(1, len(pages) + 1)
    )
    kinds = "".join(
        f'<Override PartName="/xl/worksheets/sheet{n}.xml" '
        'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>'
        for n in range(1, len(pages) + 1)
    )
    written: dict[str, str | bytes] = {
        "[Content_Types].xml": f'{_XML}<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/><Override PartName="/xl/workbook.xml" '
        'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>'
        '<Override PartName="/xl/styles.xml" '
        'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.styles+xml"/>'
        f"{kinds}</Types>",
        "_rels/.rels": f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" '
        f'Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'{_XML}<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}">'
        f'<workbookPr date1904="{int(date_1904)}"/><sheets>{sheets}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">{targets}'
        f'<Relationship Id="s" Type="{_OFFICE}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": _STYLES,
    }
    written |= {f"xl/worksheets/sheet{n}.xml": page.worksheet() for n, page in enumerate(pages, 1)}
    return zipped(written | dict(parts or {}))


def zipped(parts: Mapping[str, str | bytes]) -> bytes:
    """A zip of these parts."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in parts.items():
            packed.writestr(name, content)
    return out.getvalue()


def xlsx_cell(reference: str, cell: Any) -> str:
    """One cell of a worksheet."""
    given = _given(cell)
    at = f'<c r="{reference}"'
    match given:
        case {"text": text}:
            kept = _CONTROL.sub(lambda found: f"_x{ord(found[0]):04X}_", text)
            return f'{at} t="inlineStr"><is><t xml:space="preserve">{escape(kept)}</t></is></c>'
        case {"formula": formula, "cached": digits}:
            return f"{at}><f>{escape(formula)}</f><v>{digits}</v></c>"
        case {"formula": formula, "cached_text": text}:
            return f'{at} t="str"><f>{escape(formula)}</f><v>{escape(text)}</v></c>'
        case {"formula": formula, "error": error}:
            return f'{at} t="e"><f>{escape(formula)}</f><v>{error}</v></c>'
        case {"formula": formula}:
            return f"{at}><f>{escape(formula)}</f></c>"
        case {"error": error}:
            return f'{at} t="e"><v>{error}</v></c>'
        case {"bool": value}:
            return f'{at} t="b"><v>{int(value)}</v></c>'
        case {"date": digits}:
            return f'{at} s="1"><v>{digits}</v></c>'
        case {"filled": True}:
            return f'{at} s="2"/>'
        case {"number": digits}:
            return f"{at}><v>{digits}</v></c>"
    raise ValueError(f"no cell: {cell!r}")


def ods(rows: Rows, *, name: str = "매장") -> bytes:
    """An OpenDocument sheet of texts, numbers and booleans."""
    spaces = "".join(
        f' xmlns:{space}="urn:oasis:names:tc:opendocument:xmlns:{space}:1.0"'
        for space in ("office", "table", "text")
    )
    body = "".join(f"<table:table-row>{''.join(map(_ods_cell, row))}</table:table-row>" for row in rows)
    return zipped(
        {
            "mimetype": "application/vnd.oasis.opendocument.spreadsheet",
            "META-INF/manifest.xml": "<manifest/>",
            "content.xml": f"{_XML}<office:document-content{spaces}><office:body><office:spreadsheet>"
            f"<table:table table:name={quoteattr(name)}>{body}</table:table>"
            "</office:spreadsheet></office:body></office:document-content>",
        }
    )


def _ods_cell(cell: Any) -> str:
    match _given(cell):
        case None:
            return "<table:table-cell/>"
        case {"text": text}:
            shown = f"<text:p>{escape(text)}</text:p>"
            return f'<table:table-cell office:value-type="string">{shown}</table:table-cell>'
        case {"number": digits}:
            return f'<table:table-cell office:value-type="float" office:value="{digits}"/>'
        case {"bool": value}:
            said = str(value).lower()
            return f'<table:table-cell office:value-type="boolean" office:boolean-value="{said}"/>'
    raise ValueError(f"no cell: {cell!r}")


def csv_text(rows: Rows, *, delimiter: str = ",", line_end: str = "\n") -> str:
    """A CSV whose every text is in quotation marks."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=line_end, quoting=csv.QUOTE_ALL)
    writer.writerows([[_csv_cell(cell) for cell in row] for row in rows])
    return out.getvalue()


def _csv_cell(cell: Any) -> str:
    match _given(cell):
        case None:
            return ""
        case {"text": text} | {"number": text}:
            return str(text)
    raise ValueError(f"a CSV has no such cell: {cell!r}")


def _given(cell: Any) -> dict[str, Any] | None:
    """The cell in its long form."""
    if cell is None or isinstance(cell, dict):
        return cell
    if isinstance(cell, bool):
        return {"bool": cell}
    return {"text": cell} if isinstance(cell, str) else {"number": repr(cell)}


def far_corner() -> str:
    """The last cell of a worksheet."""
    return f"{column_letters(16_383)}1048576"

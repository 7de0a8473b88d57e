"""The template: read back, filled in, and what Excel is told to check."""

from __future__ import annotations

import io
from typing import Any

import openpyxl
import pytest

from geo.fences.column_list import COLUMNS
from geo.fences.columns import ReadFences, read_sheets
from geo.fences.fence import CircleShape, PolygonShape
from geo.fences.limits import MAX_RADIUS_M, MIN_RADIUS_M
from geo.fences.template import CHECKED_ROWS, template_workbook
from geo.sheets.headings import find_headings
from geo.sheets.workbook import read


def read_back(data: bytes) -> ReadFences:
    (sheet,) = read_sheets(read(data))
    return sheet


def opened(lang: str) -> openpyxl.Workbook:
    return openpyxl.load_workbook(io.BytesIO(template_workbook(lang)))


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_it_reads_back_as_its_two_examples(lang: str) -> None:
    sheet = read_back(template_workbook(lang))
    assert sheet.problems == []
    assert [row for row, _ in sheet.fences] == [2, 3]
    circle, area = (fence for _, fence in sheet.fences)
    assert isinstance(circle.shape, CircleShape)
    assert isinstance(area.shape, PolygonShape)
    for fence in (circle, area):
        assert fence.external_id is not None
        assert fence.external_id.startswith("EXAMPLE")
        assert fence.name.startswith("예시" if lang == "ko" else "EXAMPLE")
    assert len(circle.groups) == len(circle.tags) == 2
    assert sheet.unknown_headings == ()


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_every_column_is_in_the_sheet_or_in_the_legend(lang: str) -> None:
    fences, legend = read(template_workbook(lang))
    headings = find_headings(fences, COLUMNS)
    assert headings is not None
    absent = {c.name for c in COLUMNS} - headings.places.keys()
    assert absent == {"radius_km", *(f"polygon_{n}" for n in range(2, 17))}
    assert find_headings(legend, COLUMNS) is None
    told = [str(row[0]) for row in legend.rows if row]
    for column in COLUMNS:
        if not column.name.startswith("polygon_"):
            assert any(column.label_ko in text and column.label_en in text for text in told)
    assert any("2-16" in text for text in told)


def test_required_headings_are_marked() -> None:
    heads = [cell.value for cell in opened("en")["Fences"][1]]
    assert [head for head in heads if head.endswith("*")] == ["name *", "lat *", "lng *", "radius_m *"]
    assert opened("ko")["지오펜스"].freeze_panes == "B2"


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_excel_checks_numbers_within_our_limits(lang: str) -> None:
    sheet = opened(lang).worksheets[0]
    heads = {str(c.value).removesuffix(" *"): c.column_letter for c in sheet[1]}
    checks = {str(v.sqref): v for v in sheet.data_validations.dataValidation}
    bounds = {"lat": (-90, 90), "lng": (-180, 180), "radius_m": (MIN_RADIUS_M, MAX_RADIUS_M)}
    assert len(checks) == len(bounds)
    for column in COLUMNS:
        if column.name not in bounds:
            continue
        letters = heads[column.label_ko if lang == "ko" else column.label_en]
        check = checks[f"{letters}2:{letters}{CHECKED_ROWS + 1}"]
        assert (float(check.formula1), float(check.formula2)) == bounds[column.name]
        assert (check.type, check.operator, check.errorStyle) == ("decimal", "between", "stop")
        assert check.showErrorMessage
        assert len(check.error) <= 225
        assert len(check.errorTitle) <= 32
        assert check.error.endswith("요." if lang == "ko" else ("e?", ".")[column.name != "lat"])


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_filling_it_in_works(lang: str) -> None:
    book = opened(lang)
    sheet = book.worksheets[0]
    sheet.delete_rows(2, 2)
    heads = [str(cell.value) for cell in sheet[1]]
    own: list[dict[str, Any]] = [
        {
            "name": "강남",
            "external_id": "0012",
            "lat": 37.4979,
            "lng": 127.0276,
            "radius_m": MIN_RADIUS_M,
        },
        {"name": "=1+1", "lat": -90, "lng": 180, "radius_m": MAX_RADIUS_M},
        {"name": "빈 반경", "lat": 37.5, "lng": 127},
    ]
    labels = {c.name: c.label_ko if lang == "ko" else c.label_en for c in COLUMNS}
    for row, values in enumerate(own, 2):
        for name, value in values.items():
            at = next(k for k, head in enumerate(heads, 1) if head.removesuffix(" *") == labels[name])
            sheet.cell(row, at).value = value
            sheet.cell(row, at).data_type = "s" if isinstance(value, str) else "n"
    out = io.BytesIO()
    book.save(out)
    sheet_read = read_back(out.getvalue())
    assert [(row, f.name, f.external_id) for row, f in sheet_read.fences] == [
        (2, "강남", "0012"),
        (3, "=1+1", None),
    ]
    assert [(p.row, p.code, p.cell) for p in sheet_read.problems] == [(4, "missing", "F4")]


def test_codes_keep_their_zeros() -> None:
    sheet = opened("en")["Fences"]
    formats = {
        str(sheet.cell(1, n).value): sheet.column_dimensions[
            sheet.cell(1, n).column_letter
        ].number_format
        for n in range(1, sheet.max_column + 1)
    }
    assert formats["external_id"] == "@"
    assert {formats[head] for head in ("lat *", "lng *", "radius_m *")} == {"General"}

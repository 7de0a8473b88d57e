"""The workbook of problems: opened again with openpyxl and with our own reader."""
# ruff: noqa: DTZ001 - cells of a spreadsheet have no zone

from __future__ import annotations

import io
import re
import zipfile
from datetime import date, datetime, time, timedelta
from typing import Any

import openpyxl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from openpyxl.worksheet.worksheet import Worksheet

from geo.fences.column_list import COLUMNS
from geo.fences.columns import read_sheets
from geo.sheets.headings import find_headings
from geo.sheets.marked import HEADINGS, MAX_COMMENTS, is_problem_list, marked_workbook
from geo.sheets.problems import CellProposal, Problem
from geo.sheets.sheet_xml import xml_text
from geo.sheets.table import Broken, Cell, Table
from geo.sheets.workbook import read

HEADS: list[Cell] = ["지점명", "위도", "경도", "반경"]
RED, YELLOW = "FFFFC7CE", "FFFFEB9C"


def problem(row: int, cell: str | None, **given: Any) -> Problem:
    facts = {"sheet": "매장", "heading": None, "code": "c", "message_en": "en", "message_ko": "ko"}
    return Problem(row=row, cell=cell, **facts | given)


def opened(tables: list[Table], problems: list[Problem], **options: Any) -> openpyxl.Workbook:
    return openpyxl.load_workbook(io.BytesIO(marked_workbook(tables, problems, **options)))


def table(*rows: list[Cell], sheet: str | None = "매장", **given: Any) -> Table:
    return Table(sheet=sheet, rows=[*rows], **given)


def colour(sheet: Worksheet, cell: str) -> str:
    return str(sheet[cell].fill.fgColor.rgb)


def test_every_problem_is_listed_and_leads_to_its_cell() -> None:
    offered = CellProposal(message_en="Take 37.5.", message_ko="37.5(으)로 바꾸기")
    problems = [
        problem(5, "B5", heading="위도", value="37,5", code="swapped", proposal=offered),
        problem(6, None, code="missing"),
        problem(2, None, sheet="다른 시트", code="elsewhere"),
    ]
    rows: list[list[Cell]] = [["목록"], [], HEADS, ["a"], ["b", "37,5"], ["c"]]
    book = opened([table(*rows)], problems, lang="ko")
    assert book.sheetnames == ["문제", "매장"]
    found = [list(row) for row in book["문제"].iter_rows(values_only=True)]
    assert found == [
        list(HEADINGS["ko"]),
        ["매장", 5, "위도", "B5", "37,5", "swapped", "ko", "37.5(으)로 바꾸기"],
        ["매장", 6, None, "A6", None, "missing", "ko", None],
        ["다른 시트", 2, None, None, None, "elsewhere", "ko", None],
    ]
    assert book["문제"]["D2"].hyperlink.location == "'매장'!B5"
    assert book["문제"]["D3"].hyperlink.location == "'매장'!A6"
    assert book["문제"]["D4"].hyperlink is None
    assert book["문제"].freeze_panes == "A2"
    english = opened([table(*rows)], problems)["Problems"]
    assert [c.value for c in english[2]][5:] == ["swapped", "en", "Take 37.5."]


def test_cells_stand_where_they_stood_and_faults_are_marked() -> None:
    rows: list[list[Cell]] = [["목록"], [], HEADS, ["a", 37.5, 127.0, "500m"], ["b", "모름"]]
    problems = [
        problem(5, "B5", heading="위도"),
        problem(5, "B5", heading="위도", message_en="more"),
        problem(5, "D5", heading="반경"),
        problem(4, None),
        problem(9, "C9"),
    ]
    sheet = opened([table(*rows, hidden_columns=frozenset({1}), hidden_rows=frozenset({4}))], problems)[
        "매장"
    ]
    assert [[c.value for c in row] for row in sheet["A1:D5"]] == [
        ["목록", None, None, None],
        [None, None, None, None],
        HEADS,
        ["a", 37.5, 127, "500m"],
        ["b", "모름", None, None],
    ]
    assert {cell: colour(sheet, cell) for cell in ("B5", "D5", "A4", "C9", "A5", "B4")} == {
        "B5": RED,
        "D5": RED,
        "A4": YELLOW,
        "C9": RED,
        "A5": "00000000",
        "B4": "00000000",
    }
    assert sheet["B5"].comment.text == "en\n\nmore"
    assert sheet["A4"].comment is not None
    assert sheet["A3"].font.bold
    assert not sheet["A4"].font.bold
    assert sheet.freeze_panes == "A4"
    assert not any(dimension.hidden for dimension in sheet.column_dimensions.values())
    assert not any(dimension.hidden for dimension in sheet.row_dimensions.values())


def test_the_heading_row_is_the_one_the_problems_name_or_that_is_said() -> None:
    rows: list[list[Cell]] = [["a", "b", "c", "d", "e"], HEADS, ["x", 1, 2, 3]]
    assert opened([table(*rows)], [problem(3, "B3", heading="위도")])["매장"].freeze_panes == "A3"
    assert opened([table(*rows)], [])["매장"].freeze_panes == "A2"
    assert opened([table(*rows)], [], heading_rows={"매장": 2})["매장"]["A2"].font.bold


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("=1+1", "=1+1"),
        ("@x", "@x"),
        ("#N/A", "#N/A"),
        ("0012", "0012"),
        ("  a\n b ", "  a\n b "),
        ("_x0041_", "_x0041_"),
        ("<&>\"'", "<&>\"'"),
        ("\x01a\ud800\ufffe", "a"),
        (Broken("error_value", "#DIV/0!"), "#DIV/0!"),
        (Broken("not_calculated", "=A1"), "=A1"),
        (True, True),
        (0.1 + 0.2, 0.1 + 0.2),
        (10**14, 10**14),
        (10**20, str(10**20)),
        (float("inf"), "inf"),
        (date(2024, 2, 29), datetime(2024, 2, 29, 0, 0)),
        (date(1900, 1, 1), datetime(1900, 1, 1)),
        (date(1899, 12, 30), "1899-12-30"),
        (datetime(2024, 1, 2, 3, 4, 5), datetime(2024, 1, 2, 3, 4, 5)),
        (time(23, 59, 59), time(23, 59, 59)),
        (timedelta(hours=30), timedelta(hours=30)),
        (timedelta(hours=-1), "-1 day, 23:00:00"),
    ],
)
def test_values_are_what_they_were(value: Cell, shown: object) -> None:
    data = marked_workbook([table(HEADS, ["n", value])], [problem(2, "B2")])
    cell = openpyxl.load_workbook(io.BytesIO(data))["매장"]["B2"]
    # openpyxl leaves ST_Xstring as it stands in the file
    found = cell.value.replace("_x005F_", "_") if isinstance(cell.value, str) else cell.value
    assert (found, type(found)) == (shown, type(shown))
    assert cell.data_type != "f"
    assert colour_of_same_cell(data) == RED


def colour_of_same_cell(data: bytes) -> str:
    return colour(openpyxl.load_workbook(io.BytesIO(data))["매장"], "B2")


@given(st.text(st.characters(codec=None), max_size=40))
@example("_x005F_x0041_")
@example("=cmd|' /C calc'!A0")
@example("\r\n\r")
def test_any_text_is_read_back_as_text(text: str) -> None:
    """By our own reader, up to what XML cannot hold."""
    back = read(marked_workbook([table(["name", "lat"], [text, "end"])], [problem(2, "A2", value=text)]))
    rows = next(t for t in back if t.sheet == "매장").rows
    kept = re.sub(
        "[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", "", text.replace("\r\n", "\n")
    )
    assert (rows[1][0] or "") == kept.replace("\r", "\n")
    assert rows[1][1] == "end"


@pytest.mark.parametrize("unit", ["a", "가", "😀"])
def test_long_texts_are_cut_to_what_a_cell_holds(unit: str) -> None:
    units = len(unit.encode("utf-16-le")) // 2
    fits = unit * (32_767 // units)
    assert xml_text(fits) == fits
    cut = xml_text(fits + unit)
    assert cut.endswith("…")
    assert 32_766 <= len(cut.encode("utf-16-le")) // 2 <= 32_767
    sheet = opened([table(["name"], [fits + unit])], [])["매장"]
    assert sheet["A2"].value == cut


def test_names_of_sheets_are_made_valid_and_differ() -> None:
    names = ["Problems", "problems", "a" * 40, "a" * 41, "a/b:c[d]", "", "'x'", "History", "가" * 40]
    tables = [table(["name", "lat"], ["x"], sheet=name) for name in names]
    book = opened([*tables, table(["n"], sheet=None)], [problem(2, "A2", sheet="a/b:c[d]")])
    assert book.sheetnames[0] == "Problems (3)"
    assert book.sheetnames[1:3] == ["Problems", "problems (2)"]
    assert book.sheetnames[4] == "a" * 27 + " (2)"
    assert book.sheetnames[5] == "a_b_c_d_"
    assert book.sheetnames[-1] == "CSV"
    assert len({name.casefold() for name in book.sheetnames}) == 11
    assert all(
        0 < len(name) <= 31 and not re.search(r"[\[\]:*?/\\]|^'|'$", name) for name in book.sheetnames
    )
    assert book["Problems (3)"]["D2"].hyperlink.location == "'a_b_c_d_'!A2"


def test_an_apostrophe_in_a_name_is_doubled_in_links() -> None:
    book = opened([table(["name"], sheet="Bob's <&> shop")], [problem(1, "A1", sheet="Bob's <&> shop")])
    assert book["Problems"]["D2"].hyperlink.location == "'Bob''s <&> shop'!A1"


def test_features_become_the_table_of_their_properties() -> None:
    rows: list[list[Cell]] = [["이름", "geometry"], ["가", "POLYGON EMPTY"], ["나", None]]
    layer = table(*rows, first_row=0, kind="features")
    problems = [
        problem(1, None, heading="geometry", code="empty"),
        problem(2, None, code="missing"),
        problem(1, "A1", heading="이름", code="x"),
    ]
    book = opened([layer], problems, lang="ko")
    sheet = book["매장"]
    assert [[c.value for c in row] for row in sheet["A1:C3"]] == [
        ["피처", "이름", "geometry"],
        [1, "가", "POLYGON EMPTY"],
        [2, "나", None],
    ]
    assert [colour(sheet, cell) for cell in ("C2", "A3", "B2", "A2")] == [RED, YELLOW, RED, "00000000"]
    assert [row[1:4] for row in book["문제"].iter_rows(min_row=2, values_only=True)] == [
        (2, "geometry", "C2"),
        (3, None, "A3"),
        (2, "이름", "B2"),
    ]
    assert sheet.freeze_panes == "A2"


def test_comments_are_bounded_and_colours_are_not() -> None:
    n = MAX_COMMENTS + 10
    rows: list[list[Cell]] = [HEADS, *([f"n{k}", "x"] for k in range(n))]
    book = opened([table(*rows)], [problem(k, f"B{k}", heading="위도") for k in range(2, n + 2)])
    sheet = book["매장"]
    assert colour(sheet, f"B{n + 1}") == RED
    assert sheet[f"B{MAX_COMMENTS + 1}"].comment is not None
    assert sheet[f"B{MAX_COMMENTS + 2}"].comment is None
    assert book["Problems"].max_row == n + 1


def test_a_sheet_has_no_more_links_than_excel_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geo.sheets.marked.MAX_LINKS", 2)
    monkeypatch.setattr("geo.sheets.marked.MAX_LISTED", 3)
    front = opened([table(HEADS, ["a"])], [problem(2, "A2")] * 5)["Problems"]
    assert [front.cell(row, 4).hyperlink is not None for row in (2, 3, 4)] == [True, True, False]
    assert front.max_row == 5
    assert front["G5"].value == "2 more problems are not listed; mend these first."


def test_what_was_mended_in_it_can_be_uploaded_again() -> None:
    rows: list[list[Cell]] = [["매장 목록"], HEADS, ["역삼", 37.5006, 127.0366, "모름"]]
    (first,) = read_sheets([table(*rows)])
    assert [p.cell for p in first.problems] == ["D3"]
    book = opened([table(*rows)], first.problems, lang="ko")
    book["매장"]["D3"] = 500
    out = io.BytesIO()
    book.save(out)
    tables = read(out.getvalue())
    assert [is_problem_list(t) for t in tables] == [True, False]
    (again,) = read_sheets([t for t in tables if not is_problem_list(t)])
    assert again.problems == []
    assert [fence.name for _, fence in again.fences] == ["역삼"]


def test_the_list_has_no_heading_that_a_column_goes_by() -> None:
    for heads in HEADINGS.values():
        assert find_headings(table([*heads]), COLUMNS) is None


def test_the_file_is_whole_xml_without_formulas() -> None:
    data = marked_workbook([table(HEADS, ["=A1", 1])], [problem(2, "A2", heading="=A1", value="=A1")])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        sheets = [archive.read(n) for n in archive.namelist() if n.startswith("xl/worksheets/sheet")]
    assert len(sheets) == 2
    assert not any(b"<f>" in sheet or b"<f " in sheet for sheet in sheets)
    assert [sheet.count(b"<sheetData>") for sheet in sheets] == [1, 1]


def test_odd_problems_do_no_harm() -> None:
    odd = [problem(0, "A0"), problem(2, "A2", message_en="a\x01\ud800b", value="\x02")]
    book = opened([table(HEADS, ["x"])], odd)
    assert book["매장"]["A2"].comment.text == "ab"
    assert book["Problems"].max_row == 3


def test_no_tables_and_no_problems_give_an_empty_list() -> None:
    book = opened([], [])
    assert book.sheetnames == ["Problems"]
    assert book["Problems"].max_row == 1
    assert opened([table()], [problem(1, None, code="no_headings")])["매장"].max_row == 1

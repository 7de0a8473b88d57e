"""Bytes ↔ tables: row numbers, kinds, limits, and exports that hold no formula."""

# ruff: noqa: DTZ001 - the dates of a sheet have no zone

import io
from datetime import date, datetime, time
from pathlib import Path
from string import Formatter

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl.styles import PatternFill
from python_calamine import CalamineWorkbook

from geo.sheets.problems import REFUSALS, SheetRefused
from geo.sheets.workbook import (
    Broken,
    Cell,
    FileOptions,
    SheetLimits,
    Table,
    cell_name,
    column_letters,
    read,
    read_csv,
    to_csv,
    to_xlsx,
)

UPLOADS = Path(__file__).parents[3] / "fixtures/uploads"
STORES = [
    ["매장 목록 (2026년 11월)"],
    [],
    ["매장코드", "매장명", "위도", "경도", "반경", "개점일"],
    ["A-1", "모퉁이별24 강남역점", 37.4979, 127.0276, "100m", date(2026, 1, 2)],
    ["A-2", "늘곁솔편의점 서울역점", 37.5547, 126.9707, 250, date(2026, 3, 4)],
    ["7", "구름솔베이커스 남대문점", 37.5599, 126.9753, "0.3km"],
]


def _saved(book: openpyxl.Workbook) -> bytes:
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _refused(data: bytes, **kwargs: object) -> SheetRefused:
    with pytest.raises(SheetRefused) as refused:
        read(data, **kwargs)  # type: ignore[arg-type]
    return refused.value


@pytest.mark.parametrize("name", ["stores.xls", "stores.ods"])
def test_old_excel_and_open_document(name: str) -> None:
    (table,) = read((UPLOADS / name).read_bytes())
    assert (table.sheet, table.rows, table.first_row) == ("매장", STORES, 1)


def test_rows_have_excels_numbers_below_empty_rows_and_columns() -> None:
    book = openpyxl.Workbook()
    book.active["C4"], book.active["D6"] = "이름", 37.5
    (table,) = read(_saved(book))
    assert [(n, row) for n, row in table.numbered()] == [
        (4, [None, None, "이름"]),
        (6, [None, None, None, 37.5]),
    ]
    assert cell_name(6, table.rows[5].index(37.5)) == "D6"


def test_values_keep_their_types() -> None:
    book = openpyxl.Workbook()
    cells = [1, 2.5, True, "007", datetime(2026, 1, 2, 3, 4), time(9, 30), "=1+1", None, "x"]
    book.active.append(cells)
    (table,) = read(_saved(book))
    uncalculated = Broken("not_calculated", "=1+1")
    assert table.rows == [
        [1, 2.5, True, "007", datetime(2026, 1, 2, 3, 4), time(9, 30), uncalculated, None, "x"]
    ]
    assert [type(c) for c in table.rows[0]][:3] == [float, float, bool]


def test_empty_formatted_cells_far_away_do_not_count() -> None:
    book = openpyxl.Workbook()
    book.active["A1"] = "x"
    book.active["ZZ9999"].fill = PatternFill("solid", fgColor="FF0000")
    (table,) = read(_saved(book))
    assert table.rows == [["x"]]


def test_hidden_sheets_are_read_only_when_named() -> None:
    data = (UPLOADS / "stores.xls").read_bytes()
    assert [t.sheet for t in read(data)] == ["매장"]
    named = read(data, options=FileOptions(sheets=("숨김",)))
    assert named == [Table(sheet="숨김", rows=[["비밀"]], hidden=True)]
    refused = _refused(data, options=FileOptions(sheets=("없음",)))
    assert refused.code == "no_such_sheet"
    assert "매장, 숨김" in refused.message


def test_several_sheets_come_in_order_and_empty_ones_do_not() -> None:
    book = openpyxl.Workbook()
    book.active.title = "나"
    book.active["A1"] = 1
    book.create_sheet("빈")
    book.create_sheet("가")["A1"] = 2
    assert [t.sheet for t in read(_saved(book))] == ["나", "가"]


@pytest.mark.parametrize(
    ("data", "code", "said"),
    [
        (b"", "empty", "no values"),
        (b" \r\n\t", "empty", "no values"),
        (b",,,\r\n,,\r\n", "empty", "no values"),
        (b"%PDF-1.7 ...", "not_a_sheet", "a PDF"),
        (b"\x89PNG\r\n\x1a\n", "not_a_sheet", "a picture"),
        (b"<!DOCTYPE html><table><tr><td>1", "not_a_sheet", "a web page"),
        (b'{"type": "FeatureCollection"}', "not_a_sheet", "a geo file"),
        (b'{"name": "x"}', "not_a_sheet", "a JSON file"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><kml>", "not_a_sheet", "a geo file"),
        (b"<?xml version='1.0'?><rss>", "not_a_sheet", "an XML file"),
        (b"SQLite format 3\x00", "not_a_sheet", "a geo file"),
        (b"\x01\x02\x03abc,\x04\x05\n", "not_a_sheet", "binary"),
        (b"PK\x03\x04" + b"\0" * 40, "unreadable", "damaged"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "unreadable", "damaged"),
    ],
)
def test_what_is_no_sheet_is_named(data: bytes, code: str, said: str) -> None:
    refused = _refused(data)
    assert refused.code == code
    assert said in refused.message


def test_a_workbook_named_csv_is_a_workbook() -> None:
    # nothing here knows a file's name: the bytes decide
    assert read(to_xlsx([["a", "b"]]))[0].delimiter is None


@pytest.mark.parametrize(
    ("rows", "limits", "code", "said"),
    [
        ([["x"]] * 61, SheetLimits(max_rows=10), "too_many_rows", "row 61"),
        ([["x"] * 5], SheetLimits(max_columns=4), "too_many_columns", "column E"),
        ([["x"] * 5] * 5, SheetLimits(max_cells=24), "too_many_cells", "25 cells"),
    ],
)
@pytest.mark.parametrize("write", [to_csv, to_xlsx])
def test_limits_hold_for_both(
    write: object, rows: list[list[Cell]], limits: SheetLimits, code: str, said: str
) -> None:
    assert callable(write)
    refused = _refused(write(rows), limits=limits)
    assert refused.code == code
    assert said in refused.message


@pytest.mark.parametrize(
    ("rows", "limits"),
    [
        ([["x"]] * 60, SheetLimits(max_rows=10)),
        ([["x"] * 4], SheetLimits(max_columns=4)),
        ([["x"] * 5] * 5, SheetLimits(max_cells=25)),
    ],
)
def test_limits_are_included(rows: list[list[Cell]], limits: SheetLimits) -> None:
    assert read(to_csv(rows), limits=limits)[0].rows == rows
    assert read(to_xlsx(rows), limits=limits)[0].rows == rows


def test_cells_of_all_sheets_count_together() -> None:
    book = openpyxl.Workbook()
    book.active["A1"] = 1
    book.create_sheet("b")["B2"] = 2
    assert len(read(_saved(book), limits=SheetLimits(max_cells=5))) == 2
    assert _refused(_saved(book), limits=SheetLimits(max_cells=4)).code == "too_many_cells"


@pytest.mark.parametrize("code", REFUSALS)
def test_every_refusal_speaks_both_languages(code: str) -> None:
    fields = {name for text in REFUSALS[code] for _, name, _, _ in Formatter().parse(text) if name}
    refused = SheetRefused(code, **dict.fromkeys(fields, "A"))
    assert refused.text("ko") != refused.text("en") == refused.message
    assert any("가" <= letter <= "힣" for letter in refused.text("ko"))


def test_column_letters() -> None:
    assert [column_letters(n) for n in (0, 25, 26, 701, 702, 16383)] == [
        "A",
        "Z",
        "AA",
        "ZZ",
        "AAA",
        "XFD",
    ]


def test_delimiter_and_encoding_are_as_the_user_says() -> None:
    text = "a;b,c\n1;2,3\n"
    for delimiter, rows in ((";", [["a", "b,c"], ["1", "2,3"]]), (",", [["a;b", "c"], ["1;2", "3"]])):
        table = read_csv(text.encode(), options=FileOptions(delimiter=delimiter))
        assert (table.rows, table.delimiter) == (rows, delimiter)
    # what CP949 takes for Korean may be Japanese
    japanese = "名前\n新宿\n".encode("cp932")
    table = read_csv(japanese, options=FileOptions(encoding="shift_jis"))
    assert (table.rows, table.encoding) == ([["名前"], ["新宿"]], "cp932")


def test_a_csv_has_no_sheets_to_choose_from() -> None:
    assert _refused(b"a,b\n", options=FileOptions(sheets=("x",))).code == "no_such_sheet"


def test_broken_cells_are_written_as_they_show() -> None:
    rows: list[list[Cell]] = [["h"], [Broken("error_value", "#N/A")], [Broken("not_calculated", "=1+1")]]
    shown = [["h"], ["#N/A"], ["=1+1"]]
    assert read(to_xlsx(rows))[0].rows == shown
    assert read_csv(to_csv(rows)).rows == shown


FORMULAS = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "=cmd|'/c calc'!A1", "#N/A", "'=1"]


def test_a_written_workbook_holds_no_formula() -> None:
    data = to_xlsx([["h"], *([text] for text in FORMULAS)])
    page = openpyxl.load_workbook(io.BytesIO(data)).active
    assert [page.cell(n, 1).data_type for n in range(2, 9)] == ["s"] * 7
    assert [row[0] for row in read(data)[0].rows[1:]] == FORMULAS


def test_a_written_csv_holds_no_formula_and_comes_back() -> None:
    data = to_csv([["h", "n"], *([text, -1.5] for text in FORMULAS)])
    assert data.startswith(b"\xef\xbb\xbf")
    lines = data.decode("utf-8-sig").splitlines()
    assert not [line for line in lines if line.startswith(("=", "+", "-", "@"))]
    assert read_csv(data).rows[1:] == [[text, "-1.5"] for text in FORMULAS]


def test_text_longer_than_a_cell_is_refused_not_cut() -> None:
    assert read(to_xlsx([["x" * 32_767]]))[0].rows == [["x" * 32_767]]
    with pytest.raises(SheetRefused) as refused:
        to_xlsx([["ok", "x" * 32_768]])
    assert refused.value.code == "cell_too_long"
    assert "Row 1, column B" in refused.value.message
    assert len(read_csv(to_csv([["x" * 40_000]])).rows[0][0] or "") == 40_000


CELLS = st.one_of(
    st.none(),
    st.text(min_size=1, max_size=12).filter(lambda t: t.isprintable() and t.strip()),
    st.sampled_from(
        [
            *FORMULAS,
            "_x0041_",
            "_x0041_x0042_",
            "_x005F_x0041_",
            "a\nb",
            "007",
            " x",
            "1e5",
            "TRUE",
            '"',
            "'",
        ]
    ),
    st.floats(allow_nan=False, allow_infinity=False),
)
GRIDS = st.lists(st.lists(CELLS, min_size=1, max_size=4), min_size=1, max_size=4)


def _normal(rows: list[list[Cell]]) -> list[list[Cell]]:
    kept = [list(row) for row in rows]
    for row in kept:
        while row and row[-1] is None:
            row.pop()
    while kept and not kept[-1]:
        kept.pop()
    return kept


@settings(max_examples=150, deadline=None)
@given(GRIDS)
def test_workbooks_come_back(rows: list[list[Cell]]) -> None:
    if wanted := _normal(rows):
        assert read(to_xlsx(rows))[0].rows == wanted


@settings(max_examples=150, deadline=None)
@given(GRIDS)
def test_csv_comes_back_as_text(rows: list[list[Cell]]) -> None:
    # as every export is: a heading over each column, all rows of one width
    square = [[*row, *([None] * (4 - len(row)))] for row in rows]
    if wanted := _normal(rows):
        table = read_csv(to_csv([["h1", "h2", "h3", "h4"], *square]))
        shown = [[c if c is None else str(c) for c in row] for row in wanted]
        assert (table.delimiter, table.rows[1:]) == (",", shown)


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 9))
def test_row_numbers_agree_with_openpyxl(row: int, column: int) -> None:
    book = openpyxl.Workbook()
    book.active.cell(row, column).value = "here"
    data = _saved(book)
    ((number, cells),) = read(data)[0].numbered()
    assert (number, len(cells)) == (row, column)
    # what `skip_empty_area=False` is for: by itself calamine counts from the first value
    sheet = CalamineWorkbook.from_filelike(io.BytesIO(data)).get_sheet_by_index(0)
    assert len(sheet.to_python()) == 1

"""What calamine does not tell: errors, formulas without value, merged and hidden cells, the epoch."""

# ruff: noqa: DTZ001 - the dates of a sheet have no zone

import io
import zipfile
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geo.sheets import workbook
from geo.sheets.cells import excel_serial
from geo.sheets.marks import Extent, FilledExtent, column_number
from geo.sheets.old_excel import read_old_excel
from geo.sheets.problems import SheetRefused
from geo.sheets.workbook import (
    Broken,
    Cell,
    FileOptions,
    SheetInfo,
    SheetLimits,
    Table,
    column_letters,
    read_file,
    to_xlsx,
)

UPLOADS = Path(__file__).parents[3] / "fixtures/uploads"
NS = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
ZERO = Broken("error_value", "#DIV/0!")
MISSING = Broken("error_value", "#N/A")
#: as LibreOffice calculated it; row 3 and column B are hidden, A4:A5 and F4:G5 merged
MARKS: list[list[Cell]] = [
    ["a", "b", "err", "f", "d", "ftext", "fempty"],
    ["x", 1, ZERO, 2, date(2026, 1, 2), "가나"],
    ["y", 2, MISSING, MISSING, datetime(2026, 1, 2, 3, 4), "a"],
    ["z", 3, None, None, None, "M", "M"],
    ["z", 4, None, None, None, "M", "M"],
]


def _saved(book: openpyxl.Workbook) -> bytes:
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _with_parts(data: bytes, change: Callable[[str, str], str]) -> bytes:
    """The workbook with `change(name, text)` made to each XML part."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name).decode()))
    return out.getvalue()


def _sheet(body: str, after: str = "") -> bytes:
    """A workbook whose one sheet holds these rows as XML, and that need not be calculated."""
    xml = f"<worksheet {NS}><sheetData>{body}</sheetData>{after}</worksheet>"

    def change(name: str, old: str) -> str:
        return xml if name == "xl/worksheets/sheet1.xml" else old.replace('fullCalcOnLoad="1"', "")

    return _with_parts(to_xlsx([["x"]]), change)


def _rows(body: str, after: str = "") -> list[list[Cell]]:
    return _table(_sheet(body, after)).rows


def _table(data: bytes) -> Table:
    (table,) = read_file(data).tables
    return table


@pytest.mark.parametrize("kind", ["xlsx", "ods", "xls"])
def test_all_kinds_tell_the_same(kind: str) -> None:
    read = read_file((UPLOADS / f"marks.{kind}").read_bytes())
    (table,) = read.tables
    assert table.rows == MARKS
    assert (table.hidden_rows, table.hidden_columns, table.date_1904) == ({3}, {1}, True)
    assert read.sheets == (
        SheetInfo(name="가", hidden=False, rows=5, taken=True),
        SheetInfo(name="숨김", hidden=True, rows=1, taken=False),
    )


@pytest.mark.parametrize("kind", ["xlsx", "ods", "xls"])
def test_a_hidden_sheet_is_read_when_named_and_says_that_it_is_hidden(kind: str) -> None:
    data = (UPLOADS / f"marks.{kind}").read_bytes()
    read = read_file(data, options=FileOptions(sheets=("숨김",)))
    assert [(t.sheet, t.rows, t.hidden) for t in read.tables] == [("숨김", [["비밀"]], True)]
    assert [(s.name, s.rows, s.taken) for s in read.sheets] == [("가", 5, False), ("숨김", 1, True)]


def test_formulas_of_openpyxl_are_not_calculated() -> None:
    book = openpyxl.Workbook()
    book.active.append(["=1+1", 2, '="a"&"<b>"'])
    assert _table(_saved(book)).rows == [
        [Broken("not_calculated", "=1+1"), 2, Broken("not_calculated", '="a"&"<b>"')]
    ]


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [
        ('<c r="A1"><f>1+1</f><v>2</v></c>', 2),
        ('<c r="A1"><f>1+1</f></c>', Broken("not_calculated", "=1+1")),
        ('<c r="A1"><f>1+1</f><v/></c>', Broken("not_calculated", "=1+1")),
        ('<c r="A1"><f>1+1</f><v></v></c>', Broken("not_calculated", "=1+1")),
        ('<c\n s="0"  r="A1" ><f a="b">1+1</f >\n</c>', Broken("not_calculated", "=1+1")),
        ('<c r="A1"><f t="shared" si="0"/></c>', Broken("not_calculated", "=…")),
        ('<c r="A1"><f t="shared" si="0"/><v>7</v></c>', 7),
        ('<c r="A1"><f>0</f><v>0</v></c>', 0),
        ('<c r="A1" t="str"><f>""</f><v></v></c>', None),
        ('<c r="A1" t="str"><f>A2</f><v>가</v></c>', "가"),
        ('<c r="A1" t="e"><v>#N/A</v></c>', MISSING),
        ("<c r='A1' t='e'><v>#N/A</v></c>", MISSING),
        ('<c t="e" s="1" r="A1"><f>NA()</f><v>#N/A</v></c>', MISSING),
        ('<c r="A1" t="e"><v>#NAME?</v></c>', Broken("error_value", "#NAME?")),
    ],
)
def test_cells_without_a_value_one_can_trust(cell: str, wanted: Cell) -> None:
    # the cell behind it keeps its place and its value
    rows = _rows(f'<row r="1">{cell}<c r="B1" s="0"/><c r="C1"><v>5</v></c></row>')
    assert rows == [[wanted, None, 5]]


def test_prefixed_names_are_understood() -> None:
    space = 'xmlns:x="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    xml = (
        f'<x:worksheet {space}><x:cols><x:col min="2" max="3" hidden="1"/></x:cols><x:sheetData>'
        '<x:row r="1" hidden="true"><x:c r="A1"><x:f>1+1</x:f></x:c>'
        '<x:c r="B1" t="e"><x:v>#N/A</x:v></x:c><x:c r="D1"><x:v>1</x:v></x:c></x:row>'
        "</x:sheetData></x:worksheet>"
    )
    data = _with_parts(to_xlsx([["x"]]), lambda name, old: xml if "sheet1" in name else old)
    table = _table(data)
    assert table.rows == [[Broken("not_calculated", "=1+1"), MISSING, None, 1]]
    assert (table.hidden_rows, table.hidden_columns) == ({1}, {1, 2})


def test_a_workbook_that_asks_to_be_calculated_has_no_zeros() -> None:
    # xlsxwriter writes 0 as the value of each formula, and asks Excel to calculate
    def asking(name: str, text: str) -> str:
        if name == "xl/worksheets/sheet1.xml":
            return (
                f'<worksheet {NS}><sheetData><row r="1"><c r="A1"><f>1+1</f><v>0</v></c>'
                '<c r="B1"><f>1+2</f><v>3</v></c><c r="C1"><v>0</v></c></row></sheetData></worksheet>'
            )
        return text

    assert (
        "fullCalcOnLoad"
        in zipfile.ZipFile(io.BytesIO(to_xlsx([["x"]]))).read("xl/workbook.xml").decode()
    )
    table = _table(_with_parts(to_xlsx([["x"]]), asking))
    assert table.rows == [[Broken("not_calculated", "=1+1"), 3, 0]]


def test_broken_cells_below_and_beside_all_values_are_not_lost() -> None:
    assert _rows('<row r="1"><c r="A1"><v>1</v></c></row><row r="3"><c r="C3"><f>A1</f></c></row>') == [
        [1],
        [],
        [None, None, Broken("not_calculated", "=A1")],
    ]
    assert _rows('<row r="2"><c r="B2" t="e"><v>#N/A</v></c></row>') == [[], [None, MISSING]]


def test_a_broken_cell_without_a_place_is_refused_and_not_lost() -> None:
    with pytest.raises(SheetRefused, match=r"=1\+1 does not say where it stands") as refused:
        _rows("<row><c><f>1+1</f></c></row>")
    assert refused.value.code == "unreadable"


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ('<c r="A100051"><f>1</f></c>', "too_many_rows"),
        ('<c r="IW1" t="e"><v>#N/A</v></c>', "too_many_columns"),
        ('<c r="iw1" t="e"><v>#N/A</v></c>', "too_many_columns"),
    ],
)
def test_broken_cells_far_away_count_as_values(cell: str, code: str) -> None:
    with pytest.raises(SheetRefused) as refused:
        _rows(f'<row r="1"><c r="A1"><v>1</v></c></row><row>{cell}</row>')
    assert refused.value.code == code


def test_hidden_rows_below_the_last_value_and_false_ones_do_not_count() -> None:
    body = (
        '<row r="1" hidden="0"><c r="A1"><v>1</v></c></row><row hidden="1" r="2"/>'
        '<row r="3"><c r="A3"><v>1</v></c></row><row r="4" hidden="1"/>'
    )
    after = '<cols><col max="16384" min="255" hidden="1"/></cols>'
    table = _table(_sheet(body, after))
    assert (table.hidden_rows, table.hidden_columns) == ({2}, {254, 255})


def test_merged_cells_are_filled_as_far_as_there_are_values() -> None:
    book = openpyxl.Workbook()
    page = book.active
    for row in [["지역", "이름"], ["서울", "가"], [None, "나"], [None, "다"]]:
        page.append(row)
    page.merge_cells("A2:A9")
    page.merge_cells("B1:F1")
    table = _table(_saved(book))
    assert table.rows == [["지역", "이름"], ["서울", "가"], ["서울", "나"], ["서울", "다"]]


def test_a_merged_error_stands_in_all_its_cells() -> None:
    after = '<mergeCells count="1"><mergeCell ref="A1:A2"/></mergeCells>'
    body = '<row r="1"><c r="A1" t="e"><v>#N/A</v></c></row><row r="2"><c r="B2"><v>1</v></c></row>'
    assert _rows(body, after) == [[MISSING], [MISSING, 1]]


def test_overlapping_merged_cells_are_refused() -> None:
    body = '<row r="1"><c r="A1"><v>1</v></c></row><row r="9"><c r="B9"><v>1</v></c></row>'
    twice = '<mergeCells><mergeCell ref="A1:B9"/><mergeCell ref="A1:B8"/></mergeCells>'
    with pytest.raises(SheetRefused, match="merged cells overlap"):
        _rows(body, twice)


def test_the_epoch_of_dates_is_known() -> None:
    book = openpyxl.Workbook()
    book.epoch = datetime(1904, 1, 1)
    for column, value in enumerate([37.4979, 0.5, 46023], 1):
        book.active.cell(1, column, value).number_format = "yyyy-mm-dd"
    table = _table(_saved(book))
    assert table.date_1904
    dates = [c for c in table.rows[0] if isinstance(c, date)]
    assert [excel_serial(c, date_1904=True) for c in dates] == [37.4979, 46023]
    # the same in the usual system is another number
    assert [round(excel_serial(c) - excel_serial(c, date_1904=True)) for c in dates] == [1462, 1462]
    assert not _table(to_xlsx([["x"]])).date_1904


@given(st.integers(1, 120_000))
def test_serials_of_both_epochs_are_1462_days_apart(days: int) -> None:
    day = date(1904, 1, 1) + timedelta(days=days)
    assert excel_serial(day) - excel_serial(day, date_1904=True) == 1462


def test_sheets_are_listed_in_order_with_their_rows_and_charts_are_none() -> None:
    book = openpyxl.Workbook()
    book.active.title = "하나"
    book.active["B7"] = 1
    book.create_chartsheet("그림")
    hidden = book.create_sheet("둘")
    hidden["A3"] = "x"
    hidden["A9"].number_format = "0.0"
    hidden.sheet_state = "veryHidden"
    book.create_sheet("빈")
    read = read_file(_saved(book))
    assert [(s.name, s.hidden, s.rows, s.taken) for s in read.sheets] == [
        ("하나", False, 7, True),
        ("둘", True, 3, False),
        ("빈", False, 0, True),
    ]
    assert [t.sheet for t in read.tables] == ["하나"]


def test_several_sheets_are_taken_by_name_in_the_order_of_the_file() -> None:
    book = openpyxl.Workbook()
    for name in ("a", "b", "c"):
        book.create_sheet(name)["A1"] = name
    data = _saved(book)
    read = read_file(data, options=FileOptions(sheets=("c", "a")))
    assert [t.sheet for t in read.tables] == ["a", "c"]
    with pytest.raises(SheetRefused, match="no sheet 'd'"):
        read_file(data, options=FileOptions(sheets=("a", "d")))


def test_a_sheet_that_is_not_taken_may_be_as_large_as_it_likes() -> None:
    book = openpyxl.Workbook()
    book.active["A1"] = 1
    far = book.create_sheet("멀리")
    far["XFD9"], far["A200000"] = 1, 1
    far.sheet_state = "hidden"
    read = read_file(_saved(book))
    assert [(s.name, s.rows, s.taken) for s in read.sheets] == [
        ("Sheet", 1, True),
        ("멀리", 200_000, False),
    ]
    with pytest.raises(SheetRefused, match="Sheet '멀리'"):
        read_file(_saved(book), options=FileOptions(sheets=("멀리",)))


ODS_SPACES = "".join(
    f' xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for name in ("office", "table", "text", "calcext")
)


def _open_document(body: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        packed.writestr("META-INF/manifest.xml", "<manifest/>")
        packed.writestr(
            "content.xml",
            f"<office:document-content{ODS_SPACES}><office:body><office:spreadsheet>"
            f'<table:table table:name="가">{body}</table:table>'
            "</office:spreadsheet></office:body></office:document-content>",
        )
    return out.getvalue()


def test_repeated_rows_and_columns_of_an_open_document_keep_their_places() -> None:
    text = '<table:table-cell office:value-type="string"><text:p>{}</text:p></table:table-cell>'
    error = (
        '<table:table-cell table:number-columns-repeated="2" office:value-type="string" '
        'office:string-value="" calcext:value-type="error"><text:p>#N/A</text:p></table:table-cell>'
    )
    table = _table(
        _open_document(
            '<table:table-column table:number-columns-repeated="2"/>'
            '<table:table-column table:number-columns-repeated="2" table:visibility="collapse"/>'
            f'<table:table-row table:number-rows-repeated="2">{text.format("a")}</table:table-row>'
            '<table:table-row table:number-rows-repeated="2" table:visibility="filter">'
            f"<table:table-cell/>{error}{text.format('b')}</table:table-row>"
            f'<table:table-row><table:table-cell table:formula="of:=[.A1]"/>{text.format("c")}'
            "</table:table-row>"
        )
    )
    wide: list[Cell] = [None, MISSING, MISSING, "b"]
    uncalculated = Broken("not_calculated", "=[.A1]")
    assert table.rows == [["a"], ["a"], wide, wide, [uncalculated, "c"]]
    assert (table.hidden_rows, table.hidden_columns) == ({3, 4}, {2, 3})


def test_repeated_errors_far_away_are_refused() -> None:
    error = (
        '<table:table-row table:number-rows-repeated="1048576"><table:table-cell '
        'calcext:value-type="error" table:number-columns-repeated="16384"/></table:table-row>'
    )
    with pytest.raises(SheetRefused) as refused:
        read_file(_open_document(error))
    assert refused.value.code == "too_many_columns"


@st.composite
def _sheets(draw: st.DrawFn) -> tuple[openpyxl.Workbook, list[list[Cell]], set[int], set[int]]:
    """A workbook, its rows as they should be read, its hidden rows and columns."""
    book = openpyxl.Workbook()
    page = book.active
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    rows: list[list[Cell]] = [[None] * width for _ in range(height)]
    for row in range(height):
        for column in range(width):
            last = (row, column) == (height - 1, width - 1)
            raw, read = (1, 1.0) if last else draw(st.sampled_from(_CELLS))
            page.cell(row + 1, column + 1).value = raw
            rows[row][column] = read
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    bottom, right = draw(st.integers(top, height - 1)), draw(st.integers(left, width - 1))
    if (top, left) != (bottom, right) and (bottom, right) != (height - 1, width - 1):
        page.merge_cells(
            start_row=top + 1, end_row=bottom + 1, start_column=left + 1, end_column=right + 1
        )
        for row in range(top, bottom + 1):
            rows[row][left : right + 1] = [rows[top][left]] * (right + 1 - left)
    hidden_rows = draw(st.sets(st.integers(1, height)))
    hidden_columns = draw(st.sets(st.integers(0, width - 1)))
    for row in hidden_rows:
        page.row_dimensions[row].hidden = True
    for column in hidden_columns:
        page.column_dimensions[column_letters(column)].hidden = True
    return book, rows, hidden_rows, hidden_columns


_CELLS: list[tuple[object, Cell]] = [
    (None, None),
    ("가", "가"),
    (1.5, 1.5),
    ("#N/A", MISSING),
    ("=A1", Broken("not_calculated", "=A1")),
    (date(2026, 1, 2), date(2026, 1, 2)),
]


@settings(max_examples=120, deadline=None)
@given(_sheets())
def test_any_sheet_is_read_as_it_was_made(
    made: tuple[openpyxl.Workbook, list[list[Cell]], set[int], set[int]],
) -> None:
    book, rows, hidden_rows, hidden_columns = made
    table = _table(_saved(book))
    for row in rows:
        while row and row[-1] is None:
            row.pop()
    assert table.rows == rows
    assert (table.hidden_rows, table.hidden_columns) == (hidden_rows, hidden_columns)


_LIMITS = [
    SheetLimits(),
    SheetLimits(max_rows=49, max_columns=26),
    SheetLimits(max_rows=950, max_columns=4, max_cells=1_000),
    SheetLimits(max_columns=702, max_cells=9_000),
]


@settings(max_examples=300)
@given(st.data())
def test_the_quick_look_at_the_extent_agrees_with_the_slow_one(data: st.DataObject) -> None:
    limits = data.draw(st.sampled_from(_LIMITS))
    last_row = limits.max_rows + 50
    rows = st.sampled_from([1, 9, 10, 99, 100, last_row - 1, last_row, last_row + 1, 1_048_576])
    columns = st.sampled_from([1, 26, 27, limits.max_columns, limits.max_columns + 1, 703, 16_384])
    cells = data.draw(st.lists(st.tuples(rows, columns), min_size=1, max_size=4))
    quote = data.draw(st.sampled_from("\"'"))
    pieces = [
        f"<c r={quote}{column_letters(column - 1)}{row}{quote}><v>1</v></c>".encode()
        for row, column in cells
    ]
    quick, slow = Extent(limits), FilledExtent()
    for piece in pieces:
        quick.look(piece)
        slow.look(piece)
    assert (slow.rows, slow.columns) == (max(r for r, _ in cells), max(c for _, c in cells))
    fits = (
        slow.rows <= last_row
        and slow.columns <= limits.max_columns
        and slow.rows * slow.columns <= limits.max_cells
    )
    assert fits or not quick.within
    if quick.worth_counting:
        quick.count_rows(pieces)
        assert fits or not quick.within


@given(st.integers(0, 20_000))
def test_column_numbers_are_column_letters(index: int) -> None:
    assert column_number(column_letters(index).encode()) == index + 1
    assert column_number(column_letters(index).lower().encode()) == index + 1


def test_the_tables_of_read_are_those_of_the_file() -> None:
    data = (UPLOADS / "marks.xlsx").read_bytes()
    assert workbook.read(data) == read_file(data).tables


_OLD_EXCEL = (UPLOADS / "marks.xls").read_bytes()


@settings(max_examples=300, deadline=1_000)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.integers(0, 600), st.integers(0, len(_OLD_EXCEL) - 4)),
            st.sampled_from([b"\xff\xff\xff\xff", bytes(4), b"\xfe\xff\xff\xff", b"\1\0\0\0", b"\2\0"]),
        ),
        min_size=1,
        max_size=6,
    ),
    st.integers(0, 4_000),
)
def test_the_look_at_a_damaged_xls_ends_and_refuses_nothing(
    changes: list[tuple[int, bytes]], cut: int
) -> None:
    data = bytearray(_OLD_EXCEL)
    for at, some in changes:
        data[at : at + len(some)] = some
    assert len(read_old_excel(bytes(data[: len(data) - cut]))) <= 2


def test_a_chain_of_tables_that_never_ends_is_left() -> None:
    data = bytearray(_OLD_EXCEL)
    data[30:32] = (2).to_bytes(2, "little")  # sectors of 4 bytes
    data[68:72] = (1).to_bytes(4, "little")
    assert read_old_excel(bytes(data)) == []

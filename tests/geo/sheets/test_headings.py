"""The heading row, aliases, and rows read through columns."""

import pytest

from geo.sheets.cells import as_text, read_number
from geo.sheets.headings import Column, find_headings, heading_key, read_records
from geo.sheets.problems import CellProposal, CellRefused
from geo.sheets.workbook import HEADING_WITHIN_ROWS, Cell, Table


def _number(cell: Cell) -> float:
    return read_number(cell, thousands=True)


def _picky(cell: Cell) -> str:
    raise CellRefused(
        "picky",
        "No.",
        "아니요.",
        proposal=CellProposal(message_en="x", message_ko="x", values={"": 1.0, "age": 2.0}),
    )


COLUMNS = (
    Column(name="who", label_en="name", label_ko="이름", aliases=("성명",), clean=as_text),
    Column(name="age", label_en="age", label_ko="나이", aliases=("만 나이",), clean=_number),
    Column(name="picky", label_en="picky", label_ko="까다로움", aliases=(), clean=_picky),
)


def _table(*rows: list[Cell], **kwargs: str) -> Table:
    return Table(sheet="명단", rows=list(rows), **kwargs)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "heading",
    [
        "나이",
        " 나 이 ",
        "나이*",
        "[나이]",
        "나\u00a0이",
        "나이\n",
        "Age",
        "A_G-E",
        "ＡＧＥ",
        "만나이",
        "age:",
    ],
)
def test_headings_are_known_by_letters_and_digits_only(heading: str) -> None:
    found = find_headings(_table([heading], [1]), COLUMNS)
    assert found is not None
    assert found.places == {"age": 0}


def test_decomposed_hangul_is_the_same_heading() -> None:
    assert heading_key("\u1102\u1161\u110b\u1175") == heading_key("나이")


def test_headings_below_titles_win_over_a_title_that_sounds_like_one() -> None:
    table = _table(["이름"], ["2026년 명단"], [], [None, "이름", "나이", "메모"], [None, "가", 7, "x"])
    found = find_headings(table, COLUMNS)
    assert found is not None
    assert (found.row, found.places, found.unknown) == (4, {"who": 1, "age": 2}, ("메모",))
    (record,) = read_records(table, found, COLUMNS)
    assert (record.row, record.values) == (5, {"who": "가", "age": 7.0})


def test_headings_are_looked_for_in_the_first_rows_only() -> None:
    titles = [["…"] for _ in range(HEADING_WITHIN_ROWS)]
    assert find_headings(_table(*titles[1:], ["이름"]), COLUMNS) is not None
    assert find_headings(_table(*titles, ["이름"]), COLUMNS) is None
    assert find_headings(_table(), COLUMNS) is None


def test_unknown_and_shadowed_headings_are_reported() -> None:
    table = _table(["성명", "이름", "전화", None, None], ["a", "b", "02", "!", None])
    found = find_headings(table, COLUMNS)
    assert found is not None
    # `이름` stands before `성명` among the column's names, wherever it stands in the sheet
    assert found.texts == {"who": "이름"}
    assert found.shadowed == ("성명",)
    assert found.unknown == ("전화", "(D)")


def test_of_equal_headings_the_leftmost_is_read() -> None:
    table = _table(["이름", "이름"], ["a", "b"])
    found = find_headings(table, COLUMNS)
    assert found is not None
    assert next(read_records(table, found, COLUMNS)).values == {"who": "a"}
    assert found.shadowed == ("이름#2",)


def test_all_faults_of_all_rows_are_kept_with_their_place() -> None:
    table = _table(["이름", "나이", "까다로움"], ["a", "x", 1], [], [None, "y"], ["b", 3])
    found = find_headings(table, COLUMNS)
    assert found is not None
    records = list(read_records(table, found, COLUMNS))
    assert [(r.row, dict(r.values), sorted(r.refused)) for r in records] == [
        (2, {"who": "a"}, ["age", "picky"]),
        (4, {}, ["age"]),
        (5, {"who": "b", "age": 3.0}, []),
    ]
    problems = [p for r in records for p in r.problems]
    assert [(p.sheet, p.cell, p.heading, p.code, p.value) for p in problems] == [
        ("명단", "B2", "나이", "not_a_number", "x"),
        ("명단", "C2", "까다로움", "picky", "1"),
        ("명단", "B4", "나이", "not_a_number", "y"),
    ]
    # a value under "" is meant for the column itself
    assert problems[1].proposal is not None
    assert problems[1].proposal.values == {"picky": 1.0, "age": 2.0}
    assert problems[1].message("ko") == "아니요."


def test_more_values_than_headings_are_a_fault_of_a_csv_only() -> None:
    rows: list[list[Cell]] = [["이름", "나이"], ["서울시 중구", " 1층", "7"]]
    for delimiter, codes in ((",", ["not_a_number", "extra_cells"]), (None, ["not_a_number"])):
        table = Table(sheet=None, rows=rows, delimiter=delimiter)
        found = find_headings(table, COLUMNS)
        assert found is not None
        (record,) = read_records(table, found, COLUMNS)
        assert [p.code for p in record.problems] == codes


def test_long_values_are_cut_in_problems() -> None:
    table = _table(["나이"], ["x" * 500])
    found = find_headings(table, COLUMNS)
    assert found is not None
    (record,) = read_records(table, found, COLUMNS)
    assert record.problems[0].value == "x" * 80

"""The heading row, aliases, and rows read through columns."""

# ruff: noqa: DTZ001 - the dates of a sheet have no zone
from datetime import datetime

import pytest

from geo.sheets.cells import as_text, read_number
from geo.sheets.headings import Column, find_headings, heading_key, read_records
from geo.sheets.problems import CellProposal, CellRefused
from geo.sheets.table import HEADING_WITHIN_ROWS, Broken, Cell, Table


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


def _names(*rows: list[Cell], **kwargs: object) -> dict[str, str]:
    found = find_headings(_table(*rows), COLUMNS, **kwargs)  # type: ignore[arg-type]
    assert found is not None
    return dict(found.labels)


@pytest.mark.parametrize(
    ("mapping", "labels"),
    [
        ({}, {"who": "이름", "age": "나이"}),
        ({"별명": "who"}, {"who": "별명", "age": "나이"}),
        ({"이름": None}, {"who": "성명", "age": "나이"}),
        ({"이름": None, "성명": None}, {"age": "나이"}),
        ({"나이": "who", "이름": "age"}, {"who": "나이", "age": "이름"}),
        ({"(E)": "picky"}, {"who": "이름", "age": "나이", "picky": "(E)"}),
        ({" 별 명 ": "who"}, {"who": "별명", "age": "나이"}),
        ({"별명": "who", "성명": "who"}, {"who": "별명", "age": "나이"}),
        ({"나이": None}, {"who": "이름"}),
    ],
)
def test_a_mapping_wins_over_the_aliases(mapping: dict[str, str | None], labels: dict[str, str]) -> None:
    rows: list[list[Cell]] = [["별명", "성명", "이름", "나이", None], ["a", "b", "c", 1, "x"]]
    found = find_headings(_table(*rows), COLUMNS, mapping=mapping)
    assert found is not None
    assert (found.labels, found.not_found) == (labels, ())
    not_used = {label for label, name in mapping.items() if name is None}
    assert not not_used & {*found.unknown, *found.shadowed}


def test_what_a_mapping_names_in_vain_is_told() -> None:
    found = find_headings(
        _table(["이름"], ["a"]), COLUMNS, mapping={"없음": "who", "이름": "no column", "(Z)": None}
    )
    assert found is not None
    assert found.not_found == ("없음", "이름", "(Z)")
    assert found.labels == {"who": "이름"}


def test_columns_of_one_heading_are_told_apart() -> None:
    rows: list[list[Cell]] = [["좌표", "좌표", "이름", "이름#2", "이름"], ["x", "y", "a", "b", "c"]]
    found = find_headings(_table(*rows), COLUMNS)
    assert found is not None
    assert found.unknown == ("좌표", "좌표#2", "이름#2")
    assert found.shadowed == ("이름#3",)  # `이름#2` is a heading of its own
    assert _names(*rows, mapping={"좌표#2": "who"}) == {"who": "좌표#2"}
    chosen = find_headings(_table(*rows), COLUMNS, mapping={"이름#3": "who"})
    assert chosen is not None
    assert (chosen.texts, chosen.places) == ({"who": "이름"}, {"who": 4})


def test_a_mapping_alone_finds_the_heading_row() -> None:
    rows: list[list[Cell]] = [["2026년"], ["뭐", "라"], ["a", 7]]
    assert find_headings(_table(*rows), COLUMNS) is None
    found = find_headings(_table(*rows), COLUMNS, mapping={"뭐": "who", "라": "age"})
    assert found is not None
    assert (found.row, found.labels) == (2, {"who": "뭐", "age": "라"})


@pytest.mark.parametrize(
    ("heading_row", "row", "labels"),
    [
        (None, 3, {"who": "이름", "age": "나이"}),
        (1, 1, {"who": "이름"}),
        (2, 2, {}),
        (3, 3, {"who": "이름", "age": "나이"}),
        (4, 4, {}),
        (0, 0, {}),
        (99, 99, {}),
    ],
)
def test_the_heading_row_can_be_named(heading_row: int | None, row: int, labels: dict[str, str]) -> None:
    rows: list[list[Cell]] = [["이름"], ["목록 1"], ["이름", "나이"], ["a", 7]]
    found = find_headings(_table(*rows), COLUMNS, heading_row=heading_row)
    assert found is not None
    assert (found.row, found.labels) == (row, labels)


def test_a_sheet_without_headings_goes_by_letters() -> None:
    rows: list[list[Cell]] = [["가", 7], ["나", 8]]
    mapping = {"(A)": "who", "(B)": "age"}
    found = find_headings(_table(*rows, delimiter=","), COLUMNS, mapping=mapping, heading_row=0)
    assert found is not None
    assert (found.row, found.texts) == (0, {"who": "(A)", "age": "(B)"})
    records = list(read_records(_table(*rows, delimiter=","), found, COLUMNS))
    assert [(r.row, r.values, r.problems) for r in records] == [
        (1, {"who": "가", "age": 7.0}, ()),
        (2, {"who": "나", "age": 8.0}, ()),
    ]


THREE = {"who": "이름", "age": "나이", "picky": "까다로움"}
#: two rows → which rows are the headings, column → label
PAIRS: list[tuple[list[Cell], list[Cell], tuple[int, ...], dict[str, str]]] = [
    # a heading over two columns: in both where cells were merged, in the first of a CSV
    (["이름", "기타", "기타"], ["이름", "나이", "까다로움"], (2,), THREE),
    (["이름", "기타", None], [None, "나이", "까다로움"], (1, 2), THREE | {"age": "기타 나이"}),
    (["이름", "만"], [None, "나이"], (1, 2), {"who": "이름", "age": "만 나이"}),
    # the lower row is data, or explains
    (["이름", "나이"], ["나이", "7"], (1,), {"who": "이름", "age": "나이"}),
    (["이름", "나이"], ["예) 홍길동", "만으로"], (1,), {"who": "이름", "age": "나이"}),
    (["이름", "기타"], ["홍길동", "까다로움"], (1,), {"who": "이름"}),
    (["이름", "기타"], ["7", "까다로움"], (1,), {"who": "이름"}),
    # a title above
    (["명단"], ["이름", "나이"], (2,), {"who": "이름", "age": "나이"}),
]  # fmt: skip


@pytest.mark.parametrize(("upper", "lower", "rows", "labels"), PAIRS)
def test_two_heading_rows_are_joined_where_that_names_more(
    upper: list[Cell], lower: list[Cell], rows: tuple[int, ...], labels: dict[str, str]
) -> None:
    found = find_headings(_table(upper, lower, ["a", 7, 8]), COLUMNS)
    assert found is not None
    assert (found.rows, found.row, found.labels) == (rows, rows[-1], labels)
    # naming either row finds the same pair again
    for row in rows:
        again = find_headings(_table(upper, lower, ["a", 7, 8]), COLUMNS, heading_row=row)
        assert again == found


def test_samples_are_what_a_form_shows() -> None:
    rows: list[list[Cell]] = [["이름", "나이", None, None, "빈칸"]]
    rows += [["a", 7.0, None], ["a", None, "x" * 500], ["b", 8], ["c", 9], ["d", 10]]
    found = find_headings(_table(*rows), COLUMNS)
    assert found is not None
    assert found.samples == {
        "이름": ("a", "b", "c"),
        "나이": ("7", "8", "9"),
        "(C)": ("x" * 80,),
        "빈칸": (),
    }
    assert list(found.samples) == ["이름", "나이", "(C)", "빈칸"]
    far: list[list[Cell]] = [["이름", None], *([["a"]] * 300), ["a", "deep"]]
    found = find_headings(_table(*far), COLUMNS)
    assert found is not None
    assert found.samples["(B)"] == ("deep",)


def test_the_signature_is_of_the_headings_alone() -> None:
    def signature(*rows: list[Cell]) -> str:
        found = find_headings(_table(*rows), COLUMNS)
        assert found is not None
        return found.signature

    first = signature(["이름", "Age", None, "메모"], ["a", 1])
    assert first == "이름|age||메모"
    assert first == signature(["제목"], [" 이 름 ", "AGE*", None, "메모", None], ["b", 2, 3, 4, 5])
    assert first != signature(["Age", "이름", None, "메모"], ["a", 1])


def test_broken_cells_and_dates_of_1904_are_told_in_any_column() -> None:
    rows: list[list[Cell]] = [["이름", "나이"], [Broken("error_value", "#N/A"), datetime(1904, 2, 7)]]
    table = Table(sheet=None, rows=rows, date_1904=True)
    found = find_headings(table, COLUMNS)
    assert found is not None
    (record,) = read_records(table, found, COLUMNS)
    assert [(p.cell, p.code) for p in record.problems] == [
        ("A2", "error_value"),
        ("B2", "date_instead_of_number"),
    ]
    assert record.problems[1].proposal is not None
    assert record.problems[1].proposal.values == {"age": 37.0}

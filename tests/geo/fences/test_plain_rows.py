"""Whole columns at once and row by row give the same fences and the same problems."""

# ruff: noqa: DTZ001 - the dates of a sheet have no zone
from datetime import datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from geo.fences.column_list import COLUMNS
from geo.fences.columns import FenceDefaults, ReadOptions, read_sheets
from geo.sheets.cells import is_empty
from geo.sheets.problems import CellRefused
from geo.sheets.table import Broken, Cell, Table

FAST = [column for column in COLUMNS if column.clean_all is not None]

TEXTS: list[Cell] = [
    "강남", "강남 ", " 강남", "강남\u00a0", "\u1100\u1161\u11bc", "가\u0301", "\u200b", "\ufeff",
    "", " ", "\n", "a\x1fb", "a;b", "a|b", 'x;"y;z"', "a,b", ";", "7", "01", "=1+1", "\ud800", "e\u0301",
]  # fmt: skip
NUMERALS: list[Cell] = [
    "37.4979", "37.4979 ", "+37.5", "-37.5", "-0.0", "37.", ".5", "1e5", "nan", "inf", "37,4979",
    "３７.5", "٣٧.٥", "1_0.5", "1.5\x1f2.5", "127.0276", "180.0", "-180.0", "90.0", "999.9",
    "37.4979°N", "127.0276E", "37°29'52\"", "37.4979, 127.0276", "500", "500m", "49.99", "50", "50000",
    "50000.1", "1,500", "0.5",
]  # fmt: skip
NUMBERS: list[Cell] = [
    37.4979, 127.0276, 37, 127, 180.0, -180.0, 90.0, -90.0, 0.0, -0.0, 1e300, float("inf"), float("nan"),
    10**400, 2**53 + 1, 452214.2, 198838.9, 374979.0, 1270276.0, 50.0, 49.99999, 50_000.0, 50_000.1,
    True,
]  # fmt: skip
OTHERS: list[Cell] = [
    None,
    Broken("error_value", "#N/A"),
    Broken("not_calculated", "=A1"),
    datetime(1900, 2, 6, 11, 56, 58, 560_000),
    "POINT (127 37.5)",
    "37.49,127.02;37.49,127.03;37.50,127.03",
]
ODD = st.sampled_from(TEXTS + NUMERALS + NUMBERS + OTHERS)
#: cells of one kind, of which whole columns consist
ALIKE = [st.sampled_from([*kind, None]) for kind in (TEXTS, NUMERALS[:5], NUMERALS, NUMBERS)]


@settings(max_examples=400)
@given(st.sampled_from(FAST), st.one_of(st.lists(cells, max_size=4) for cells in (ODD, *ALIKE)))
@example(next(c for c in FAST if c.name == "lat"), ["1.5\x1f2.5", "1.5"])
@example(next(c for c in FAST if c.name == "name"), ["e", "\u0301"])
def test_a_column_at_once_is_its_cells_one_by_one(column, cells):
    fast = column.clean_all(cells)
    if fast is None:
        return
    slow = []
    for cell in cells:
        try:
            slow.append(None if is_empty(cell) else column.clean(cell))
        except CellRefused:
            slow.append("refused")
    assert list(map(repr, fast)) == list(map(repr, slow))


def test_plain_columns_do_go_the_fast_way():
    """Else the twin above compares nothing."""
    plain = {
        "name": ["강남", " 역삼 ", "", None],
        "lat": ["37.4979", "-37.5", "", None],
        "lng": [127.0276, None, 1.0],
        "radius_m": ["100", "120.5", None],
        "group": ["a;b", "a;b", None],
        "tags": ["a,b", None],
    }
    for column in FAST:
        if column.name in plain:
            assert column.clean_all(plain[column.name]) is not None, column.name


HEADS: list[Cell] = [
    "이름", "위도", "경도", "반경", "코드", "그룹", "주소", "태그", "비고", "반경(km)", "좌표",
]  # fmt: skip
SOUND = st.tuples(
    st.sampled_from(["강남", "a"]),
    st.sampled_from([37.4979, 37.5, "37.51", 127.0276, 452214.2]),
    st.sampled_from([127.0276, 127.03, "127.04", -179.9, 37.5, 198838.9]),
    st.sampled_from([100.0, 50.0, "500", None]),
    st.sampled_from([None, None, "1", "2", 3.0]),
    st.sampled_from([None, "g", "g;h", "h"]),
    st.sampled_from([None, "x"]),
    st.sampled_from([None, "a,b"]),
    st.sampled_from([None, "옥상"]),
    st.sampled_from([None, 2.0]),
).map(list)
#: sound but for one cell at the very edge of what is allowed: its place, the cell
EDGES: list[tuple[int, Cell]] = [
    *((1, cell) for cell in (90.0, 90.0000001, -90.0, -90.0000001)),
    *((2, cell) for cell in (180.0, 180.0000001, -180.0, 179.9999999)),
    *((3, cell) for cell in (49.9999999, 50.0, 50_000.0, 50_000.0000001)),
    *((9, cell) for cell in (0.0499999, 0.05, 50.0, 50.0000001)),
    (0, None),
    (11, "more than the headings"),
]


def _edged(row: list[Cell], edge: tuple[int, Cell]) -> list[Cell]:
    place, cell = edge
    filled = [*row, *[None] * (place + 1 - len(row))]
    return [*filled[:place], cell, *filled[place + 1 :]]


ROWS = st.one_of(
    SOUND,
    SOUND,
    st.builds(_edged, SOUND, st.sampled_from(EDGES)),
    st.lists(ODD, max_size=12),
    st.just([]),
)
OPTIONS = st.builds(
    ReadOptions,
    defaults=st.builds(
        FenceDefaults,
        radius_m=st.sampled_from([None, 50.0, 100.0]),
        group=st.sampled_from([None, "g", " g "]),
        brand=st.sampled_from([None, "별"]),
        tags=st.sampled_from([(), ("t",)]),
    ),
    countries=st.sampled_from([frozenset(), frozenset({"KR"}), frozenset({"JP"})]),
    grid=st.sampled_from([None, "EPSG:5174", "EPSG:1"]),
    accept=st.sampled_from(
        [
            frozenset(),
            frozenset({"swapped", "unit", "two_numbers", "date_instead_of_number"}),
            frozenset({"projected_metres", "lost_decimal_point", "outside_countries"}),
        ]
    ),
    accept_rows=st.sampled_from([{}, {("x", 3): frozenset({"swapped"})}]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(ROWS, max_size=10), OPTIONS, st.sampled_from([None, ","]), st.booleans())
def test_row_by_row_and_whole_columns_give_the_same(rows, options, delimiter, alike):
    """Many rows alike have a home, beside which a row may look swapped."""
    if alike:
        rows = [[f"n{n}", 48.85 + n / 100, 2.35, 100.0] for n in range(25)] + rows
        rows.append(["swapped", 2.35, 48.85, 100.0])
    heads = (
        HEADS
        if options.defaults.radius_m is None
        else [h for h in HEADS if h not in ("반경", "반경(km)")]
    )
    table = Table(sheet="x", rows=[heads, *[list(row) for row in rows]], delimiter=delimiter)
    other = Table(sheet="y", rows=[heads, *[list(row) for row in rows[:3]]], delimiter=delimiter)
    fast = read_sheets([table, other], options=options)
    slow = read_sheets([table, other], options=options, plainly=True)
    assert [repr(sheet) for sheet in fast] == [repr(sheet) for sheet in slow]
    for sheet in fast:
        taken = {row for row, _ in sheet.fences}
        assert not taken & set(sheet.refused)
        assert {p.row for p in sheet.problems} == set(sheet.refused)
        assert [row for row, _ in sheet.fences] == sorted(taken)


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("radius", [100.0, None])
def test_the_edges_of_what_is_allowed_are_the_same(edge, radius):
    row = _edged(["강남", 37.4979, 127.0276, radius, None, None, None, None, None, 2.0], edge)
    table = Table(sheet=None, rows=[list(HEADS), row], delimiter=",")
    assert repr(read_sheets([table])) == repr(read_sheets([table], plainly=True))


def test_a_row_that_is_refused_as_the_same_fence_stands_in_no_other_ones_way():
    rows = [["a", 1, 1, 100, None, group] for group in ("h", "g;h", "g")]
    table = Table(sheet=None, rows=[list(HEADS), *rows])
    for plainly in (False, True):
        (found,) = read_sheets([table], plainly=plainly)
        assert [row for row, _ in found.fences] == [2, 4]
        assert [(p.row, p.code) for p in found.problems] == [(3, "duplicate_name")]


LABELS = st.sampled_from(["이름", "위도", "(A)", "(B)", "(C)", "이름#2", "X", "", "#", "없음"])
HEADED = st.sampled_from(["이름", "위도", "경도", "반경", "X(5174)", "Y", "wkt", None, 7.0])
ANY_OPTIONS = st.builds(
    ReadOptions,
    defaults=st.just(FenceDefaults(radius_m=100)),
    mapping=st.dictionaries(
        LABELS, st.sampled_from([None, "no column", *(c.name for c in COLUMNS[:8])]), max_size=3
    ),
    heading_row=st.none() | st.integers(-1, 6),
    accept=st.frozensets(st.sampled_from(["swapped", "projected_metres", "lost_decimal_point", "unit"])),
    grid=st.sampled_from([None, "EPSG:5174", "EPSG:3857", "EPSG:2263", "x"]),
    countries=st.sampled_from([frozenset(), frozenset({"KR"}), frozenset({"XX"})]),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(HEADED, max_size=5), max_size=2),
    st.lists(st.lists(ODD, max_size=5), max_size=4),
    ANY_OPTIONS,
    st.booleans(),
)
def test_no_table_and_no_mapping_raises(heads, rows, options, features):
    kind, first_row = ("features", 0) if features else ("rows", 1)
    table = Table(sheet="s", rows=[*heads, *rows], kind=kind, first_row=first_row)
    fast = read_sheets([table], options=options)
    assert repr(fast) == repr(read_sheets([table], options=options, plainly=True))

"""Proposals: what is offered for odd places and radii, and rows read again with what was accepted."""

# ruff: noqa: DTZ001 - the dates of a sheet have no zone
from collections import Counter
from datetime import datetime

import pytest

from geo.fences.columns import FenceDefaults, ReadFences, ReadOptions, read_fences, read_sheets
from geo.fences.fence import CircleShape, PolygonShape
from geo.sheets.table import Broken, Cell, Table

GANGNAM = CircleShape(lon=127.0276, lat=37.4979, radius_m=100.0)
HEADINGS: list[Cell] = ["지점명", "위도", "경도", "반경"]
BOWTIE = "POLYGON ((127 37, 127.01 37.01, 127.01 37, 127 37.01, 127 37))"


def _read(
    *rows: list[Cell], heads: list[Cell] = HEADINGS, date_1904: bool = False, **options
) -> ReadFences:
    named = [[f"n{n}", *row] for n, row in enumerate(rows)]
    table = Table(sheet=None, rows=[heads, *named], date_1904=date_1904)
    return read_fences(table, options=ReadOptions(**options))


def _offered(found: ReadFences, row: int = 2) -> dict[str, dict]:
    """code → proposed values of the problems of one row; {} where nothing is proposed."""
    return {
        p.code: dict(p.proposal.values) if p.proposal else {} for p in found.problems if p.row == row
    }


PLACE = {"lat": 37.4979, "lng": 127.0276}
HOME: list[list[Cell]] = [[48.85 + n / 1000, 2.35 + n / 1000, 100] for n in range(30)]

#: cells, what is offered for the first row, options
OFFERS: list[tuple[list[Cell], dict, dict]] = [
    ([127.0276, 37.4979, 100], {"swapped": PLACE}, {}),
    ([374979, 1270276, 100], {"lost_decimal_point": PLACE}, {}),
    (["374979", "1270276", "100m"], {"lost_decimal_point": PLACE}, {}),
    ([1270276, 374979, 100], {"lost_decimal_point": PLACE}, {}),
    ([37.4979, 1270276, 100], {"lost_decimal_point": PLACE}, {}),
    ([374979, 127.0276, 100], {"lost_decimal_point": PLACE}, {}),
    ([37497900001, 1270276, 100], {"lost_decimal_point": {"lat": 37.497900001, "lng": 127.0276}}, {}),
    # 37.3028 or 37°30'28": nothing in this file tells
    ([373028, 1270138, 100], {"lost_decimal_point": {}}, {}),
    # a fraction of a second: no decimal point was lost
    ([373028.5, 1270138.5, 100], {"packed_degrees": {"lat": 37.507916667, "lng": 127.027361111}}, {}),
    ([999999, 999999, 100], {"projected_metres": {}}, {}),
    ([1e300, 127.0276, 100], {"projected_metres": {}}, {}),
    ([float("inf"), 127.0276, 100], {"projected_metres": {}}, {}),
    (["37.4979, 127.0276", None, 100], {"two_numbers": PLACE, "missing": {}}, {}),
    ([None, "127.0276 37.4979", 100], {"missing": {}, "two_numbers": PLACE}, {}),
    ([37.4979, 127.0276, 0.1], {"unit": {"radius_m": 100.0}}, {}),
    ([37.4979, 127.0276, 100_000], {"unit": {"radius_m": 100.0}}, {}),
    ([37.4979, 127.0276, "0.1m"], {"radius_too_small": {}}, {}),
    ([37.4979, 127.0276, 0.01], {"radius_too_small": {}}, {}),
    ([127.0276, 37.4979, 0.1], {"unit": {"radius_m": 100.0}, "swapped": PLACE}, {}),
    ([37.4979, -127.0276, 100], {"outside_countries": PLACE}, {"countries": frozenset({"KR"})}),
    ([-37.4979, 127.0276, 100], {"outside_countries": PLACE}, {"countries": frozenset({"KR"})}),
    ([0.0, 0.0, 100], {"null_island": {}}, {"countries": frozenset({"KR"})}),
    ([35.6812, 139.7671, 100], {"outside_countries": {}}, {"countries": frozenset({"KR"})}),
    ([2.35, 48.85, 100], {"swapped": {"lat": 48.85, "lng": 2.35}}, {"countries": frozenset({"FR"})}),
    ([2.35, 48.85, 100], {}, {}),
    ([5.0, 47.0, 100], {}, {"countries": frozenset({"SO", "FR"})}),
    ([5.0, 47.0, 100], {"swapped": {"lat": 47.0, "lng": 5.0}}, {"countries": frozenset({"FR"})}),
]  # fmt: skip


@pytest.mark.parametrize(("cells", "offers", "options"), OFFERS)
def test_what_is_offered(cells, offers, options):
    found = _read(cells, **options)
    assert _offered(found) == offers
    assert len(found.fences) == (not offers)
    assert dict(found.mended) == {}
    for problem in found.problems:
        assert any("가" <= letter <= "힣" for letter in problem.message("ko"))


@pytest.mark.parametrize(
    ("cells", "offers", "options"), [case for case in OFFERS if case[1] and all(case[1].values())]
)
def test_what_is_offered_is_taken_when_it_is_accepted(cells, offers, options):
    found = _read(cells, accept=frozenset(offers), **options)
    assert (found.problems, dict(found.mended)) == ([], dict.fromkeys(offers, 1))
    values = {"lat": cells[0], "lng": cells[1], "radius_m": 100.0}
    for offer in offers.values():
        values |= offer
    assert found.fences[0][1].shape == CircleShape(
        lon=values["lng"], lat=values["lat"], radius_m=values["radius_m"]
    )
    assert set(found.mended_rows[2]) == set(offers)


def test_one_of_two_proposals_leaves_the_other_problem():
    cells: list[Cell] = [127.0276, 37.4979, 0.1]
    found = _read(cells, accept=frozenset({"swapped"}))
    assert list(_offered(found)) == ["unit"]
    assert (found.fences, dict(found.mended)) == ([], {"swapped": 1})
    found = _read(cells, accept=frozenset({"swapped", "unit"}))
    assert found.fences[0][1].shape == GANGNAM


def test_a_mended_row_is_judged_again():
    """Two numbers in one cell, longitude first, in a country where the workspace is not."""
    korea = frozenset({"KR"})
    found = _read(["37.4979, -127.0276", None, 100], countries=korea, accept=frozenset({"two_numbers"}))
    assert _offered(found) == {"outside_countries": PLACE}
    both = frozenset({"two_numbers", "outside_countries"})
    found = _read(["37.4979, -127.0276", None, 100], countries=korea, accept=both)
    assert found.fences[0][1].shape == GANGNAM
    assert dict(found.mended) == {"two_numbers": 1, "outside_countries": 1}


def test_single_rows_are_accepted_by_sheet_and_row():
    rows: list[list[Cell]] = [HEADINGS, ["a", 127.0276, 37.4979, 100], ["b", 127.03, 37.5, 100]]
    tables = [Table(sheet=name, rows=[list(row) for row in rows]) for name in ("가", "나")]
    accept = {("가", 3): frozenset({"swapped"}), ("나", 2): frozenset({"unit"})}
    first, second = read_sheets(tables, options=ReadOptions(accept_rows=accept))
    assert [row for row, _ in first.fences] == [3]
    assert (second.fences, first.mended_rows, second.mended_rows) == ([], {3: ("swapped",)}, {})


def test_a_row_far_from_all_others_looks_swapped_where_it_then_lies_among_them():
    found = _read(*HOME, [2.36, 48.86, 100])
    assert _offered(found, 32) == {"swapped": {"lat": 48.86, "lng": 2.36}}
    assert len(found.fences) == 30
    # far away, but nowhere near when swapped: a branch abroad
    assert len(_read(*HOME, [40.7, -74.0, 100]).fences) == 31
    # only few others: they prove nothing
    assert len(_read(*HOME[:10], [2.36, 48.86, 100]).fences) == 11
    # a hemisphere says what is what
    assert len(_read(*HOME, ["2.36N", "48.86E", 100]).fences) == 31


def test_lost_points_go_by_where_the_other_rows_lie():
    found = _read(*HOME, [4885, 235, 100], [48.86, 2361, 100])
    assert _offered(found, 32) == {"projected_metres": {}}  # 235 is no longitude and no lost point
    assert _offered(found, 33) == {"lost_decimal_point": {"lat": 48.86, "lng": 2.361}}


def test_minutes_and_seconds_without_marks_show_in_many_rows():
    rows = [[373000 + n * 111 % 5960 // 100 * 100 + n % 60, 1270100 + n % 60, 100] for n in range(12)]
    found = _read(*rows)
    assert Counter(p.code for p in found.problems) == {"packed_degrees": 12}
    # one number whose seconds would be 99 in three rows: points were lost, not marks
    found = _read([373028, 1270138, 100], [374979, 1270276, 100], [374999, 1270399, 100])
    assert Counter(p.code for p in found.problems) == {"lost_decimal_point": 3}
    assert _offered(found) == {"lost_decimal_point": {"lat": 37.3028, "lng": 127.0138}}


def test_metres_name_their_grid_and_those_beside_it():
    found = _read([452214.210961577, 198838.912965902, 100])
    (problem,) = found.problems
    assert (problem.code, found.grids[0].epsg) == ("projected_metres", "EPSG:5174")
    for text in (problem.message("en"), problem.message("ko")):
        assert "EPSG:2097 (255 m)" in text
        assert "EPSG:5181 (313 m)" in text
    assert problem.proposal is not None
    assert problem.proposal.values == pytest.approx({"lat": 37.572217, "lng": 126.987645}, abs=1e-6)


def test_a_named_grid_wins_and_is_consent():
    cells: list[Cell] = [452214.210961577, 198838.912965902, 100]
    found = _read(cells, [37.4979, 127.0276, 100], grid="EPSG:2097")
    assert [row for row, _ in found.fences] == [2, 3]
    shape = found.fences[0][1].shape
    assert isinstance(shape, CircleShape)
    assert shape.lon == pytest.approx(126.984755, abs=1e-6)
    assert found.fences[1][1].shape == GANGNAM
    assert (dict(found.mended), [g.epsg for g in found.grids]) == (
        {"projected_metres": 1},
        ["EPSG:2097"],
    )
    assert _offered(_read(cells, grid="EPSG:5179")) == {"projected_metres": {}}
    assert "EPSG:5179" in _read(cells, grid="EPSG:5179").problems[0].message("ko")
    assert _offered(_read(cells, grid="no grid")) == {"projected_metres": {}}


def test_x_may_hold_the_northing():
    rows: list[list[Cell]] = [["이름", "X", "Y", "반경"], ["a", 452214.21, 198838.91, 100]]
    found = read_fences(Table(sheet=None, rows=rows))
    assert (found.grids[0].epsg, found.grids[0].northing_in_lng) == ("EPSG:5174", True)
    assert found.problems[0].proposal is not None
    assert found.problems[0].proposal.values["lng"] == pytest.approx(126.987645, abs=1e-5)


def test_one_grid_for_all_sheets_of_a_file():
    heads: list[Cell] = ["이름", "X", "Y", "주소"]
    tables = [
        Table(sheet="가", rows=[heads, ["a", 198838.91, 452214.21, "서울특별시 종로구"]]),
        Table(sheet="나", rows=[heads, ["b", 198838.91, 452214.21, None]]),
    ]
    defaults = FenceDefaults(radius_m=100)
    first, second = read_sheets(tables, options=ReadOptions(defaults=defaults))
    assert first.grids == second.grids
    assert first.grids[0].in_province == 1.0


@pytest.mark.parametrize(
    ("heading", "radii", "offered"),
    [
        ("반경(m)", [0.5, 1, 3], 500.0),
        ("반경(m)", [0.5, 1, 300], None),
        ("반경(m)", [0.5, "1", "2km"], 500.0),  # a unit in the cell stands by itself
        ("반경(m)", [500_000, 100_000], 500.0),
        ("반경(m)", [500_000, 100], None),
        ("반경(km)", [500, 100], 500.0),
        ("반경(km)", [500, 1], None),
        ("반경(km)", [0.5, 1], None),
    ],
)
def test_a_unit_is_doubted_where_the_whole_column_is_out_of_bounds(heading, radii, offered):
    heads: list[Cell] = [*HEADINGS[:3], heading]
    found = _read(*([37.4979, 127.0276, radius] for radius in radii), heads=heads)
    assert _offered(found).get("unit") == (None if offered is None else {"radius_m": offered})
    mended = _read(
        *([37.4979, 127.0276, radius] for radius in radii), heads=heads, accept=frozenset({"unit"})
    )
    if offered is not None:
        assert mended.problems == []
        shape = mended.fences[0][1].shape
        assert isinstance(shape, CircleShape)
        assert shape.radius_m == offered


@pytest.mark.parametrize(
    ("date_1904", "cell"),
    [
        (False, datetime(1900, 2, 6, 11, 56, 58, 560_000)),
        (True, datetime(1904, 2, 7, 11, 56, 58, 560_000)),
    ],
)
def test_a_date_is_offered_as_the_number_behind_it(date_1904, cell):
    found = _read([cell, 127.0276, 100], date_1904=date_1904)
    assert _offered(found) == {"date_instead_of_number": {"lat": 37.4979}}
    accept = frozenset({"date_instead_of_number"})
    found = _read([cell, 127.0276, 100], date_1904=date_1904, accept=accept)
    assert found.fences[0][1].shape == GANGNAM


def test_broken_cells_are_problems_of_their_cell():
    row: list[Cell] = [Broken("error_value", "#N/A"), Broken("not_calculated", "=B2*2"), 100]
    found = _read(row, accept=frozenset({"error_value", "not_calculated"}))
    assert [(p.cell, p.code, p.value, p.proposal) for p in found.problems] == [
        ("B2", "error_value", "#N/A", None),
        ("C2", "not_calculated", "=B2*2", None),
    ]
    table = Table(sheet=None, rows=[HEADINGS, [Broken("error_value", "#REF!"), 37.4979, 127.0276, 100]])
    assert [(p.cell, p.code) for p in read_fences(table).problems] == [("A2", "error_value")]


def test_an_outline_is_mended_and_swapped_when_accepted():
    heads: list[Cell] = ["이름", "wkt", "polygon 2"]
    found = _read([BOWTIE], heads=heads, accept=frozenset({"self_intersection"}))
    assert isinstance(found.fences[0][1].shape, PolygonShape)
    # the rest of the outline in the next cell belongs to the old one
    cut = BOWTIE.index("127.01 37,")
    found = _read([BOWTIE[:cut], BOWTIE[cut:]], heads=heads, accept=frozenset({"self_intersection"}))
    assert (found.problems, len(found.fences)) == ([], 1)
    square = "48.85,2.35;48.85,2.36;48.86,2.36;48.86,2.35"
    turned = "2.35,48.85;2.36,48.85;2.36,48.86;2.35,48.86"
    france = frozenset({"FR"})
    assert len(_read([square], heads=heads[:2], countries=france).fences) == 1
    found = _read([turned], heads=heads[:2], countries=france)
    assert [p.code for p in found.problems] == ["swapped"]
    found = _read([turned], heads=heads[:2], countries=france, accept=frozenset({"swapped"}))
    assert found.fences[0][1].shape == _read([square], heads=heads[:2]).fences[0][1].shape
    found = _read([square], heads=heads[:2], countries=frozenset({"KR"}))
    assert [(p.code, p.proposal) for p in found.problems] == [("outside_countries", None)]


FEATURES: list[list[Cell]] = [
    ["name", "radius", "geometry"],
    ["점", 200, "POINT (127.0276 37.4979)"],
    ["점 2", None, "POINT Z (127.03 37.5 12)"],
    ["한 점", 300, "MULTIPOINT ((127.04 37.5))"],
    ["면", None, "POLYGON ((127.02 37.49, 127.03 37.49, 127.03 37.5, 127.02 37.5, 127.02 37.49))"],
    ["선", None, "LINESTRING (127 37, 128 37)"],
    ["뒤집힌 점", 100, "POINT (37.4979 127.0276)"],
    ["없음", None, None],
]


def test_features_of_a_geo_file():
    table = Table(sheet="layer", rows=FEATURES, first_row=0, kind="features")
    options = ReadOptions(defaults=FenceDefaults(radius_m=100))
    found = read_fences(table, options=options)
    assert [(row, fence.name) for row, fence in found.fences] == [
        (1, "점"), (2, "점 2"), (3, "한 점"), (4, "면"),
    ]  # fmt: skip
    assert found.fences[0][1].shape == CircleShape(lon=127.0276, lat=37.4979, radius_m=200.0)
    assert found.fences[1][1].shape == CircleShape(lon=127.03, lat=37.5, radius_m=100.0)
    assert [(p.row, p.heading, p.cell, p.code) for p in found.problems] == [
        (5, "geometry", None, "wrong_type"),
        (6, "geometry", None, "swapped"),
        (7, "geometry", None, "missing"),
    ]
    options = ReadOptions(defaults=FenceDefaults(radius_m=100), accept=frozenset({"swapped"}))
    assert (6, "뒤집힌 점") in [(row, f.name) for row, f in read_fences(table, options=options).fences]


def test_the_shape_of_a_feature_is_its_last_column_whatever_the_others_are_called():
    rows: list[list[Cell]] = [["name", "wkt", "geometry", "geometry"], ["a", "x", "y", "POINT (127 37)"]]
    table = Table(sheet="layer", rows=rows, first_row=0, kind="features")
    found = read_fences(table, options=ReadOptions(defaults=FenceDefaults(radius_m=100)))
    assert (found.problems, len(found.fences)) == ([], 1)
    assert found.mapping["polygon"] == "geometry#2"


def test_a_file_says_how_it_was_read():
    rows: list[list[Cell]] = [
        ["2026년 매장"],
        [],
        ["이름", "위도", "경도", "메모 2"],
        ["a", 1, 1, "x"],
        ["b", 2, 2, "y"],
    ]
    table = Table(sheet="s", rows=rows, hidden_rows=frozenset({1, 5}), hidden_columns=frozenset({1, 3}))
    found = read_fences(table, options=ReadOptions(defaults=FenceDefaults(radius_m=100)))
    assert (found.title_rows, found.heading_row) == ((1,), 3)
    assert (found.hidden_columns, found.hidden_rows) == (("위도",), 1)
    assert found.samples["이름"] == ("a", "b")


def test_progress_is_told_for_the_whole_file_at_most_every_thousand_rows():
    rows: list[list[Cell]] = [["이름", "위도", "경도"], *([f"{n}", 1, 1] for n in range(2_500))]
    tables = [Table(sheet=name, rows=[list(r) for r in rows], first_row=1) for name in ("a", "b")]
    told: list[tuple[int, int]] = []
    defaults = FenceDefaults(radius_m=100)
    read_sheets(
        tables, options=ReadOptions(defaults=defaults), progress=lambda n, of: told.append((n, of))
    )
    assert told == [(n, 5_000) for n in (1_000, 2_000, 2_500, 3_500, 4_500, 5_000)]


def test_a_row_that_gives_no_fence_stands_in_no_other_ones_way():
    """The first of two of a code has no place: the second is the fence, the first has both faults."""
    heads: list[Cell] = ["이름", "위도", "경도", "코드"]
    rows: list[list[Cell]] = [heads, ["a", None, None, "7"], ["a", 1, 1, "7"], ["b", None, 1, "7"]]
    found = read_fences(
        Table(sheet=None, rows=rows), options=ReadOptions(defaults=FenceDefaults(radius_m=100))
    )
    assert [row for row, _ in found.fences] == [3]
    assert [(p.row, p.code) for p in found.problems] == [
        (2, "missing"),
        (2, "missing"),
        (2, "duplicate_external_id"),
        (4, "missing"),
        (4, "duplicate_external_id"),
    ]
    assert "Row 3" in found.problems[2].message()

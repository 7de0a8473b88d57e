"""Rows of a sheet → fences and problems, and back."""

# ruff: noqa: DTZ001 - the dates of a sheet have no zone
import math
from collections import Counter
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from geo.fences.column_list import COLUMNS, FIELDS
from geo.fences.columns import (
    POLYGON_CELL_CHARS,
    FenceDefaults,
    ReadFences,
    ReadOptions,
    fences_to_rows,
    read_fences,
    read_sheets,
    review_sheets,
)
from geo.fences.fence import CircleShape, Fence, PolygonShape, Shape
from geo.fences.identity import review_fences
from geo.fences.limits import MAX_VERTICES
from geo.fences.refusals import MESSAGES, Note, ShapeRefused
from geo.fences.shapes import read_form, read_text, read_wkt, to_geojson, to_wkt
from geo.sheets.changes import RowState
from geo.sheets.headings import heading_key
from geo.sheets.problems import Problem
from geo.sheets.workbook import Cell, Table, read, read_csv, to_csv, to_xlsx
from tests.strategies import circles, polygons

GANGNAM = CircleShape(lon=127.0276, lat=37.4979, radius_m=100.0)
HEADINGS: list[Cell] = ["지점명", "위도", "경도", "반경"]
SQUARE = "37.49,127.02;37.49,127.03;37.50,127.03;37.50,127.02"
BOWTIE = "POLYGON ((127 37, 127.01 37.01, 127.01 37, 127 37.01, 127 37))"


def _read(*rows: list[Cell], **defaults: object) -> ReadFences:
    table = Table(sheet=None, rows=list(rows), delimiter=",")
    return read_fences(table, options=ReadOptions(defaults=FenceDefaults(**defaults)))  # type: ignore[arg-type]


def _codes(found: ReadFences) -> list[tuple[str | None, str]]:
    return [(p.cell, p.code) for p in found.problems]


def test_aliases_are_of_one_column_each() -> None:
    keys = Counter(key for column in COLUMNS for key in column.keys())  # noqa: SIM118
    assert [key for key, n in keys.items() if n > 1] == []
    assert set(FIELDS) < {column.name for column in COLUMNS}


def test_every_alias_of_the_product_is_known() -> None:
    aliases = {
        "name": "name 지오펜스명 지점명 상호",
        "lat": "lat latitude 위도 Y좌표 WGS84위도",
        "lng": "lng lon longitude 경도 X좌표 WGS84경도",
        "radius_m": "radius 반경 반경(m) radius_m",
        "polygon": "polygon 좌표 wkt geojson",
        "group": "group 그룹",
        "brand": "brand 브랜드",
        "category": "category 카테고리 업종",
        "store": "store 매장 매장명",
        "address": "address 주소",
        "external_id": "external_id 매장코드",
        "tags": "tags 태그",
        "memo": "memo 비고",
    }
    keys = {column.name: set(column.keys()) for column in COLUMNS}
    missing = {
        (name, alias)
        for name, listed in aliases.items()
        for alias in listed.split()
        if heading_key(alias) not in keys[name]
    }
    assert missing == set()


def test_all_columns_of_a_row() -> None:
    found = _read(
        ["매장 목록"],
        [],
        ["지오펜스명", "매장코드", "그룹", "위도", "경도", "반경", "브랜드", "업종", "매장명", "주소",
         "태그", "비고", "담당"],
        ["강남", 7.0, "서울; 수도권", "37.4979", 127.0276, "100m", "별", "카페", "강남점", "강남구 1",
         "역세권, 24시", "옥상", "김"],
    )  # fmt: skip
    assert found.problems == []
    assert found.fences == [
        (
            4,
            Fence(
                name="강남",
                shape=GANGNAM,
                external_id="7",
                groups=("서울", "수도권"),
                tags=("역세권", "24시"),
                brand="별",
                category="카페",
                store="강남점",
                address="강남구 1",
                metadata=MappingProxyType({"memo": "옥상"}),
            ),
        )
    ]
    assert (found.heading_row, found.unknown_headings) == (3, ("담당",))
    assert found.mapping["external_id"] == "매장코드"
    assert found.given == set(FIELDS.values()) | {"shape"}


#: cell of latitude, longitude, radius → the circle, or (cell, code) of every problem
ODD_CELLS: list[tuple[Cell, Cell, Cell, CircleShape | list[tuple[str, str]]]] = [
    (37.4979, 127.0276, 100, GANGNAM),
    ("37.4979", "127.0276", "100", GANGNAM),
    (" 37.4979\u00a0", "\u3000127.0276", "100 m", GANGNAM),
    ("３７．４９７９", "１２７．０２７６", "１００ｍ", GANGNAM),
    ("37,4979", "127,0276", "0,1km", GANGNAM),
    ("37.4979°N", "127.0276°E", "반경 100m", GANGNAM),
    ("북위 37.4979", "동경 127.0276", "100미터", GANGNAM),
    (37.4979, 127.0276, 50, replace(GANGNAM, radius_m=50.0)),
    (37.4979, 127.0276, "50km", replace(GANGNAM, radius_m=50_000.0)),
    ("33.86S", "151.21E", 100, CircleShape(lon=151.21, lat=-33.86, radius_m=100.0)),
    (90, 0, 100, CircleShape(lon=0.0, lat=90.0, radius_m=100.0)),
    (0, 0, 100, [("B2", "null_island")]),
    (0, 1e-9, 100, CircleShape(lon=1e-9, lat=0.0, radius_m=100.0)),
    (None, 127.0276, 100, [("B2", "missing")]),
    (None, None, None, [("B2", "missing"), ("C2", "missing"), ("D2", "missing")]),
    (37.4979, 127.0276, None, [("D2", "missing")]),
    (37.4979, 127.0276, "\u00a0", [("D2", "missing")]),
    (37.4979, 127.0276, 49.99, [("D2", "radius_too_small")]),
    (37.4979, 127.0276, "50.001km", [("D2", "radius_too_large")]),
    (37.4979, 127.0276, -100, [("D2", "radius_too_small")]),
    (37.4979, 127.0276, "0.1mi", [("D2", "unknown_unit")]),
    (37.4979, 127.0276, "가까이", [("D2", "not_a_number")]),
    ("서울", "강남", "넓게", [("B2", "not_a_number"), ("C2", "not_a_number"), ("D2", "not_a_number")]),
    ("37.4979, 127.0276", None, 100, [("B2", "two_numbers"), ("C2", "missing")]),
    (127.0276, 37.4979, 100, [("B2", "swapped")]),
    ("127.0276E", "37.4979N", 100, [("B2", "swapped")]),
    (127.0276, 37.4979, None, [("D2", "missing"), ("B2", "swapped")]),
    ("37.4979E", 127.0276, 100, [("B2", "wrong_hemisphere")]),
    (90.0001, 127.0276, 100, [("B2", "out_of_range")]),
    (37.4979, 180.0001, 100, [("C2", "out_of_range")]),
    (91, 181, 100, [("B2", "out_of_range"), ("C2", "out_of_range")]),
    (452214.2, 198838.9, 100, [("B2", "projected_metres")]),
    (374979, 1270276, 100, [("B2", "lost_decimal_point")]),
    (True, 127.0276, 100, [("B2", "not_a_number")]),
    ("inf", "nan", 100, [("B2", "not_a_number"), ("C2", "not_a_number")]),
    ("#N/A", 127.0276, 100, [("B2", "error_value")]),
    (datetime(1900, 2, 6, 11, 56, 58, 560_000), 127.0276, 100, [("B2", "date_instead_of_number")]),
    ("37°29'60\"", 127.0276, 100, [("B2", "minutes_out_of_range")]),
]  # fmt: skip


@pytest.mark.parametrize(("lat", "lng", "radius", "expected"), ODD_CELLS)
def test_odd_cells(
    lat: Cell, lng: Cell, radius: Cell, expected: CircleShape | list[tuple[str, str]]
) -> None:
    found = _read(HEADINGS, ["강남", lat, lng, radius])
    if isinstance(expected, CircleShape):
        assert found.problems == []
        assert found.fences[0][1].shape == expected
    else:
        assert (found.fences, _codes(found)) == ([], expected)
        for problem in found.problems:
            assert any("가" <= letter <= "힣" for letter in problem.message("ko"))
            assert not any("가" <= letter <= "힣" for letter in _without_value(problem))


def _without_value(problem: Problem) -> str:
    return problem.message("en").replace(problem.value or "", "").replace("반경", "").replace("미터", "")


@pytest.mark.parametrize(
    ("lat", "lng", "values"),
    [
        (127.0276, 37.4979, {"lat": 37.4979, "lng": 127.0276}),
        ("127.0276, 37.4979", None, {"lat": 37.4979, "lng": 127.0276}),
        (datetime(1900, 2, 6, 11, 56, 58, 560_000), 127.0276, {"lat": 37.4979}),
    ],
)
def test_a_proposal_is_made_and_never_applied(lat: Cell, lng: Cell, values: dict[str, float]) -> None:
    found = _read(HEADINGS, ["강남", lat, lng, 100])
    assert found.fences == []
    proposal = found.problems[0].proposal
    assert proposal is not None
    assert proposal.values == values
    # accepting it gives the fence
    accepted = {"lat": lat, "lng": lng, **proposal.values}
    mended = _read(HEADINGS, ["강남", accepted["lat"], accepted["lng"], 100])
    assert mended.fences[0][1].shape == GANGNAM


def test_all_problems_of_all_rows_with_excels_row_numbers() -> None:
    rows: list[list[Cell]] = [["목록"], [], HEADINGS]
    rows += [[None, "x", 1, 100], [], ["b", 1, 1, 100], ["c", 127, 37, 1], ["d", 1, 1]]
    found = _read(*rows)
    assert [row for row, _ in found.fences] == [6]
    assert [(p.row, p.cell, p.code) for p in found.problems] == [
        (4, "B4", "not_a_number"),
        (4, "A4", "missing"),
        (7, "B7", "swapped"),
        (8, "D8", "missing"),
    ]
    assert set(found.refused) == {4, 7, 8}
    assert found.refused[7].name == "c"


def test_defaults_fill_what_a_row_leaves_open() -> None:
    defaults = {"radius_m": 100.0, "brand": "별", "category": "카페", "group": "서울", "tags": ("t",)}
    found = _read(
        [*HEADINGS, "브랜드", "그룹"],
        ["a", 37.4979, 127.0276, None, None, None],
        ["b", 37.4979, 127.0276, 200, "달", "부산"],
        **defaults,
    )
    (_, a), (_, b) = found.fences
    assert (a.shape, a.brand, a.category, a.groups, a.tags) == (
        GANGNAM, "별", "카페", ("서울",), ("t",),
    )  # fmt: skip
    assert (b.shape, b.brand, b.groups) == (replace(GANGNAM, radius_m=200.0), "달", ("부산",))
    assert found.given == {"name", "shape", "brand", "category", "groups", "tags"}


@pytest.mark.parametrize("radius_m", [49.99, 50_000.1])
def test_a_default_radius_out_of_bounds_is_refused_once(radius_m: float) -> None:
    with pytest.raises(ShapeRefused, match="radius"):
        _read(HEADINGS, ["a", 1, 1], radius_m=radius_m)


def test_the_store_names_the_fence_where_nothing_else_does() -> None:
    found = _read(["매장명", "위도", "경도"], ["강남점", 1, 2], radius_m=100)
    (_, fence) = found.fences[0]
    assert (fence.name, fence.store) == ("강남점", "강남점")
    assert found.mapping["name"] == "매장명"
    found = _read(["매장명", "이름", "위도", "경도"], ["강남점", None, 1, 2], radius_m=100)
    assert _codes(found) == [("B2", "missing")]


@pytest.mark.parametrize(
    ("headings", "codes"),
    [
        (["지점명", "위도", "반경"], ["경도"]),
        (["위도", "경도", "반경"], ["이름"]),
        (["지점명", "위도", "경도"], ["반경"]),
        (["지점명"], ["위도", "경도", "반경"]),
        (["지점명", "폴리곤"], []),
    ],
)
def test_a_missing_column_is_said_once(headings: list[Cell], codes: list[str]) -> None:
    found = _read(["제목"], headings, *([["가", "나", "다"]] * 3))
    said = [p.message("ko").split(" ")[0] for p in found.problems if p.code == "missing_heading"]
    assert said == codes
    assert {p.row for p in found.problems if p.code == "missing_heading"} <= {2}
    if codes:
        assert len(found.problems) == len(codes)


def test_a_sheet_without_headings() -> None:
    found = _read(["강남", 37.4979, 127.0276])
    assert [(p.row, p.code) for p in found.problems] == [(1, "no_headings")]


def test_radius_in_kilometres_by_its_heading() -> None:
    found = _read(["이름", "위도", "경도", "반경(km)"], ["a", 1, 2, 1.5], ["b", 1, 2, 51])
    assert found.fences[0][1].shape == CircleShape(lon=2.0, lat=1.0, radius_m=1500.0)
    assert [(p.cell, p.heading, p.code) for p in found.problems] == [
        ("D3", "반경(km)", "radius_too_large")
    ]


GEOJSON = (
    '{"type": "Polygon", "coordinates": '
    "[[[127.02, 37.49], [127.03, 37.49], [127.03, 37.5], [127.02, 37.5], [127.02, 37.49]]]}"
)


@pytest.mark.parametrize(
    ("cell", "notes"),
    [
        (SQUARE, {Note.RING_CLOSED}),
        (GEOJSON, set()),
        ("POLYGON ((127.02 37.49, 127.03 37.49, 127.03 37.5, 127.02 37.5, 127.02 37.49))", set()),
        ("MULTIPOLYGON (((127.02 37.49, 127.03 37.49, 127.03 37.5, 127.02 37.5, 127.02 37.49)))", set()),
    ],
)  # fmt: skip
def test_outlines_in_all_forms_are_one_shape(cell: str, notes: set[Note]) -> None:
    found = _read(["이름", "좌표", "위도", "경도"], ["네모", cell, 37.495, 127.025])
    assert found.problems == []
    shape = found.fences[0][1].shape
    assert isinstance(shape, PolygonShape)
    assert shapely.equals(shape.geometry, shapely.box(127.02, 37.49, 127.03, 37.5))
    assert {note for _, note in found.notes} == notes


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("37.49,127.02", "too_few_points"),
        ("어딘가", "malformed"),
        ("LINESTRING (127 37, 128 37)", "wrong_type"),
        ('{"type": "Polygon"', "malformed"),
        ("{" * 5_000, None),
        ('{"type": "Point", "coordinates": [127, 37]}', "wrong_type"),
        (BOWTIE, "self_intersection"),
        ("POLYGON ((126 36, 128 36, 128 38, 126 38, 126 36))", "area_too_large"),
        (37.5, "malformed"),
    ],
)
def test_outlines_that_are_refused(cell: Cell, code: str | None) -> None:
    found = _read(["이름", "wkt"], ["도형", cell])
    assert found.fences == []
    (problem,) = found.problems
    assert (problem.cell, problem.heading) == ("B2", "wkt")
    assert problem.code in MESSAGES
    assert code in (None, problem.code)


def test_a_crossed_outline_proposes_its_repair_which_reads() -> None:
    found = _read(["이름", "wkt"], ["나비", BOWTIE])
    proposal = found.problems[0].proposal
    assert proposal is not None
    assert "km²" in proposal.message_ko
    mended = _read(["이름", "wkt"], ["나비", proposal.values["polygon"]])
    assert mended.problems == []


HEADS: list[Cell] = ["이름", "위도", "경도", "코드", "그룹", "주소"]


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (["a", 1, 1, "7"], ["b", 2, 2, "7"], "duplicate_external_id"),
        (["a", 1, 1, 7.0], ["b", 2, 2, "7"], "duplicate_external_id"),
        (["a", 1, 1], ["a", 2, 2], "duplicate_name"),
        (["a", 1, 1], [" a ", 1, 1], "duplicate_name"),
        (["a", 1, 1, None, "g"], ["a", 2, 2, None, "g"], "duplicate_name"),
        (["a", 1, 1, None, "g;h"], ["a", 2, 2, None, "h;i"], "duplicate_name"),
        (["a", 1, 1, None, None, "x"], ["a", 2, 2, None, None, "x"], "duplicate_name"),
        (["a", 1, 1, None, None, "x"], ["a", 2, 2, None, None, "y"], None),
        (["a", 1, 1, None, None, "x"], ["a", 2, 2, None, None, None], None),
        (["a", 1, 1, "7"], ["a", 2, 2, "8"], None),
        (["a", 1, 1, "7"], ["a", 2, 2, None], None),
        (["a", 1, 1, None, "g"], ["a", 2, 2, None, "h"], None),
        (["a", 1, 1], ["A", 1, 1], None),
        (["a", 1, 1], ["b", 1, 1], None),  # two stores in one building
    ],
)
def test_which_rows_are_the_same_fence(first: list[Cell], second: list[Cell], code: str | None) -> None:
    found = _read(HEADS, first, second, radius_m=100)
    assert [row for row, _ in found.fences] == ([2, 3] if code is None else [2])
    assert [(p.row, p.code) for p in found.problems] == ([] if code is None else [(3, code)])
    assert all("Row 2" in p.message() for p in found.problems)


def test_several_sheets_of_a_file_share_their_names() -> None:
    heads, row = ["이름", "위도", "경도", "반경"], ["a", 1, 1, 100]
    sheets = read_sheets(
        [
            Table(sheet="안내", rows=[["작성 방법"]]),
            Table(sheet="서울", rows=[list(heads), list(row)]),
            Table(sheet="부산", rows=[[], list(heads), list(row)]),
        ]
    )
    assert [(s.sheet, len(s.fences)) for s in sheets] == [("서울", 1), ("부산", 0)]
    (problem,) = sheets[1].problems
    assert (problem.sheet, problem.row) == ("부산", 3)
    assert "Row 2 of '서울'" in problem.message("en")
    (alone,) = read_sheets([Table(sheet="안내", rows=[["작성 방법"]]), Table(sheet="나", rows=[["끝"]])])
    assert alone.problems[0].code == "no_headings"


def test_a_sheet_takes_nothing_from_fences_of_which_only_another_speaks() -> None:
    there = [
        Fence(name="a", shape=GANGNAM, groups=("g",), brand="별"),
        Fence(name="b", shape=GANGNAM, groups=("g",), brand="별"),
        Fence(name="c", shape=GANGNAM, groups=("g",)),
    ]
    place: list[Cell] = [37.4979, 127.0276]
    read = read_sheets(
        [
            Table(sheet="가", rows=[["이름", "위도", "경도", "브랜드"], ["a", *place, "달"]]),
            Table(sheet="나", rows=[["이름", "위도", "경도"], ["b", *place], ["c", 1, None]]),
        ],
        options=ReadOptions(defaults=FenceDefaults(radius_m=100, group="g")),
    )
    review = review_sheets(read, there)
    assert [(c.sheet, c.row, c.state, c.place) for c in review.changes] == [
        ("가", 2, RowState.CHANGED, 0),
        ("나", 2, RowState.SAME, 1),
        ("나", 3, RowState.REFUSED, None),
    ]


def test_an_unquoted_comma_in_an_address_is_found() -> None:
    csv = "이름,주소,위도,경도,반경\na,강남구 1, 2층,37.4979,127.0276,100\n"
    found = read_fences(read_csv(csv.encode()))
    assert found.fences == []
    assert ("extra_cells", 2) in [(p.code, p.row) for p in found.problems]


TEXTS = st.text(st.sampled_from("가나 aZ09.,;|\"'=+-@#_\n"), min_size=1, max_size=8)
NAMES = TEXTS.filter(lambda t: bool(t.strip()))


@st.composite
def _shapes(draw: st.DrawFn) -> Shape:
    """Shapes as the readers give them: 180° is -180°, polygons in normal form."""
    if draw(st.booleans()):
        drawn = draw(circles())
        radius_m = min(50_000.0, max(50.0, drawn.radius_m))
        return read_form(lat=drawn.lat, lng=drawn.lon, radius_m=radius_m).shape
    try:
        return read_wkt(to_wkt(draw(polygons()))).shape
    except ShapeRefused:  # around a pole: no fence comes from a sheet that way
        assume(False)
        raise


@st.composite
def _fences(draw: st.DrawFn) -> Fence:
    metadata = draw(st.dictionaries(st.sampled_from(["memo", "층"]), TEXTS))
    return Fence(
        name=draw(NAMES),
        shape=draw(_shapes()),
        external_id=draw(st.none() | NAMES),
        groups=tuple(draw(st.lists(NAMES, max_size=2, unique_by=str.strip))),
        tags=tuple(draw(st.lists(NAMES, max_size=2, unique_by=str.strip))),
        brand=draw(st.none() | NAMES),
        category=draw(st.none() | NAMES),
        store=draw(st.none() | NAMES),
        address=draw(st.none() | NAMES),
        metadata=MappingProxyType(metadata),
        enabled=draw(st.booleans()),
        dwell_after_s=draw(st.none() | st.just(600)),
    )


@settings(max_examples=60)
@given(st.lists(_fences(), min_size=1, max_size=3), st.sampled_from(["en", "ko"]))
def test_our_own_export_reads_back_with_nothing_changed(fences: list[Fence], lang: str) -> None:
    ids = [(f.external_id or "").strip() or n for n, f in enumerate(fences)]
    assume(len(set(ids)) == len(ids))
    assume(len({f.name.strip() for f in fences}) == len(fences))
    # the one place that a sheet may not name; its fence stays as it is
    assume(not any(isinstance(f.shape, CircleShape) and f.shape.lon == f.shape.lat == 0 for f in fences))
    rows = fences_to_rows(fences, lang=lang)
    for data in (to_xlsx(rows), to_csv(rows)):
        found = read_fences(read(data)[0])
        assert found.problems == []
        assert found.unknown_headings == ()
        review = review_fences(found.fences, fences, given=found.given)
        assert [c.state for c in review.changes] == [RowState.SAME] * len(fences)


def test_the_longest_outline_goes_on_in_the_cells_beside() -> None:
    turns = [2 * math.pi * n / MAX_VERTICES for n in range(MAX_VERTICES)]
    points = [f"{-37 + 0.05 * math.sin(t)!r},{-127 + 0.05 * math.cos(t)!r}" for t in turns]
    shape = read_text(";".join(points)).shape
    rows = fences_to_rows([Fence(name="길다", shape=shape), Fence(name="짧다", shape=GANGNAM)])
    assert "polygon 13" in rows[0]
    assert all(len(c) <= POLYGON_CELL_CHARS for c in rows[1] if isinstance(c, str))
    for data in (to_xlsx(rows), to_csv(rows)):
        found = read_fences(read(data)[0])
        assert found.problems == []
        assert [f.shape for _, f in found.fences] == [shape, GANGNAM]


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_an_empty_export_is_a_template_of_headings(lang: str) -> None:
    (headings,) = fences_to_rows([], lang=lang)
    assert ("위도" in headings) is (lang == "ko")
    found = read_fences(Table(sheet=None, rows=[list(headings)]))
    assert (found.problems, found.fences, found.unknown_headings) == ([], [], ())


CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(allow_nan=False),
    st.text(max_size=12),
    st.sampled_from(["이름", "위도", "POLYGON ((", "{", "1;2", "37°", "N", '"', SQUARE, BOWTIE]),
    st.datetimes(),
    st.timedeltas(),
)


@given(st.lists(st.lists(CELLS, max_size=5), max_size=5))
def test_no_sheet_raises(rows: list[list[Cell]]) -> None:
    heads: list[Cell] = ["이름", "위도", "경도", "반경", "좌표"]
    found = read_fences(Table(sheet="x", rows=[heads, *rows]))
    filled = {n for n, _ in Table(sheet="x", rows=[heads, *rows]).numbered()} - {1}
    taken = {row for row, _ in found.fences}
    assert taken | set(found.refused) == filled
    assert taken & set(found.refused) == set()
    assert {p.row for p in found.problems} == set(found.refused)


@pytest.mark.parametrize(
    ("place", "radius_m"), [((127.0, 37.5), 500.0), ((179.99, 0.0), 50_000.0), ((0.0, 89.9), 50_000.0)]
)
@pytest.mark.parametrize("said_m", [500.0, 800.0])
def test_a_feature_with_the_ring_that_is_drawn_around_its_centre_is_a_circle(place, radius_m, said_m):
    lon, lat = place
    drawn = shapely.geometry.shape(to_geojson(CircleShape(lon=lon, lat=lat, radius_m=radius_m)))
    heads = ["name", "lat", "lng", "radius_m", "geometry"]
    rows = [heads, ["a", lat, lon, said_m, drawn.wkt], ["b", lat, lon, said_m, drawn.envelope.wkt]]
    table = Table(sheet="x", rows=rows, first_row=0, kind="features")
    (read,) = read_sheets([table])
    found = dict(read.fences)
    assert found[1].shape == CircleShape(lon=lon, lat=lat, radius_m=said_m), "the number is what counts"
    assert 2 not in found or isinstance(found[2].shape, PolygonShape), "a box is no drawn circle"
    sheet = Table(sheet="x", rows=rows)
    (as_sheet,) = read_sheets([sheet])
    assert all(isinstance(fence.shape, PolygonShape) for _, fence in as_sheet.fences)


@pytest.mark.parametrize("zero", [0.0, -0.0, "0", "0°"])
def test_null_island_is_no_place_for_a_store(zero):
    rows = [["name", "lat", "lng", "radius"], ["a", zero, zero, 100.0], ["b", zero, 6.6, 100.0]]
    (read,) = read_sheets([Table(sheet=None, rows=rows)])
    assert [(p.row, p.code) for p in read.problems] == [(2, "null_island")]
    assert [row for row, _ in read.fences] == [3]

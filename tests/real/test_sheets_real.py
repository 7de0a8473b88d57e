"""Real spreadsheets: store lists of two chains, the bus stops of Seoul and Gyeonggi."""

import io
import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from geo.fences.columns import (
    FenceDefaults,
    ReadFences,
    ReadOptions,
    fences_to_rows,
    read_fences,
    review_sheets,
)
from geo.fences.fence import CircleShape
from geo.fences.identity import review_fences
from geo.sheets.changes import RowState
from geo.sheets.workbook import Table, to_csv, to_xlsx
from nearcast.store.sandbox import read_file

pytestmark = pytest.mark.real
DATA = Path(__file__).parents[2].parent / "shared/data"


def _table(name: str) -> Table:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the real data is not here: shared/data/{name}")
    (table,) = read_file(path.read_bytes()).tables
    return table


def _fences(name: str, **defaults: object) -> ReadFences:
    options = ReadOptions(defaults=FenceDefaults(**defaults))  # type: ignore[arg-type]
    return read_fences(_table(name), options=options)


@pytest.mark.parametrize(
    ("workbook", "twin", "brand", "rows"),
    [
        ("seoul_starbucks_list.xlsx", "seoul_starbucks_df.csv", "스타벅스", 574),
        ("seoul_Ediya_list.xlsx", "seoul_Ediya_df.csv", "이디야", 720),
    ],
)
def test_coffee_shops_import_wholly_and_their_csv_twins_are_the_same(
    workbook: str, twin: str, brand: str, rows: int
) -> None:
    defaults = {"radius_m": 100.0, "brand": brand, "group": "커피"}
    found = _fences(f"seoul_coffee_xlsx/{workbook}", **defaults)
    assert (len(found.fences), found.problems) == (rows, [])
    assert [row for row, _ in found.fences] == list(range(2, rows + 2))
    assert found.unknown_headings == ("구",)
    assert {(f.brand, f.groups) for _, f in found.fences} == {(brand, ("커피",))}
    assert all(f.name == f.store and f.address for _, f in found.fences)

    again = _fences(f"seoul_coffee_xlsx/{twin}", **defaults)
    assert again.unknown_headings == ("(A)", "구")
    review = review_fences(again.fences, [f for _, f in found.fences], given=again.given)
    assert Counter(c.state for c in review.changes) == {RowState.SAME: rows}


def test_coffee_shops_go_out_and_come_back() -> None:
    found = _fences("seoul_coffee_xlsx/seoul_Ediya_list.xlsx", radius_m=100, brand="이디야")
    fences = [fence for _, fence in found.fences]
    rows = fences_to_rows(fences, lang="ko")
    for data in (to_xlsx(rows), to_csv(rows)):
        again = read_fences(read_file(data).tables[0])
        assert (again.problems, [fence for _, fence in again.fences]) == ([], fences)


@pytest.mark.parametrize(
    ("name", "rows", "first", "mapping"),
    [
        (
            "서울특별시 버스정류소 위치정보.csv",
            10_921,
            ("종로2가사거리", "01001", 126.9877862, 37.56976415),
            {"name": "정류소명", "external_id": "정류소번호", "lng": "X좌표", "lat": "Y좌표"},
        ),
        (
            "버스정류소현황.csv",
            34_585,
            ("3반상회앞", "239000307", 127.5214667, 37.81125),
            {"name": "정류소명", "external_id": "정류소id", "lng": "WGS84경도", "lat": "WGS84위도"},
        ),
    ],
)
def test_bus_stops(
    name: str, rows: int, first: tuple[str, str, float, float], mapping: dict[str, str]
) -> None:
    table = _table(f"korea_public_csv/{name}")
    assert (table.encoding, table.delimiter, len(table.rows)) == ("cp949", ",", rows + 1)
    options = ReadOptions(defaults=FenceDefaults(radius_m=50, group="정류장"))
    found = read_fences(table, options=options)
    assert (len(found.fences), found.problems) == (rows, [])
    assert found.mapping == mapping
    row, fence = found.fences[0]
    assert isinstance(fence.shape, CircleShape)
    assert row == 2
    assert (fence.name, fence.external_id, fence.shape.lon, fence.shape.lat) == first


STORES = "korea_public_csv/서울특별시 대규모점포 인허가 정보.csv"


def test_large_stores_in_metres_are_refused_row_by_row() -> None:
    found = _fences(STORES, radius_m=100)
    # 942 rows, 74 of them without coordinates, which miss two cells each
    assert Counter(p.code for p in found.problems) == {"projected_metres": 868, "missing": 148}
    assert (len(found.fences), len(found.refused)) == (0, 942)
    assert {p.heading for p in found.problems} == {"좌표정보(X)", "좌표정보(Y)"}
    assert len({p.row for p in found.problems if p.code == "missing"}) == 74
    assert all(p.proposal is not None for p in found.problems if p.code == "projected_metres")


def test_the_grid_of_the_large_stores_is_bessel_with_its_correction() -> None:
    found = _fences(STORES, radius_m=100)
    assert [(g.epsg, g.share, g.in_province) for g in found.grids] == [
        ("EPSG:5174", 1.0, 1.0),
        ("EPSG:2097", 1.0, 1.0),
        ("EPSG:5181", 1.0, 1.0),
    ]
    assert [round(g.apart_m) for g in found.grids] == [0, 255, 313]


@pytest.mark.parametrize(
    ("options", "lon"),
    [
        ({"accept": frozenset({"projected_metres"})}, 126.987645),
        ({"grid": "EPSG:5174"}, 126.987645),
        ({"grid": "EPSG:2097"}, 126.984755),
    ],
)
def test_large_stores_once_accepted(options: dict[str, Any], lon: float) -> None:
    defaults = FenceDefaults(radius_m=100, group="대형마트")
    found = read_fences(_table(STORES), options=ReadOptions(defaults=defaults, **options))
    assert (len(found.fences), dict(found.mended)) == (868, {"projected_metres": 868})
    assert Counter(p.code for p in found.problems) == {"missing": 148}
    row, fence = found.fences[0]
    assert isinstance(fence.shape, CircleShape)
    assert (row, fence.name, fence.external_id) == (2, "낙원상가", "2019300020207500001")
    assert fence.shape.lon == pytest.approx(lon, abs=1e-6)
    seoul = [f.shape for _, f in found.fences if isinstance(f.shape, CircleShape)]
    assert all(126.7 < s.lon < 127.3 and 37.4 < s.lat < 37.75 for s in seoul)


def test_the_starbucks_of_the_world_and_the_one_without_a_place() -> None:
    found = _fences("starbucks_world/directory.csv", radius_m=100)
    assert (len(found.fences), list(found.refused)) == (25_599, [8_030])
    assert [(p.row, p.heading, p.code) for p in found.problems] == [
        (8_030, "Latitude", "missing"),
        (8_030, "Longitude", "missing"),
        (8_030, "Store Number", "duplicate_external_id"),
    ]
    assert found.problems[2].value == "19773-160973"
    taken = [row for row, fence in found.fences if fence.external_id == "19773-160973"]
    assert [f"Row {row} " in found.problems[2].message() for row in taken] == [True]


def test_the_starbucks_of_korea_are_those_in_korea() -> None:
    table = _table("starbucks_world/directory.csv")
    country = table.rows[0].index("Country")
    options = ReadOptions(defaults=FenceDefaults(radius_m=100), countries=frozenset({"KR"}))
    found = read_fences(table, options=options)
    assert {table.rows[row - 1][country] for row, _ in found.fences} == {"KR"}
    assert len(found.fences) == 992
    assert Counter(p.code for p in found.problems)["outside_countries"] == 24_607


def test_trade_areas_of_a_shapefile_with_six_that_cross_themselves() -> None:
    folder = DATA / "seoul_trade_areas"
    if not folder.exists():
        pytest.skip("the real data is not here: shared/data/seoul_trade_areas")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for part in folder.glob("*영역-상권_.*"):
            archive.write(part, part.name)
    (table,) = read_file(packed.getvalue()).tables
    assert (table.kind, table.crs) == ("features", "EPSG:5181")
    mapping = {"TRDAR_CD_N": "name", "TRDAR_CD": "external_id"}
    found = read_fences(table, options=ReadOptions(mapping=mapping))
    assert (len(found.fences), len(found.refused)) == (1_644, 6)
    assert {(p.code, p.heading, p.proposal is not None) for p in found.problems} == {
        ("self_intersection", "geometry", True)
    }
    assert all(
        re.search(r"longitude 12[67]\.\d+, latitude 37\.\d+", p.message()) for p in found.problems
    )
    names = " ".join(identity.name or "" for identity in found.refused.values())
    for name in ("성수초등학교", "혜원여고", "중랑역", "도봉역", "홍은중학교", "마포구청역"):
        assert name in names
    accept = frozenset({"self_intersection"})
    mended = read_fences(table, options=ReadOptions(mapping=mapping, accept=accept))
    assert (len(mended.fences), mended.problems) == (1_650, [])
    assert dict(mended.mended) == {"self_intersection": 6}


def test_sixteen_sigungu_are_over_the_limit() -> None:
    found = _fences("korea_admin/skorea_municipalities_geo_simple.json")
    assert (len(found.fences), len(found.refused)) == (235, 16)
    assert {p.code for p in found.problems} == {"area_too_large"}
    refused = {identity.name for identity in found.refused.values()}
    assert {"김천시", "해남군"} <= refused
    assert {"횡성군", "울진군"} <= {fence.name for _, fence in found.fences}


def test_the_same_real_file_twice_changes_nothing() -> None:
    name = "korea_public_csv/버스정류소현황.csv"
    first, again = (_fences(name, radius_m=50, group="정류장") for _ in range(2))
    review = review_sheets([again], [fence for _, fence in first.fences])
    assert Counter(c.state for c in review.changes) == {RowState.SAME: 34_585}


def test_parks_have_their_wgs84_columns_read_not_the_metres() -> None:
    found = _fences("korea_public_csv/서울시 주요 공원현황.csv", radius_m=100)
    assert found.mapping["lat"] == "Y좌표(WGS84)"
    assert {"X좌표(GRS80TM)", "Y좌표(GRS80TM)"} <= set(found.unknown_headings)
    assert len(found.fences) == 131
    assert [p.code for p in found.problems] == ["missing", "missing"]

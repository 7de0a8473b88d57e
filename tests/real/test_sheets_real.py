"""Real spreadsheets: store lists of two chains, the bus stops of Seoul and Gyeonggi."""

from collections import Counter
from pathlib import Path

import pytest

from geo.fences.columns import FenceDefaults, ReadFences, ReadOptions, fences_to_rows, read_fences
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


def test_large_stores_in_metres_are_refused_row_by_row() -> None:
    found = _fences("korea_public_csv/서울특별시 대규모점포 인허가 정보.csv", radius_m=100)
    # 942 rows, 74 of them without coordinates, which miss two cells each
    assert Counter(p.code for p in found.problems) == {"projected_metres": 868, "missing": 148}
    assert (len(found.fences), len(found.refused)) == (0, 942)
    assert {p.heading for p in found.problems} == {"좌표정보(X)", "좌표정보(Y)"}


def test_parks_have_their_wgs84_columns_read_not_the_metres() -> None:
    found = _fences("korea_public_csv/서울시 주요 공원현황.csv", radius_m=100)
    assert found.mapping["lat"] == "Y좌표(WGS84)"
    assert {"X좌표(GRS80TM)", "Y좌표(GRS80TM)"} <= set(found.unknown_headings)
    assert len(found.fences) == 131
    assert [p.code for p in found.problems] == ["missing", "missing"]

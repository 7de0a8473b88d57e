"""The columns a fence sheet may have, and the headings they go by (product U3).

A new column is one entry here, and in `FIELDS` the field of a fence that it carries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from geo.fences.degrees import Degrees, read_degrees, read_kilometres, read_metres
from geo.fences.plain_cells import (
    plain_degrees,
    plain_groups,
    plain_metres,
    plain_tags,
    plain_texts,
)
from geo.sheets.cells import as_text, split_list
from geo.sheets.headings import Column
from geo.sheets.workbook import Cell

MAX_POLYGON_CELLS = 16  # 10,000 vertices of two 18-digit numbers and their marks


def _metric(axis: str) -> str:
    """Headings of an axis that speak of metres: the weakest aliases, after all that speak of degrees."""
    numbers = ["5174", "5179", "5181", "5186", "5187", "2097"]
    grids = ["tm", "utmk", "utm", "grs80", "grs80tm", "bessel", *numbers, *(f"epsg{n}" for n in numbers)]
    forms = (
        "{axis}({grid})",
        "{axis}좌표({grid})",
        "좌표{axis}({grid})",
        "{grid}_{axis}",
        "{grid}{axis}좌표",
    )
    return " ".join(form.format(axis=axis, grid=grid) for grid in grids for form in forms)


def _tags(cell: Cell) -> tuple[str, ...]:
    return split_list(as_text(cell) or "", commas=True)


def _groups(cell: Cell) -> tuple[str, ...]:
    return split_list(as_text(cell) or "")


def _degrees(cell: Cell) -> float | Degrees:
    """A number, or a number with the hemisphere that the cell names."""
    read = read_degrees(cell)
    return read if read.axis is not None else read.value


def _continued(n: int) -> Column:
    return Column(
        name=f"polygon_{n}",
        label_en=f"polygon {n}",
        label_ko=f"폴리곤 {n}",
        aliases=(f"wkt {n}", f"좌표 {n}"),
        clean=as_text,
        clean_all=plain_texts,
    )


def _column(
    name: str,
    label_ko: str,
    aliases: str,
    clean: Callable[[Cell], Any] = as_text,
    clean_all: Callable[[Sequence[Cell]], list[Any] | None] | None = plain_texts,
) -> Column:
    return Column(
        name=name,
        label_en=name,
        label_ko=label_ko,
        aliases=tuple(aliases.split()),
        clean=clean,
        clean_all=clean_all,
    )


#: one entry per column; the first alias of two that stand in one sheet wins
COLUMNS: tuple[Column, ...] = (
    _column(
        "name",
        "지오펜스명",
        "지오펜스 fence_name geofence geofence_name 지점명 지점 branch branch_name 상호 상호명 이름 "
        "명칭 장소명 사업장명 업소명 시설명 기관명 공원명 대여소 대여소명 정류소명 "
        "정류장명 place place_name title",
    ),
    _column(
        "external_id",
        "매장코드",
        "externalid code 코드 store_code store_id store_number 매장번호 매장id 지점코드 지점번호 "
        "점포코드 점포번호 외부id 관리번호 정류소id 정류장id 정류소번호",
    ),
    _column(
        "group", "그룹", "groups 그룹명 지오펜스그룹 fence_group geofence_group", _groups, plain_groups
    ),
    _column(
        "lat",
        "위도",
        "latitude wgs84위도 위도(wgs84) wgs84_lat y좌표(wgs84) y y좌표 좌표y 좌표정보(y) "
        + _metric("y"),
        _degrees,
        plain_degrees,
    ),
    _column(
        "lng",
        "경도",
        "lon long longitude wgs84경도 경도(wgs84) wgs84_lon wgs84_lng x좌표(wgs84) x x좌표 좌표x "
        "좌표정보(x) " + _metric("x"),
        _degrees,
        plain_degrees,
    ),
    _column(
        "radius_m",
        "반경(m)",
        "radius 반경 반지름 반경미터 반경(미터) 지오펜스반경",
        read_metres,
        plain_metres,
    ),
    _column("radius_km", "반경(km)", "radius(km) 반경킬로미터 반경(킬로미터)", read_kilometres, None),
    _column(
        "polygon", "폴리곤", "좌표 wkt geojson geometry geom shape 도형 영역 경계 coordinates points"
    ),
    *(_continued(n) for n in range(2, MAX_POLYGON_CELLS + 1)),
    _column("brand", "브랜드", "brand_name 브랜드명"),
    _column("category", "카테고리", "업종 업종명 분류 category_name"),
    _column("store", "매장명", "매장 점포명 점포 store_name shop shop_name"),
    _column(
        "address",
        "주소",
        "도로명주소 소재지도로명주소 지번주소 소재지지번주소 소재지 addr road_address full_address",
    ),
    _column("tags", "태그", "tag 태그목록", _tags, plain_tags),
    _column("memo", "비고", "메모 note notes remark remarks comment comments 참고"),
)
#: column → field of `Fence` that it carries, where it is not the shape
FIELDS = {
    "name": "name",
    "external_id": "external_id",
    "group": "groups",
    "brand": "brand",
    "category": "category",
    "store": "store",
    "address": "address",
    "tags": "tags",
    "memo": "metadata",
}
#: column name → column
BY_NAME = {column.name: column for column in COLUMNS}

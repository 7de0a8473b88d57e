"""Seoul's 1,650 trade areas (상권) as a layer, and the coffee shops that stand in them."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from geo.areas import AreaLayer, Repair
from geo.frames import layer_of, read_frame
from geo.measure import geodesic_area_m2, projected_area_m2

pytestmark = pytest.mark.real

DATA = Path(__file__).parents[2].parent / "shared/data"
INVALID = [
    "도봉역 2번",
    "마포구청역 7번",
    "성수초등학교",
    "중랑역 4번",
    "혜원여고",
    "홍은중학교",
]


def needed(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no real data: {name} is not in ../shared/data")
    return path


@pytest.fixture(scope="module")
def frame() -> Any:
    """The zipped Shapefile as an operator would upload it (EPSG:5181 by its .prj)."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for part in needed("seoul_trade_areas").glob("*영역-상권_.*"):
            archive.write(part, part.name)
    return read_frame(packed.getvalue())


@pytest.fixture(scope="module")
def read(frame: Any) -> tuple[AreaLayer, list[Repair]]:
    return layer_of(frame, name_column="TRDAR_CD_N", code_column="TRDAR_CD")


def test_all_1650_areas_are_read_and_6_of_them_mended(read: tuple[AreaLayer, list[Repair]]) -> None:
    layer, repairs = read
    assert len(layer.areas) == 1_650
    assert len({area.code for area in layer.areas}) == 1_650
    assert all(shapely.is_valid([area.geometry for area in layer.areas]))
    assert len(repairs) == 6
    for repair in repairs:
        assert "elf-intersection" in repair.fault
        assert repair.area_after_m2 == pytest.approx(repair.area_before_m2, rel=0.05)
    assert sorted(repair.name for repair in repairs) == INVALID


def test_measured_areas_agree_with_the_official_ones(
    frame: Any, read: tuple[AreaLayer, list[Repair]]
) -> None:
    layer, repairs = read
    mended = {repair.name for repair in repairs}
    off = []
    for area, official_m2 in zip(layer.areas, frame["RELM_AR"], strict=True):
        measured_m2 = projected_area_m2(area.geometry)
        if area.name not in mended:
            off.append(abs(measured_m2 / official_m2 - 1))
    assert len(off) == 1_644
    # the official figure is planar (EPSG:5181) and up to 7.6e-6 off the ellipsoid by itself
    assert max(off) <= 1.8e-4
    assert np.median(off) <= 1e-5


def test_both_ways_of_measuring_agree_on_trade_areas(read: tuple[AreaLayer, list[Repair]]) -> None:
    for area in read[0].areas[::25]:
        measured_m2 = projected_area_m2(area.geometry)
        assert measured_m2 == pytest.approx(geodesic_area_m2(area.geometry), rel=1e-6, abs=0.01)


def test_every_label_point_lies_in_its_own_area(
    frame: Any, read: tuple[AreaLayer, list[Repair]]
) -> None:
    import geopandas

    labels = geopandas.GeoSeries.from_xy(frame["XCNTS_VALU"], frame["YDNTS_VALU"], crs=5181).to_crs(4326)
    points, rows = read[0].holding(lon=labels.x.to_numpy(), lat=labels.y.to_numpy())
    assert set(range(1_650)) <= set(points[points == rows].tolist())


def test_468_of_574_coffee_shops_stand_in_504_trade_areas(
    frame: Any, read: tuple[AreaLayer, list[Repair]]
) -> None:
    text = needed("seoul_coffee_xlsx/seoul_starbucks_df.csv").read_text(encoding="utf-8-sig")
    stores = list(csv.DictReader(io.StringIO(text)))
    assert len(stores) == 574
    lon, lat = (np.array([float(store[column]) for store in stores]) for column in ("경도", "위도"))
    points, rows = read[0].holding(lon=lon, lat=lat)
    assert len(np.unique(points)) == 468
    assert len(points) == 504
    kinds = frame["TRDAR_SE_1"].to_numpy()[rows]
    counted = dict(
        zip(*(column.tolist() for column in np.unique(kinds, return_counts=True)), strict=True)
    )
    assert counted == {"골목상권": 52, "관광특구": 41, "발달상권": 399, "전통시장": 12}

"""The shipped demo data: made by its script byte for byte, and sound by our own rules."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import shapely
from pyproj import Geod

from geo.fences.columns import read_sheets
from geo.fences.fence import CircleShape
from geo.frames import layer_of, read_frame
from geo.sheets import workbook

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "fixtures" / "demo"
GEOD = Geod(ellps="WGS84")
MADE = ("stores.xlsx", "regions.geojson", "trade_areas.geojson", "water.geojson")


def rows() -> list[dict[str, Any]]:
    sheet = openpyxl.load_workbook(DEMO / "stores.xlsx").active
    assert sheet is not None
    headings = [str(cell.value) for cell in sheet[3]]
    return [
        dict(zip(headings, row, strict=True)) for row in sheet.iter_rows(min_row=4, values_only=True)
    ]


def areas(name: str) -> list[tuple[dict[str, str], shapely.Geometry]]:
    features = json.loads((DEMO / name).read_text())["features"]
    return [(one["properties"], shapely.geometry.shape(one["geometry"])) for one in features]


def radius_m(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(k?m)", text).groups()  # type: ignore[union-attr]
    return float(number) * (1000 if unit == "km" else 1)


def test_the_script_makes_the_shipped_files_byte_for_byte(tmp_path: Path) -> None:
    script = ROOT / "fixtures" / "make_demo.py"
    subprocess.run([sys.executable, str(script), "--out", str(tmp_path)], check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(MADE)
    for name in MADE:
        assert (tmp_path / name).read_bytes() == (DEMO / name).read_bytes(), name


def test_the_sheet_looks_like_a_head_offices() -> None:
    sheet = openpyxl.load_workbook(DEMO / "stores.xlsx").active
    assert sheet is not None
    assert [str(cell.value) for cell in sheet[3]] == [
        *("매장코드", "지오펜스명", "브랜드", "업종", "매장명", "주소"),
        *("위도", "경도", "반경", "그룹", "태그", "비고"),
    ]
    for title in (1, 2):
        assert [cell.value is not None for cell in sheet[title]] == [True] + [False] * 11


def test_every_store_can_be_accepted_and_told_apart() -> None:
    stores = rows()
    assert 290 <= len(stores) <= 330
    for key in ("매장코드", "지오펜스명"):
        assert Counter(store[key] for store in stores).most_common(1)[0][1] == 1
    for store in stores:
        assert 50.0 <= radius_m(store["반경"]) <= 50_000.0
        for key in ("브랜드", "업종", "매장명", "주소", "그룹"):
            assert store[key], (store["매장코드"], key)
    assert len({store["브랜드"] for store in stores}) == 9
    assert {store["업종"] for store in stores} == {"커피", "편의점", "베이커리", "화장품"}
    assert {"100m", "150m", "0.2km"} <= {store["반경"] for store in stores}


def test_our_own_reader_takes_every_row_and_every_area() -> None:
    (read,) = read_sheets(workbook.read((DEMO / "stores.xlsx").read_bytes()))
    assert read.problems == []
    assert read.unknown_headings == ()
    assert len(read.mapping) == 12
    stores = rows()
    assert [row for row, _ in read.fences] == list(range(4, 4 + len(stores)))
    for (_, fence), store in zip(read.fences, stores, strict=True):
        assert fence.shape == CircleShape(
            lon=store["경도"], lat=store["위도"], radius_m=radius_m(store["반경"])
        )
        assert fence.external_id == store["매장코드"]
        assert fence.tags == tuple((store["태그"] or "").split(",")) or not store["태그"]
    for name in ("regions.geojson", "trade_areas.geojson"):
        frame = read_frame((DEMO / name).read_bytes())
        layer, repairs = layer_of(frame, name_column="name", code_column="code")
        assert repairs == []
        assert len(layer.areas) == len(areas(name))


def test_every_store_lies_in_the_district_of_its_address_and_off_the_river() -> None:
    regions = areas("regions.geojson")
    ((_, river),) = areas("water.geojson")
    for store in rows():
        spot = shapely.Point(store["경도"], store["위도"])
        homes = [said for said, shape in regions if shape.buffer(2e-4).covers(spot)]
        names = {(said["city"], said["name"]) for said in homes}
        city = store["주소"].replace("경기도 ", "")[:2]
        district = store["주소"].split()[-3]
        assert (city, district) in names, store["매장코드"]
        assert not river.buffer(-2e-4).covers(spot)


def test_stores_stand_apart() -> None:
    stores = rows()
    lon, lat = [s["경도"] for s in stores], [s["위도"] for s in stores]
    tree = shapely.STRtree(shapely.points(lon, lat))
    for a, b in zip(*tree.query(tree.geometries, predicate="dwithin", distance=0.001), strict=True):
        if a < b:
            assert GEOD.inv(lon[a], lat[a], lon[b], lat[b])[2] > 44


@pytest.mark.parametrize("name", ["regions.geojson", "trade_areas.geojson", "water.geojson"])
def test_areas_are_valid_named_and_coded(name: str) -> None:
    layer = areas(name)
    assert len({said["code"] for said, _ in layer}) == len(layer)
    for said, shape in layer:
        assert said["name"]
        assert shape.is_valid, said["name"]
        assert not shape.has_z


def test_districts_share_the_land_without_laying_claim_to_each_others() -> None:
    shapes = [shape for _, shape in areas("regions.geojson")]
    tree = shapely.STRtree(shapes)
    for a, b in zip(*tree.query(shapes, predicate="intersects"), strict=True):
        if a < b:
            overlap_m2 = abs(GEOD.geometry_area_perimeter(shapes[a] & shapes[b])[0])
            assert overlap_m2 < 200_000  # corners rounded to ten metres


def test_trade_areas_hold_most_stores() -> None:
    tree = shapely.STRtree([shape for _, shape in areas("trade_areas.geojson")])
    spots = [shapely.Point(store["경도"], store["위도"]) for store in rows()]
    held = set(tree.query(spots, predicate="intersects")[0].tolist())
    assert 0.5 < len(held) / len(spots) < 0.98


def test_the_readme_tells_the_true_numbers_and_that_nothing_is_official() -> None:
    readme = (DEMO / "README.md").read_text()
    assert f"{len(rows())} stores" in readme
    assert f"{len(areas('regions.geojson'))} districts" in readme
    assert f"{len(areas('trade_areas.geojson'))} trade areas" in readme
    assert "No official boundaries" in readme
    for brand in {store["브랜드"] for store in rows()}:
        assert brand in readme

"""Geo files as they are found: trade areas in EPSG:5181, districts, tracks."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyproj
import pytest
import shapely

from geo.fences.shapes import ShapeRefused, read_wkt
from geo.sheets.problems import SheetRefused
from geo.sheets.table import FileOptions, ReadFile, SheetLimits
from nearcast.store.geo_files import read_features

pytestmark = pytest.mark.real
DATA = Path(__file__).parents[2].parent / "shared/data"
INVALID = ["성수초등학교", "혜원여고", "중랑역 4번", "도봉역 2번", "홍은중학교", "마포구청역 7번"]


def read(data: bytes, **options: str) -> ReadFile:
    return read_features(data, options=FileOptions(**options), limits=SheetLimits())


def folder(name: str) -> Path:
    if not (DATA / name).is_dir():
        pytest.skip(f"real data is not there: {DATA / name}")
    return DATA / name


def trade_areas(*, without: tuple[str, ...] = ()) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in sorted(folder("seoul_trade_areas").iterdir()):
            if part.suffix in (".shp", ".shx", ".dbf", ".prj", ".cpg") and part.suffix not in without:
                archive.write(part, f"상권/{part.name}")
    return packed.getvalue()


@pytest.mark.parametrize("without", [(), (".cpg",), (".cpg", ".prj")])
def test_trade_areas_are_reprojected(without: tuple[str, ...]) -> None:
    data = trade_areas(without=without)
    named = {"crs": "EPSG:5181"} if ".prj" in without else {}
    (table,) = read(data, **named).tables
    assert (len(table.rows) - 1, table.crs) == (1_650, "EPSG:5181")
    columns = dict(zip(table.rows[0], zip(*table.rows[1:], strict=True), strict=True))
    assert Counter(columns["TRDAR_SE_1"]) == {
        "골목상권": 1_090,
        "전통시장": 305,
        "발달상권": 249,
        "관광특구": 6,
    }
    areas = shapely.from_wkt(list(columns["geometry"]))
    # the label points of the publisher, in the same grid, lie in their own area
    x, y = (np.array([float(v) for v in columns[name]]) for name in ("XCNTS_VALU", "YDNTS_VALU"))
    lon, lat = pyproj.Transformer.from_crs(5181, 4326, always_xy=True).transform(x, y)
    assert shapely.intersects_xy(shapely.make_valid(areas), lon, lat).all()


def test_six_trade_areas_are_refused_as_fences_with_place_and_mend() -> None:
    (table,) = read(trade_areas()).tables
    name = table.rows[0].index("TRDAR_CD_N")
    refused: dict[str, ShapeRefused] = {}
    for row in table.rows[1:]:
        try:
            read_wkt(row[-1])
        except ShapeRefused as error:
            refused[str(row[name])] = error
    assert list(refused) == INVALID
    for error in refused.values():
        assert error.code == "self_intersection"
        assert error.place is not None
        assert 126.7 < error.place[0] < 127.2
        assert error.proposal is not None
        assert error.proposal.code == "mended"
        assert 0.01 < error.proposal.area_km2 < 1


def test_trade_areas_without_prj_ask_for_the_grid() -> None:
    with pytest.raises(SheetRefused) as caught:
        read(trade_areas(without=(".prj",)))
    assert caught.value.code == "crs_missing"
    assert "EPSG:5181" in caught.value.facts["hint"]


def test_sixteen_districts_are_over_the_limit() -> None:
    data = (folder("korea_admin") / "skorea_municipalities_geo_simple.json").read_bytes()
    (table,) = read(data).tables
    assert len(table.rows) - 1 == 251
    name = table.rows[0].index("name")
    outcomes: Counter[str] = Counter()
    over = set()
    for row in table.rows[1:]:
        try:
            read_wkt(row[-1])
            outcomes["read"] += 1
        except ShapeRefused as error:
            outcomes[error.code] += 1
            over.add(row[name])
    assert outcomes == {"read": 235, "area_too_large": 16}
    assert {"김천시", "해남군"} <= over
    assert not {"횡성군", "울진군"} & over


def test_topojson_says_what_is_taken_instead() -> None:
    data = (folder("korea_admin") / "skorea-municipalities-2018-topo-simple.json").read_bytes()
    with pytest.raises(SheetRefused) as caught:
        read(data)
    assert caught.value.code == "not_features"
    assert "TopoJSON" in caught.value.message


def test_every_gpx_is_listed_or_says_that_it_is_empty() -> None:
    outcomes = {}
    for path in sorted(folder("gpx_tracks").glob("*.gpx")):
        try:
            sheets = read(path.read_bytes()).sheets
            outcomes[path.name] = {s.name: (s.rows, s.taken) for s in sheets}
        except SheetRefused as error:
            outcomes[path.name] = {error.code: (0, False)}
    assert len(outcomes) == 28
    assert outcomes["unicode.gpx"]["waypoints"] == (6, True)
    assert outcomes["cerknicko-jezero.gpx"] == {
        "waypoints": (7, True),
        "routes": (0, False),
        "tracks": (8, False),
    }
    assert outcomes["route.gpx"]["routes"] == (1, True)
    assert outcomes["gpx1.1_with_all_fields.gpx"]["waypoints"] == (2, True)
    empty = {name for name, found in outcomes.items() if "empty" in found}
    assert empty == {"custom_schema_locations.gpx", "default_schema_locations.gpx"}

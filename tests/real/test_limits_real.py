"""The 1,000 km² limit on the 251 sigungu of Korea (KOSTAT 2013)."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from geo.fences.fence import PolygonShape
from geo.fences.refusals import AreaTooLarge, Note, ShapeRefused
from geo.fences.shapes import ReadShape, read_geojson
from geo.measure import geodesic_area_m2

pytestmark = pytest.mark.real

DATA = Path(__file__).parents[2].parent / "shared/data"

TOO_LARGE = [
    "강릉시",
    "경주시",
    "김천시",
    "봉화군",
    "삼척시",
    "상주시",
    "안동시",
    "영월군",
    "의성군",
    "인제군",
    "정선군",
    "춘천시",
    "평창군",
    "해남군",
    "홍천군",
    "화천군",
]


def features(name: str) -> list[dict[str, Any]]:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no real data: {name} is not in ../shared/data")
    return json.loads(path.read_text(encoding="utf-8"))["features"]


@pytest.fixture(scope="module")
def sigungu() -> dict[str, list[ReadShape | ShapeRefused]]:
    """Name → verdicts (a name like 중구 stands for several)."""
    verdicts: dict[str, list[ReadShape | ShapeRefused]] = {}
    for feature in features("korea_admin/skorea_municipalities_geo_simple.json"):
        try:
            verdict: ReadShape | ShapeRefused = read_geojson(feature)
        except ShapeRefused as refused:
            verdict = refused
        verdicts.setdefault(feature["properties"]["name"], []).append(verdict)
    return verdicts


def test_exactly_16_of_251_sigungu_are_refused_and_all_for_their_area(sigungu: dict[str, Any]) -> None:
    verdicts = [(name, verdict) for name, of_name in sigungu.items() for verdict in of_name]
    assert len(verdicts) == 251
    refused = [(name, verdict) for name, verdict in verdicts if isinstance(verdict, ShapeRefused)]
    assert Counter(verdict.code for _, verdict in refused) == {"area_too_large": 16}
    assert sorted(name for name, _ in refused) == TOO_LARGE
    assert all(isinstance(verdict, AreaTooLarge) for _, verdict in refused)


def test_the_others_are_taken_with_nothing_but_their_winding_turned(sigungu: dict[str, Any]) -> None:
    taken = [v for of_name in sigungu.values() for v in of_name if isinstance(v, ReadShape)]
    assert len(taken) == 235
    assert {read.notes for read in taken} == {(Note.WINDING_FIXED,)}


@pytest.mark.parametrize(("name", "area_km2"), [("횡성군", 996.66), ("울진군", 993.61)])
def test_the_largest_that_fit_are_taken(sigungu: dict[str, Any], name: str, area_km2: float) -> None:
    (read,) = sigungu[name]
    assert isinstance(read, ReadShape)
    assert read.area_km2 == pytest.approx(area_km2, abs=0.005)


def test_gimcheon_is_refused_with_its_measured_area_in_both_languages(sigungu: dict[str, Any]) -> None:
    (refused,) = sigungu["김천시"]
    assert refused.code == "area_too_large"
    assert refused.message == "The area is 1,002.44 km², 2.44 km² over the limit of 1,000 km²."
    assert refused.text("ko") == "넓이가 1,002.44 km²예요. 한도 1,000 km²를 2.44 km² 넘어요."


def test_both_ways_of_measuring_agree_on_every_sigungu(sigungu: dict[str, Any]) -> None:
    for read in (v for of_name in sigungu.values() for v in of_name if isinstance(v, ReadShape)):
        assert isinstance(read.shape, PolygonShape)
        assert geodesic_area_m2(read.shape.geometry) / 1e6 == pytest.approx(read.area_km2, rel=1e-6)


def test_seoul_of_2015_has_one_gu_that_crosses_itself_and_is_offered_mended() -> None:
    refusals = {}
    total_km2 = 0.0
    for feature in features("seoul_admin/juso_2015_seoul_municipalities_geo.json"):
        try:
            total_km2 += read_geojson(feature).area_km2
        except ShapeRefused as refused:
            refusals[feature["properties"]["SIG_KOR_NM"]] = refused
    assert set(refusals) == {"강서구"}
    refused = refusals["강서구"]
    assert refused.code == "self_intersection"
    assert refused.place == pytest.approx((126.82119, 37.56304), abs=1e-5)
    assert refused.proposal is not None
    assert abs(refused.proposal.area_change_km2 or 0.0) < 1e-6
    # 605.24 in the plane of EPSG:5179 (scale 0.9996); on the ellipsoid it is 605.70
    assert total_km2 + refused.proposal.area_km2 == pytest.approx(605.70, abs=0.01)

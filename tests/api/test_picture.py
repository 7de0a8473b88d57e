"""The map picture: true to scale, safe to embed, the right part of the world."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod

from api.console.map_frames import Frame, clusters, fit, graticule, scale_bar
from api.console.picture import (
    HEAT_PX,
    LEAST_RADIUS_PX,
    MapFence,
    MapRegion,
    map_svg,
    rings_of,
)

SVG = "{http://www.w3.org/2000/svg}"
GANGNAM = {"lon": 127.0276, "lat": 37.4979}


def box(west: float, south: float, east: float, north: float) -> tuple[np.ndarray, ...]:
    return rings_of(shapely.box(west, south, east, north))


def circle(name: str, lon: float, lat: float, radius_m: float = 100.0, value: float = 0.0) -> MapFence:
    return MapFence(name=name, lon=lon, lat=lat, radius_m=radius_m, value=value)


def drawn(svg: str, tag: str, css: str) -> list[ET.Element]:
    return [part for part in ET.fromstring(svg).iter(SVG + tag) if part.get("class") == css]


def test_a_circle_is_drawn_true_to_the_scale_bar() -> None:
    svg = map_svg(
        fences=[circle("가", radius_m=800.0, **GANGNAM), circle("나", 127.06, 37.52)], width=900
    )
    big = max(drawn(svg, "ellipse", "map-fence"), key=lambda shape: float(shape.get("ry", "0")))
    words = [part.text or "" for part in drawn(svg, "text", "map-ink")]
    bar_m = next(float(w.split()[0]) * (1000 if "km" in w else 1) for w in words if w.endswith("m"))
    bar_px = float(drawn(svg, "path", "map-rule")[0].get("d", "").split("h")[1].split("v")[0])
    assert float(big.get("ry", "0")) == pytest.approx(800 * bar_px / bar_m, rel=0.01)
    assert float(big.get("rx", "0")) == pytest.approx(float(big.get("ry", "0")), rel=0.005)


def test_distances_in_the_frame_agree_with_the_geodesic() -> None:
    geod = Geod(ellps="WGS84")
    for lon, lat in ((127.0, 37.5), (-70.0, -53.2), (179.99, 64.9), (0.0, 0.0)):
        frame = Frame(lon=lon, lat=lat, px_per_m=1.0, x=0, y=0, width=100, height=100)
        for azimuth in range(0, 360, 30):
            to_lon, to_lat, _ = geod.fwd(lon, lat, azimuth, 5_000)
            px, py = frame.project(np.array([[to_lon, to_lat]]))[0]
            assert math.hypot(px - 50, py - 50) == pytest.approx(5_000, rel=0.01)


def test_a_small_fence_stays_visible() -> None:
    svg = map_svg(fences=[circle("가", 126.8, 37.4, 50.0), circle("나", 127.2, 37.7, 50.0)])
    sizes = [float(shape.get("ry", "0")) for shape in drawn(svg, "ellipse", "map-fence")]
    assert sizes == [LEAST_RADIUS_PX] * 2


def test_a_polygon_keeps_its_holes() -> None:
    ring = shapely.Point(127.0, 37.5).buffer(0.02) - shapely.Point(127.0, 37.5).buffer(0.01)
    svg = map_svg(fences=[MapFence(name="고리", lon=127.015, lat=37.5, rings=rings_of(ring))])
    (path,) = drawn(svg, "path", "map-fence")
    assert path.get("d", "").count("M") == path.get("d", "").count("Z") == 2
    assert path.get("fill-rule") == "evenodd"


def test_heat_grows_by_area_with_the_value_and_none_is_drawn_for_nothing() -> None:
    fences = [
        circle("많음", 127.00, 37.50, value=400.0),
        circle("적음", 127.02, 37.50, value=100.0),
        circle("없음", 127.04, 37.50, value=0.0),
    ]
    heat = [float(disc.get("r", "0")) for disc in drawn(map_svg(fences=fences), "circle", "map-heat")]
    low, high = HEAT_PX
    assert heat[:2] == pytest.approx([high, math.sqrt(low**2 + (high**2 - low**2) / 4)], abs=0.06)
    calm = map_svg(fences=[fences[2]])
    assert not drawn(calm, "circle", "map-heat")
    assert "방문" not in calm


def test_visits_given_by_name_replace_the_values() -> None:
    fences = [circle("가", 127.0, 37.5, value=9.0), circle("나", 127.01, 37.5, value=9.0)]
    svg = map_svg(fences=fences, visits_by_fence={"나": 3.0})
    said = {title.text for title in ET.fromstring(svg).iter(SVG + "title")}
    assert {"가", "나 · 3"} <= said


def test_nothing_in_a_name_becomes_markup() -> None:
    evil = "<script>alert(1)</script>\"' onload=x \x00\x0b\ud800 & co"
    svg = map_svg(
        fences=[circle(evil, 127.0, 37.5, value=2.0)],
        regions=[MapRegion(name=evil, city=evil, rings=box(126.0, 37.0, 128.0, 38.0))],
    )
    tree = ET.fromstring(svg)
    assert not [part for part in tree.iter() if "script" in part.tag]
    names = [title.text for title in tree.iter(SVG + "title")]
    assert any(name and "<script>alert(1)</script>\"' onload=x  & co" in name for name in names)
    svg.encode()


def test_the_svg_passes_a_strict_content_policy() -> None:
    svg = map_svg(fences=[circle("가", 127.0, 37.5, value=2.0), circle("부산", 129.06, 35.16)])
    for part in ET.fromstring(svg).iter():
        assert part.tag in {
            SVG + tag for tag in ("svg", "title", "rect", "path", "circle", "ellipse", "text")
        }
        names = set(part.keys())
        assert not names & {"style", "href", "{http://www.w3.org/1999/xlink}href"}
        assert not [name for name in names if name.startswith("on")]
        assert "url(" not in " ".join(part.attrib.values())


def test_the_largest_city_is_the_main_frame_and_others_stand_beside_it() -> None:
    seoul = [circle(f"서울 {n}", 126.95 + 0.01 * n, 37.55) for n in range(9)]
    busan = [circle(f"부산 {n}", 129.05 + 0.01 * n, 35.16) for n in range(4)]
    regions = [
        MapRegion(name="강남구", city="서울", rings=box(126.9, 37.4, 127.2, 37.7)),
        MapRegion(name="해운대구", city="부산", rings=box(129.0, 35.1, 129.2, 35.3)),
    ]
    root = ET.fromstring(map_svg(fences=[*busan, *seoul], regions=regions))
    frames = list(root.findall(SVG + "svg"))
    assert [len(list(frame.iter(SVG + "ellipse"))) for frame in frames] == [9, 4]
    assert float(frames[0].get("width", "0")) > 2 * float(frames[1].get("width", "0"))
    captions = drawn(ET.tostring(root, encoding="unicode"), "text", "map-caption")
    assert [caption.text for caption in captions] == ["부산 4곳"]


def test_what_is_not_drawn_is_counted() -> None:
    spots = [circle(f"도시 {n}", 100.0 + 5 * n, 10.0) for n in range(7)]
    assert "3 more are in the table" in map_svg(fences=spots, lang="en")
    crowd = [circle(f"{n}", 127 + n * 1e-5, 37.5, value=n) for n in range(2_005)]
    svg = map_svg(fences=crowd)
    assert "그 밖의 5곳은 표에 있어요" in svg
    assert len(drawn(svg, "ellipse", "map-fence")) == 2_000
    assert "<title>4 · 4</title>" not in svg
    assert "<title>5 · 5</title>" in svg


def test_no_fence_gives_a_calm_word() -> None:
    assert "아직 그릴 지오펜스가 없어요" in map_svg(fences=[])
    assert "No geofences to draw yet" in map_svg(fences=[], lang="en")


def test_region_names_stand_inside_their_region_or_not_at_all() -> None:
    tiny = MapRegion(name="아주작은동네이름", rings=box(127.02, 37.5, 127.0201, 37.5001))
    wide = MapRegion(name="넓은구", rings=box(126.9, 37.4, 127.2, 37.6))
    water = MapRegion(name="한강", kind="water", rings=box(126.9, 37.49, 127.2, 37.495))
    svg = map_svg(fences=[circle("가", **GANGNAM)], regions=[wide, tiny, water])
    assert [name.text for name in drawn(svg, "text", "map-name")] == ["넓은구"]
    assert len(drawn(svg, "path", "map-water")) == 1


def test_a_city_across_180_degrees_is_one_frame() -> None:
    fences = [circle("서", 179.99, -16.8), circle("동", -179.99, -16.8)]
    shapes = drawn(map_svg(fences=fences, width=1000), "ellipse", "map-fence")
    west, east = sorted(float(shape.get("cx", "nan")) for shape in shapes)
    assert 0 < west < east < 1000
    assert not drawn(map_svg(fences=fences), "text", "map-caption")


@given(
    st.lists(
        st.tuples(
            st.one_of(st.sampled_from([-180.0, 180.0, 179.99999, 0.0]), st.floats(-180, 180)),
            st.one_of(st.sampled_from([-89.9, 89.9, 0.0]), st.floats(-89.9, 89.9)),
            st.sampled_from([50.0, 100.0, 50_000.0]),
        ),
        min_size=1,
        max_size=12,
    )
)
@settings(deadline=None, max_examples=60)
def test_every_fence_of_a_frame_lies_inside_it(spots: list[tuple[float, float, float]]) -> None:
    points = np.array([spot[:2] for spot in spots])
    reach_m = np.array([spot[2] for spot in spots])
    groups = clusters(points)
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(spots)))
    for rows in groups:
        if np.ptp(points[rows, 1]) > 5:
            continue  # a chain of far-apart stores bends too much for one plane
        frame = fit(points[rows], reach_m[rows], x=0, y=0, width=600, height=400)
        px = frame.project(points[rows])
        assert (px >= -1e-6).all()
        assert (px <= (600 + 1e-6, 400 + 1e-6)).all()
    ET.fromstring(map_svg(fences=[circle(str(n), *spot) for n, spot in enumerate(spots)]))


def test_scale_bars_and_nets_take_round_steps() -> None:
    assert scale_bar(0.1, 120.0) == (pytest.approx(100.0), "1 km")
    assert scale_bar(1.0, 120.0) == (pytest.approx(100.0), "100 m")
    assert scale_bar(0.02, 120.0) == (pytest.approx(100.0), "5 km")
    frame = Frame(lon=127.0, lat=37.5, px_per_m=0.02, x=0, y=0, width=700, height=600)
    lons, lats = graticule(frame, 120.0)
    assert lons == [126.9, 127.0, 127.1]
    assert all(37.36 < lat < 37.64 for lat in lats)

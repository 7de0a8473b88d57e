"""Shapes in and out: what is mended with a note, what is refused and where, and hostile input."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from geo.antimeridian import unwrap
from geo.fences.fence import CircleShape, PolygonShape, Shape
from geo.fences.refusals import MESSAGES, NOTES, Note, ShapeRefused
from geo.fences.shapes import (
    ReadShape,
    read_form,
    read_geojson,
    read_text,
    read_wkt,
    representative_point,
    to_geojson,
    to_wkt,
)

SQUARE = [[127.0, 37.0], [127.1, 37.0], [127.1, 37.1], [127.0, 37.1], [127.0, 37.0]]
HOLE = [[127.02, 37.02], [127.02, 37.04], [127.04, 37.04], [127.04, 37.02], [127.02, 37.02]]
BOW_TIE = [[127.0, 37.0], [127.1, 37.1], [127.1, 37.0], [127.0, 37.08], [127.0, 37.0]]


def polygon(*rings: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def refusal(value: object) -> ShapeRefused:
    with pytest.raises(ShapeRefused) as refused:
        read_geojson(value)
    return refused.value


def geometry(shape: Shape) -> Any:
    assert isinstance(shape, PolygonShape)
    return shape.geometry


# --- what is mended, with a note and no change of area ---


def test_a_square_in_order_needs_no_note() -> None:
    read = read_geojson(polygon(SQUARE, HOLE))
    assert read.notes == ()
    assert geometry(read.shape).equals(shapely.Polygon(SQUARE, [HOLE]))
    assert read.area_km2 == pytest.approx(98.73 - 3.95, abs=0.1)


@pytest.mark.parametrize(
    ("rings", "notes"),
    [
        ([SQUARE[:-1]], [Note.RING_CLOSED]),
        ([SQUARE[::-1]], [Note.WINDING_FIXED]),
        ([SQUARE, HOLE[::-1]], [Note.WINDING_FIXED]),
        ([[SQUARE[0], *SQUARE, SQUARE[-1]]], [Note.REPEATED_POINTS_DROPPED]),
        ([[[*p, 12.5] for p in SQUARE]], [Note.Z_DROPPED]),
        ([[[*p, 12.5, 1.0] for p in SQUARE]], [Note.Z_DROPPED]),
        (
            [[[*p, 0] for p in SQUARE[:-1][::-1]], HOLE[:-1]],
            [Note.RING_CLOSED, Note.WINDING_FIXED, Note.Z_DROPPED],
        ),
    ],
)
def test_mending_is_noted_and_changes_no_area(rings: list[Any], notes: list[Note]) -> None:
    read = read_geojson(polygon(*rings))
    assert list(read.notes) == notes
    whole = read_geojson(polygon(SQUARE, HOLE) if len(rings) > 1 else polygon(SQUARE))
    assert read.area_km2 == pytest.approx(whole.area_km2, rel=1e-12)
    assert geometry(read.shape).equals(geometry(whole.shape))


@settings(max_examples=60)
@given(
    corners=st.lists(st.integers(0, 999), min_size=3, max_size=9, unique=True),
    turn=st.booleans(),
    opened=st.booleans(),
    start=st.integers(0, 8),
    again=st.integers(0, 8),
    lon=st.sampled_from([0.0, 126.9, 180.0, -180.0, 179.95]),
    lat=st.sampled_from([0.0, 37.5, -37.5, 65.0, 89.7, -89.8]),
)
def test_closing_winding_start_and_repeats_change_nothing(
    corners: list[int], turn: bool, opened: bool, start: int, again: int, lon: float, lat: float
) -> None:
    angles = np.sort(np.array(corners)) * 2 * np.pi / 1000
    ring = np.column_stack([lon + 0.1 * np.cos(angles), lat + 0.1 * np.sin(angles)])
    ring[:, 0] = np.where(
        np.abs(ring[:, 0]) > 180, ring[:, 0] - np.copysign(360, ring[:, 0]), ring[:, 0]
    )
    plain = ring.tolist()
    given_ring = np.roll(ring, start, axis=0).tolist()
    given_ring.insert(again % len(plain), given_ring[again % len(plain)])
    given_ring = given_ring[::-1] if turn else given_ring
    try:
        expected = read_geojson(polygon(plain))
    except ShapeRefused:  # three corners of a thousandth can be one line, and touch or enclose a pole
        assume(False)
    read = read_geojson(polygon(given_ring if opened else [*given_ring, given_ring[0]]))
    assert read.area_km2 == pytest.approx(expected.area_km2, rel=1e-9)
    assert geometry(read.shape).equals(geometry(expected.shape))
    assert Note.REPEATED_POINTS_DROPPED in read.notes
    assert (Note.RING_CLOSED in read.notes) == (opened and given_ring[0] != given_ring[-1])


def test_the_normal_form_has_shells_counter_clockwise_and_holes_clockwise() -> None:
    read = read_geojson(polygon(SQUARE[::-1], HOLE[::-1]))
    kept = geometry(read.shape)
    assert kept.exterior.is_ccw
    assert not kept.interiors[0].is_ccw


def test_a_feature_and_json_text_are_taken() -> None:
    feature = {"type": "Feature", "properties": None, "geometry": polygon(SQUARE)}
    assert read_geojson(feature) == read_geojson(polygon(SQUARE))
    assert read_geojson(json.dumps(feature)) == read_geojson(polygon(SQUARE))


# --- across 180° and at the poles ---


def test_a_ring_that_jumps_at_180_is_split_there() -> None:
    ring = [[179.9, 1], [-179.9, 1], [-179.9, 1.1], [179.9, 1.1], [179.9, 1]]
    read = read_geojson(polygon(ring))
    assert read.notes == (Note.ANTIMERIDIAN_SPLIT,)
    assert geometry(read.shape).bounds == (-180, 1, 180, 1.1)
    same = read_geojson(polygon([[x - 100 if x > 0 else x + 260, y] for x, y in ring]))
    assert read.area_km2 == pytest.approx(same.area_km2, rel=1e-9)
    assert unwrap(geometry(read.shape)).equals(shapely.box(179.9, 1, 180.1, 1.1))


def test_a_hole_across_180_stands_in_its_shell_whichever_way_it_is_written() -> None:
    shell = [[179.9, 0], [-179.9, 0], [-179.9, 0.2], [179.9, 0.2], [179.9, 0]]
    crossing = [[179.95, 0.05], [179.95, 0.15], [-179.95, 0.15], [-179.95, 0.05], [179.95, 0.05]]
    beyond = [[-179.95, 0.05], [-179.95, 0.15], [-179.92, 0.15], [-179.95, 0.05]]
    whole = read_geojson(polygon(shell)).area_km2
    assert read_geojson(polygon(shell, crossing)).area_km2 == pytest.approx(0.75 * whole, rel=1e-5)
    assert len(unwrap(geometry(read_geojson(polygon(shell, beyond)).shape)).interiors) == 1


def test_a_shape_split_by_its_writer_is_one_place_again() -> None:
    east = [[179.9, 0], [180, 0], [180, 0.1], [179.9, 0.1], [179.9, 0]]
    west = [[-180, 0], [-179.9, 0], [-179.9, 0.1], [-180, 0.1], [-180, 0]]
    read = read_geojson({"type": "MultiPolygon", "coordinates": [[east], [west]]})
    assert read.notes == ()
    assert unwrap(geometry(read.shape)).equals(shapely.box(179.9, 0, 180.1, 0.1))


def test_180_and_minus_180_are_one_meridian() -> None:
    mixed = [[179.9, 0], [-180, 0], [180, 0.1], [179.9, 0.1], [179.9, 0]]
    assert geometry(read_geojson(polygon(mixed)).shape).bounds == (179.9, 0, 180, 0.1)


@pytest.mark.parametrize("lat", [89.0, -89.0, 10.0])
def test_an_odd_number_of_jumps_encloses_a_pole(lat: float) -> None:
    refused = refusal(polygon([[0, lat], [120, lat], [-120, lat], [0, lat]]))
    assert refused.code == "encloses_pole"
    assert refused.pointer == "/coordinates/0"


def test_an_outline_wider_than_the_world_is_refused() -> None:
    spiral = [[(x + 180) % 360 - 180, x / 1e4] for x in range(0, 500, 20)]
    back = [[(x + 180) % 360 - 180, x / 1e4 + 1e-3] for x in range(480, -20, -20)]
    assert refusal(polygon(spiral + back)).code == "too_wide"


# --- what is refused, and where ---

CASES: list[tuple[str, object, str]] = [
    ("wrong_type", {"type": "Point", "coordinates": [1, 2]}, "/type"),
    ("wrong_type", {"type": "polygon", "coordinates": [SQUARE]}, "/type"),
    ("wrong_type", {"type": "GeometryCollection", "geometries": [polygon(SQUARE)]}, "/type"),
    ("wrong_type", {"type": ["Polygon"], "coordinates": [SQUARE]}, "/type"),
    ("wrong_type", {"type": "FeatureCollection", "features": []}, "/type"),
    ("malformed", {"type": "Feature", "geometry": None}, "/geometry"),
    ("malformed", None, ""),
    ("malformed", [SQUARE], ""),
    ("malformed", "{", ""),
    ("malformed", polygon("ring"), "/coordinates/0"),
    ("malformed", {"type": "Polygon"}, "/coordinates"),
    ("malformed", polygon([[127, 37], "x", [127, 38]]), "/coordinates/0/1"),
    ("malformed", polygon([[127, 37], [127], [128, 38]]), "/coordinates/0/1"),
    ("malformed", polygon([[127, 37], ["128", 37], [128, 38]]), "/coordinates/0/1/0"),
    ("malformed", polygon([[127, 37], [128, True], [128, 38]]), "/coordinates/0/1/1"),
    ("malformed", polygon([[127, 37], [128, None], [128, 38]]), "/coordinates/0/1/1"),
    ("too_deep", polygon([SQUARE]), "/coordinates/0/0/0"),
    ("too_deep", "[" * 200_000, ""),
    ("empty", polygon(), "/coordinates"),
    ("empty", polygon([]), "/coordinates/0"),
    ("empty", polygon(SQUARE, []), "/coordinates/1"),
    ("empty", {"type": "MultiPolygon", "coordinates": []}, "/coordinates"),
    ("empty", {"type": "MultiPolygon", "coordinates": [[]]}, "/coordinates/0"),
    ("too_few_points", polygon([[127, 37], [128, 37], [127, 37]]), "/coordinates/0"),
    ("too_few_points", polygon([[127, 37]] * 9), "/coordinates/0"),
    ("too_few_points", polygon([[180, 1], [-180, 1], [179, 1]]), "/coordinates/0"),
    ("no_area", polygon([[127, 37], [128, 38], [129, 39]]), "/coordinates/0"),
    ("not_finite", polygon([[127, 37], [math.nan, 37], [128, 38]]), "/coordinates/0/1/0"),
    ("not_finite", polygon([[127, 37], [128, -math.inf], [128, 38]]), "/coordinates/0/1/1"),
    ("not_finite", polygon([[127, 37], [128, 10**400], [128, 38]]), "/coordinates/0/1/1"),
    ("out_of_range", polygon([[127, 37], [180.1, 37], [128, 38]]), "/coordinates/0/1"),
    ("out_of_range", polygon([[127, 37], [128, 37], [128, -90.001]]), "/coordinates/0/2"),
    ("self_intersection", polygon(BOW_TIE), "/coordinates/0"),
    ("self_intersection", polygon(SQUARE, HOLE, HOLE), "/coordinates"),
    ("hole_outside_shell", polygon(SQUARE, [[128, 38], [128.1, 38], [128, 38.1]]), "/coordinates"),
]


@pytest.mark.parametrize(("code", "value", "pointer"), CASES)
def test_a_refusal_names_its_code_and_its_place(code: str, value: object, pointer: str) -> None:
    refused = refusal(value)
    assert (refused.code, refused.pointer) == (code, pointer)
    feature = {"type": "Feature", "geometry": value}
    if isinstance(value, dict) and value.get("type") in ("Polygon", "MultiPolygon"):
        assert refusal(feature).pointer == f"/geometry{pointer}"


def test_the_cases_reach_every_code_that_reading_geojson_can_give() -> None:
    elsewhere = {
        "radius_missing",  # read_form
        "radius_too_small",
        "radius_too_large",
        "area_too_large",
        "too_large",  # texts
        "too_many_vertices",
        "encloses_pole",
        "too_wide",
    }
    assert {code for code, _, _ in CASES} | elsewhere == set(MESSAGES)


def test_every_message_and_note_speaks_both_languages() -> None:
    for english, korean in [*MESSAGES.values(), *NOTES.values()]:
        assert english.isascii() or "…" in english or "°" in english or "²" in english or "±" in english
        assert any("가" <= letter <= "힣" for letter in korean)
    refused = refusal(polygon([[127, 37], [128, 95], [128, 38]]))
    assert refused.message == refused.text("en") == refused.text()
    assert "Point 2" in refused.message
    assert "2번째 점" in refused.text("ko")
    assert refused.text("en") == refused.message
    assert set(NOTES) == set(Note)
    assert Note.RING_CLOSED.code == "ring_closed"
    assert Note.RING_CLOSED.text("ko") == "열린 고리를 닫았어요."


def test_10000_vertices_are_taken_and_one_more_is_not() -> None:
    around = np.linspace(0, 2 * np.pi, 10_002)[:-1]
    ring = np.column_stack([127 + 0.1 * np.cos(around), 37 + 0.1 * np.sin(around)]).tolist()
    most = ring[:10_000]
    assert len(geometry(read_geojson(polygon([*most, most[0]])).shape).exterior.coords) == 10_001
    assert read_geojson(polygon(most)).notes == (Note.RING_CLOSED,)
    refused = refusal(polygon(ring))
    assert refused.code == "too_many_vertices"
    assert "10,001 vertices; at most 10,000" in refused.message
    two = {"type": "MultiPolygon", "coordinates": [[ring[:6_000]], [ring[4_000:]]]}
    assert refusal(two).code == "too_many_vertices"


# --- proposals ---


def test_a_bow_tie_is_refused_at_its_crossing_with_a_way_to_mend_it() -> None:
    refused = refusal(polygon(BOW_TIE))
    assert refused.place == pytest.approx((127.0444, 37.0444), abs=1e-4)
    offered = refused.proposal
    assert offered is not None
    assert offered.code == "mended"
    assert len(geometry(offered.shape).geoms) == 2
    again = read_geojson(to_geojson(offered.shape))
    assert again.notes == ()
    assert again.area_km2 == offered.area_km2
    # two lobes, one of which counted negative in the outline as drawn
    lobes = sorted(read_wkt(part.wkt).area_km2 for part in geometry(offered.shape).geoms)
    assert offered.area_km2 == pytest.approx(sum(lobes), rel=1e-9)
    assert offered.area_change_km2 == pytest.approx(2 * lobes[0], rel=1e-4)
    assert offered.area_change_percent == pytest.approx(200 * lobes[0] / (lobes[1] - lobes[0]), rel=1e-4)
    assert "km²" in offered.text("en")
    assert "고치면" in offered.text("ko")


def test_equal_lobes_leave_no_area_to_compare_with() -> None:
    tie = [[0.0, -0.05], [0.1, 0.05], [0.1, -0.05], [0.0, 0.05], [0.0, -0.05]]
    offered = refusal(polygon(tie)).proposal
    assert offered is not None
    assert offered.area_change_km2 == pytest.approx(offered.area_km2, rel=1e-6)
    assert offered.area_change_percent is None


def test_a_crossing_beyond_180_has_its_place_and_proposal_in_range() -> None:
    tie = [[179.95, 0], [-179.9, 0.1], [-179.9, 0], [179.95, 0.1], [179.95, 0]]
    refused = refusal(polygon(tie))
    assert refused.place == pytest.approx((-179.975, 0.05))
    assert refused.proposal is not None
    assert geometry(refused.proposal.shape).bounds == pytest.approx((-180, 0, 180, 0.1))
    assert geometry(refused.proposal.shape).is_valid


def test_parts_that_overlap_are_offered_as_one() -> None:
    other = [[x + 0.05, y] for x, y in SQUARE]
    refused = refusal({"type": "MultiPolygon", "coordinates": [[SQUARE], [other]]})
    assert refused.code == "self_intersection"
    assert refused.proposal is not None
    union = shapely.box(127, 37, 127.15, 37.1)
    assert geometry(refused.proposal.shape).symmetric_difference(union).area < 1e-12
    once = read_geojson(polygon(SQUARE)).area_km2
    assert refused.proposal.area_change_km2 == pytest.approx(-once / 2, rel=1e-6)


def test_parts_that_overlap_only_across_180_are_found() -> None:
    jumps = [[179.9, 0], [-179.9, 0], [-179.9, 0.1], [179.9, 0.1], [179.9, 0]]
    inside = [[-180, 0], [-179.95, 0], [-179.95, 0.05], [-180, 0.05], [-180, 0]]
    refused = refusal({"type": "MultiPolygon", "coordinates": [[jumps], [inside]]})
    assert refused.code == "self_intersection"
    assert refused.proposal is not None


def test_nothing_is_proposed_beyond_the_limits() -> None:
    tie = [[x * 10 - 1143, y * 10 - 333] for x, y in BOW_TIE]
    refused = refusal(polygon(tie))
    assert refused.code == "self_intersection"
    assert refused.proposal is None


def test_a_tangle_is_refused_quickly_and_without_a_proposal() -> None:
    tangle = np.random.default_rng(7).uniform(0, 0.2, (9_999, 2)).tolist()
    refused = refusal(polygon(tangle))
    assert refused.code == "self_intersection"
    assert refused.proposal is None


def test_swapped_coordinates_are_offered_the_right_way_round() -> None:
    refused = refusal(polygon([[y, x] for x, y in SQUARE]))
    assert refused.code == "out_of_range"
    assert "swapped" in refused.message
    assert refused.proposal is not None
    assert refused.proposal.code == "swapped"
    assert geometry(refused.proposal.shape).equals(shapely.Polygon(SQUARE))
    assert refused.proposal.area_change_km2 is None
    assert refused.proposal.area_change_percent is None
    assert refusal(polygon([[300, 37], [301, 37], [301, 38]])).proposal is None


# --- circles from form fields ---


def test_a_form_gives_a_circle() -> None:
    read = read_form(lat=37.4979, lng=127.0276, radius_m=150)
    assert read.shape == CircleShape(lon=127.0276, lat=37.4979, radius_m=150.0)
    assert read.area_km2 == pytest.approx(math.pi * 0.15**2, rel=1e-6)
    assert read_form(lat=0, lng=180, radius_m=50).shape == CircleShape(
        lon=-180.0, lat=0.0, radius_m=50.0
    )


@pytest.mark.parametrize(
    ("fields", "code", "pointer"),
    [
        ({"lat": None, "lng": 127, "radius_m": 100}, "radius_missing", ""),
        ({"lat": 37, "lng": 127, "radius_m": None}, "radius_missing", ""),
        ({"lat": "37", "lng": 127, "radius_m": 100}, "malformed", "/lat"),
        ({"lat": 37, "lng": True, "radius_m": 100}, "malformed", "/lng"),
        ({"lat": 37, "lng": 127, "radius_m": math.nan}, "not_finite", "/radius_m"),
        ({"lat": math.inf, "lng": 127, "radius_m": 100}, "not_finite", "/lat"),
        ({"lat": 37, "lng": 10**400, "radius_m": 100}, "not_finite", "/lng"),
        ({"lat": 90.0001, "lng": 0, "radius_m": 100}, "out_of_range", "/lat"),
        ({"lat": 37, "lng": -180.0001, "radius_m": 100}, "out_of_range", "/lng"),
        ({"lat": [37], "lng": 127, "radius_m": 100}, "too_deep", "/lat"),
    ],
)
def test_a_form_that_is_no_circle_is_refused_at_its_field(
    fields: dict[str, Any], code: str, pointer: str
) -> None:
    with pytest.raises(ShapeRefused) as refused:
        read_form(**fields)
    assert (refused.value.code, refused.value.pointer) == (code, pointer)


def test_a_swapped_centre_is_offered_within_the_given_bound() -> None:
    with pytest.raises(ShapeRefused) as refused:
        read_form(lat=127.0276, lng=37.4979, radius_m=150)
    assert refused.value.proposal is not None
    assert refused.value.proposal.shape == CircleShape(lon=127.0276, lat=37.4979, radius_m=150.0)
    with pytest.raises(ShapeRefused) as refused:
        read_form(lat=127.0276, lng=37.4979, radius_m=150, max_radius_m=100)
    assert refused.value.proposal is None


# --- WKT and text ---


@pytest.mark.parametrize(
    "text",
    [
        "POLYGON ((127 37, 127.1 37, 127.1 37.1, 127 37.1, 127 37))",
        "polygon((127 37,127.1 37,127.1 37.1,127 37.1))",
        " SRID=4326;POLYGON Z ((127 37 5, 127.1 37 5, 127.1 37.1 5, 127 37.1 5, 127 37 5)) ",
        "POLYGONZ((127 37 5, 127.1 37 5, 127.1 37.1 5, 127 37.1 5, 127 37 5))",
        "MULTIPOLYGON(((1.27e2 37., +127.1 37, 127.1 37.1, 127 37.1, 127 37)))",
        "POLYGON ZM((127 37 1 2, 127.1 37 1 2, 127.1 37.1 1 2, 127 37.1 1 2, 127 37 1 2))",
    ],
)
def test_wkt_of_every_spelling_is_the_same_square(text: str) -> None:
    assert geometry(read_wkt(text).shape).equals(shapely.Polygon(SQUARE))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("POINT (1 2)", "wrong_type"),
        ("GEOMETRYCOLLECTION (POLYGON ((0 0, 1 0, 1 1, 0 0)))", "wrong_type"),
        ("POLYGON EMPTY", "empty"),
        ("MULTIPOLYGON EMPTY", "empty"),
        ("POLYGON", "malformed"),
        ("POLYGON ()", "malformed"),
        ("POLYGON ((0 0, 1 0, 1 1, 0 0)", "malformed"),
        ("POLYGON ((0 0, 1 0, 1 1, 0 0))) ", "malformed"),
        ("POLYGON ((0 0, 1 0, 1 1, 0 0)) POLYGON", "malformed"),
        ("POLYGON ((0 0, , 1 0, 1 1))", "malformed"),
        ("POLYGON (0 0, 1 0, 1 1)", "malformed"),
        ("POLYGON ((0 0 (1 0), 1 1))", "malformed"),
        ("POLYGON ((0 0, 1 x, 1 1))", "malformed"),
        ("POLYGON ((0 0, 1_0 0, 1 1))", "malformed"),
        ("SRID=5179;POLYGON ((0 0, 1 0, 1 1))", "malformed"),
        ("", "malformed"),
        ("((0 0, 1 0, 1 1))", "malformed"),
        ("POLYGON ((0 0, 1 nan, 1 1))", "not_finite"),
        ("POLYGON ((0 0, 1 -Infinity, 1 1))", "not_finite"),
        ("POLYGON (((0 0, 1 0, 1 1)))", "too_deep"),
        ("POLYGON " + "(" * 1_000_000, "too_deep"),
        ("POLYGON ((0 0, 1 " + "1" * 1_000_000 + "))", "malformed"),
        (" " * (8 << 20) + "x", "too_large"),
        (b"POLYGON ((0 0, 1 0, 1 1))", "malformed"),
    ],
)
def test_wkt_that_is_no_polygon_is_refused(text: object, code: str) -> None:
    with pytest.raises(ShapeRefused) as refused:
        read_wkt(text)
    assert refused.value.code == code


def test_wkt_is_read_as_shapely_reads_it() -> None:
    pierced = "(1 1, 1.2 1, 1.2 1.2, 1 1.2, 1 1), (1.05 1.05, 1.05 1.1, 1.1 1.1, 1.05 1.05)"
    text = f"MULTIPOLYGON (((0 0, 0.1 0, 0.1 0.1, 0 0)), ({pierced}))"
    assert geometry(read_wkt(text).shape).equals(shapely.from_wkt(text))


@pytest.mark.parametrize(
    "text",
    [
        "37,127;37,127.1;37.1,127.1;37.1,127",
        "37, 127; 37, 127.1; 37.1, 127.1; 37.1, 127; 37, 127;",
        "37 127\n37 127.1\n37.1\t127.1\n37.1 127\n",
    ],
)
def test_text_gives_latitude_first(text: str) -> None:
    assert geometry(read_text(text).shape).equals(shapely.Polygon(SQUARE))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty"),
        (" ; ;", "empty"),
        ("37,127;37,128", "too_few_points"),
        ("37,127;37;38,128", "malformed"),
        ("37,127,5;37,128,5;38,128,5", "malformed"),
        ("37,x;37,128;38,128", "malformed"),
        ("37,nan;37,128;38,128", "not_finite"),
        ("127,37;127.1,37;127.1,37.1", "out_of_range"),
        (37.0, "malformed"),
    ],
)
def test_text_that_is_no_outline_is_refused(text: object, code: str) -> None:
    with pytest.raises(ShapeRefused) as refused:
        read_text(text)
    assert refused.value.code == code


# --- out again ---


@pytest.mark.parametrize(
    "value",
    [
        polygon(SQUARE, HOLE),
        polygon([[179.9, 1], [-179.9, 1], [-179.9, 1.1], [179.9, 1.1]]),
        {"type": "MultiPolygon", "coordinates": [[SQUARE], [[[x + 1, -y] for x, y in SQUARE]]]},
    ],
)
def test_what_goes_out_comes_in_again_to_the_last_bit(value: dict[str, Any]) -> None:
    shape = read_geojson(value).shape
    for read in (read_geojson(json.dumps(to_geojson(shape))), read_wkt(to_wkt(shape))):
        assert read.notes == ()
        assert geometry(read.shape).equals_exact(geometry(shape), tolerance=0)


@pytest.mark.parametrize("lat", [0.0, 37.5, 65.0, -65.0, 89.8, -89.9])
@pytest.mark.parametrize("lon", [127.0, 180.0, -179.999])
def test_a_drawn_circle_is_valid_geojson_in_range(lat: float, lon: float) -> None:
    for radius_m in (50.0, 50_000.0):
        shape = read_form(lat=lat, lng=lon, radius_m=radius_m).shape
        drawn = shapely.geometry.shape(to_geojson(shape))
        assert drawn.is_valid
        assert drawn.bounds[0] >= -180
        assert drawn.bounds[2] <= 180
        assert all(part.exterior.is_ccw for part in shapely.get_parts(drawn))
        assert drawn.equals(shapely.from_wkt(to_wkt(shape)))


def test_the_number_of_points_of_a_drawn_circle_is_chosen() -> None:
    shape = read_form(lat=37, lng=127, radius_m=100).shape
    assert len(to_geojson(shape)["coordinates"][0]) == 65
    assert len(to_geojson(shape, circle_points=16)["coordinates"][0]) == 17


@pytest.mark.parametrize(
    "value",
    [
        polygon(SQUARE, HOLE),
        polygon([[179.9, 1], [-179.99, 1], [-179.99, 1.1], [179.9, 1.1]]),
        polygon([[179.99, 1], [-179.9, 1], [-179.9, 1.1], [179.99, 1.1]]),
        polygon([[0, 0], [0.2, 0], [0.2, 0.2], [0.19, 0.2], [0.19, 0.01], [0, 0.01]]),
    ],
)
def test_the_representative_point_of_a_polygon_lies_in_it(value: dict[str, Any]) -> None:
    shape = read_geojson(value).shape
    lon, lat = representative_point(shape)
    assert -180 <= lon < 180
    assert geometry(shape).contains(shapely.Point(lon, lat))


def test_the_representative_point_of_a_circle_is_its_centre() -> None:
    assert representative_point(read_form(lat=-90, lng=12, radius_m=50).shape) == (12.0, -90.0)


# --- hostile input ---

LEAVES = (
    st.none()
    | st.booleans()
    | st.floats(allow_nan=True)
    | st.integers(-(10**400), 10**400)
    | st.text(max_size=5)
    | st.sampled_from([180, -180, 180.0000001, 90, -90, 1e308, -0.0, 5e-324])
)
POSITIONS = st.lists(st.floats(-181, 181) | LEAVES, max_size=4) | st.tuples(
    st.sampled_from([-180, -179.9, 0, 0.1, 179.9, 180]), st.sampled_from([-90, 0, 0.1, 0.2, 90])
)
TREES = st.recursive(LEAVES | POSITIONS, lambda inner: st.lists(inner, max_size=6), max_leaves=30)
RINGS = st.lists(POSITIONS, max_size=8)
COORDINATES = TREES | st.lists(RINGS, max_size=3) | st.lists(st.lists(RINGS, max_size=2), max_size=3)
TYPES = st.sampled_from(["Polygon", "MultiPolygon"]) | LEAVES | st.sampled_from(["Feature", "Point"])
GEOMETRIES = st.fixed_dictionaries({}, optional={"type": TYPES, "coordinates": COORDINATES})
JSONS = (
    GEOMETRIES
    | TREES
    | st.fixed_dictionaries({"type": st.just("Feature")}, optional={"geometry": GEOMETRIES})
)


def sound(read: ReadShape) -> None:
    """Whatever was taken is in normal form and reads back as it is."""
    kept = geometry(read.shape)
    assert kept.is_valid
    assert not kept.is_empty
    assert kept.bounds[0] >= -180
    assert kept.bounds[2] <= 180
    again = read_geojson(to_geojson(read.shape))
    assert again.notes == ()
    assert geometry(again.shape).equals_exact(kept, tolerance=0)


def judged(read: Callable[[object], ReadShape], value: object) -> ShapeRefused | None:
    """The refusal, or None if the value was taken, soundly. Anything else is raised."""
    try:
        sound(read(value))
    except ShapeRefused as refused:
        return refused
    return None


@settings(max_examples=400)
@given(JSONS)
@example({"type": "Polygon", "coordinates": [[[-180, 0], [180, 0], [0, 0.1], [-180, 0]]]})
@example({"type": "Polygon", "coordinates": [[[0, -90], [180, -90], [-180, 90]]]})
def test_no_json_raises_anything_but_a_refusal(value: object) -> None:
    refused = judged(read_geojson, value)
    if refused is None:
        return
    assert refused.code in MESSAGES
    assert refused.text("en") != refused.text("ko")
    if refused.proposal is not None:
        sound(read_geojson(to_geojson(refused.proposal.shape)))


WORDS = st.sampled_from(
    [
        "POLYGON",
        "MULTIPOLYGON",
        "(",
        ")",
        "((",
        "))",
        ",",
        ";",
        "\n",
        " ",
        "0 0",
        "0.1,0",
        "0 0.1",
        "1e999",
        "nan",
        "Z",
        "EMPTY",
        "[",
        "]",
        "{",
        "}",
        '"type":',
        '"Polygon"',
        '"coordinates":',
    ]
)


@settings(max_examples=300)
@given(st.lists(WORDS, max_size=25).map("".join) | st.text(max_size=30))
@example("POLYGON((0 0,0.1 0,0 0.1))")
def test_no_text_raises_anything_but_a_refusal(text: str) -> None:
    for read in (read_wkt, read_text, read_geojson):
        refused = judged(read, text)
        assert refused is None or refused.code in MESSAGES

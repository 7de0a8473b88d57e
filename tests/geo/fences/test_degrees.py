"""Degrees and metres as people write them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo.fences.degrees import Degrees, read_degrees, read_kilometres, read_metres
from geo.sheets.problems import CellRefused
from geo.sheets.workbook import Cell

DMS = 37 + 29 / 60 + 52.44 / 3600


@pytest.mark.parametrize(
    ("cell", "value", "axis"),
    [
        (37.4979, 37.4979, None),
        (-33, -33.0, None),
        ("37.4979", 37.4979, None),
        ("37,4979", 37.4979, None),
        ("３７．４９７９", 37.4979, None),
        ("\u00a037.4979\u3000", 37.4979, None),
        ("-33.86", -33.86, None),
        ("−33.86", -33.86, None),
        ("37.4979°", 37.4979, None),
        ("37.4979도", 37.4979, None),
        ("37.4979°N", 37.4979, "lat"),
        ("37.4979 N", 37.4979, "lat"),
        ("N37.4979", 37.4979, "lat"),
        ("33.86S", -33.86, "lat"),
        ("127.0276E", 127.0276, "lng"),
        ("W 73.5", -73.5, "lng"),
        ("북위 37.4979", 37.4979, "lat"),
        ("동경 127.0276°", 127.0276, "lng"),
        ("서경 73.5", -73.5, "lng"),
        ("3.74979E1", 37.4979, None),  # an exponent, not the east
        ("37°29'52.44\"", DMS, None),
        ("37° 29' 52.44\"", DMS, None),
        ("37°29′52.44″N", DMS, "lat"),
        ("37º29’52,44”", DMS, None),
        ("37도 29분 52.44초", DMS, None),
        ("37°29'52.44''", DMS, None),
        ("37:29:52.44", DMS, None),
        ("37 29 52.44", DMS, None),
        ("37°29.874'", 37 + 29.874 / 60, None),
        ("37 29.874", 37 + 29.874 / 60, None),
        ("-37°29'52.44\"", -DMS, None),
        ("37°29'52.44\"S", -DMS, "lat"),
        ("37°", 37.0, None),
        ("0", 0.0, None),
        ("200", 200.0, None),  # the range is judged with both numbers in hand
    ],
)
def test_degrees(cell: Cell, value: float, axis: str | None) -> None:
    read = read_degrees(cell)
    assert read.axis == axis
    assert read.value == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("서울", "not_a_number"),
        ("", "not_a_number"),
        ("N", "not_a_number"),
        ("NaN", "not_a_number"),
        ("-inf", "not_a_number"),
        ("1e400", "not_a_number"),
        ("-37.5S", "not_a_number"),
        ("37.49.79", "not_a_number"),
        ("37°60'00\"", "minutes_out_of_range"),
        ("37 29 60", "minutes_out_of_range"),
        ("37.4979, 127.0276", "two_numbers"),
        ("127.0276 / 37.4979", "two_numbers"),
        (True, "not_a_number"),
    ],
)
def test_what_are_no_degrees(cell: Cell, code: str) -> None:
    with pytest.raises(CellRefused) as refused:
        read_degrees(cell)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "cell",
    [
        "37.4979, 127.0276",
        "37.4979,127.0276",
        "127.0276;37.4979",
        "37.4979 127.0276",
        "(37.4979, 127.0276)",
        "[127.0276, 37.4979]",
        "37.4979N, 127.0276E",
        "127.0276°E 37.4979°N",
        "N37.4979 E127.0276",
        "북위 37.4979, 동경 127.0276",
        "동경127.0276 북위37.4979",
        "３７．４９７９，１２７．０２７６",
    ],
)
def test_two_numbers_are_proposed_for_two_columns(cell: str) -> None:
    with pytest.raises(CellRefused) as refused:
        read_degrees(cell)
    assert refused.value.proposal is not None
    assert refused.value.proposal.values == {"lat": 37.4979, "lng": 127.0276}


@given(st.floats(-180, 180))
def test_every_double_reads_back_from_its_text(value: float) -> None:
    assert read_degrees(repr(value)) == Degrees(value)


@given(st.integers(0, 179), st.integers(0, 59), st.integers(0, 59_999), st.sampled_from("NSEW"))
def test_degrees_minutes_seconds(degrees: int, minutes: int, thousandths: int, letter: str) -> None:
    seconds = thousandths / 1000
    read = read_degrees(f"{degrees}°{minutes}'{seconds}\"{letter}")
    sign = -1 if letter in "SW" else 1
    assert math.isclose(read.value, sign * (degrees + minutes / 60 + seconds / 3600), abs_tol=1e-12)


@pytest.mark.parametrize(
    ("cell", "metres"),
    [
        (500, 500.0),
        (49.99, 49.99),
        ("500", 500.0),
        ("500m", 500.0),
        ("500 M", 500.0),
        ("500미터", 500.0),
        ("1.5km", 1500.0),
        ("1,5km", 1500.0),
        ("1,500", 1500.0),
        ("1,500m", 1500.0),
        ("１.５ｋｍ", 1500.0),
        ("1.5㎞", 1500.0),
        ("1.5 킬로미터", 1500.0),
        ("반경 500m", 500.0),
        ("반경: 0.5km", 500.0),
        ("r=300", 300.0),
        ("radius 300 meters", 300.0),
        ("5e2", 500.0),
        ("-50", -50.0),  # refused by the limits, which name the bound
    ],
)
def test_metres(cell: Cell, metres: float) -> None:
    assert read_metres(cell) == pytest.approx(metres, abs=1e-9)


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("넓게", "not_a_number"),
        ("", "not_a_number"),
        ("0.3mi", "unknown_unit"),
        ("300ft", "unknown_unit"),
        ("500m²", "not_a_number"),
        ("1..5km", "not_a_number"),
        (False, "not_a_number"),
    ],
)
def test_what_are_no_metres(cell: Cell, code: str) -> None:
    with pytest.raises(CellRefused) as refused:
        read_metres(cell)
    assert refused.value.code == code


@pytest.mark.parametrize(("cell", "metres"), [(1.5, 1500.0), ("1.5", 1500.0), ("500m", 500.0)])
def test_a_unit_in_the_cell_overrules_the_heading(cell: Cell, metres: float) -> None:
    assert read_kilometres(cell) == metres


@pytest.mark.parametrize(
    ("cell", "values"),
    [
        ("33.86S, 151.21E", {"lat": -33.86, "lng": 151.21}),
        ("2.35E 48.85N", {"lat": 48.85, "lng": 2.35}),
        ("2.35, 48.85", {"lat": 2.35, "lng": 48.85}),
    ],
)
def test_which_of_two_numbers_is_which(cell: str, values: dict[str, float]) -> None:
    with pytest.raises(CellRefused) as refused:
        read_degrees(cell)
    assert refused.value.proposal is not None
    assert refused.value.proposal.values == values


@pytest.mark.parametrize("cell", ["37.4979, 127.0276, 12.5", "37.4979, 서울", "37.4979,", "1.5 2"])
def test_what_are_no_two_numbers(cell: str) -> None:
    with pytest.raises(CellRefused) as refused:
        read_degrees(cell)
    assert refused.value.code == "not_a_number"

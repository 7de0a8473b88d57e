"""Metres of a projected grid: which one, and which place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod, Transformer

from geo.fences.countries import country_at, known_countries
from geo.fences.grids import GridGuess, Metres, grid_of, guess_grids, is_grid, places_in

GEOD = Geod(ellps="WGS84")
#: name, longitude, latitude, address: places all over the country
TOWNS = [
    ("강남역", 127.0276, 37.4979, "서울특별시 강남구 강남대로 396"),
    ("서면", 129.0593, 35.1577, "부산광역시 부산진구 중앙대로"),
    ("동성로", 128.5956, 35.8691, "대구 중구 동성로"),
    ("둔산", 127.3845, 36.3504, "대전광역시 서구 둔산로 100"),
    ("충장로", 126.9164, 35.1480, "광주 동구 충장로"),
    ("전주", 127.1480, 35.8242, "전라북도 전주시 완산구"),
    ("춘천", 127.7298, 37.8813, "강원특별자치도 춘천시"),
    ("제주", 126.5312, 33.4996, "제주특별자치도 제주시"),
]


def _metres(epsg: int, places, *, turned=False, addressed=True, headings=()) -> Metres:
    to_grid = Transformer.from_crs(4326, epsg, always_xy=True)
    x, y = to_grid.transform([p[1] for p in places], [p[2] for p in places])
    lng, lat = (y, x) if turned else (x, y)
    return Metres(
        lat=np.array(lat),
        lng=np.array(lng),
        places=[(None, n) for n in range(2, len(places) + 2)],
        addresses=[p[3] if addressed else None for p in places],
        headings=headings,
    )


def _apart_m(guess: GridGuess, metres: Metres, places) -> float:
    lat, lng = places_in(guess, metres.lat, metres.lng)
    return max(
        GEOD.inv(lng[n], lat[n], lon_deg, lat_deg)[2]
        for n, (_, lon_deg, lat_deg, _) in enumerate(places)
    )


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("epsg", [5174, 5179, 5181, 5186, 5187, 5185, 5176, 2097, 32652, 3857])
def test_with_addresses_the_true_grid_is_found_or_one_beside_it(epsg, turned):
    metres = _metres(epsg, TOWNS, turned=turned)
    guesses = guess_grids(metres)
    assert f"EPSG:{epsg}" in [guess.epsg for guess in guesses]
    # what is put first lies no farther off than grids that nothing offline can tell apart
    assert _apart_m(guesses[0], metres, TOWNS) < 500
    assert guesses[0].northing_in_lng is turned
    true = next(guess for guess in guesses if guess.epsg == f"EPSG:{epsg}")
    assert (true.share, true.in_province) == (1.0, 1.0)
    assert _apart_m(true, metres, TOWNS) < 0.01
    assert true.apart_m < 500


def test_bessel_tm_comes_with_its_neighbours_and_their_distances():
    guesses = guess_grids(_metres(5174, TOWNS[:1]))
    assert [guess.epsg for guess in guesses] == ["EPSG:5174", "EPSG:2097", "EPSG:5181"]
    assert [round(guess.apart_m) for guess in guesses] == [0, 256, 313]
    assert guesses[0].sample[0].row == 2


@pytest.mark.parametrize(
    ("headings", "first"),
    [
        ((), "EPSG:5174"),
        (("X(2097)", "Y(2097)"), "EPSG:2097"),
        (("X좌표(GRS80TM)", "Y좌표(GRS80TM)"), "EPSG:5181"),
        (("좌표정보(X)", "좌표정보(Y)"), "EPSG:5174"),
    ],
)
def test_a_heading_decides_between_grids_that_fit_alike(headings, first):
    assert guess_grids(_metres(5174, TOWNS, headings=headings))[0].epsg == first


def test_a_heading_does_not_outweigh_the_addresses():
    metres = _metres(5186, TOWNS, headings=("X(5181)", "Y(5181)"))
    assert guess_grids(metres)[0].epsg == "EPSG:5186"


def test_without_addresses_the_country_still_decides():
    places = [town for town in TOWNS if town[0] in ("강남역", "춘천")]
    found = guess_grids(_metres(5186, places, addressed=False))
    # as EPSG:5181 they would lie beyond the border in the north
    assert found[0].epsg == "EPSG:5186"
    assert found[0].in_province is None


def test_a_grid_of_no_one_country_is_judged_by_the_countries_of_the_workspace():
    tokyo = [("도쿄", 139.7671, 35.6812, None)]
    metres = _metres(3857, tokyo)
    assert [g.epsg for g in guess_grids(metres, countries=frozenset({"JP"}))] == ["EPSG:3857"]
    assert guess_grids(metres) == ()
    assert guess_grids(_metres(5174, TOWNS), countries=frozenset({"JP"})) == ()


@pytest.mark.parametrize(
    ("lat", "lng"),
    [
        ([1e9], [1e9]),
        ([-1e300], [1e300]),
        ([374979.0], [1270276.0]),
        ([], []),
    ],
)
def test_numbers_of_no_grid(lat, lng):
    metres = Metres(lat=np.array(lat), lng=np.array(lng), places=[(None, 2)], addresses=[None])
    assert guess_grids(metres) == ()


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("EPSG:5174", True),
        ("EPSG:5179", True),
        ("EPSG:2263", True),
        ("EPSG:4326", False),
        ("EPSG:999999", False),
        ("5174", False),
        ("+proj=tmerc", False),
        ("EPSG:5174 ", False),
        ("", False),
    ],
)
def test_which_names_are_grids(name, good):
    assert is_grid(name) is good
    found = grid_of(name, _metres(5174, TOWNS))
    assert (found is not None) is good


def test_the_named_grid_finds_the_order_of_its_axes():
    for turned in (False, True):
        found = grid_of("EPSG:5181", _metres(5181, TOWNS, turned=turned))
        assert found is not None
        assert (found.northing_in_lng, found.share) == (turned, 1.0)


@given(
    st.floats(-3e7, 3e7), st.floats(-3e7, 3e7), st.sampled_from(["EPSG:5174", "EPSG:3857", "EPSG:32652"])
)
def test_a_place_is_on_the_map_or_none(lat, lng, epsg):
    guess = GridGuess(epsg=epsg, name="", northing_in_lng=False, share=0.0)
    (lat_deg,), (lng_deg,) = places_in(guess, np.array([lat]), np.array([lng]))
    assert np.isnan(lat_deg) == np.isnan(lng_deg)
    assert np.isnan(lat_deg) or (abs(lat_deg) <= 90 and abs(lng_deg) <= 180)


@pytest.mark.parametrize(
    ("lon", "lat", "code"),
    [
        (126.978, 37.5665, "KR"),
        (126.5312, 33.4996, "KR"),
        (131.8665, 37.2426, "KR"),  # Dokdo
        (125.7625, 39.0392, "KP"),
        (139.7671, 35.6812, "JP"),
        (114.1694, 22.3193, "HK"),
        (-74.006, 40.7128, "US"),
        (0.0, 0.0, None),
    ],
)
def test_countries(lon, lat, code):
    assert country_at(lon=lon, lat=lat) == code
    assert code is None or code in known_countries()

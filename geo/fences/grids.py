"""Metres of a projected grid: in which one could they be given, and which place is meant (U5)?

A number alone does not name its grid. What speaks for one: its places lie in the country for which it
was made, and in the province that their addresses name. Grids that differ by a few hundred metres
(EPSG:5174, 2097, 5181) cannot be told apart that way; of those the more usual one comes first, and
the message says by how far the others are off.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import CRSError

from geo.fences.countries import country_at

Floats = NDArray[np.float64]
Box = tuple[float, float, float, float]  # west, south, east, north in degrees

KOREA: Box = (124.0, 32.5, 132.0, 38.8)
#: the grids of Korea, the more usual one of two that both fit first; EPSG:5174 before 2097, since public
#: data that say "Bessel TM" mostly mean the one with the correction of 10.405" (seen on large stores)
_KOREAN = (
    5179, 5174, 2097, 5181, 5186, 5185, 5187, 5188, 5173, 5175, 5176, 5178,
    5180, 5182, 5183, 5184, 2096, 2098,
)  # fmt: skip
_WIDER = (32652, 32651, 3857)
#: where places are looked for when nothing says where they lie
HOME = frozenset({"KR"})
_BESSEL = frozenset({5173, 5174, 5175, 5176, 5178, 2096, 2097, 2098})
_UNIFIED = frozenset({5178, 5179})
_SAMPLED = 400
_LEAST_SHARE = 0.5
_GEOD = Geod(ellps="WGS84")
_EPSG = re.compile(r"(?<!\d)(\d{4,5})(?!\d)")
_NAMED = re.compile(r"EPSG:\d{4,6}\Z", re.ASCII)
_MARGIN_DEG = 0.02
#: first two letters of an address → where it can lie: the provinces of Korea, generously
_PROVINCES: dict[str, Box] = {
    "서울": (126.76, 37.42, 127.19, 37.71),
    "부산": (128.74, 34.87, 129.32, 35.40),
    "대구": (128.34, 35.60, 128.90, 36.33),
    "인천": (124.60, 36.90, 126.80, 37.99),
    "광주": (126.64, 35.05, 127.03, 35.26),
    "대전": (127.24, 36.18, 127.57, 36.50),
    "울산": (128.95, 35.31, 129.48, 35.74),
    "세종": (127.12, 36.40, 127.42, 36.74),
    "경기": (126.37, 36.89, 127.86, 38.30),
    "강원": (127.08, 37.02, 129.37, 38.62),
    "충북": (127.26, 36.00, 128.65, 37.26),
    "충남": (125.90, 35.97, 127.65, 37.07),
    "전북": (125.90, 35.28, 127.93, 36.16),
    "전남": (125.00, 33.90, 127.90, 35.52),
    "경북": (127.79, 35.56, 131.90, 37.26),
    "경남": (127.56, 34.48, 129.24, 35.92),
    "제주": (126.10, 33.10, 127.00, 34.01),
}
_OLD_NAMES = {
    "충청북": "충북",
    "충청남": "충남",
    "전라북": "전북",
    "전라남": "전남",
    "경상북": "경북",
    "경상남": "경남",
}


@dataclass(frozen=True, kw_only=True)
class GridSample:
    """Where one row would lie."""

    sheet: str | None
    row: int
    lat: float
    lng: float


@dataclass(frozen=True, kw_only=True)
class GridGuess:
    """One grid in which the metres of a file may be given.

    Attributes:
        epsg: such as `EPSG:5174`; `ReadOptions.grid` takes it.
        name: the grid's own name in the EPSG registry.
        northing_in_lng: the column read as longitude (X) holds northings, the other one eastings.
        share: of the rows in metres (of 400 of them, where there are more), how many lie in the
            country for which the grid was made.
        in_province: of those with an address that names its province, how many lie there; None where
            no row has one.
        apart_m: distance between the place of the first sample and where the best guess puts it.
        sample: three rows that fit.
    """

    epsg: str
    name: str
    northing_in_lng: bool
    share: float
    in_province: float | None = None
    apart_m: float = 0.0
    sample: tuple[GridSample, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Metres:
    """The rows of a file whose coordinates are no degrees.

    Attributes:
        lat, lng: what stands in the two columns.
        places: sheet and row of each.
        addresses: of each, None where there is none.
        headings: the headings of the two columns, which may name the grid.
    """

    lat: Floats
    lng: Floats
    places: Sequence[tuple[str | None, int]]
    addresses: Sequence[str | None]
    headings: Sequence[str] = ()


def guess_grids(metres: Metres, *, countries: frozenset[str] = HOME) -> tuple[GridGuess, ...]:
    """The grids that fit at least half of the rows, the best one first.

    Args:
        countries: where the places may lie; the grids of Korea are tried only if it is among them.
    """
    if not len(metres.lat):
        return ()
    grids = (*_KOREAN, *_WIDER) if "KR" in countries else _WIDER
    at = np.unique(np.linspace(0, len(metres.lat) - 1, _SAMPLED).astype(np.int64))
    some = replace(
        metres,
        lat=metres.lat[at],
        lng=metres.lng[at],
        places=[metres.places[n] for n in at],
        addresses=[metres.addresses[n] for n in at],
    )
    found = [
        guess
        for epsg in grids
        for turned in (False, True)
        if (guess := _guess(epsg, some, countries, turned=turned)) is not None
    ]
    hinted = _hinted(metres.headings)
    order = {f"EPSG:{epsg}": n for n, epsg in enumerate(grids)}
    found.sort(key=lambda g: (-round(_score(g), 2), g.epsg not in hinted, order[g.epsg]))
    best = _score(found[0]) if found else 0.0
    return _with_distances([g for g in found if _score(g) >= 0.75 * best])


def grid_of(epsg: str, metres: Metres) -> GridGuess | None:
    """The grid that the user names, its axes in the order that fits better; None: it is none.

    Any projected grid of the EPSG registry is taken, also one that `guess_grids` does not know.
    """
    if not is_grid(epsg):
        return None
    number = int(epsg.removeprefix("EPSG:"))
    straight, turned = (_counted(number, metres, frozenset(), turned=way) for way in (False, True))
    return turned if _score(turned) > _score(straight) else straight


def is_grid(epsg: str) -> bool:
    """Whether this names a projected grid, as in `EPSG:5174`."""
    if not _NAMED.match(epsg):
        return False
    try:
        return bool(CRS.from_epsg(int(epsg.removeprefix("EPSG:"))).is_projected)
    except CRSError:
        return False


def places_in(guess: GridGuess, lat: Floats, lng: Floats) -> tuple[Floats, Floats]:
    """(lat, lng) in WGS84 degrees; NaN where the grid was not made for the place.

    Args:
        lat, lng: metres as they stand in the two columns.
    """
    epsg = int(guess.epsg.removeprefix("EPSG:"))
    x, y = (lat, lng) if guess.northing_in_lng else (lng, lat)
    lon_deg, lat_deg = _to_wgs84(epsg).transform(x, y)
    west, south, east, north = _box(epsg)
    inside = (lon_deg >= west) & (lon_deg <= east) & (lat_deg >= south) & (lat_deg <= north)
    return np.where(inside, lat_deg, np.nan), np.where(inside, lon_deg, np.nan)


def _guess(epsg: int, metres: Metres, countries: frozenset[str], *, turned: bool) -> GridGuess | None:
    guess = _counted(epsg, metres, countries, turned=turned)
    return guess if guess.share >= _LEAST_SHARE else None


def _counted(epsg: int, metres: Metres, countries: frozenset[str], *, turned: bool) -> GridGuess:
    guess = GridGuess(epsg=f"EPSG:{epsg}", name=_name(epsg), northing_in_lng=turned, share=0.0)
    lat, lng = places_in(guess, metres.lat, metres.lng)
    homes = HOME if epsg in _KOREAN else countries
    fits = [n for n in np.flatnonzero(np.isfinite(lat)).tolist() if _lies_in(lng[n], lat[n], homes)]
    addressed = [n for n, address in enumerate(metres.addresses) if _province(address) is not None]
    near = [n for n in addressed if _within(lng[n], lat[n], _province(metres.addresses[n]))]
    sample = [
        GridSample(sheet=sheet, row=row, lat=float(lat[n]), lng=float(lng[n]))
        for n in fits[:3]
        for sheet, row in [metres.places[n]]
    ]
    return replace(
        guess,
        share=len(fits) / max(1, len(lat)),
        in_province=len(near) / len(addressed) if addressed else None,
        sample=tuple(sample),
    )


def _lies_in(lon: float, lat: float, countries: frozenset[str]) -> bool:
    """In one of the countries; on land anywhere where none are named."""
    found = country_at(lon=lon, lat=lat)
    return found in countries if countries else found is not None


def _score(guess: GridGuess) -> float:
    return guess.share if guess.in_province is None else guess.in_province


def _with_distances(guesses: Sequence[GridGuess]) -> tuple[GridGuess, ...]:
    """How far each puts the first row from where the best one puts it."""
    if not guesses:
        return ()
    best = {(s.sheet, s.row): s for s in guesses[0].sample}
    out = []
    for guess in guesses:
        same = next((s for s in guess.sample if (s.sheet, s.row) in best), None)
        if same is not None:
            here = best[same.sheet, same.row]
            _, _, apart = _GEOD.inv(here.lng, here.lat, same.lng, same.lat)
            out.append(replace(guess, apart_m=float(apart)))
    return tuple(out)


def _province(address: str | None) -> Box | None:
    """The box of the province at the beginning of an address."""
    if not address:
        return None
    return _PROVINCES.get(_OLD_NAMES.get(address[:3], address[:2]))


def _within(lon: float, lat: float, box: Box | None) -> bool:
    if box is None:
        return False
    west, south, east, north = box
    margin = _MARGIN_DEG
    return west - margin <= lon <= east + margin and south - margin <= lat <= north + margin


def _hinted(headings: Sequence[str]) -> frozenset[str]:
    """The grids of which the headings of the two columns speak: by number, datum or name."""
    text = " ".join(headings).casefold()
    numbers = {int(found) for found in _EPSG.findall(text)}
    if "grs80" in text:
        numbers |= set(_KOREAN) - _BESSEL - _UNIFIED
    if "bessel" in text or "베셀" in text:
        numbers |= _BESSEL - _UNIFIED
    if re.search(r"utm-?_?k", text):
        numbers.add(5179)
    return frozenset(f"EPSG:{number}" for number in numbers)


@cache
def _to_wgs84(epsg: int) -> Transformer:
    return Transformer.from_crs(epsg, 4326, always_xy=True)


@cache
def _name(epsg: int) -> str:
    return str(CRS.from_epsg(epsg).name)


@cache
def _box(epsg: int) -> Box:
    """Where a grid is used. National data are kept in one belt, so a belt may go beyond its own."""
    if epsg in _KOREAN:
        return KOREA
    area = CRS.from_epsg(epsg).area_of_use
    return (-180.0, -90.0, 180.0, 90.0) if area is None else area.bounds

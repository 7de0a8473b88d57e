"""What all rows of a file together say about a single one: where they lie, in which grid and unit.

One row alone rarely tells whether 373028 is a lost decimal point or degrees, minutes and seconds; a
thousand rows do. Nothing here changes a value: it only decides what is proposed (product U5).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geo.fences.countries import country_at
from geo.fences.grids import HOME, KOREA, Box, Floats, GridGuess, Metres, grid_of, guess_grids, places_in
from geo.fences.limits import MIN_RADIUS_M

MAX_DEGREES = 180.0
GRID_FROM = 1_000.0  # no degrees are that large; metres of a projected grid are
NEAR_DEG = 3.0
FAR_DEG = 20.0
_LEAST_HOME_ROWS = 20
_HOME_SHARE = 0.95
_LEAST_PACKED_ROWS = 8
_MAX_BROKEN_SHARE = 0.02
_MIN_LOST_SHARE = 0.3  # by chance it is 0.64
_SAMPLED = 400
_LEAST_SHARE = 0.5
_MAX_DIGITS_LOST = 15
_KM_BELOW = 10.0  # no fence has a radius under 10 m: kilometres
_M_FROM_KM = 50.0  # no fence has a radius over 50 km: metres under a heading in kilometres

Unit = Literal["km", "mm", "m"]


class Point(NamedTuple):
    """A place in WGS84 degrees."""

    lat: float
    lng: float


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a file says as a whole.

    Attributes:
        countries: of the workspace; empty: anywhere.
        home: where nearly all rows with a plain place lie (at least 20); None where they are spread.
        grids: in which the metres may be given, the best first; one only where the user named it.
        named_grid: the user named the grid.
        in_grid: (latitude cell, longitude cell) → the place in the best grid.
        first: what most of the rows without degrees are: metres, numbers without their decimal
            point, or degrees, minutes and seconds without marks.
        packed: the numbers are degrees, minutes and seconds without marks; False: they are not, but
            may have lost their decimal points; None: nothing tells the two apart.
        units: column of the radius → unit in which its numbers without a unit seem to be given.
    """

    countries: frozenset[str] = frozenset()
    home: Point | None = None
    grids: tuple[GridGuess, ...] = ()
    named_grid: bool = False
    in_grid: Mapping[tuple[float, float], Point] = field(default_factory=lambda: MappingProxyType({}))
    first: Literal["grid", "lost", "packed"] = "grid"
    packed: bool | None = False
    units: Mapping[str, Unit] = field(default_factory=lambda: MappingProxyType({}))

    def fits(self, lat: float, lng: float) -> bool:
        """Whether a place is where the places of this file should be: at home, in the countries of
        the workspace, else in Korea."""
        if not (abs(lat) <= 90 and abs(lng) <= 180):
            return False
        if self.countries:
            return country_at(lon=lng, lat=lat) in self.countries
        if self.home is not None:
            return abs(lat - self.home.lat) <= NEAR_DEG and abs(lng - self.home.lng) <= NEAR_DEG
        return inside(KOREA, lat, lng)

    def lands(self) -> frozenset[str]:
        """The countries in which the places should lie: of the workspace, of home, else Korea."""
        if self.countries or self.home is None:
            return self.countries or HOME
        land = country_at(lon=self.home.lng, lat=self.home.lat)
        return HOME if land is None else frozenset({land})

    def outside(self, lat: float, lng: float) -> bool:
        """Whether a place lies in none of the countries of the workspace."""
        if not self.countries or not (math.isfinite(lat) and math.isfinite(lng)):
            return False
        return country_at(lon=lng, lat=lat) not in self.countries

    def astray(self, lat: float, lng: float) -> bool:
        """Whether a place is far from home while, latitude and longitude swapped, it lies there.

        Only where no countries are set: those say it better.
        """
        if self.home is None or self.countries:
            return False
        far = max(abs(lat - self.home.lat), abs(lng - self.home.lng)) > FAR_DEG
        return far and self.fits(lng, lat)


def inside(box: Box, lat: float, lng: float) -> bool:
    """Whether a place lies in a box, its rim included."""
    west, south, east, north = box
    return west <= lng <= east and south <= lat <= north


def gather(
    lat: Floats,
    lng: Floats,
    *,
    place_of: Callable[[int], tuple[str | None, int]],
    addresses: Sequence[str | None],
    headings: Sequence[str] = (),
    countries: frozenset[str] = frozenset(),
    grid: str | None = None,
    units: Mapping[str, Unit] = MappingProxyType({}),
) -> Evidence:
    """The evidence of all rows of a file.

    Args:
        lat, lng: what stands in the two columns, NaN where a cell is empty or refused.
        place_of: index of a row → its sheet and number.
        addresses: of each row.
        headings: of the two columns in all sheets; they may name the grid.
        grid: the one the user named.
    """
    known = np.isfinite(lat) & np.isfinite(lng)
    plain = known & (np.abs(lat) <= 90) & (np.abs(lng) <= 180)
    seen = Evidence(countries=countries, home=_home(lat[plain], lng[plain]), units=units)
    at = np.flatnonzero(known & (np.maximum(np.abs(lat), np.abs(lng)) >= GRID_FROM))
    if not len(at):
        return seen
    metres = Metres(
        lat=lat[at],
        lng=lng[at],
        places=[place_of(n) for n in at.tolist()],
        addresses=[addresses[n] for n in at.tolist()],
        headings=headings,
    )
    return _of_metres(seen, metres, grid)


def _of_metres(seen: Evidence, metres: Metres, grid: str | None) -> Evidence:
    """The evidence with what the rows without degrees say."""
    in_metres = metres
    if grid is None:
        in_metres = _no_degrees(metres)
        guesses = guess_grids(in_metres, countries=seen.lands())
    else:
        named = grid_of(grid, metres)
        guesses = () if named is None else (named,)
    pairs = list(zip(metres.lat.tolist(), metres.lng.tolist(), strict=True))
    some = pairs[:: max(1, len(pairs) // _SAMPLED)]
    packed = _told_apart(some)
    lost_share = sum(lost_or_swapped(seen, *pair) is not None for pair in some) / len(some)
    packed_share = sum(packed_point(seen, *pair) is not None for pair in some) / len(some)
    grid_share = guesses[0].share * len(in_metres.lat) / len(metres.lat) if guesses else 0.0
    first: Literal["grid", "lost", "packed"] = "grid"
    if grid is None and packed and packed_share >= max(grid_share, _LEAST_SHARE):
        first = "packed"
    elif grid is None and lost_share >= max(grid_share, _LEAST_SHARE):
        first = "lost"
    return Evidence(
        countries=seen.countries,
        home=seen.home,
        units=seen.units,
        grids=guesses if first == "grid" else (),
        named_grid=grid is not None,
        in_grid=_in_grid(guesses[0], in_metres) if guesses and first == "grid" else {},
        first=first,
        packed=packed,
    )


def _no_degrees(metres: Metres) -> Metres:
    """The rows of which neither number could be degrees: 37.5 beside 1270276 is no metre."""
    at = np.flatnonzero(np.minimum(np.abs(metres.lat), np.abs(metres.lng)) > MAX_DEGREES)
    return replace(
        metres,
        lat=metres.lat[at],
        lng=metres.lng[at],
        places=[metres.places[n] for n in at.tolist()],
        addresses=[metres.addresses[n] for n in at.tolist()],
    )


def _in_grid(guess: GridGuess, metres: Metres) -> dict[tuple[float, float], Point]:
    lat, lng = places_in(guess, metres.lat, metres.lng)
    cells = zip(metres.lat.tolist(), metres.lng.tolist(), strict=True)
    places = zip(lat.tolist(), lng.tolist(), strict=True)
    pairs = zip(cells, places, strict=True)
    return {cell: Point(*place) for cell, place in pairs if math.isfinite(place[0])}


def _home(lat: NDArray[np.float64], lng: NDArray[np.float64]) -> Point | None:
    """The middle of the places where 95 of 100 lie within 3° of it."""
    if len(lat) < _LEAST_HOME_ROWS:
        return None
    middle = Point(float(np.median(lat)), float(np.median(lng)))
    near = (np.abs(lat - middle.lat) <= NEAR_DEG) & (np.abs(lng - middle.lng) <= NEAR_DEG)
    return middle if float(near.mean()) >= _HOME_SHARE else None


def lost_point(seen: Evidence, lat: float, lng: float) -> Point | None:
    """The place where whole numbers have lost their decimal point: 374979 / 1270276, or one of them.

    None where no place fits, or more than one.
    """
    found = {
        Point(a, b)
        for a in _with_point(lat, 90.0)
        for b in _with_point(lng, 180.0)
        if (a, b) != (lat, lng) and seen.fits(a, b)
    }
    return found.pop() if len(found) == 1 else None


def lost_or_swapped(seen: Evidence, lat: float, lng: float) -> Point | None:
    """`lost_point`, else the same with the two numbers swapped."""
    return lost_point(seen, lat, lng) or lost_point(seen, lng, lat)


def _with_point(value: float, bound: float) -> list[float]:
    """The value itself if it is in bounds; else all it may have been before its point was lost."""
    if abs(value) <= bound:
        return [value]
    if abs(value) < GRID_FROM or not value.is_integer():
        return []
    digits = str(int(value))
    whole = len(digits.lstrip("-"))
    # the text, not a division, so that 374979 becomes 37.4979 to the last bit
    texts = (f"{digits[:-lost]}.{digits[-lost:]}" for lost in range(1, min(whole, _MAX_DIGITS_LOST)))
    return [number for text in texts if abs(number := float(text)) <= bound]


def packed_point(seen: Evidence, lat: float, lng: float) -> Point | None:
    """The place where degrees, minutes and seconds were written as one number: 373028 / 1270138."""
    a, b = _unpacked(lat), _unpacked(lng)
    if a is None or b is None or not seen.fits(a, b):
        return None
    return Point(a, b)


def _unpacked(value: float) -> float | None:
    """Degrees of dddmmss or dddmmss.s; None where minutes or seconds would be 60 or more."""
    if not 10_000 <= abs(value) < 1_810_000:
        return None
    rest, seconds = divmod(abs(value), 100.0)
    degrees, minutes = divmod(rest, 100.0)
    if minutes >= 60 or seconds >= 60:
        return None
    sign = -1.0 if value < 0 else 1.0
    return sign * round(degrees + minutes / 60 + seconds / 3600, 9)


def _told_apart(pairs: Sequence[tuple[float, float]]) -> bool | None:
    """Whether the numbers are packed minutes and seconds, not lost decimal points; None: unknown.

    They are where all have a fraction of a second, or in eight rows and more hardly a minute or a
    second reaches 60, which by chance 16 numbers do once in ten million. They are not where many do.
    """
    values = [value for pair in pairs for value in pair if abs(value) >= GRID_FROM]
    broken = sum(_unpacked(value) is None for value in values) / len(values)
    if broken > _MAX_BROKEN_SHARE:
        return False if broken > _MIN_LOST_SHARE else None
    fractions = not any(value.is_integer() for value in values)
    return True if fractions or len(values) >= 2 * _LEAST_PACKED_ROWS else None


def unit_of(column: str, numbers_m: Floats, *, max_radius_m: float) -> Unit | None:
    """In which unit the radii of a column seem to be given, where it is not the one of its heading.

    Args:
        column: `radius_m` or `radius_km`.
        numbers_m: in metres as the heading says, of the cells that name no unit.
        max_radius_m: the largest radius that is taken.
    Returns:
        None where at least one of them could be meant as it stands, or one would be out of bounds in
        the other unit as well.
    """
    if not len(numbers_m):
        return None
    least, most = float(numbers_m.min()), float(numbers_m.max())

    def possible(radii_m: Floats) -> bool:
        return bool(((radii_m >= MIN_RADIUS_M) & (radii_m <= max_radius_m)).all())

    if column == "radius_km":
        metres = numbers_m / 1_000
        if least >= _M_FROM_KM * 1_000 and most > max_radius_m and possible(metres):
            return "m"
        return None
    if least > 0 and most < _KM_BELOW and possible(numbers_m * 1_000):
        return "km"
    if least >= max_radius_m < most and possible(numbers_m / 1_000):
        return "mm"
    return None

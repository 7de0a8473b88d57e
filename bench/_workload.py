"""A seeded world of fences and pings, as columns: crowded cities, empty country, rims of every size.

70 % circles and 30 % irregular, often concave polygons of 5 to 2,000 corners, around the cities of
Korea, Japan, Europe and America. Sizes shrink as fences multiply, so that a ping lies in 1.4 fences of
1,000 and in 6 of a million. The same numbers give the same world.

Only NumPy is imported: rivals read the columns in environments of their own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]

POLYGON_SHARE = 0.3
CITY_SHARE_OF_PINGS = 0.7
#: below the shortest degree of latitude there is, and about the middle of them
LEAST_M_A_DEGREE, M_A_DEGREE = 110_500.0, 111_200.0
#: fences → factor on all sizes, how many fences are large; between them by power law
COUNTS = (1_000, 10_000, 100_000, 1_000_000)
SCALES = (3.2, 1.1, 0.40, 0.16)
LARGE = (20, 60, 100, 200)
#: lon, lat, weight
CITIES = np.array(
    [
        *[(126.98, 37.57, 10), (127.03, 37.50, 6), (126.71, 37.46, 3), (129.08, 35.18, 4)],
        *[(128.60, 35.87, 3), (127.39, 36.35, 2), (126.85, 35.16, 2), (129.31, 35.54, 1.5)],
        *[(127.03, 37.26, 2.5), (126.53, 33.50, 1), (127.14, 37.42, 2), (128.68, 35.23, 1)],
        *[(139.77, 35.68, 9), (139.64, 35.44, 3), (135.50, 34.69, 5), (136.91, 35.18, 3)],
        *[(141.35, 43.06, 2), (130.40, 33.59, 2), (135.77, 35.01, 2), (140.87, 38.27, 1)],
        *[(-0.13, 51.51, 6), (2.35, 48.86, 6), (13.41, 52.52, 4), (-3.70, 40.42, 4)],
        *[(12.50, 41.90, 3), (9.19, 45.46, 3), (4.90, 52.37, 2), (16.37, 48.21, 2)],
        *[(18.07, 59.33, 1.5), (12.57, 55.68, 1.5), (14.44, 50.08, 1.5), (21.01, 52.23, 2)],
        *[(11.58, 48.14, 2), (2.17, 41.39, 2.5), (-9.14, 38.72, 1.5), (23.73, 37.98, 1.5)],
        *[(-74.01, 40.71, 7), (-118.24, 34.05, 6), (-87.63, 41.88, 4), (-95.37, 29.76, 3)],
        *[(-112.07, 33.45, 2), (-75.17, 39.95, 2), (-98.49, 29.42, 1.5), (-117.16, 32.72, 2)],
        *[(-96.80, 32.78, 3), (-122.42, 37.78, 3), (-122.33, 47.61, 2), (-104.99, 39.74, 1.5)],
        *[(-71.06, 42.36, 2), (-80.19, 25.76, 2.5)],
    ]
)
#: west, south, east, north of the country around them, and each one's share of its pings
COUNTRY = np.array(
    [(126.2, 34.5, 129.5, 38.3), (130.5, 31.3, 141.5, 43.5), (-9, 37, 24, 59.5), (-123, 26, -72, 48)]
)
COUNTRY_SHARE = (0.3, 0.2, 0.25, 0.25)


@dataclass(frozen=True)
class Fences:
    """Fences by row.

    Attributes:
        lon, lat: degrees of the centre.
        radius_m: of a circle, NaN of a polygon.
        first: (fences + 1); a polygon's ring is vertex[first[row] : first[row + 1]], not closed.
        vertex: (n, 2) degrees, lon and lat.
    """

    lon: Floats
    lat: Floats
    radius_m: Floats
    first: Ints
    vertex: Floats

    def __len__(self) -> int:
        return len(self.lon)

    @property
    def is_circle(self) -> Bools:
        """Which rows are circles."""
        return np.isfinite(self.radius_m)

    def boxes(self) -> Floats:
        """(n, 4) west, south, east, north in degrees; of circles a little larger than they are.

        The world of this benchmark stays clear of 180° and the poles.
        """
        boxes = np.empty((len(self), 4))
        circle = self.is_circle
        lon, lat, radius_m = self.lon[circle], self.lat[circle], self.radius_m[circle]
        high = radius_m / LEAST_M_A_DEGREE * 1.001 + 1e-7
        wide = radius_m / (110_900.0 * np.cos(np.radians(np.abs(lat) + high))) * 1.001 + 1e-7
        boxes[circle] = np.column_stack([lon - wide, lat - high, lon + wide, lat + high])
        polygon = np.flatnonzero(~circle)
        if len(polygon):
            starts = self.first[polygon]
            boxes[polygon, :2] = np.minimum.reduceat(self.vertex, starts)
            boxes[polygon, 2:] = np.maximum.reduceat(self.vertex, starts)
        return boxes

    def closed_rings(self) -> tuple[Ints, Ints, Floats]:
        """Rows of the polygons; and for each vertex of their closed rings, which of them, and where."""
        polygon = np.flatnonzero(~self.is_circle)
        corners = np.diff(self.first)[polygon]
        of = np.repeat(np.arange(len(polygon)), corners + 1)
        starts = np.cumsum(corners + 1) - (corners + 1)
        corner = (np.arange(len(of)) - starts[of]) % corners[of]
        return polygon, of, self.vertex[self.first[polygon][of] + corner]


@dataclass(frozen=True)
class Pings:
    """Degrees, and the accuracy radius in metres."""

    lon: Floats
    lat: Floats
    accuracy_m: Floats

    def __len__(self) -> int:
        return len(self.lon)

    def head(self, count: int) -> Pings:
        """The first so many."""
        return Pings(self.lon[:count], self.lat[:count], self.accuracy_m[:count])


def make_fences(count: int, *, seed: int = 7) -> Fences:
    """So many fences, 10 at least."""
    rng = np.random.default_rng([seed, count])
    scale = float(np.exp(np.interp(np.log(count), np.log(COUNTS), np.log(SCALES))))
    large = min(count // 10, int(np.interp(np.log(count), np.log(COUNTS), LARGE)))
    lon, lat = _around_cities(rng, count)
    is_polygon = rng.random(count) < POLYGON_SHARE
    radius_m = np.clip(np.exp(rng.uniform(np.log(50), np.log(5_000), count)) * scale, 50.0, 30_000.0)
    chosen = _some(rng, ~is_polygon, large)
    radius_m[chosen] = np.exp(rng.uniform(np.log(5_000), np.log(30_000), len(chosen)))
    reach_m = np.clip(np.exp(rng.uniform(np.log(80), np.log(6_000), count)) * scale, 60.0, 15_000.0)
    chosen = _some(rng, is_polygon, large // 2)
    reach_m[chosen] = np.exp(rng.uniform(np.log(4_000), np.log(15_000), len(chosen)))
    corners = np.where(is_polygon, _corners(rng, count), 0)
    first = np.concatenate([[0], np.cumsum(corners)])
    vertex = _outlines(rng, lon, lat, reach_m, corners)
    return Fences(lon, lat, np.where(is_polygon, np.nan, radius_m), first, vertex)


def make_pings(count: int, *, seed: int = 11) -> Pings:
    """Fixes in any order: most in the cities, the rest in the country; accuracy mostly 5 to 50 m."""
    rng = np.random.default_rng([seed, count])
    lon, lat = _around_cities(rng, count)
    stray = rng.random(count) > CITY_SHARE_OF_PINGS
    box = COUNTRY[rng.choice(len(COUNTRY), count, p=COUNTRY_SHARE)]
    lon = np.where(stray, rng.uniform(box[:, 0], box[:, 2]), lon)
    lat = np.where(stray, rng.uniform(box[:, 1], box[:, 3]), lat)
    return Pings(lon, lat, np.exp(rng.normal(2.7, 0.8, count)))


def save(path: Path, fences: Fences, pings: Pings) -> None:
    """Write both into one .npz file."""
    columns = {f"fence_{name}": column for name, column in asdict(fences).items()}
    np.savez(path, **columns, **{f"ping_{name}": column for name, column in asdict(pings).items()})


def load(path: Path) -> tuple[Fences, Pings]:
    """Read what `save` wrote."""
    with np.load(path) as file:
        fences = Fences(*(file[f"fence_{name}"] for name in Fences.__dataclass_fields__))
        return fences, Pings(*(file[f"ping_{name}"] for name in Pings.__dataclass_fields__))


def _around_cities(rng: np.random.Generator, count: int) -> tuple[Floats, Floats]:
    """Places scattered by some 4, 15 or 40 km about the cities."""
    city = rng.choice(len(CITIES), count, p=CITIES[:, 2] / CITIES[:, 2].sum())
    spread_m = rng.choice([4_000.0, 15_000.0, 40_000.0], count, p=[0.30, 0.55, 0.15])
    east_m, north_m = rng.normal(0.0, 1.0, (2, count)) * spread_m
    lat = CITIES[city, 1] + north_m / M_A_DEGREE
    return CITIES[city, 0] + east_m / (M_A_DEGREE * np.cos(np.radians(lat))), lat


def _some(rng: np.random.Generator, of: Bools, count: int) -> Ints:
    rows = np.flatnonzero(of)
    return rng.choice(rows, min(count, len(rows)), replace=False)


def _corners(rng: np.random.Generator, count: int) -> Ints:
    """5 to 500, by even shares of each power; one of a hundred up to 2,000."""
    most = np.where(rng.random(count) < 0.01, 2_000, 500)
    least = np.where(most == 2_000, 500, 5)
    return np.exp(rng.uniform(np.log(least), np.log(most))).astype(np.int64)


def _outlines(
    rng: np.random.Generator, lon: Floats, lat: Floats, reach_m: Floats, corners: Ints
) -> Floats:
    """Stars about their centres: three waves and a roughness on the mean reach."""
    count = len(lon)
    of = np.repeat(np.arange(count), corners)
    first = np.cumsum(corners) - corners
    step = np.arange(len(of)) - first[of] + rng.uniform(-0.4, 0.4, len(of))
    angle = 2 * np.pi * step / corners[of]
    height = rng.uniform(0.05, 0.45, count)[of]
    phase, turns = rng.uniform(0, 2 * np.pi, (3, count)), rng.integers(2, 7, (3, count))
    waves = sum(
        share * np.sin(turns[wave][of] * angle + phase[wave][of])
        for wave, share in enumerate((0.5, 0.3, 0.3))
    )
    far_m = reach_m[of] * np.clip(1 + height * waves + 0.03 * rng.standard_normal(len(of)), 0.15, 1.9)
    x = lon[of] + far_m * np.cos(angle) / (M_A_DEGREE * np.cos(np.radians(lat[of])))
    return np.column_stack([x, lat[of] + far_m * np.sin(angle) / M_A_DEGREE])

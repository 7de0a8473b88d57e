"""A seeded world of fences and pings: crowded cities, empty country, rims of every size.

70 % circles and 30 % irregular polygons of 5 to 2,000 corners, three quarters of them around the
cities of Korea, Japan, Europe and America. Sizes shrink as fences multiply, so that a ping lies in
1.5 to 6 fences whatever their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from geo.fences.fence import CircleShape, Fence, FenceVersion, PolygonShape, Shape

Floats = np.ndarray[Any, np.dtype[np.float64]]

KM_A_DEGREE = 111.2
ALWAYS_MS = 1 << 60
POLYGON_SHARE = 0.3
CITY_SHARE_OF_PINGS = 0.7
#: lon, lat, weight
CITIES = np.array(
    [
        *[(126.98, 37.57, 14), (127.03, 37.50, 8), (126.71, 37.46, 4), (129.08, 35.18, 5)],
        *[(128.60, 35.87, 3), (127.39, 36.35, 3), (126.85, 35.16, 2), (126.53, 33.50, 1)],
        *[(139.77, 35.68, 10), (135.50, 34.69, 7), (136.91, 35.18, 3), (141.35, 43.06, 2)],
        *[(-0.13, 51.51, 6), (2.35, 48.86, 6), (13.41, 52.52, 4), (-3.70, 40.42, 4)],
        *[(12.50, 41.90, 3), (9.19, 45.46, 3), (18.07, 59.33, 2), (23.73, 37.98, 2)],
        *[(-74.01, 40.71, 8), (-118.24, 34.05, 6), (-87.63, 41.88, 4), (-80.19, 25.76, 3)],
    ]
)
#: west, south, east, north of the country around them
COUNTRY = np.array(
    [(126.2, 34.5, 129.5, 38.3), (130.5, 31.3, 141.5, 43.5), (-9, 37, 24, 59.5), (-123, 26, -72, 48)]
)


@dataclass(frozen=True)
class PingColumns:
    """Degrees, and the accuracy radius in metres."""

    lon: Floats
    lat: Floats
    accuracy_m: Floats

    def first(self, count: int) -> PingColumns:
        """The first so many."""
        return PingColumns(self.lon[:count], self.lat[:count], self.accuracy_m[:count])


def fence_versions(count: int, *, seed: int = 2) -> list[FenceVersion]:
    """So many fences, always live; the same for the same count and seed."""
    rng = np.random.default_rng([seed, count])
    lon, lat = _around_cities(rng, count)
    scale = 2.5 * (count / 1_000) ** -0.44
    reach_m = np.exp(rng.uniform(np.log(60), np.log(5_000), count)) * scale
    large = rng.random(count) < min(0.02, 0.02 * (count / 1_000) ** -0.7)
    reach_m[large] = np.exp(rng.uniform(np.log(5_000), np.log(15_000), int(large.sum())))
    reach_m = np.clip(reach_m, 50.0, 15_000.0)
    is_polygon = rng.random(count) < POLYGON_SHARE
    shapes: list[Shape] = [
        _polygon(rng, x, y, reach) if jagged else CircleShape(lon=x, lat=y, radius_m=reach)
        for x, y, reach, jagged in zip(
            lon.tolist(), lat.tolist(), reach_m.tolist(), is_polygon, strict=True
        )
    ]
    return [_version(number, shape) for number, shape in enumerate(shapes)]


def pings(count: int, *, seed: int = 3) -> PingColumns:
    """Fixes: most in the cities, the rest anywhere in the country; accuracy mostly 5 to 50 m."""
    rng = np.random.default_rng([seed, count])
    lon, lat = _around_cities(rng, count)
    stray = rng.random(count) > CITY_SHARE_OF_PINGS
    box = COUNTRY[rng.integers(0, len(COUNTRY), count)]
    lon = np.where(stray, rng.uniform(box[:, 0], box[:, 2]), lon)
    lat = np.where(stray, rng.uniform(box[:, 1], box[:, 3]), lat)
    return PingColumns(lon, lat, np.exp(rng.normal(2.7, 0.8, count)))


def _around_cities(rng: np.random.Generator, count: int) -> tuple[Floats, Floats]:
    """Places scattered by some 4, 15 or 40 km about the cities."""
    city = rng.choice(len(CITIES), count, p=CITIES[:, 2] / CITIES[:, 2].sum())
    spread_km = rng.choice([4.0, 15.0, 40.0], count, p=[0.30, 0.55, 0.15])
    east_km, north_km = rng.normal(0.0, 1.0, (2, count)) * spread_km
    lat = CITIES[city, 1] + north_km / KM_A_DEGREE
    return CITIES[city, 0] + east_km / (KM_A_DEGREE * np.cos(np.radians(lat))), lat


def _polygon(rng: np.random.Generator, lon: float, lat: float, reach_m: float) -> PolygonShape:
    """A star-shaped, often concave outline."""
    most = 2_000 if rng.random() < 0.01 else 500
    corners = int(np.exp(rng.uniform(np.log(5), np.log(most))))
    angle = 2 * np.pi * (np.arange(corners) + rng.uniform(-0.4, 0.4, corners)) / corners
    wave = rng.uniform(0.05, 0.4) * np.sin(rng.integers(2, 7) * angle + rng.uniform(0, 2 * np.pi))
    far_km = reach_m / 1_000 * np.clip(1 + wave + 0.03 * rng.standard_normal(corners), 0.15, 1.9)
    x = lon + far_km * np.cos(angle) / (KM_A_DEGREE * np.cos(np.radians(lat)))
    y = lat + far_km * np.sin(angle) / KM_A_DEGREE
    return PolygonShape(geometry=shapely.Polygon(np.column_stack([x, y])))


def _version(number: int, shape: Shape) -> FenceVersion:
    return FenceVersion(
        fence_id=number,
        version=1,
        live_from_ms=0,
        live_until_ms=ALWAYS_MS,
        time_zone="UTC",
        fence=Fence(name=f"fence {number}", shape=shape),
    )

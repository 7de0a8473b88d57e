"""Itineraries: where each walker means to be, and when; the truth behind the demo's pings.

A day is a row of slots (coffee on the way, work, lunch, work again, two errands, home); chance says
which of them happen, where, and how long. Times are seconds after the first local midnight.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: metres of one degree of latitude, the mean of WGS84; walks are drawn, not measured
DEGREE_M = 111_195.0
HOUR_S = 3_600.0
DAY_S = 24 * HOUR_S
SLOTS = ("coffee", "work_am", "lunch", "work_pm", "errand", "second_errand", "home")
WORKERS_SHARE = 0.78
DEVICES_AN_ESTATE = 25
#: shortest stay at home or at work, so that a late evening does not skip a night
ANCHOR_LEAST_S = 1_200.0
#: per slot: (chance on a working day, chance on a free day, median stay min, spread of its log)
ERRANDS = {
    "coffee": (0.24, 0.0, 9.0, 0.35),
    "lunch": (0.48, 0.45, 36.0, 0.35),
    "errand": (0.45, 0.55, 26.0, 0.60),
    "second_errand": (0.16, 0.30, 16.0, 0.50),
}
SHORTEST_ERRAND_S, LONGEST_ERRAND_S = 240.0, 7_200.0


@dataclass(frozen=True, kw_only=True)
class PlaceColumns:
    """Stores to walk to: `lon`, `lat` in degrees, `radius_m` of the fence; all of shape (places,)."""

    lon: Floats
    lat: Floats
    radius_m: Floats


@dataclass(frozen=True, kw_only=True)
class Stays:
    """Intended stays in order, one row a device; arrays of shape (devices, most stays).

    Attributes:
        place: row of the place, -1 at home and at work.
        arrive_s, leave_s: `[arrive, leave)`; the last home stay never leaves (infinity).
        travel_s: seconds on the way from the stay before; 0 at the first.
        present: False where a device has fewer stays than the widest row; such cells come last.
    """

    lon: Floats
    lat: Floats
    place: Ints
    arrive_s: Floats
    leave_s: Floats
    present: Bools


def offset(
    *, lon: Floats, lat: Floats, away_m: Floats, turn: Floats
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The points `away_m` from (lon, lat) in direction `turn` (radians, east 0, north π/2)."""
    north = away_m * np.sin(turn) / DEGREE_M
    east = away_m * np.cos(turn) / (DEGREE_M * np.cos(np.radians(lat)))
    return lon + east, lat + north


def distance_m(*, lon: Floats, lat: Floats, to_lon: Floats, to_lat: Floats) -> Floats:
    """Equirectangular distance, good to 1 % within a city; shapes broadcast."""
    squeeze = np.cos(np.radians(lat))
    return np.hypot((to_lon - lon) * squeeze, to_lat - lat) * DEGREE_M

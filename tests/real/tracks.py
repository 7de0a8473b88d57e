"""Real tracks taken by the whole line, and their visits by means that know nothing of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pyproj import Geod

from geo.matching.visits import Visit, visits_plain
from nearcast.services.clocks import ReplayClock
from tests.world import MIN, START_MS, World

DATA = Path(__file__).parents[2].parent / "shared/data"
GAP_MS = 30 * 60_000
_GEOD = Geod(ellps="WGS84")


@dataclass(frozen=True)
class Place:
    """A circle: degrees and metres."""

    lon: float
    lat: float
    radius_m: float


@dataclass(frozen=True)
class Track:
    """Fixes of one person in time order: instants in ms, degrees."""

    who: str
    at_ms: np.ndarray
    lon: np.ndarray
    lat: np.ndarray

    def distance_m(self, place: Place) -> np.ndarray:
        """Geodesic distance of each fix to a place's centre."""
        centre = np.full(len(self.lon), place.lon), np.full(len(self.lon), place.lat)
        return np.asarray(_GEOD.inv(self.lon, self.lat, *centre)[2])

    def visits(self, place: Place) -> list[Visit]:
        """By plain means: every distance, then the O(n²) cut."""
        inside = self.at_ms[self.distance_m(place) <= place.radius_m + 1e-6]
        return visits_plain([(at_ms, 255) for at_ms in inside.tolist()], gap_ms=GAP_MS)


def data(*parts: str) -> Path:
    """A file or folder of the real data; without it the test is skipped, loudly."""
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no real data: {'/'.join(parts)} is not in ../shared/data")
    return path


def taken(
    engine, tracks: Sequence[Track], places: Sequence[Place], *, seed: int | None, size: int = 500
) -> dict[tuple[str, int], list[Visit]]:
    """(person, place) → visits, after all fixes were posted: in time order, or shuffled by a seed."""
    world = World(engine, ReplayClock(0))
    fences = [world.fence(f"p{n}", (p.lon, p.lat), p.radius_m) for n, p in enumerate(places)]
    pings = [
        {"who": track.who, "at": (lon, lat), "min": (at_ms - START_MS) / MIN}
        for track in tracks
        for at_ms, lon, lat in zip(
            *(c.tolist() for c in (track.at_ms, track.lon, track.lat)), strict=True
        )
    ]
    order = np.argsort([p["min"] for p in pings], kind="stable")
    if seed is not None:
        order = np.random.default_rng(seed).permutation(len(pings))
    for start in range(0, len(order), size):
        world.post([pings[n] for n in order[start : start + size]])
    found: dict[tuple[str, int], list[Visit]] = {}
    for who, fence, arrived, left, fixes, p_sum in world.visits():
        visit = Visit(arrived_ms=_ms(arrived), left_ms=_ms(left), fixes=fixes, p_sum=p_sum)
        found.setdefault((who, fences.index(fence)), []).append(visit)
    return found


def wanted(tracks: Sequence[Track], places: Sequence[Place]) -> dict[tuple[str, int], list[Visit]]:
    """The same by plain means; pairs without a visit have no entry."""
    found = {(track.who, n): track.visits(place) for track in tracks for n, place in enumerate(places)}
    return {pair: visits for pair, visits in found.items() if visits}


def along(track: Track, count: int, radius_m: float) -> list[Place]:
    """Places at some of a track's own fixes, evenly picked."""
    rows = np.linspace(0, len(track.lon) - 1, count).astype(int).tolist()
    return [Place(float(track.lon[n]), float(track.lat[n]), radius_m) for n in rows]


def _ms(minute: float) -> int:
    return START_MS + round(minute * MIN)

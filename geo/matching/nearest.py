"""The fences nearest to a place, by metres to the rim; by geodesic, whatever the shape (product F11)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geo.matching.index import FenceIndex
from geo.measure import RIM_TOLERANCE_M, circle_box, distance_m

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: the first look around, and how much farther each next one goes
_FIRST_M = 200.0
_FARTHER = 6.0
#: beyond, everything is looked at: boxes of circles end at a quarter of the earth
_EVERYWHERE_M = 9_000_000.0
#: a sphere's distances are up to 0.56 % off (quality.md §2): so much is taken off, or added, to be sure
_SPHERE_M = 6_371_008.8
_SHORTER, _LONGER = 0.99, 1.01
#: wider boxes say nothing of how near their shape may come
_WIDE_DEG = 90.0
#: measured at once
_TOGETHER = 128
#: pieces of edges this short are straight on the ground to 1 cm (0.1 m beyond 85°)
_STRAIGHT_M = 200.0
_PIECES = 4
#: no radius of curvature of WGS84 is larger: metres of a radian, at most
_LARGEST_RADIUS_M = 6_399_594.0


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """Fence rows of an index, the nearest first.

    Attributes:
        rows: of the index.
        distance_m: to the rim, 0 inside and on it; inside: whether the fence holds the place.
        ask_again_after_m: whoever moves less than this from the place finds no other fence nearer than
            the last of these; None where all there are stand in the list.
    """

    rows: list[int]
    distance_m: list[float]
    inside: list[bool]
    ask_again_after_m: float | None


def nearest(index: FenceIndex, *, lon: float, lat: float, at_ms: int, limit: int) -> Nearest:
    """The nearest fences that are live at an instant.

    Args:
        lon, lat: WGS84 degrees, |lat| ≤ 90.
        limit: how many at most, at least 1.
    Returns:
        By distance to the rim; among those that hold the place the one whose rim is farthest first,
        then by row. The list stays right for half of what the next fence is farther than the last
        listed: both distances change by no more than the way that was moved.
    """
    search = _Search(index, lon, lat, at_ms)
    reach_m = _FIRST_M
    while reach_m < _EVERYWHERE_M:
        found = search.within(reach_m, limit + 1)
        if len(found) > limit:
            return _listed(found, limit)
        reach_m *= _FARTHER
    return _listed(search.within(np.inf, limit + 1), limit)


_Found = list[tuple[float, float, int]]


def _listed(found: _Found, limit: int) -> Nearest:
    listed = found[:limit]
    more = found[limit][0] - listed[-1][0] if len(found) > limit else None
    return Nearest(
        rows=[row for _, _, row in listed],
        distance_m=[metres for metres, _, _ in listed],
        inside=[rim_m <= 0 for _, rim_m, _ in listed],
        ask_again_after_m=None if more is None else more / 2,
    )


class _Search:
    """One place, and what was measured from it so far."""

    def __init__(self, index: FenceIndex, lon: float, lat: float, at_ms: int) -> None:
        self._index, self._at_ms = index, at_ms
        self._lon, self._lat = (lon + 180.0) % 360.0 - 180.0, lat
        self._rim_m: dict[int, float] = {}

    def within(self, reach_m: float, count: int) -> _Found:
        """The `count` nearest of those whose rim comes within reach: (metres, to the rim, row)."""
        rows = self._rows(reach_m)
        least_m = self._at_least_m(rows)
        order = np.argsort(least_m, kind="stable")
        rows, least_m = rows[order], least_m[order]
        best: _Found = []
        for first in range(0, len(rows), _TOGETHER):
            if len(best) >= count and best[count - 1][0] <= least_m[first]:
                break
            some = rows[first : first + _TOGETHER]
            rim_m = self._measured(some)
            best += [(max(m, 0.0), m, row) for m, row in zip(rim_m, some.tolist(), strict=True)]
            best = sorted(found for found in best if found[0] <= reach_m)[:count]
        return best

    def _rows(self, reach_m: float) -> Ints:
        index = self._index
        if np.isinf(reach_m):
            rows = np.array([row for row in range(len(index)) if row not in index.gone], np.int64)
        else:
            west, south, east, north = circle_box(lon=self._lon, lat=self._lat, radius_m=reach_m)
            rows = np.array(index.in_box(west, south, east, north), np.int64)
        live = (index.live_from_ms[rows] <= self._at_ms) & (self._at_ms < index.live_until_ms[rows])
        return rows[live]

    def _at_least_m(self, rows: Ints) -> Floats:
        """What no rim is nearer than, by a sphere."""
        circles, bounds = self._index.circles, self._index.polygons.bounds[rows]
        is_circle = self._index.is_circle[rows]
        west, south, east, north = bounds.T
        lon = np.where(is_circle, circles.lon[rows], (west + east) / 2)
        lat = np.where(is_circle, circles.lat[rows], (south + north) / 2)
        corners = np.maximum(_on_sphere_m(west, south, lon, lat), _on_sphere_m(west, north, lon, lat))
        extent_m = np.where(is_circle, circles.radius_m[rows], corners * _LONGER)
        least_m = _on_sphere_m(self._lon, self._lat, lon, lat) * _SHORTER - extent_m
        says_nothing = ~is_circle & ((east - west > _WIDE_DEG) | (np.maximum(north, -south) > 89))
        return np.where(says_nothing, 0.0, np.maximum(least_m, 0.0))

    def _measured(self, rows: Ints) -> list[float]:
        """Signed metres to the rims, negative inside."""
        new = np.array([row for row in rows.tolist() if row not in self._rim_m], np.int64)
        of_circle = self._index.is_circle[new]
        some = new[of_circle]
        if len(some):
            circles = self._index.circles
            centre = {"lon2": circles.lon[some], "lat2": circles.lat[some]}
            far_m = distance_m(lon1=self._lon, lat1=self._lat, **centre)
            rim_m = far_m - circles.radius_m[some]
            rim_m[np.abs(rim_m) <= RIM_TOLERANCE_M] = 0.0
            self._rim_m.update(zip(some.tolist(), rim_m.tolist(), strict=True))
        for row in new[~of_circle].tolist():
            self._rim_m[row] = self._to_polygon_m(row)
        return [self._rim_m[row] for row in rows.tolist()]

    def _to_polygon_m(self, row: int) -> float:
        polygons = self._index.polygons
        first = polygons.first[row]
        ends = polygons.ends[first : first + polygons.count[row]]
        away_m = to_edges_m(ends, lon=self._lon, lat=self._lat)
        here = {"lon": np.array([self._lon]), "lat": np.array([self._lat])}
        held = polygons.hold(**here, ping=np.zeros(1, np.int64), fence=np.array([row]))
        return -away_m if held[0] else away_m


def to_edges_m(ends: Floats, *, lon: float, lat: float) -> float:
    """Metres from a place to the nearest of some edges, straight in longitude and latitude; to 1 cm.

    Edges are cut and the pieces that cannot come nearest are dropped, until the rest are short enough to
    be straight on the ground.

    Args:
        ends: (n, 4) lon1, lat1, lon2, lat2; any whole turns. Infinite without any.
    """
    if not len(ends):
        return float("inf")  # a shape that is the whole earth has no rim
    sphere_m = np.minimum(*(_on_sphere_m(lon, lat, *ends[:, n : n + 2].T) for n in (0, 2)))
    longest_m = _longest_m(ends)
    ends = ends[sphere_m * _SHORTER - longest_m / 2 <= sphere_m.min() * _LONGER]
    best_m = np.inf
    while len(ends):
        near_m = _from(lon, lat, ends[:, :2]), _from(lon, lat, ends[:, 2:])
        longest_m = _longest_m(ends)
        short = longest_m <= _STRAIGHT_M
        best_m = min(best_m, float(np.minimum(*near_m).min()))
        if short.any():
            best_m = min(
                best_m, float(_to_pieces_m(ends[short], near_m[0][short], near_m[1][short]).min())
            )
        hopeful = ~short & ((near_m[0] + near_m[1] - longest_m) / 2 < best_m)
        ends = _cut(ends[hopeful])
    return best_m


def _to_pieces_m(ends: Floats, from_m: Floats, to_m: Floats) -> Floats:
    """Metres to straight pieces by the three sides of each triangle."""
    lon1, lat1, lon2, lat2 = ends.T
    long_m = distance_m(lon1=lon1, lat1=lat1, lon2=lon2, lat2=lat2)
    long_m = np.maximum(long_m, 1e-9)
    along_m = np.clip((from_m**2 - to_m**2 + long_m**2) / (2 * long_m), 0.0, long_m)
    foot_m = np.sqrt(np.maximum(from_m**2 - along_m**2, 0.0))
    return np.minimum(np.minimum(from_m, to_m), foot_m)


def _longest_m(ends: Floats) -> Floats:
    """What no edge is longer than."""
    equatorward = np.minimum(np.abs(ends[:, 1]), np.abs(ends[:, 3]))
    equatorward[ends[:, 1] * ends[:, 3] < 0] = 0.0
    east = np.radians(ends[:, 2] - ends[:, 0]) * np.cos(np.radians(equatorward))
    return np.asarray(np.hypot(east, np.radians(ends[:, 3] - ends[:, 1])) * _LARGEST_RADIUS_M)


def _cut(ends: Floats) -> Floats:
    """Each edge in four."""
    share = np.arange(_PIECES + 1) / _PIECES
    at = ends[:, None, :2] + (ends[:, None, 2:] - ends[:, None, :2]) * share[None, :, None]
    return np.concatenate([at[:, :-1], at[:, 1:]], axis=2).reshape(-1, 4)


def _from(lon: float, lat: float, places: Floats) -> Floats:
    return distance_m(lon1=lon, lat1=lat, lon2=places[:, 0], lat2=places[:, 1])


def _on_sphere_m(
    lon1: Floats | float, lat1: Floats | float, lon2: Floats | float, lat2: Floats | float
) -> Floats:
    """Haversine."""
    east, north = np.radians(np.subtract(lon2, lon1)), np.radians(np.subtract(lat2, lat1))
    across = np.cos(np.radians(lat1)) * np.cos(np.radians(lat2)) * np.sin(east / 2) ** 2
    half = np.sqrt(np.clip(np.sin(north / 2) ** 2 + across, 0.0, 1.0))
    return np.asarray(2 * _SPHERE_M * np.arcsin(half))

"""What several rivals are given: shapely polygons, circles drawn as 64-gons, exact refinement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import shapely
from pyproj import Geod

from bench._workload import Fences, Ints, Pings

WGS84 = Geod(ellps="WGS84")
#: points set on a rim come back 51 % outside by up to 4e-9 m: both sides add a micrometre
RIM_M = 1e-6
SIDES = 64
Objects = np.ndarray[Any, np.dtype[np.object_]]


def polygons(fences: Fences) -> Objects:
    """A shapely polygon by row, None for circles."""
    rows, of, vertex = fences.closed_rings()
    found = np.full(len(fences), None, object)
    if len(rows):
        found[rows] = shapely.polygons(shapely.linearrings(vertex, indices=of))
    return found


def drawn(fences: Fences) -> Objects:
    """A shapely polygon by row; circles as 64-gons with corners on the geodesic rim, as many do."""
    found = polygons(fences)
    rows = np.flatnonzero(fences.is_circle)
    azimuth = np.tile(np.linspace(0, 360, SIDES, endpoint=False), len(rows))
    each = np.repeat(rows, SIDES)
    x, y, _ = WGS84.fwd(fences.lon[each], fences.lat[each], azimuth, fences.radius_m[each])
    of = np.repeat(np.arange(len(rows)), SIDES)
    found[rows] = shapely.polygons(shapely.linearrings(np.column_stack([x, y]), indices=of))
    return found


def refined(
    fences: Fences, prepared: Objects, pings: Pings, ping: Ints, fence: Ints
) -> tuple[Ints, Ints]:
    """Of candidate pairs those that hold: by geodesic from the centre, by prepared polygon."""
    circle = fences.is_circle[fence]
    held = np.zeros(len(ping), bool)
    at, of = ping[circle], fence[circle]
    _, _, metres = WGS84.inv(pings.lon[at], pings.lat[at], fences.lon[of], fences.lat[of])
    held[circle] = metres <= fences.radius_m[of] + RIM_M
    at = ping[~circle]
    held[~circle] = shapely.intersects_xy(prepared[fence[~circle]], pings.lon[at], pings.lat[at])
    return ping[held], fence[held]


def asked_one_by_one(one: Callable[[float, float], list[int]], pings: Pings) -> tuple[Ints, Ints]:
    """Two columns, ping and fence, from a way that answers for one place at a time."""
    ping: list[int] = []
    fence: list[int] = []
    for number, (lon, lat) in enumerate(zip(pings.lon.tolist(), pings.lat.tolist(), strict=True)):
        found = one(lon, lat)
        fence.extend(found)
        ping.extend([number] * len(found))
    return np.array(ping, np.int64), np.array(fence, np.int64)


class OneByOne:
    """Exact test of one place against candidate rows, in plain Python as an application would."""

    def __init__(self, fences: Fences, prepared: Objects) -> None:
        self._polygon = prepared.tolist()
        self._lon, self._lat = fences.lon.tolist(), fences.lat.tolist()
        self._radius_m = fences.radius_m.tolist()

    def held(self, lon: float, lat: float, rows: Any) -> list[int]:
        """Those of the rows that hold the place."""
        place = shapely.Point(lon, lat)
        found = []
        for row in rows:
            polygon = self._polygon[row]
            if polygon is not None:
                if polygon.covers(place):
                    found.append(row)
            elif WGS84.inv(lon, lat, self._lon[row], self._lat[row])[2] <= self._radius_m[row] + RIM_M:
                found.append(row)
        return found

"""Brute force: every fence × every ping, in the most obvious code. The twin that `FenceIndex` equals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from geo.antimeridian import normalize_lon, unwrap
from geo.fences.fence import CircleShape, FenceVersion
from geo.matching.hits import Hits
from geo.measure import RIM_TOLERANCE_M, WGS84


@dataclass(frozen=True)
class PlainIndex:
    """Fence versions, looked at one by one."""

    versions: tuple[FenceVersion, ...]

    @classmethod
    def build(cls, versions: Sequence[FenceVersion]) -> PlainIndex:
        """Nothing to build."""
        return cls(tuple(versions))

    def match(
        self,
        *,
        lon: NDArray[np.float64],
        lat: NDArray[np.float64],
        at_ms: NDArray[np.int64] | None = None,
    ) -> Hits:
        """The fence versions that hold each ping and are live at its instant; see `FenceIndex.match`."""
        pairs = [
            (ping, fence)
            for ping in range(len(lon))
            for fence, version in enumerate(self.versions)
            if (at_ms is None or version.live_from_ms <= at_ms[ping] < version.live_until_ms)
            and holds(version, lon=float(lon[ping]), lat=float(lat[ping]))
        ]
        ping, fence = np.array(pairs, np.int64).reshape(-1, 2).T
        return Hits(ping=ping, fence=fence)


def holds(version: FenceVersion, *, lon: float, lat: float) -> bool:
    """Whether the fence's shape contains a place, the rim included (product P2).

    Longitudes a whole turn apart are the same place, and so are all longitudes at a pole.
    """
    lon = float(normalize_lon(lon))
    shape = version.fence.shape
    if isinstance(shape, CircleShape):
        _, _, distance_m = WGS84.inv(shape.lon, shape.lat, lon, lat)
        return bool(distance_m <= shape.radius_m + RIM_TOLERANCE_M)
    geometry = unwrap(shape.geometry)
    _, south, _, north = geometry.bounds
    if abs(lat) == 90:
        return bool(lat in (south, north))
    return any(geometry.covers(shapely.Point(x, lat)) for x in (lon, lon + 360))

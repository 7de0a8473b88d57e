"""What is right, found without any tree: fence by fence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely

from bench import _world
from geo.fences.fence import CircleShape, FenceVersion
from geo.measure import WGS84


def truth(versions: Sequence[FenceVersion], pings: _world.PingColumns) -> set[int]:
    """Keys (ping × fences + fence) of all pairs, fence by fence, without any tree.

    A band of latitude, found by sorting, is all that is left out unseen.
    """
    order = np.argsort(pings.lat)
    lat = pings.lat[order]
    found: set[int] = set()
    for row, version in enumerate(versions):
        shape = version.fence.shape
        if isinstance(shape, CircleShape):
            far_deg = shape.radius_m / 110_000  # below the shortest degree of latitude
            south, north = shape.lat - far_deg, shape.lat + far_deg
        else:
            _, south, _, north = shape.geometry.bounds
        ping = order[np.searchsorted(lat, south) : np.searchsorted(lat, north, side="right")]
        held = _held(version, pings.lon[ping], pings.lat[ping])
        found.update((ping[held] * len(versions) + row).tolist())
    return found


def _held(version: FenceVersion, lon: Any, lat: Any) -> Any:
    shape = version.fence.shape
    if isinstance(shape, CircleShape):
        # two degrees of longitude is more than 15 km anywhere below 85°
        near = np.flatnonzero(np.abs(lon - shape.lon) < 2)
        full = np.full(len(near), shape.lon), np.full(len(near), shape.lat)
        _, _, metres = WGS84.inv(*full, lon[near], lat[near])
        held = np.zeros(len(lon), bool)
        held[near] = metres <= shape.radius_m + 1e-6
        return held
    return shapely.intersects_xy(shape.geometry, lon, lat)

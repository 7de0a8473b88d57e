"""All kernels at once: compiled, or loaded from the disk, before anybody waits for them."""

from __future__ import annotations

import numpy as np
import shapely

from geo.fences.fence import CircleShape, Fence, FenceVersion, PolygonShape
from geo.matching.certainty import CertaintyPolicy, decide
from geo.matching.index import FenceIndex

_ALWAYS_MS = 1 << 60


def warm() -> None:
    """Use every kernel once. Half a minute where they were never compiled, else about a second.

    Afterwards `FenceIndex.compile` takes only the time of building. Call it aside: other threads may
    match by R-tree meanwhile.
    """
    shapes: list[CircleShape | PolygonShape] = [
        CircleShape(lon=127.0, lat=37.5, radius_m=500.0),
        PolygonShape(geometry=shapely.box(126.99, 37.49, 127.01, 37.51)),
        PolygonShape(geometry=shapely.box(100.0, 20.0, 140.0, 50.0)),
    ]
    versions = [_version(number, shape) for number, shape in enumerate(shapes)]
    index = FenceIndex.build(versions[:2]).compile().changed(added=versions[2:])
    lon, lat = np.array([127.0, 127.01]), np.array([37.5, 37.5])
    at_ms = np.array([0, -1])
    index.match(lon=lon, lat=lat, at_ms=at_ms)
    index.match_one(127.0, 37.5)
    decide(
        index,
        lon=lon,
        lat=lat,
        accuracy_m=np.array([900.0, 10.0]),
        platform=np.zeros(2, np.int8),
        policy=CertaintyPolicy(),
    )
    moved = index.changed(removed=[0, 2], added=versions[:1])
    if moved.match_one(127.0, 37.5) != [1, 3]:
        raise RuntimeError("The compiled kernels give a wrong answer on this machine.")


def _version(number: int, shape: CircleShape | PolygonShape) -> FenceVersion:
    return FenceVersion(
        fence_id=number,
        version=1,
        live_from_ms=0,
        live_until_ms=_ALWAYS_MS,
        time_zone="UTC",
        fence=Fence(name="", shape=shape),
    )

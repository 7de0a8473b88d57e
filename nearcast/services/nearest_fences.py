"""What a phone that can watch only a few regions should watch: its nearest live fences (product F11)."""

from __future__ import annotations

from dataclasses import dataclass

from campaigns.deciding.snapshot import Snapshot
from geo.fences.fence import FenceVersion
from geo.matching.nearest import nearest

#: iOS watches 20 regions, Android 100
MAX_NEAREST = 100


@dataclass(frozen=True, kw_only=True)
class NearFence:
    """A live fence version; metres to its rim, 0 inside."""

    version: FenceVersion
    distance_m: float
    inside: bool


@dataclass(frozen=True, kw_only=True)
class NearFences:
    """The nearest first; `ask_again_after_m` as in `Nearest`."""

    fences: list[NearFence]
    ask_again_after_m: float | None


def nearest_fences(snapshot: Snapshot, *, lon: float, lat: float, limit: int, now_ms: int) -> NearFences:
    """The nearest live fences of a workspace, at most `limit`.

    Args:
        lon, lat: WGS84 degrees on the earth.
    """
    found = nearest(snapshot.index, lon=lon, lat=lat, at_ms=now_ms, limit=limit)
    versions = [snapshot.index.versions[row] for row in found.rows]
    columns = zip(versions, found.distance_m, found.inside, strict=True)
    return NearFences(
        fences=[NearFence(version=v, distance_m=metres, inside=held) for v, metres, held in columns],
        ask_again_after_m=found.ask_again_after_m,
    )

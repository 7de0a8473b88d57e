"""Find fences: by what they are called, by a box, or near a place."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import sqlalchemy as sa

from geo.fences.fence import FenceVersion
from geo.matching.certainty import CertaintyPolicy, judge
from geo.matching.index import FenceIndex
from geo.matching.pings import Platform
from geo.measure import circle_box
from nearcast.store import fences
from nearcast.store.fences import Filter, StoredFence

MAX_NEAR_M = 100_000.0  # a day's drive is no neighbourhood; keeps the exact test small


@dataclass(frozen=True, kw_only=True)
class Near:
    """A place and how far from it a fence may begin."""

    lon: float
    lat: float
    radius_m: float


def find_fences(
    conn: sa.Connection,
    *,
    workspace_id: int,
    only: Filter,
    near: Near | None,
    after_id: int,
    limit: int,
) -> tuple[list[StoredFence], int]:
    """A page of fences and how many there are in all; see `Filter`.

    Args:
        near: keep those whose rim lies no further from the place than its radius, or that hold it.
    """
    if near is not None:
        only = replace(only, box=_box(near))
        close = _close(near, fences.shapes(conn, workspace_id=workspace_id, only=only))
        only = Filter(fence_ids=close)
    return fences.listed(conn, workspace_id=workspace_id, after_id=after_id, limit=limit, only=only)


def _box(near: Near) -> tuple[float, float, float, float]:
    west, south, east, north = circle_box(lon=near.lon, lat=near.lat, radius_m=near.radius_m)
    return west, south, east, north


def _close(near: Near, versions: list[FenceVersion]) -> list[int]:
    """The serials of the fences that begin within the radius: the signed distance of the rim tells."""
    if not versions:
        return []
    index = FenceIndex.build(versions)
    rows = np.arange(len(versions))
    judged = judge(
        index,
        lon=np.array([near.lon]),
        lat=np.array([near.lat]),
        accuracy_m=np.array([np.nan]),
        platform=np.array([Platform.ANDROID], np.int8),
        ping=np.zeros(len(versions), np.int64),
        fence=rows,
        policy=CertaintyPolicy(),
    )
    return [versions[row].fence_id for row in rows[judged.rim_m <= near.radius_m].tolist()]

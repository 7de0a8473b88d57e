"""The logged fixes of a person, each judged at the fence of a campaign where it says most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from campaigns.deciding.explain import SeenFix
from geo.fences.fence import FenceVersion
from geo.matching.certainty import CertaintyPolicy, Judgement, judge
from geo.matching.index import FenceIndex
from geo.matching.pings import Outcome
from nearcast.store import fence_history, ping_log
from nearcast.store.fence_history import PastVersion
from nearcast.store.ping_files import PingFiles

#: the newest so many fixes are looked at, each at so many of the nearest fences
MAX_FIXES = 500
NEAREST = 4
_EARTH_M = 6_371_008.8


def seen_fixes(
    conn: sa.Connection,
    *,
    app_id: int,
    device_ids: Sequence[int],
    first_ms: int,
    last_ms: int,
    fences: Sequence[PastVersion],
    policy: CertaintyPolicy,
    files: PingFiles | None = None,
) -> list[SeenFix]:
    """The newest fixes of some devices in `[first, last]`, newest first, at most `MAX_FIXES`.

    Args:
        fences: the versions to judge them at, each for the time in which it was the newest.
        files: where sealed pings are; without it only what is not sealed yet is seen.
    """
    logged = ping_log.read(
        conn,
        app_id=app_id,
        first_ms=first_ms,
        last_ms=last_ms,
        devices=device_ids,
        files=files,
    )
    fixes = logged.fixes
    fixes = fixes[np.argsort(-fixes["at_ms"], kind="stable")][:MAX_FIXES]
    if not len(fixes) or not fences:
        return [_nowhere(fix) for fix in fixes]
    # every version stands in the index for as long as it was the newest one, switched off or not
    index = FenceIndex.build([past.whole for past in fences])
    ping, fence = _pairs(index, [past.version for past in fences], fixes)
    judged = judge(
        index,
        lon=fixes["lon"].astype(np.float64),
        lat=fixes["lat"].astype(np.float64),
        accuracy_m=fixes["accuracy_m"].astype(np.float64),
        platform=fixes["platform"].astype(np.int8),
        ping=ping,
        fence=fence,
        policy=policy,
    )
    best = _best(ping, fence, judged, fixes, fences)
    return [
        _seen(fix, fences[int(fence[best[row]])], judged, best[row]) if row in best else _nowhere(fix)
        for row, fix in enumerate(fixes)
    ]


def _pairs(
    index: FenceIndex, versions: Sequence[FenceVersion], fixes: NDArray[np.void]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each fix × the fences it may be in, and × those that are nearest by their middle."""
    lon, lat = fixes["lon"].astype(np.float64), fixes["lat"].astype(np.float64)
    at_ms = fixes["at_ms"].astype(np.int64)
    hits = index.candidates(
        lon=lon, lat=lat, at_ms=at_ms, accuracy_m=fixes["accuracy_m"].astype(np.float64)
    )
    middles = np.array([fence_history.middle(version.fence.shape) for version in versions])
    rim_m = _apart_m(lon[:, None], lat[:, None], middles[:, 0], middles[:, 1]) - middles[:, 2]
    dated = (index.live_from_ms <= at_ms[:, None]) & (at_ms[:, None] < index.live_until_ms)
    rim_m = np.where(dated, rim_m, np.inf)
    nearest = np.argsort(rim_m, axis=1)[:, :NEAREST]
    row = np.repeat(np.arange(len(fixes)), nearest.shape[1])
    fence = nearest.ravel()
    there = np.isfinite(rim_m[row, fence])
    width = len(versions)
    key = np.union1d(row[there] * width + fence[there], hits.ping * width + hits.fence)
    return key // width, key % width


def _apart_m(
    lon1: NDArray[np.float64],
    lat1: NDArray[np.float64],
    lon2: NDArray[np.float64],
    lat2: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Great-circle distance, only to find what is near; what is told is judged exactly."""
    phi1, phi2 = np.radians(lat1), np.radians(lat2)
    half = np.sin((phi2 - phi1) / 2) ** 2
    half = half + np.cos(phi1) * np.cos(phi2) * np.sin(np.radians(lon2 - lon1) / 2) ** 2
    return 2 * _EARTH_M * np.arcsin(np.sqrt(np.minimum(half, 1.0)))


def _best(
    ping: NDArray[np.int64],
    fence: NDArray[np.int64],
    judged: Judgement,
    fixes: NDArray[np.void],
    fences: Sequence[PastVersion],
) -> dict[int, int]:
    """Fix → its pair that says most: in before undecided before out, live first, then the nearest."""
    best: dict[int, int] = {}
    rank: dict[int, tuple[int, bool, float, float]] = {}
    for pair, (row, place) in enumerate(zip(ping.tolist(), fence.tolist(), strict=True)):
        live = fences[place].is_live(int(fixes["at_ms"][row]))
        verdict = int(judged.verdict[pair])
        p, rim_m = round(float(judged.p[pair]), 3), float(judged.rim_m[pair])
        said = (verdict if live else min(verdict, 0), live, p, -rim_m)
        if row not in rank or said > rank[row]:
            rank[row], best[row] = said, pair
    return best


def _seen(fix: np.void, past: PastVersion, judged: Judgement, pair: int) -> SeenFix:
    version = past.version
    return replace(
        _nowhere(fix),
        fence_id=version.fence_id,
        fence_name=version.fence.name,
        fence_version=version.version,
        live=past.is_live(int(fix["at_ms"])),
        verdict=int(judged.verdict[pair]),
        p=float(judged.p[pair]),
        rim_m=float(judged.rim_m[pair]),
    )


def _nowhere(fix: np.void) -> SeenFix:
    """A fix of a time when the campaign aimed at no fence."""
    reason = int(fix["reason"])
    held = int(fix["outcome"]) == Outcome.QUARANTINED
    return SeenFix(
        at_ms=int(fix["at_ms"]),
        seen_ms=int(fix["now_ms"]),
        held=str(ping_log.REASONS[reason]) if held and reason >= 0 else None,
        fence_id=-1,
        fence_name="",
        fence_version=0,
        live=False,
        verdict=-1,
        p=0.0,
        rim_m=float("inf"),
    )

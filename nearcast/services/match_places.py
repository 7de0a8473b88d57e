"""Match places without keeping anything: which fences hold them now, and how certainly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from campaigns.deciding.snapshot import Snapshot
from geo.matching.certainty import judge
from geo.matching.pings import Floats, Ints


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Columns, one row a pair of a place and a fence that is near it, by place.

    Attributes:
        place: row of the places; fence: row of the snapshot's index.
        verdict: `Verdict` codes (int8).
        p: P(inside).
        rim_m: metres to the rim, negative inside.
    """

    place: Ints
    fence: Ints
    verdict: NDArray[np.int8]
    p: Floats
    rim_m: Floats

    def __len__(self) -> int:
        return len(self.place)


def match_places(
    snapshot: Snapshot,
    *,
    lon: Floats,
    lat: Floats,
    accuracy_m: Floats,
    platform: NDArray[np.int8],
    now_ms: int,
) -> Matches:
    """The fences, live now, that hold each place, and those that a fix so coarse may still be in.

    Args:
        lon, lat: WGS84 degrees on the earth; accuracy_m: NaN or 0 where missing, never infinite.
        platform: `Platform` codes.
    """
    now = np.full(len(lon), now_ms, np.int64)
    hits = snapshot.index.candidates(lon=lon, lat=lat, at_ms=now, accuracy_m=accuracy_m)
    judged = judge(
        snapshot.index,
        lon=lon,
        lat=lat,
        accuracy_m=accuracy_m,
        platform=platform,
        ping=hits.ping,
        fence=hits.fence,
        policy=snapshot.certainty,
    )
    return Matches(
        place=hits.ping, fence=hits.fence, verdict=judged.verdict, p=judged.p, rim_m=judged.rim_m
    )

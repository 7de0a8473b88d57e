"""The newest fixes of each device: who was seen lately, and which ping came before.

Only committed pings are remembered here (the caller feeds it from the ping log), and remembering one
twice changes nothing. No promise rests on it: it labels duplicates and marks an enter as initial.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from geo.matching.pings import Bools, Pings

FIXES_A_DEVICE = 32
MAX_DEVICES = 500_000


class SeenFix(NamedTuple):
    """When and where a device was seen; a tuple, because many are compared."""

    at_ms: int
    lon: float
    lat: float


class RecentFixes:
    """Up to `FIXES_A_DEVICE` newest fixes of each device seen lately."""

    def __init__(self, *, keep_ms: int) -> None:
        self._keep_ms = keep_ms
        self._fixes: dict[int, list[SeenFix]] = {}
        self._newest_ms = 0

    def remember(
        self,
        device: Sequence[int],
        at_ms: Sequence[int],
        lon: Sequence[float],
        lat: Sequence[float],
    ) -> None:
        """Add fixes, one a row; older ones than are kept, and known ones, change nothing."""
        for owner, at, x, y in zip(device, at_ms, lon, lat, strict=True):
            seen = SeenFix(at, x, y)
            fixes = self._fixes.setdefault(owner, [])
            place = bisect_left(fixes, seen)
            if place < len(fixes) and fixes[place] == seen:
                continue
            insort(fixes, seen)
            del fixes[:-FIXES_A_DEVICE]
            self._newest_ms = max(self._newest_ms, seen.at_ms)
        if len(self._fixes) > MAX_DEVICES:
            self._forget()

    def repeated(self, pings: Pings) -> Bools:
        """Rows whose device, instant and place were taken before, or stand earlier in the batch."""
        found = np.zeros(len(pings), bool)
        batch: set[tuple[int, SeenFix]] = set()
        rows = zip(
            pings.device.tolist(),
            pings.at_ms.tolist(),
            pings.lon.tolist(),
            pings.lat.tolist(),
            strict=True,
        )
        for row, (device, *place_and_time) in enumerate(rows):
            seen = SeenFix(*place_and_time)
            known = self._fixes.get(device, [])
            place = bisect_left(known, seen)
            before = place < len(known) and known[place] == seen
            found[row] = device >= 0 and (before or (device, seen) in batch)
            batch.add((device, seen))
        return found

    def before(self, device: int, at_ms: int) -> SeenFix | None:
        """The newest remembered fix of a device before an instant."""
        fixes = self._fixes.get(device, [])
        place = bisect_left(fixes, at_ms, key=lambda fix: fix.at_ms)
        return fixes[place - 1] if place else None

    def _forget(self) -> None:
        oldest = self._newest_ms - self._keep_ms
        self._fixes = {d: fixes for d, fixes in self._fixes.items() if fixes[-1].at_ms >= oldest}

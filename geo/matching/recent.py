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

FIXES_A_DEVICE = 16
_FORGET_EVERY_MS = 10 * 60_000


#: at_ms, lon, lat: plain tuples, because very many are made and compared
Fix = tuple[int, float, float]


class SeenFix(NamedTuple):
    """When and where a device was seen."""

    at_ms: int
    lon: float
    lat: float


class RecentFixes:
    """Up to `FIXES_A_DEVICE` newest fixes of each device seen lately."""

    def __init__(self, *, keep_ms: int) -> None:
        self._keep_ms = keep_ms
        self._fixes: dict[int, list[Fix]] = {}
        self._newest_ms = 0
        self._forgotten_ms = 0

    def remember(
        self,
        device: Sequence[int],
        at_ms: Sequence[int],
        lon: Sequence[float],
        lat: Sequence[float],
    ) -> None:
        """Add fixes, one a row; older ones than are kept, and known ones, change nothing."""
        for owner, fix in zip(device, zip(at_ms, lon, lat, strict=True), strict=True):
            fixes = self._fixes.setdefault(owner, [])
            if not fixes or fixes[-1] < fix:  # nearly always: phones send in time order
                fixes.append(fix)
            elif not _holds(fixes, fix):
                insort(fixes, fix)
            del fixes[:-FIXES_A_DEVICE]
            self._newest_ms = max(self._newest_ms, fix[0])
        if self._newest_ms - self._forgotten_ms > _FORGET_EVERY_MS:
            self._forget()

    def repeated(self, pings: Pings) -> Bools:
        """Rows whose device, instant and place were taken before, or stand earlier in the batch."""
        found = np.zeros(len(pings), bool)
        batch: set[tuple[int, float, float, int]] = set()
        columns = (pings.at_ms, pings.lon, pings.lat, pings.device)
        for row, ping in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
            at_ms, lon, lat, device = ping
            known = self._fixes.get(device)
            before = known is not None and _holds(known, (at_ms, lon, lat))
            found[row] = device >= 0 and (before or ping in batch)
            batch.add(ping)
        return found

    def before(self, device: int, at_ms: int) -> SeenFix | None:
        """The newest remembered fix of a device before an instant."""
        fixes = self._fixes.get(device, [])
        place = bisect_left(fixes, at_ms, key=lambda fix: fix[0])
        return SeenFix(*fixes[place - 1]) if place else None

    def _forget(self) -> None:
        """Drop who was not seen for long; now and then, for it looks at every device."""
        self._forgotten_ms = self._newest_ms
        oldest = self._newest_ms - self._keep_ms
        self._fixes = {d: fixes for d, fixes in self._fixes.items() if fixes[-1][0] >= oldest}


def _holds(fixes: list[Fix], fix: Fix) -> bool:
    if not fixes or fixes[-1] < fix:
        return False
    place = bisect_left(fixes, fix)
    return fixes[place] == fix
